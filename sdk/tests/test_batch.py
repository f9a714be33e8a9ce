"""``segment_many``: bounded, lazy, in order, and nothing left running."""

import asyncio
import gc
import threading
import time
import weakref

import numpy as np
import pytest

from air import (
    AIRefinery,
    AirError,
    APIConnectionError,
    APITimeoutError,
    AsyncAIRefinery,
    BadRequestError,
    InputError,
    SegmentResult,
)

PROMPT = [[[1, 2]]]


def requests(count):
    return [{"image": "aW1hZ2U=", "segment_prompt": [[[i, i]]]} for i in range(count)]


def run(twin, items, client=None, **arguments):
    return twin.run(lambda c: c.images.segment_many(items, **{"model": "m"} | arguments), **(client or {}))


def test_results_come_in_the_order_of_the_requests(twin, stub, make_answer):
    def slower_first(connection):
        x = stub.requests[-1].json["segment_prompt"][0][0][0]
        return stub.reply(200, make_answer() | {"created": x}, delay=0.15 if x == 0 else 0)(connection)

    stub.plays(slower_first)
    results = run(twin, requests(9), concurrency=3)
    assert [result.index for result in results] == list(range(9))
    assert [result.unwrap().created for result in results] == list(range(9))


def test_defaults_hold_unless_a_request_says_otherwise(twin, stub):
    items = [{"segment_prompt": PROMPT}, {"segment_prompt": PROMPT, "model": "other", "n": 2}]
    run(twin, items, concurrency=1, image="aW1hZ2U=", user="ann")
    assert [(r.json["model"], r.json.get("n"), r.json["user"]) for r in stub.requests] == [
        ("m", None, "ann"),
        ("other", 2, "ann"),
    ]


def test_a_failure_is_the_result_of_its_request_alone(twin, stub, tmp_path):
    def refuse_two(connection):
        x = stub.requests[-1].json["segment_prompt"][0][0][0]
        return (stub.error(400, message="bad two") if x == 2 else stub.segmented())(connection)

    stub.plays(refuse_two)
    items = [
        *requests(3),
        {"image": tmp_path / "absent.png", "segment_prompt": PROMPT},
        {"segment_prompt": PROMPT},
        "no mapping",
        {"image": "car.png", "segment_prompt": PROMPT},
    ]
    results = run(twin, items, concurrency=2)
    kinds = [type(None), type(None), BadRequestError, FileNotFoundError, InputError, InputError, InputError]
    assert all(isinstance(result.error, kind) for result, kind in zip(results, kinds, strict=True))
    assert [result.response is None for result in results] == [False, False, True, True, True, True, True]
    assert str(results[4].error) == "a request lacks image"
    with pytest.raises(BadRequestError, match="bad two"):
        results[2].unwrap()


@pytest.mark.parametrize(
    ("items", "arguments", "error", "message"),
    [
        ([{"image": "aW1hZ2U=", "prompt": PROMPT}], {}, InputError, "a request lacks segment_prompt; it has prompt"),
        (["no mapping"], {}, InputError, "must be a mapping"),
        (requests(3), {"client": {"base_url": "http://127.0.0.1:9", "max_retries": 0}}, APIConnectionError, ":9"),
    ],
)
def test_what_would_fail_every_request_is_raised(twin, items, arguments, error, message):
    with pytest.raises(error, match=message):
        run(twin, items, **arguments)


@pytest.mark.parametrize(("status", "code"), [(401, "wrong_key"), (403, "missing_scope"), (404, "model_not_installed")])
def test_an_answer_that_holds_for_every_request_is_raised_unless_one_has_succeeded(twin, stub, status, code):
    stub.plays(stub.error(status, code=code))
    with pytest.raises(AirError, match=str(status)):
        run(twin, requests(5), concurrency=2)
    assert len(stub.requests) <= 4

    def refuse_later(connection):
        x = stub.requests[-1].json["segment_prompt"][0][0][0]
        return (stub.error(status, code=code) if x else stub.segmented())(connection)

    stub.plays(refuse_later)
    results = run(twin, requests(3), concurrency=1)
    assert [result.error is None for result in results] == [True, False, False]


def test_a_request_with_boxes_needs_no_points(twin, stub):
    run(twin, [{"image": "aW1hZ2U=", "boxes": [[1, 2, 3, 4]]}])
    assert stub.request.json["segment_prompt"] is None


def test_no_more_than_concurrency_are_in_flight_and_that_many_are(twin, stub):
    lock, now, most = threading.Lock(), [0], [0]

    def counting(connection):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.03)
        with lock:
            now[0] -= 1
        return stub.segmented()(connection)

    stub.plays(counting)
    run(twin, requests(12), concurrency=3)
    assert most[0] == 3


def test_the_next_request_is_taken_when_another_has_finished(twin, stub):
    taken = []

    def folder():
        for item in requests(10):
            taken.append(len(stub.requests))
            yield item

    run(twin, folder(), concurrency=2)
    # When the i-th is taken, all but the two before it have long been sent.
    assert all(sent >= index - 2 for index, sent in enumerate(taken))


