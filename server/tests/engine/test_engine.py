"""The engine: right answers, and no work that is done twice or for nothing."""

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from engine.parts import ALL, MakeEngine, Plain, assert_same, png_file, segment, stop_clock, until
from sam_folders import write_model
from samples import MODEL, jpeg, png, squares

from maskery import segmentation
from maskery.engine import (
    Busy,
    CannotPrepare,
    EncoderClient,
    EncoderOptions,
    Engine,
    Job,
    NotPrepared,
    Prompt,
    Reference,
    Timings,
    Upload,
)
from maskery.models import ModelNotInstalled, Registry, Store
from maskery.segmentation import (
    ImageFile,
    ImageLimits,
    ImageTooLarge,
    Model,
    NotAnImage,
    Options,
    PromptError,
    Segmentation,
)

SAM = "team/small"


@pytest.fixture
def engine(make_engine: MakeEngine) -> Engine:
    return make_engine()


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[ImageFile]:
    """The image files that were decoded."""
    decoded, decode = [], ImageFile.decode

    def note(self: ImageFile) -> Any:
        decoded.append(self)
        return decode(self)

    monkeypatch.setattr(ImageFile, "decode", note)
    return decoded


def job(x: float = 1, image: Upload | Reference | None = None, model: str = Plain.name, account: str = "team") -> Job:
    return Job(model, image or Upload(png_file()), Prompt([[[x, 0]]]), account=account)


def segment_alone(job: Job, store: Store | None = None) -> Segmentation:
    """The answer without an engine."""
    assert isinstance(job.image, Upload)
    file = ImageFile(job.image.data, job.image.exif)
    objects = job.prompt.check(file.size, ALL.prompt)
    return segmentation.segment(Registry(store=store).get(job.model), file.decode(), objects, job.options)


def waiting_for_encodings(engine: Engine) -> int:
    """Number of requests that wait for an encoding, their own or that of another request."""
    return sum(call.waiting for call in engine.encoder._single_flight._calls.values())


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        (Prompt([[[20, 20]]]), Options()),
        (Prompt([[[20, 20]], [[70, 40], [65, 35]]]), Options(n=3)),
        (Prompt(None, boxes=[[50, 20, 90, 60]]), Options(compose=False)),
        (Prompt([[[20, 20], [70, 40]]], point_labels=[[1, 0]]), Options()),
    ],
)
async def test_answers_equal_those_without_an_engine(engine: Engine, prompt: Prompt, options: Options) -> None:
    image = Upload(png(squares()))
    job = Job(MODEL, image, prompt, options, "team")
    alone = segment_alone(job)
    prepared = await engine.prepare(MODEL, image, "team")
    for each in (job, job, replace(job, image=Reference(prepared.id))):
        assert_same(await segment(engine, each), alone)


async def test_answers_with_an_encoder_process_are_the_same(
    make_engine: MakeEngine, tmp_path: Path, decodings: list[ImageFile]
) -> None:
    store = Store(tmp_path / "models")
    store.install_from_folder(SAM, write_model(tmp_path / "folder"))
    client = EncoderClient(EncoderOptions(partial(Registry, store=store), ImageLimits(), "warning", "text"), 60)
    engine = make_engine(store, client)
    image = Upload(jpeg(squares(120, 90)))
    job = Job(SAM, image, Prompt([[[20, 20]], [[70, 40], [65, 35]]]), Options(n=2), "team")
    first, known = Timings(), Timings()
    answers = [await segment(engine, job, first), await segment(engine, job, known)]
    assert decodings == []
    assert (first.embedding, known.embedding) == ("new", "known")
    assert client.pid
    alone = segment_alone(job, store)
    for each in answers:
        assert_same(each, alone)
    damaged = Upload(image.data[:-500])
    with pytest.raises(NotAnImage, match="damaged"):
        await segment(engine, replace(job, image=damaged))


