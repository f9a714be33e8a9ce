"""Prompts that wait for the same image are decoded together, and each request gets its own result."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from engine.parts import Plain, candidates_for, embedding, point, settle, until

from maskery.engine.decoder import Decoder
from maskery.engine.lanes import Lane
from maskery.segmentation import Candidates, Embedding, ObjectPrompt

Decoding = asyncio.Task[tuple[list[Candidates], float]]

RED, BLUE = embedding(1), embedding(2)


@pytest.fixture
async def lane() -> AsyncIterator[Lane]:
    lane = Lane(1)
    yield lane
    await settle()
    assert (lane.running, lane.waiting) == (0, 0)


@pytest.fixture
async def decoder(lane: Lane) -> AsyncIterator[Decoder]:
    pool = ThreadPoolExecutor(1)
    yield Decoder(lane, pool)
    pool.shutdown()


def decode(decoder: Decoder, model: Plain, image: Embedding, *points: float) -> Decoding:
    return asyncio.create_task(decoder.decode(model, image, [point(x) for x in points]))


async def first_of(decoder: Decoder, model: Plain, image: Embedding = RED) -> Decoding:
    """A call that has the only slot, so that others wait."""
    task = decode(decoder, model, image, 0)
    assert await asyncio.to_thread(model.entered.acquire, timeout=20)
    return task


def check(got: tuple[list[Candidates], float], corner: int, points: Sequence[float]) -> None:
    check_objects(got, corner, [point(x) for x in points])


def check_objects(got: tuple[list[Candidates], float], corner: int, objects: Sequence[ObjectPrompt]) -> None:
    candidates, seconds = got
    assert seconds >= 0
    assert len(candidates) == len(objects)
    for each, prompt in zip(candidates, objects, strict=True):
        expected = candidates_for(corner, prompt)
        np.testing.assert_array_equal(each.logits, expected.logits)
        np.testing.assert_array_equal(each.scores, expected.scores)


async def test_prompts_that_wait_for_one_image_share_one_call(decoder: Decoder) -> None:
    model = Plain()
    with model.held():
        first = await first_of(decoder, model)
        waiting = [decode(decoder, model, RED, *points) for points in ((1,), (2, 3), (4,))]
        await settle()
    check(await first, 1, [0])
    for task, points in zip(waiting, ((1,), (2, 3), (4,)), strict=True):
        check(await task, 1, points)
    assert model.decoded == [(1, 1), (4, 1)]
    assert (decoder.calls, decoder.requests) == (2, 4)


async def test_a_prompt_that_arrives_after_the_call_has_started_goes_into_the_next(decoder: Decoder) -> None:
    model = Plain()
    with model.held():
        first = await first_of(decoder, model)
        second = decode(decoder, model, RED, 5)
        await settle()
        assert model.decoded == [(1, 1)]
    check(await first, 1, [0])
    check(await second, 1, [5])
    assert model.decoded == [(1, 1), (1, 1)]


async def test_different_images_are_never_mixed(decoder: Decoder) -> None:
    model, twin = Plain(), embedding(1)
    with model.held():
        first = await first_of(decoder, model)
        waiting = [decode(decoder, model, image, number) for number, image in enumerate((RED, BLUE, RED, twin, BLUE))]
        await settle()
    for number, corner in enumerate((1, 2, 1, 1, 2)):
        check(await waiting[number], corner, [number])
    await first
    assert model.decoded == [(1, 1), (2, 1), (2, 2), (1, 1)]


async def test_different_models_are_never_mixed(decoder: Decoder) -> None:
    one, other = Plain(), Plain()
    with one.held():
        first = await first_of(decoder, one)
        waiting = [decode(decoder, one, RED, 1), decode(decoder, other, RED, 2)]
        await settle()
    await asyncio.gather(first, *waiting)
    assert one.decoded == [(1, 1), (1, 1)]
    assert other.decoded == [(1, 1)]


async def test_a_call_has_at_most_as_many_objects_as_the_models_batch(decoder: Decoder) -> None:
    model = Plain(max_batch=4)
    with model.held():
        first = await first_of(decoder, model)
        sizes = (2, 2, 1, 3, 2, 9, 1)
        waiting = [decode(decoder, model, RED, *range(size)) for size in sizes]
        await settle()
    for size, task in zip(sizes, waiting, strict=True):
        check(await task, 1, range(size))
    await first
    # The nine objects of one request are one call, in batches.
    assert model.decoded == [(1, 1), (4, 1), (4, 1), (2, 1), (4, 1), (4, 1), (1, 1), (1, 1)]


async def test_a_large_prompt_ends_early_when_it_is_cancelled(decoder: Decoder) -> None:
    model = Plain(max_batch=4)
    with model.held():
        large = decode(decoder, model, RED, *range(400))
        assert await asyncio.to_thread(model.entered.acquire, timeout=20)
        large.cancel()
        await asyncio.gather(large, return_exceptions=True)
        next_one = decode(decoder, model, RED, 7)
        await settle()
    check(await next_one, 1, [7])
    assert model.decoded == [(4, 1), (1, 1)]


async def test_prompts_join_the_call_behind_a_full_one(decoder: Decoder) -> None:
    model = Plain(max_batch=4)
    with model.held():
        first = await first_of(decoder, model)
        full, behind = decode(decoder, model, RED, 1, 2, 3), decode(decoder, model, RED, 4, 5)
        await settle()
        # From here on each call returns when the next one has begun.
        model.step()
        assert await asyncio.to_thread(model.entered.acquire, timeout=20)
        joining = decode(decoder, model, RED, 6)
        await settle()
    await asyncio.gather(first, full)
    check(await behind, 1, [4, 5])
    check(await joining, 1, [6])
    assert model.decoded == [(1, 1), (3, 1), (3, 1)]


async def test_a_model_without_batches_decodes_each_request_alone(decoder: Decoder) -> None:
    model = Plain(max_batch=1)
    with model.held():
        first = await first_of(decoder, model)
        waiting = [decode(decoder, model, RED, number) for number in range(3)]
        await settle()
    await asyncio.gather(first, *waiting)
    assert model.decoded == [(1, 1)] * 4


async def test_a_prompt_that_the_model_cannot_decode_fails_alone(decoder: Decoder) -> None:
    model = Plain()
    model.poison = 13
    with model.held():
        first = await first_of(decoder, model)
        good, bad, fine = (decode(decoder, model, RED, *points) for points in ((1, 2), (12, 13), (3,)))
        await settle()
    check(await first, 1, [0])
    check(await good, 1, [1, 2])
    check(await fine, 1, [3])
    with pytest.raises(ValueError, match="cannot decode a point at 13"):
        await bad
    assert model.decoded == [(1, 1), (5, 1), (2, 1), (2, 1), (1, 1)]
    assert decoder.requests == 3


async def test_a_prompt_that_fails_alone_is_not_tried_twice(decoder: Decoder) -> None:
    model = Plain()
    model.poison = 13
    with pytest.raises(ValueError, match="cannot decode"):
        await decoder.decode(model, RED, [point(13)])
    assert model.decoded == [(1, 1)]


async def test_a_model_that_answers_too_few_objects_is_an_error(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Plain()
    monkeypatch.setattr(model, "decode", lambda _, objects, earlier: [candidates_for(1, each) for each in objects[1:]])
    async with asyncio.timeout(10):
        with pytest.raises(RuntimeError, match="test/plain has decoded 1 of 2 objects"):
            await decoder.decode(model, RED, [point(1), point(2)])


async def test_a_cancelled_prompt_is_not_decoded(decoder: Decoder) -> None:
    model = Plain()
    with model.held():
        first = await first_of(decoder, model)
        stays, leaves, also = (decode(decoder, model, RED, *points) for points in ((1,), (2, 3), (4,)))
        await settle()
        leaves.cancel()
        await settle()
    check(await stays, 1, [1])
    check(await also, 1, [4])
    await first
    assert leaves.cancelled()
    assert model.decoded == [(1, 1), (2, 1)]


async def test_a_call_without_requests_leaves_the_queue(decoder: Decoder, lane: Lane) -> None:
    model = Plain()
    with model.held():
        first = await first_of(decoder, model)
        leaving = [decode(decoder, model, BLUE, number) for number in range(3)]
        await settle()
        assert lane.waiting == 1
        for task in leaving:
            task.cancel()
        await settle()
        assert lane.waiting == 0
        # A later prompt for the same image must not join the cancelled call.
        late = decode(decoder, model, BLUE, 9)
        await settle()
    check(await late, 2, [9])
    await first
    assert model.decoded == [(1, 1), (1, 2)]


async def test_a_full_call_without_requests_leaves_the_queue_too(decoder: Decoder, lane: Lane) -> None:
    model = Plain(max_batch=2)
    with model.held():
        first = await first_of(decoder, model)
        leaving = [decode(decoder, model, BLUE, 1, 2), decode(decoder, model, BLUE, 3, 4)]
        stays = decode(decoder, model, BLUE, 5, 6)
        await settle()
        assert lane.waiting == 3
        for task in leaving:
            task.cancel()
        await settle()
        assert lane.waiting == 1
    check(await stays, 2, [5, 6])
    await first
    assert model.decoded == [(1, 1), (2, 2)]


async def test_a_call_whose_requests_are_cancelled_as_it_gets_its_slot_does_not_run_the_model(
    decoder: Decoder, lane: Lane
) -> None:
    model = Plain()
    leaving: list[Decoding] = []

    async def block() -> None:
        async with lane.slot():
            await until(lambda: lane.waiting == 1)
        # The slot has been given to the call, whose task has not resumed.
        for task in leaving:
            task.cancel()

    blocking = asyncio.create_task(block())
    await settle()
    leaving += [decode(decoder, model, RED, 1), decode(decoder, model, RED, 2)]
    await asyncio.wait(leaving)
    await blocking
    await settle()
    assert all(task.cancelled() for task in leaving)
    assert model.decoded == []
    check(await decoder.decode(model, RED, [point(3)]), 1, [3])


async def test_a_request_cancelled_while_the_model_runs_does_not_affect_the_others(decoder: Decoder) -> None:
    model = Plain()
    with model.held():
        first = await first_of(decoder, model)
        leaves, stays = decode(decoder, model, BLUE, 1, 2), decode(decoder, model, BLUE, 3)
        await settle()
        model.step()
        assert await asyncio.to_thread(model.entered.acquire, timeout=20)
        leaves.cancel()
        await settle()
    await first
    check(await stays, 2, [3])
    assert leaves.cancelled()


async def test_results_are_those_of_each_prompt_alone_under_random_cancellations() -> None:
    rng = random.Random(0)
    model, images = Plain(max_batch=16), [embedding(corner) for corner in range(5)]
    model.poison = 99
    lane = Lane(2)
    with ThreadPoolExecutor(2) as pool:
        decoder = Decoder(lane, pool)
        requests: list[tuple[Decoding, int, list[ObjectPrompt], bool]] = []
        for _ in range(400):
            corner = rng.randrange(5)
            bad = rng.random() < 0.05
            objects = [point(rng.randrange(90), rng.randrange(90)) for _ in range(rng.randrange(1, 7))]
            if bad:
                objects.append(point(99))
            task = asyncio.create_task(decoder.decode(model, images[corner], objects))
            requests.append((task, corner, objects, bad))
            if rng.random() < 0.1:
                rng.choice(requests)[0].cancel()
            if rng.random() < 0.2:
                await asyncio.sleep(rng.choice((0, 0.001)))
        await asyncio.wait([task for task, *_ in requests])
        await until(lambda: not lane.running)
    served = 0
    for task, corner, objects, bad in requests:
        if task.cancelled():
            continue
        if bad:
            with pytest.raises(ValueError, match="99"):
                task.result()
        else:
            check_objects(task.result(), corner, objects)
            served += 1
    assert served > 200
    assert len(model.decoded) < served