def test_images_are_freed_after_their_request_even_if_it_fails(twin, stub):
    class TrackedImage(bytearray):
        pass

    alive, most = weakref.WeakSet(), 0

    class Identity:  # a WeakSet needs hashes, which bytearrays lack
        pass

    def folder():
        nonlocal most
        for _ in range(12):
            image = TrackedImage(b"image" * 1000)
            image.identity = Identity()
            alive.add(image.identity)
            most = max(most, len(alive))
            yield {"image": image, "segment_prompt": PROMPT}
            del image

    stub.plays(stub.error(400), stub.hangs_up(), stub.segmented())
    results = run(twin, folder(), {"max_retries": 0}, concurrency=2)
    gc.collect()
    assert len(results) == 12
    assert most <= 5
    assert len(alive) == 0


def test_progress_counts_up_to_the_total_in_the_callers_thread(twin, stub):
    calls = []
    run(twin, requests(3), progress=lambda done, total: calls.append((done, total, threading.current_thread())))
    assert calls == [(i, 3, threading.main_thread()) for i in (1, 2, 3)]


def test_progress_has_no_total_for_a_generator(twin, stub):
    calls = []
    run(twin, iter(requests(2)), progress=lambda *call: calls.append(call))
    assert calls == [(1, None), (2, None)]


def test_numpy_numbers_are_accepted(twin, stub):
    results = run(twin, requests(2), concurrency=np.int64(2), timeout=np.float32(5), n=np.int8(1))
    assert [result.error for result in results] == [None, None]
    assert stub.requests[0].json["n"] == 1
    assert 4 < float(stub.requests[0].headers["x-request-timeout"]) <= 5


def test_no_requests_give_no_results(twin, stub):
    assert run(twin, []) == []
    assert stub.requests == []


@pytest.mark.parametrize("concurrency", [0, -1, 1.5, True, None])
def test_an_invalid_concurrency_is_refused(twin, concurrency):
    with pytest.raises(InputError, match="concurrency"):
        run(twin, requests(1), concurrency=concurrency)


@pytest.mark.parametrize("reused", [False, True], ids=["new connections", "reused connections"])
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError])
def test_an_interruption_ends_requests_in_flight_at_once(twin, stub, interruption, reused):
    """The server never answers: only cancelling ends such requests before their timeout of a minute."""
    warm_up = 2 if reused else 0
    stub.plays(*[stub.segmented(delay=0.1)] * warm_up, stub.silent())
    before = set(threading.enumerate())
    began = time.monotonic()

    def folder():
        yield from requests(warm_up)
        yield from requests(1)
        while len(stub.requests) < warm_up + 1:
            time.sleep(0.01)
        raise interruption

    async def async_folder():
        for item in requests(warm_up + 1):
            yield item
        while len(stub.requests) < warm_up + 1:  # noqa: ASYNC110 - another thread adds to them
            await asyncio.sleep(0.01)
        raise interruption

    with pytest.raises(interruption):
        run(twin, folder() if twin.kind == "sync" else async_folder(), concurrency=2)
    assert time.monotonic() - began < 20  # of the client's 60
    left = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("air-")]
    assert left == []
    sent = len(stub.requests)
    time.sleep(0.1)
    assert len(stub.requests) == sent


def test_an_interruption_ends_waiting_between_retries_too(stub):
    stub.plays(stub.error(503, {"Retry-After": "30"}))
    began = time.monotonic()

    def folder():
        yield from requests(1)
        while not stub.requests:
            time.sleep(0.01)
        time.sleep(0.1)
        raise KeyboardInterrupt

    with AIRefinery("some-key", stub.url) as client, pytest.raises(KeyboardInterrupt):
        client.images.segment_many(folder(), concurrency=2, model="m")
    assert time.monotonic() - began < 20  # of the client's 60
    assert len(stub.requests) == 1


def test_cancelling_the_async_one_ends_its_requests(stub):
    stub.plays(stub.silent())

    async def main():
        async with AsyncAIRefinery("some-key", stub.url) as client:
            task = asyncio.create_task(client.images.segment_many(requests(9), concurrency=3, model="m"))
            while len(stub.requests) < 3:  # noqa: ASYNC110 - another thread adds to them
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    assert len(stub.requests) == 3


def test_the_async_one_takes_async_iterables(stub):
    async def folder():
        for item in requests(3):
            await asyncio.sleep(0)
            yield item

    async def main():
        async with AsyncAIRefinery("some-key", stub.url) as client:
            return await client.images.segment_many(folder(), model="m")

    assert [result.response is not None for result in asyncio.run(main())] == [True] * 3


def test_the_limit_holds_for_each_request(twin, stub):
    stub.plays(stub.silent())
    results = run(twin, requests(2), concurrency=2, timeout=0.2)
    assert [type(result.error) for result in results] == [APITimeoutError] * 2


def test_a_result_is_a_response_or_an_error():
    with pytest.raises(AssertionError):
        SegmentResult(0).unwrap()