async def test_a_hundred_requests_for_a_new_image_encode_it_once(engine: Engine, plain: Plain) -> None:
    all_timings = [Timings() for _ in range(100)]
    with plain.held():
        tasks = [asyncio.create_task(segment(engine, job(x % 10), timings)) for x, timings in enumerate(all_timings)]
        await until(lambda: waiting_for_encodings(engine) == 100)
    answers = await asyncio.gather(*tasks)
    assert plain.encoded == 1
    assert [timings.embedding for timings in all_timings].count("new") == 1
    assert [timings.embedding for timings in all_timings].count("shared") == 99
    for x, each in enumerate(answers):
        assert each.masks[0].score == pytest.approx((7 + (x % 10) / 1e3) / 1e3)
    assert engine.decoder.calls < 100


async def test_a_known_image_is_neither_decoded_nor_encoded_again(
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
async def test_an_image_that_differs_in_anything_is_encoded_anew(engine: Engine, plain: Plain, other: Job) -> None:
    await segment(engine, job())
    await segment(engine, other)
    assert plain.encoded == 2


async def test_another_revision_of_the_model_needs_another_embedding(
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
async def test_embeddings_are_kept_per_account_unless_they_are_shared(
    make_engine: MakeEngine, plain: Plain, shared: bool, encodings: int
) -> None:
    engine = make_engine(share_images=shared)
    all_timings = {account: Timings() for account in ("one", "other")}
    for account, timings in all_timings.items():
        await segment(engine, job(account=account), timings)
    assert plain.encoded == encodings
    assert all_timings["other"].embedding == ("known" if shared else "new")
    assert len(engine.cache) == encodings


async def test_two_accounts_at_the_same_time_both_encode(engine: Engine, plain: Plain) -> None:
    all_timings = [Timings(), Timings()]
    with plain.held():
        tasks = [
            asyncio.create_task(segment(engine, job(account=account), timings))
            for account, timings in zip(("one", "other"), all_timings, strict=True)
        ]
        await until(lambda: plain.encoded == 2)
    await asyncio.gather(*tasks)
    assert [timings.embedding for timings in all_timings] == ["new", "new"]


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
async def test_errors_are_raised_before_anything_is_encoded(
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


async def test_a_failed_encoding_is_tried_again_by_the_next_request(engine: Engine, plain: Plain) -> None:
    plain.failures = [ValueError("encoding failed")]
    with plain.held():
        tasks = [asyncio.create_task(segment(engine, job())) for _ in range(3)]
        await until(lambda: waiting_for_encodings(engine) == 3)
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(error) for error in errors] == ["encoding failed"] * 3
    assert plain.encoded == 1
    assert (await segment(engine, job())).masks
    assert plain.encoded == 2
    assert engine.lanes.encode_inline.running == 0


async def test_after_a_failed_decoding_the_image_is_known(engine: Engine, plain: Plain) -> None:
    plain.poison = 3
    with pytest.raises(ValueError, match="cannot decode"):
        await segment(engine, job(3))
    assert (await segment(engine, job(4))).masks
    assert plain.encoded == 1
    assert engine.lanes.decode.running == 0


async def test_an_answer_that_cannot_be_written_fails_that_request_only(engine: Engine, plain: Plain) -> None:
    def write(_: Segmentation) -> bytes:
        raise ValueError("no ink")

    with pytest.raises(ValueError, match="no ink"):
        await engine.segment(job(), write)
    assert (await segment(engine, job())).masks
    assert plain.encoded == 1


async def test_the_image_of_a_request_cancelled_in_the_queue_is_not_encoded(
    make_engine: MakeEngine, plain: Plain
) -> None:
    engine = make_engine(workers=1)
    with plain.held():
        first = asyncio.create_task(segment(engine, job()))
        await until(lambda: plain.encoded == 1)
        leaving = asyncio.create_task(segment(engine, job(image=Upload(png_file(9)))))
        await until(lambda: engine.lanes.encode_inline.waiting == 1)
        leaving.cancel()
        await until(lambda: engine.lanes.encode_inline.waiting == 0)
    await first
    assert leaving.cancelled()
    assert plain.encoded == 1


@pytest.mark.parametrize("cache_bytes", [2**20, 0])
async def test_an_encoding_goes_on_without_its_request_and_is_shared_by_the_next(
    make_engine: MakeEngine, plain: Plain, cache_bytes: int
) -> None:
    engine = make_engine(workers=2, cache_bytes=cache_bytes)
    timings = Timings()
    with plain.held():
        leaving = asyncio.create_task(segment(engine, job()))
        await until(lambda: plain.encoded == 1)
        leaving.cancel()
        await asyncio.wait([leaving])
        assert engine.lanes.encode_inline.running == 1
        next_one = asyncio.create_task(segment(engine, job(), timings))
        await until(lambda: waiting_for_encodings(engine) == 1)
    assert (await next_one).masks
    assert timings.embedding == "shared"
    assert plain.encoded == 1
    assert engine.lanes.encode_inline.running == 0


async def test_a_full_encoding_queue_refuses_new_images_and_no_clicks(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine(workers=1, max_encodings=1)
    await segment(engine, job())
    with plain.held():
        new = [asyncio.create_task(segment(engine, job(image=Upload(png_file(corner))))) for corner in (1, 2)]
        await until(lambda: engine.lanes.encode_inline.waiting == 1)
        with pytest.raises(Busy, match="the encoding queue is full"):
            await segment(engine, job(image=Upload(png_file(3))))
        click = asyncio.create_task(segment(engine, job(5)))
        await until(lambda: len(plain.decoded) == 2)
    assert (await click).masks
    await asyncio.gather(*new)


async def test_loading_a_model_delays_no_click(
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
        await until(lambda: waiting_for_encodings(engine) == 2)
        await asyncio.sleep(0.1)
    await asyncio.gather(*tasks)
    if new.embedding == "shared":
        new, shared = shared, new
    await segment(engine, job(2), known)
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
    assert await engine.prepare(plain.name, Upload(png_file()), "team") == prepared
    assert len(decodings) == plain.encoded == 1


@pytest.mark.parametrize("shared", [False, True])
async def test_an_id_is_valid_for_its_account_only_even_where_embeddings_are_shared(
    make_engine: MakeEngine, plain: Plain, shared: bool
) -> None:
    engine = make_engine(share_images=shared)
    prepared = await engine.prepare(plain.name, Upload(png_file()), "team")
    with pytest.raises(NotPrepared):
        await segment(engine, job(image=Reference(prepared.id), account="others"))
    with pytest.raises(NotPrepared):
        await engine.discard(prepared.id, "others")
    assert (await segment(engine, job(image=Reference(prepared.id)))).masks


async def test_an_id_is_valid_for_one_model_only(engine: Engine, plain: Plain) -> None:
    prepared = await engine.prepare(plain.name, Upload(png_file()), "team")
    with pytest.raises(NotPrepared, match=f"prepared for {plain.name}"):
        await segment(engine, job(image=Reference(prepared.id), model=MODEL))


async def test_an_embedding_is_removed_with_its_id(engine: Engine, plain: Plain) -> None:
    prepared = await engine.prepare(plain.name, Upload(png_file()), "team")
    await engine.discard(prepared.id, "team")
    with pytest.raises(NotPrepared):
        await engine.discard(prepared.id, "team")
    assert len(engine.cache) == 0
    await segment(engine, job())
    assert plain.encoded == 2


async def test_an_account_cannot_displace_the_prepared_images_of_another(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine(cache_bytes=10 * 64)
    prepared = await engine.prepare(plain.name, Upload(png_file()), "team")
    for corner in range(100):
        await engine.prepare(plain.name, Upload(png_file(corner)), "flood")
    assert (await segment(engine, job(image=Reference(prepared.id)))).masks
    assert len(engine.prepared) == len(engine.cache) == 10


async def test_showing_a_prepared_image_keeps_its_embedding(
    make_engine: MakeEngine, plain: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = stop_clock(monkeypatch, "maskery.engine.cache")
    engine = make_engine(cache_bytes=3 * 64, prepared_seconds=60)
    shown, idle = [await engine.prepare(plain.name, Upload(png_file(corner)), "team") for corner in (1, 2)]
    clock.now += 50
    assert await engine.show(shown.id, "team") == shown
    clock.now += 50
    for corner in (3, 4):
        await engine.prepare(plain.name, Upload(png_file(corner)), "others")
    assert await engine.show(shown.id, "team") == shown
    with pytest.raises(NotPrepared):
        await engine.show(idle.id, "team")


async def test_the_registry_is_not_asked_on_the_event_loop(plain: Plain) -> None:
    """It reads files."""
    threads: set[str] = set()

    class Slow(Registry):
        def get_loaded(self, name: str) -> Model | None:
            threads.add(threading.current_thread().name)
            return super().get_loaded(name)

        def get(self, name: str) -> Model:
            threads.add(threading.current_thread().name)
            return super().get(name)

    engine = Engine(Slow(), ALL)
    for _ in range(2):
        await segment(engine, job())
    await engine.close()
    assert threads
    assert threading.current_thread().name not in threads


async def test_a_shared_embedding_stays_when_its_id_is_removed(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine(share_images=True)
    prepared = await engine.prepare(plain.name, Upload(png_file()), "team")
    await engine.discard(prepared.id, "team")
    await segment(engine, job(account="others"))
    assert plain.encoded == 1


async def test_an_evicted_image_is_no_longer_prepared(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine(cache_bytes=100)
    first = await engine.prepare(plain.name, Upload(png_file(1)), "team")
    second = await engine.prepare(plain.name, Upload(png_file(2)), "team")
    with pytest.raises(NotPrepared):
        await segment(engine, job(image=Reference(first.id)))
    assert (await segment(engine, job(image=Reference(second.id)))).masks
    assert len(engine.prepared) == 1


async def test_an_image_discarded_while_it_is_decoded_is_still_answered(engine: Engine, plain: Plain) -> None:
    prepared = await engine.prepare(plain.name, Upload(png_file()), "team")
    with plain.held():
        task = asyncio.create_task(segment(engine, job(4, Reference(prepared.id))))
        await until(lambda: len(plain.decoded) == 1)
        await engine.discard(prepared.id, "team")
    assert (await task).masks[0].score == pytest.approx(0.007004)


async def test_without_a_cache_images_are_segmented_and_not_prepared(make_engine: MakeEngine, plain: Plain) -> None:
    engine = make_engine(cache_bytes=0)
    for _ in range(2):
        assert (await segment(engine, job())).masks
    assert plain.encoded == 2
    with pytest.raises(CannotPrepare, match="raise MASKERY_CACHE_BYTES"):
        await engine.prepare(plain.name, Upload(png_file()), "team")


async def test_answers_to_many_requests_at_once_equal_those_without_an_engine(make_engine: MakeEngine) -> None:
    """The cache is small, so that embeddings are evicted while they are needed."""
    images = [Upload(png(squares(40 + 4 * number, 40))) for number in range(6)]
    engine = make_engine(cache_bytes=3 * 3 * 40 * 60)
    jobs = [
        Job(MODEL, images[number % 6], Prompt([[[15 + number % 7, 15]], [[5, 35]]][: 1 + number % 2]), account="team")
        for number in range(48)
    ]
    answers = await asyncio.gather(*(segment(engine, each) for each in jobs))
    assert engine.cache.evictions > 0
    with ThreadPoolExecutor(2) as pool:
        alone = list(pool.map(segment_alone, jobs))
    for one, other in zip(answers, alone, strict=True):
        assert_same(one, other)
