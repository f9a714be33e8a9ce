"""Everything in an image by the engine: in turn with other requests, ended when it is not wanted any more."""

import asyncio

import pytest
from engine.parts import MakeEngine, Plain, assert_same, embedding, png_file, segment, until

from maskery.engine import DeadlineExceeded, Job, Prompt, Timings, Upload
from maskery.segmentation import AutomaticOptions, Options, PromptError, Size, segment_everything

# 256 points, which are 8 batches. The test's model has low scores, and one mask for all points.
OPTIONS = AutomaticOptions(16, pred_iou_threshold=0, stability_threshold=0, min_area=0)
BATCHES = 8


def job(prompt: AutomaticOptions | Prompt = OPTIONS, size: Size | None = None) -> Job:
    return Job(Plain.name, Upload(png_file()), prompt, Options(size=size), "team")


async def test_the_engine_answers_as_the_model_alone_and_counts_objects(make_engine: MakeEngine, plain: Plain) -> None:
    timings = Timings()
    found = await segment(make_engine(), job(size=Size(20, 12)), timings)
    assert_same(found, segment_everything(plain, embedding(7, Size(10, 6)), OPTIONS.resolve(plain), Size(20, 12)))
    assert timings.objects == len(found.masks[0].segments) == 1
    assert {"encode", "decode", "compose", "write"} <= timings.stages.keys()


async def test_a_grid_does_not_enter_the_cache_of_candidates(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine()
    await segment(engine, job(Prompt([[[1, 1]]])))
    await segment(engine, job())
    assert len(engine.candidates) == 1


async def test_another_request_is_served_between_two_batches(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine(workers=1)
    await segment(engine, job(Prompt([[[1, 1]]])))
    plain.decoded.clear()
    with plain.held():
        everything = asyncio.create_task(segment(engine, job()))
        await until(lambda: len(plain.decoded) == 1)
        click = asyncio.create_task(segment(engine, job(Prompt([[[2, 2]]]))))
        await until(lambda: engine.lanes.decode.waiting == 1)
        plain.step()
        plain.step()
        await click
        assert [count for count, _ in plain.decoded[:2]] == [32, 1]
    await everything


async def test_no_batch_is_decoded_after_it_is_cancelled(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine()
    with plain.held():
        everything = asyncio.create_task(segment(engine, job()))
        plain.step()  # the encoding
        await until(lambda: len(plain.decoded) == 1)
        everything.cancel()
        with pytest.raises(asyncio.CancelledError):
            await everything
    await segment(engine, job(Prompt([[[1, 1]]])))
    assert [count for count, _ in plain.decoded] == [32, 1]


async def test_it_has_a_time_limit(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine(automatic_seconds=0.05)
    with plain.held():
        plain.step()
        with pytest.raises(DeadlineExceeded, match="MASKERY_AUTOMATIC_TIMEOUT"):
            await segment(engine, job())
    assert len(plain.decoded) < BATCHES


async def test_what_cannot_be_is_refused_before_the_image_is_encoded(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine()
    with pytest.raises(PromptError, match="points_per_side"):
        await segment(engine, job(AutomaticOptions(60)))
    plain.max_batch = 1
    with pytest.raises(PromptError, match="one object at a time"):
        await segment(engine, job())
    assert plain.encoded == 0
