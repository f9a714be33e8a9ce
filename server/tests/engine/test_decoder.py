"""Prompts that wait for one image are decoded together, and everybody gets his own answer."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from engine.parts import Plain, answer, embedding, point, settle, until

from maskery.engine.decoder import Decoder
from maskery.engine.lanes import Lane
from maskery.segmentation import Candidates, Embedding, ObjectPrompt

Decoding = asyncio.Task[tuple[list[Candidates], float]]

RED, BLUE = embedding(1), embedding(2)


@pytest.fixture
async def lane() -> AsyncIterator[Lane]:
    lane = Lane(1)
    yield lane
    await lane.idle()
    assert (lane.running, lane.waiting) == (0, 0)


@pytest.fixture
async def decoder(lane: Lane) -> AsyncIterator[Decoder]:
    pool = ThreadPoolExecutor(1)
    yield Decoder(lane, pool)
    pool.shutdown()


def ask(decoder: Decoder, model: Plain, image: Embedding, *places: float) -> Decoding:
    return asyncio.create_task(decoder.decode(model, image, [point(x) for x in places]))


async def first_of(decoder: Decoder, model: Plain, image: Embedding = RED) -> Decoding:
    """A call that has its turn, so that others wait."""
    task = ask(decoder, model, image, 0)
    assert await asyncio.to_thread(model.entered.acquire, timeout=20)
    return task


def check(got: tuple[list[Candidates], float], corner: int, places: Sequence[float]) -> None:
    check_objects(got, corner, [point(x) for x in places])


def check_objects(got: tuple[list[Candidates], float], corner: int, objects: Sequence[ObjectPrompt]) -> None:
    candidates, seconds = got
    assert seconds >= 0
    assert len(candidates) == len(objects)
    for each, prompt in zip(candidates, objects, strict=True):
        expected = answer(corner, prompt)
        np.testing.assert_array_equal(each.logits, expected.logits)
        np.testing.assert_array_equal(each.scores, expected.scores)


async def test_prompts_that_wait_for_one_image_go_into_one_call(decoder: Decoder) -> None:
    model = Plain()
    with model.held():
        first = await first_of(decoder, model)
        waiting = [ask(decoder, model, RED, *places) for places in ((1,), (2, 3), (4,))]
        await settle()
    check(await first, 1, [0])
    for task, places in zip(waiting, ((1,), (2, 3), (4,)), strict=True):
        check(await task, 1, places)
    assert model.decoded == [(1, 1), (4, 1)]
    assert (decoder.calls, decoder.requests) == (2, 4)


async def test_who_comes_after_the_call_has_started_gets_the_next_one(decoder: Decoder) -> None:
    model = Plain()
    with model.held():
        first = await first_of(decoder, model)
        second = ask(decoder, model, RED, 5)
        await settle()
        assert model.decoded == [(1, 1)]
    check(await first, 1, [0])
    check(await second, 1, [5])
    assert model.decoded == [(1, 1), (1, 1)]


async def test_different_images_are_never_mixed(decoder: Decoder) -> None:
    model, twin = Plain(), embedding(1)
    with model.held():
        first = await first_of(decoder, model)
        waiting = [ask(decoder, model, image, number) for number, image in enumerate((RED, BLUE, RED, twin, BLUE))]
        await settle()
    for number, corner in enumerate((1, 2, 1, 1, 2)):
        check(await waiting[number], corner, [number])
    await first
    assert model.decoded == [(1, 1), (2, 1), (2, 2), (1, 1)]


async def test_different_models_are_never_mixed(decoder: Decoder) -> None:
    one, other = Plain(), Plain()
    with one.held():
        first = await first_of(decoder, one)
        waiting = [ask(decoder, one, RED, 1), ask(decoder, other, RED, 2)]
        await settle()
    await asyncio.gather(first, *waiting)
    assert one.decoded == [(1, 1), (1, 1)]
    assert other.decoded == [(1, 1)]


async def test_a_call_takes_no_more_objects_than_the_model_takes_at_no_loss(decoder: Decoder) -> None:
    model = Plain(max_batch=4)
    with model.held():
        first = await first_of(decoder, model)
        sizes = (2, 2, 1, 3, 2, 9, 1)
        waiting = [ask(decoder, model, RED, *range(size)) for size in sizes]
        await settle()
    for size, task in zip(sizes, waiting, strict=True):
        check(await task, 1, range(size))
    await first
    # Nine of one request are one turn, in pieces.
    assert model.decoded == [(1, 1), (4, 1), (4, 1), (2, 1), (4, 1), (4, 1), (1, 1), (1, 1)]


async def test_a_large_prompt_ends_early_when_nobody_waits_for_it_any_more(decoder: Decoder) -> None:
    model = Plain(max_batch=4)
    with model.held():
        large = ask(decoder, model, RED, *range(400))
        assert await asyncio.to_thread(model.entered.acquire, timeout=20)
        large.cancel()
        await asyncio.gather(large, return_exceptions=True)
        next_one = ask(decoder, model, RED, 7)
        await settle()
    check(await next_one, 1, [7])
    assert model.decoded == [(4, 1), (1, 1)]


async def test_a_full_call_that_starts_leaves_the_one_behind_it_open_for_more(decoder: Decoder) -> None:
    model = Plain(max_batch=4)
    with model.held():
        first = await first_of(decoder, model)
        full, behind = ask(decoder, model, RED, 1, 2, 3), ask(decoder, model, RED, 4, 5)
        await settle()
        # From here on each call is held up only when it is the turn of the next.
        model.step()
        assert await asyncio.to_thread(model.entered.acquire, timeout=20)
        joining = ask(decoder, model, RED, 6)
        await settle()
    await asyncio.gather(first, full)
    check(await behind, 1, [4, 5])
    check(await joining, 1, [6])
    assert model.decoded == [(1, 1), (3, 1), (3, 1)]


async def test_a_model_without_batches_gets_each_request_alone(decoder: Decoder) -> None:
    model = Plain(max_batch=1)
    with model.held():
        first = await first_of(decoder, model)
        waiting = [ask(decoder, model, RED, number) for number in range(3)]
        await settle()
    await asyncio.gather(first, *waiting)
    assert model.decoded == [(1, 1)] * 4


async def test_a_prompt_that_the_model_cannot_bear_fails_alone(decoder: Decoder) -> None:
    model = Plain()
    model.poison = 13
    with model.held():
        first = await first_of(decoder, model)
        good, bad, fine = (ask(decoder, model, RED, *places) for places in ((1, 2), (12, 13), (3,)))
        await settle()
    check(await first, 1, [0])
    check(await good, 1, [1, 2])
    check(await fine, 1, [3])
    with pytest.raises(ValueError, match="cannot bear a point at 13"):
        await bad
    assert model.decoded == [(1, 1), (5, 1), (2, 1), (2, 1), (1, 1)]
    assert decoder.requests == 3


async def test_a_prompt_that_fails_alone_is_not_tried_twice(decoder: Decoder) -> None:
    model = Plain()
    model.poison = 13
    with pytest.raises(ValueError, match="cannot bear"):
        await decoder.decode(model, RED, [point(13)])
    assert model.decoded == [(1, 1)]


async def test_one_who_leaves_the_line_takes_his_prompt_along(decoder: Decoder) -> None:
    model = Plain()
    with model.held():
        first = await first_of(decoder, model)
        stays, leaves, also = (ask(decoder, model, RED, *places) for places in ((1,), (2, 3), (4,)))
        await settle()
        leaves.cancel()
        await settle()
    check(await stays, 1, [1])
    check(await also, 1, [4])
    await first
    assert leaves.cancelled()
    assert model.decoded == [(1, 1), (2, 1)]


async def test_a_call_that_everybody_has_left_is_off_the_line(decoder: Decoder, lane: Lane) -> None:
    model = Plain()
    with model.held():
        first = await first_of(decoder, model)
        leaving = [ask(decoder, model, BLUE, number) for number in range(3)]
        await settle()
        assert lane.waiting == 1
        for task in leaving:
            task.cancel()
        await settle()
        assert lane.waiting == 0
        # Whoever asks for the same image now must not be put into the call that is gone.
        late = ask(decoder, model, BLUE, 9)
        await settle()
    check(await late, 2, [9])
    await first
    assert model.decoded == [(1, 1), (1, 2)]


async def test_a_full_call_that_everybody_has_left_is_off_the_line_too(decoder: Decoder, lane: Lane) -> None:
    model = Plain(max_batch=2)
    with model.held():
        first = await first_of(decoder, model)
        leaving = [ask(decoder, model, BLUE, 1, 2), ask(decoder, model, BLUE, 3, 4)]
        stays = ask(decoder, model, BLUE, 5, 6)
        await settle()
        assert lane.waiting == 3
        for task in leaving:
            task.cancel()
        await settle()
        assert lane.waiting == 1
    check(await stays, 2, [5, 6])
    await first
    assert model.decoded == [(1, 1), (2, 2)]


async def test_a_call_that_everybody_leaves_as_it_gets_its_turn_asks_the_model_for_nothing(
    decoder: Decoder, lane: Lane
) -> None:
    model = Plain()
    leaving: list[Decoding] = []

    async def block() -> None:
        await until(lambda: lane.waiting == 1)
        # Between the moment in which the turn is given and the one in which it is known.
        asyncio.get_running_loop().call_soon(lambda: [task.cancel() for task in leaving])

    blocking = asyncio.create_task(lane.run(block))
    await settle()
    leaving += [ask(decoder, model, RED, 1), ask(decoder, model, RED, 2)]
    await asyncio.wait(leaving)
    await blocking
    await settle()
    assert all(task.cancelled() for task in leaving)
    assert model.decoded == []
    check(await decoder.decode(model, RED, [point(3)]), 1, [3])


async def test_one_who_leaves_while_the_model_works_does_not_disturb_the_others(decoder: Decoder, lane: Lane) -> None:
    model = Plain()
    with model.held():
        first = await first_of(decoder, model)
        leaves, stays = ask(decoder, model, BLUE, 1, 2), ask(decoder, model, BLUE, 3)
        await settle()
        model.release()
        await first
    with model.held():
        assert await asyncio.to_thread(model.entered.acquire, timeout=20)
        leaves.cancel()
        await settle()
    check(await stays, 2, [3])
    assert leaves.cancelled()


async def test_answers_are_those_of_each_prompt_alone_whoever_comes_and_goes() -> None:
    rng = random.Random(0)
    model, images = Plain(max_batch=16), [embedding(corner) for corner in range(5)]
    model.poison = 99
    lane = Lane(2)
    with ThreadPoolExecutor(2) as pool:
        decoder = Decoder(lane, pool)
        asked: list[tuple[Decoding, int, list[ObjectPrompt], bool]] = []
        for _ in range(400):
            corner = rng.randrange(5)
            bad = rng.random() < 0.05
            objects = [point(rng.randrange(90), rng.randrange(90)) for _ in range(rng.randrange(1, 7))]
            if bad:
                objects.append(point(99))
            task = asyncio.create_task(decoder.decode(model, images[corner], objects))
            asked.append((task, corner, objects, bad))
            if rng.random() < 0.1:
                rng.choice(asked)[0].cancel()
            if rng.random() < 0.2:
                await asyncio.sleep(rng.choice((0, 0.001)))
        await asyncio.wait([task for task, *_ in asked])
        await lane.idle()
    served = 0
    for task, corner, objects, bad in asked:
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
