"""A job's way through cache, lanes and threads: the right answer, and no work done twice or in vain."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from engine.parts import Plain, settle, until
from sam_folders import write_model
from samples import MODEL, jpeg, png, squares

from maskery.engine import (
    Busy,
    CannotPrepare,
    EncoderOptions,
    EncoderProcess,
    Engine,
    EngineLimits,
    Job,
    NotPrepared,
    Prompt,
    Reference,
    Timings,
    Upload,
    segment_directly,
)
from maskery.models import ModelNotInstalled, Registry, Store, registry
from maskery.segmentation import (
    ImageFile,
    ImageLimits,
    ImageTooLarge,
    NotAnImage,
    Options,
    PromptError,
    PromptLimits,
    Segmentation,
)

SAM = "team/small"
ALL = EngineLimits(
    image=ImageLimits(),
    prompt=PromptLimits(),
    workers=2,
    max_requests=100,
    max_request_bytes=2**30,
    max_encodings=100,
    cache_bytes=2**20,
    share_images=False,
    prepared_seconds=60,
)

MakeEngine = Callable[..., Engine]


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Plain:
    """A model that counts, among the built-in ones."""
    model = Plain()
    monkeypatch.setitem(registry._BUILT_IN, model.name, lambda _: model)  # type: ignore[attr-defined]
    return model


@pytest.fixture
async def make_engine() -> AsyncIterator[MakeEngine]:
    made: list[Engine] = []

    def make(store: Store | None = None, encoder: EncoderProcess | None = None, **limits: Any) -> Engine:
        made.append(Engine(Registry(store=store), replace(ALL, **limits), encoder))
        return made[-1]

    yield make
    for each in made:
        await each.close()


@pytest.fixture
def engine(make_engine: MakeEngine) -> Engine:
    return make_engine()


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[ImageFile]:
    """Image files whose pixels have been decoded."""
    decoded, decode = [], ImageFile.decode

    def note(self: ImageFile) -> Any:
        decoded.append(self)
        return decode(self)

    monkeypatch.setattr(ImageFile, "decode", note)
    return decoded


def png_file(corner: int = 7) -> bytes:
    return png(np.full((6, 10, 3), corner, np.uint8))


def job(x: float = 1, image: Upload | Reference | None = None, model: str = Plain.name, account: str = "team") -> Job:
    return Job(model, image or Upload(png_file()), Prompt([[[x, 0]]]), account=account)


async def segment(engine: Engine, job: Job, timings: Timings | None = None) -> Segmentation:
    return await engine.segment(job, lambda segmentation: segmentation, timings)


def assert_same(one: Segmentation, other: Segmentation) -> None:
    assert one.usage == other.usage
    assert len(one.masks) == len(other.masks)
    for mine, its in zip(one.masks, other.masks, strict=True):
        assert mine.score == its.score
        np.testing.assert_array_equal(mine.values, its.values)
        assert [each.prompts for each in mine.segments] == [each.prompts for each in its.segments]


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        (Prompt([[[20, 20]]]), Options()),
        (Prompt([[[20, 20]], [[70, 40], [65, 35]]]), Options(n=3)),
        (Prompt(None, boxes=[[50, 20, 90, 60]]), Options(compose=False)),
        (Prompt([[[20, 20], [70, 40]]], point_labels=[[1, 0]]), Options()),
    ],
)
async def test_answers_are_those_of_segmenting_directly(engine: Engine, prompt: Prompt, options: Options) -> None:
    image = Upload(png(squares()))
    asked = Job(MODEL, image, prompt, options, "team")
    alone = segment_directly(engine.models, ALL.image, ALL.prompt, asked)
    prepared = await engine.prepare(MODEL, image, "team")
    for each in (asked, asked, replace(asked, image=Reference(prepared.id))):
        assert_same(await segment(engine, each), alone)


async def test_a_reference_cannot_be_segmented_directly(engine: Engine) -> None:
    with pytest.raises(TypeError, match="only an image's file"):
        segment_directly(engine.models, ALL.image, ALL.prompt, job(image=Reference("img_1"), model=MODEL))


async def test_with_the_encoder_in_its_own_process_answers_are_the_same(
    make_engine: MakeEngine, tmp_path: Path, decodings: list[ImageFile]
) -> None:
    store = Store(tmp_path / "models")
    store.install_from_folder(SAM, write_model(tmp_path / "folder"))
    options = EncoderOptions(store.folder, None, "auto", False, ImageLimits(), "warning", "text")
    engine = make_engine(store, EncoderProcess(options, 60))
    image = Upload(jpeg(squares(120, 90)))
    asked = Job(SAM, image, Prompt([[[20, 20]], [[70, 40], [65, 35]]]), Options(n=2), "team")
    first, known = Timings(), Timings()
    answers = [await segment(engine, asked, first), await segment(engine, asked, known)]
    assert decodings == []
    assert (first.embedding, known.embedding) == ("new", "known")
    assert engine.encoder
    assert engine.encoder.pid
    alone = segment_directly(engine.models, ALL.image, ALL.prompt, asked)
    for each in answers:
        assert_same(each, alone)
    damaged = Upload(image.data[:-500])
    with pytest.raises(NotAnImage, match="damaged"):
        await segment(engine, replace(asked, image=damaged))


async def test_a_hundred_requests_for_a_new_image_encode_it_once(engine: Engine, plain: Plain) -> None:
    timings_list = [Timings() for _ in range(100)]
    with plain.held():
        tasks = [asyncio.create_task(segment(engine, job(x % 10), timings)) for x, timings in enumerate(timings_list)]
        await until(lambda: plain.encoded == 1 and engine.cache.misses == 100)
    answers = await asyncio.gather(*tasks)
    assert plain.encoded == 1
    assert [timings.embedding for timings in timings_list].count("new") == 1
    assert [timings.embedding for timings in timings_list].count("shared") == 99
    for x, each in enumerate(answers):
        assert each.masks[0].score == pytest.approx((7 + (x % 10) / 1e3) / 1e3)
    assert engine.decoder.calls < 100


async def test_a_known_image_is_not_even_decoded_again(
    engine: Engine, plain: Plain, decodings: list[ImageFile]
) -> None:
    for x in range(5):
        await segment(engine, job(x))
    assert len(decodings) == 1
    assert plain.encoded == 1
    assert (engine.cache.hits, engine.cache.misses) == (4, 1)


@pytest.mark.parametrize(
    "other",
    [
        job(image=Upload(png_file(8))),
        job(image=Upload(png_file(), exif="ignore")),
        job(image=Upload(png_file() + b"\0")),
    ],
    ids=["pixels", "exif", "bytes"],
)
async def test_an_image_that_differs_in_anything_is_another(engine: Engine, plain: Plain, other: Job) -> None:
    await segment(engine, job())
    await segment(engine, other)
    assert plain.encoded == 2


async def test_another_revision_of_the_model_is_another_embedding(
    engine: Engine, plain: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    await segment(engine, job())
    prepared = await engine.prepare(plain.name, Upload(png_file()), "team")
    monkeypatch.setattr(plain, "revision", "2", raising=False)
    with pytest.raises(NotPrepared, match="send it again"):
        await segment(engine, job(image=Reference(prepared.id)))
    await segment(engine, job())
    assert plain.encoded == 2


@pytest.mark.parametrize(("shared", "encodings"), [(False, 2), (True, 1)])
async def test_images_are_an_accounts_own_unless_they_are_to_be_shared(
    make_engine: MakeEngine, plain: Plain, shared: bool, encodings: int
) -> None:
    engine = make_engine(share_images=shared)
    timings_list = {account: Timings() for account in ("one", "other")}
    for account, timings in timings_list.items():
        await segment(engine, job(account=account), timings)
    assert plain.encoded == encodings
    assert timings_list["other"].embedding == ("known" if shared else "new")
    assert len(engine.cache) == encodings


async def test_two_accounts_at_the_same_time_do_not_learn_of_each_other(engine: Engine, plain: Plain) -> None:
    timings_list = [Timings(), Timings()]
    with plain.held():
        tasks = [
            asyncio.create_task(segment(engine, job(account=account), timings))
            for account, timings in zip(("one", "other"), timings_list, strict=True)
        ]
        await until(lambda: plain.encoded == 2)
    await asyncio.gather(*tasks)
    assert [timings.embedding for timings in timings_list] == ["new", "new"]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (Job(Plain.name, Upload(png_file()), Prompt([[[500, 0]]])), PromptError),
        (Job(Plain.name, Upload(png_file()), Prompt("not JSON")), PromptError),
        (Job(Plain.name, Upload(b"no image"), Prompt([[[1, 1]]])), NotAnImage),
        (Job(Plain.name, Upload(bytes(3000)), Prompt([[[1, 1]]])), ImageTooLarge),
        (Job(Plain.name, Upload(png(np.zeros((1, 1001, 3), np.uint8))), Prompt([[[1, 1]]])), ImageTooLarge),
        (Job("maskery/nothing", Upload(png_file()), Prompt([[[1, 1]]])), ModelNotInstalled),
    ],
)
async def test_what_is_wrong_is_said_before_anything_is_encoded(
    make_engine: MakeEngine, plain: Plain, decodings: list[ImageFile], wrong: Job, error: type[Exception]
) -> None:
    engine = make_engine(image=ImageLimits(max_bytes=2000, max_pixels=1000))
    with pytest.raises(error):
        await segment(engine, wrong)
    assert plain.encoded == 0
    assert decodings == []
    assert len(engine.cache) == 0


async def test_a_prompt_for_a_known_image_is_checked_too(engine: Engine, plain: Plain) -> None:
    prepared = await engine.prepare(plain.name, Upload(png_file()), "team")
    for image in (Upload(png_file()), Reference(prepared.id)):
        with pytest.raises(PromptError, match="outside"):
            await segment(engine, job(500, image))
    assert plain.decoded == []


async def test_after_an_encoding_that_failed_the_next_request_tries_again(engine: Engine, plain: Plain) -> None:
    plain.failures = [ValueError("out of luck")]
    with plain.held():
        tasks = [asyncio.create_task(segment(engine, job())) for _ in range(3)]
        await until(lambda: engine.cache.misses == 3)
        await settle()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(error) for error in errors] == ["out of luck"] * 3
    assert plain.encoded == 1
    assert (await segment(engine, job())).masks
    assert plain.encoded == 2
    assert engine.lanes["encode_here"].running == 0


async def test_a_decoding_that_failed_leaves_the_image_known(engine: Engine, plain: Plain) -> None:
    plain.poison = 3
    with pytest.raises(ValueError, match="cannot bear"):
        await segment(engine, job(3))
    assert (await segment(engine, job(4))).masks
    assert plain.encoded == 1
    assert engine.lanes["decode"].running == 0


async def test_an_answer_that_cannot_be_written_is_an_error_of_that_request_only(engine: Engine, plain: Plain) -> None:
    def write(_: Segmentation) -> bytes:
        raise ValueError("no ink")

    with pytest.raises(ValueError, match="no ink"):
        await engine.segment(job(), write)
    assert (await segment(engine, job())).masks
    assert plain.encoded == 1


async def test_who_leaves_before_his_image_has_its_turn_is_not_encoded(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine(workers=1)
    with plain.held():
        first = asyncio.create_task(segment(engine, job()))
        await until(lambda: plain.encoded == 1)
        leaving = asyncio.create_task(segment(engine, job(image=Upload(png_file(9)))))
        await until(lambda: engine.lanes["encode_here"].waiting == 1)
        leaving.cancel()
        await until(lambda: engine.lanes["encode_here"].waiting == 0)
    await first
    assert leaving.cancelled()
    assert plain.encoded == 1


async def test_an_encoding_that_its_client_left_is_kept_for_the_next(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine(workers=1)
    with plain.held():
        leaving = asyncio.create_task(segment(engine, job()))
        await until(lambda: plain.encoded == 1)
        leaving.cancel()
        await asyncio.wait([leaving])
        next_one = asyncio.create_task(segment(engine, job()))
        await until(lambda: engine.lanes["encode_here"].waiting == 1)
    assert (await next_one).masks
    assert plain.encoded == 1


async def test_too_many_images_that_wait_are_refused_and_clicks_are_not(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine(workers=1, max_encodings=1)
    await segment(engine, job())
    with plain.held():
        new = [asyncio.create_task(segment(engine, job(image=Upload(png_file(corner))))) for corner in (1, 2)]
        await until(lambda: engine.lanes["encode_here"].waiting == 1)
        with pytest.raises(Busy, match="being encoded"):
            await segment(engine, job(image=Upload(png_file(3))))
        click = asyncio.create_task(segment(engine, job(5)))
        await until(lambda: len(plain.decoded) == 2)
    assert (await click).masks
    await asyncio.gather(*new)


async def test_loading_a_model_holds_up_no_click(
    make_engine: MakeEngine, plain: Plain, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loading, loaded = threading.Semaphore(0), threading.Event()

    def load(*_: Any, **__: Any) -> Plain:
        loading.release()
        assert loaded.wait(20)
        return Plain()

    monkeypatch.setitem(sys.modules, "maskery.models.sam.model", SimpleNamespace(load=load))
    store = Store(tmp_path / "models")
    store.install_from_folder(SAM, write_model(tmp_path / "folder"))
    engine = make_engine(store)
    await segment(engine, job())
    waiting = asyncio.create_task(segment(engine, job(model=SAM)))
    assert await asyncio.to_thread(loading.acquire, timeout=20)
    try:
        async with asyncio.timeout(10):
            assert (await segment(engine, job(2))).masks
    finally:
        loaded.set()
    assert (await waiting).masks


async def test_the_stages_of_a_new_a_shared_and_a_known_image_are_timed(engine: Engine, plain: Plain) -> None:
    new, shared, known = Timings(), Timings(), Timings()
    with plain.held():
        tasks = [asyncio.create_task(segment(engine, job(), timings)) for timings in (new, shared)]
        await until(lambda: engine.cache.misses == 2)
        await settle()
        await asyncio.sleep(0.03)
    await asyncio.gather(*tasks)
    if new.embedding == "shared":
        new, shared = shared, new
    await segment(engine, job(), known)
    assert set(new.stages) == {"decode_image", "encode", "decode", "wait", "compose", "write"}
    assert set(shared.stages) == {"wait", "decode", "compose", "write"}
    assert set(known.stages) == {"wait", "decode", "compose", "write"}
    assert new.stages["encode"] >= 0.03
    assert shared.stages["wait"] >= 0.03
    assert known.stages["wait"] < 0.03
    assert (new.embedding, shared.embedding, known.embedding) == ("new", "shared", "known")
    assert all(seconds >= 0 for timings in (new, shared, known) for seconds in timings.stages.values())


async def test_a_prepared_image_is_segmented_by_its_id(
    engine: Engine, plain: Plain, decodings: list[ImageFile]
) -> None:
    prepared = await engine.prepare(plain.name, Upload(png_file()), "team")
    assert prepared.size == (10, 6)
    assert prepared.key.model == plain.name
    timings = Timings()
    assert (await segment(engine, job(2, Reference(prepared.id)), timings)).masks
    assert timings.embedding == "known"
    again = await engine.prepare(plain.name, Upload(png_file()), "team")
    assert again.id != prepared.id
    assert len(decodings) == plain.encoded == 1


@pytest.mark.parametrize("shared", [False, True])
async def test_an_id_is_its_accounts_own_even_where_images_are_shared(
    make_engine: MakeEngine, plain: Plain, shared: bool
) -> None:
    engine = make_engine(share_images=shared)
    prepared = await engine.prepare(plain.name, Upload(png_file()), "team")
    with pytest.raises(NotPrepared):
        await segment(engine, job(image=Reference(prepared.id), account="others"))
    with pytest.raises(NotPrepared):
        engine.discard(prepared.id, "others")
    assert (await segment(engine, job(image=Reference(prepared.id)))).masks


async def test_an_id_stands_for_one_model(engine: Engine, plain: Plain) -> None:
    prepared = await engine.prepare(plain.name, Upload(png_file()), "team")
    with pytest.raises(NotPrepared, match=f"prepared for {plain.name}"):
        await segment(engine, job(image=Reference(prepared.id), model=MODEL))


async def test_a_discarded_image_is_forgotten_with_its_last_id(engine: Engine, plain: Plain) -> None:
    first, second = [await engine.prepare(plain.name, Upload(png_file()), "team") for _ in range(2)]
    engine.discard(first.id, "team")
    with pytest.raises(NotPrepared):
        engine.discard(first.id, "team")
    assert (await segment(engine, job(image=Reference(second.id)))).masks
    engine.discard(second.id, "team")
    assert len(engine.cache) == 0
    await segment(engine, job())
    assert plain.encoded == 2


async def test_a_discarded_image_that_is_shared_stays_for_the_others(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine(share_images=True)
    prepared = await engine.prepare(plain.name, Upload(png_file()), "team")
    engine.discard(prepared.id, "team")
    await segment(engine, job(account="others"))
    assert plain.encoded == 1


async def test_an_image_that_made_room_is_no_longer_prepared(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine(cache_bytes=100)
    first = await engine.prepare(plain.name, Upload(png_file(1)), "team")
    second = await engine.prepare(plain.name, Upload(png_file(2)), "team")
    with pytest.raises(NotPrepared):
        await segment(engine, job(image=Reference(first.id)))
    assert (await segment(engine, job(image=Reference(second.id)))).masks
    assert len(engine.prepared) == 1


async def test_what_was_discarded_while_it_was_decoded_is_still_answered(engine: Engine, plain: Plain) -> None:
    prepared = await engine.prepare(plain.name, Upload(png_file()), "team")
    with plain.held():
        task = asyncio.create_task(segment(engine, job(4, Reference(prepared.id))))
        await until(lambda: len(plain.decoded) == 1)
        engine.discard(prepared.id, "team")
    assert (await task).masks[0].score == pytest.approx(0.007004)


async def test_without_a_cache_images_are_segmented_and_not_prepared(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine(cache_bytes=0)
    for _ in range(2):
        assert (await segment(engine, job())).masks
    assert plain.encoded == 2
    with pytest.raises(CannotPrepare, match="raise MASKERY_CACHE_BYTES"):
        await engine.prepare(plain.name, Upload(png_file()), "team")


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"share_images": True},
        {"cache_bytes": 0},
        {"max_encodings": 0},
        {"workers": 1},
        {"prompt": PromptLimits(max_objects=1, max_points=1)},
        {"image": ImageLimits(max_pixels=100)},
    ],
    ids=str,
)
async def test_warming_runs_the_model_under_any_limits_and_leaves_nothing_behind(
    make_engine: MakeEngine, plain: Plain, limits: dict[str, Any]
) -> None:
    engine = make_engine(**limits)
    run_on_others = await engine.warm(plain.name)
    assert plain.encoded == 1
    assert [objects for objects, _ in plain.decoded] == [1]
    await run_on_others()
    assert plain.encoded == 2, "an image of each proportion"
    assert [objects for objects, _ in plain.decoded] == [1, 1, 1, 1, 2, 2, 4, 4]
    assert (len(engine.cache), engine.cache.nbytes, len(engine.prepared)) == (0, 0, 0)
    assert (engine.cache.hits, engine.cache.misses, engine.cache.evictions) == (0, 0, 0)


async def test_warming_says_what_is_wrong_with_a_model(engine: Engine, plain: Plain) -> None:
    with pytest.raises(ModelNotInstalled):
        await engine.warm("team/nothing")
    plain.failures = [ValueError("broken")]
    with pytest.raises(ValueError, match="broken"):
        await engine.warm(plain.name)


async def test_answers_under_a_crowd_are_those_of_each_alone(make_engine: MakeEngine) -> None:
    """Few images are kept, so that they come and go while they are asked for."""
    images = [Upload(png(squares(40 + 4 * number, 40))) for number in range(6)]
    engine = make_engine(cache_bytes=3 * 3 * 40 * 60)
    jobs = [
        Job(MODEL, images[number % 6], Prompt([[[15 + number % 7, 15]], [[5, 35]]][: 1 + number % 2]), account="team")
        for number in range(48)
    ]
    answers = await asyncio.gather(*(segment(engine, each) for each in jobs))
    assert engine.cache.evictions > 0
    with ThreadPoolExecutor(2) as pool:
        alone = list(pool.map(lambda each: segment_directly(engine.models, ALL.image, ALL.prompt, each), jobs))
    for one, other in zip(answers, alone, strict=True):
        assert_same(one, other)
