"""The engine with a disk cache: after a restart, and on another server with the same folder, images are known."""

import asyncio
import logging
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from engine.parts import ALL, MakeEngine, Plain, assert_same, png_file, segment
from sam_folders import write_model
from samples import jpeg, squares

from maskery.engine import DiskCache, Engine, Job, NotPrepared, Prompt, Reference, Timings, Upload
from maskery.engine.prepared_files import PreparedFiles
from maskery.models import Registry, Store
from maskery.segmentation import Segmentation

IMAGE = Upload(png_file())


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[MakeEngine]:
    """Starts servers with one folder."""
    started: list[Engine] = []

    def start(store: Store | None = None, disk_bytes: int = 2**22, **limits: object) -> Engine:
        cache = DiskCache(tmp_path / "cache", disk_bytes, "1.0")
        started.append(Engine(Registry(store=store), replace(ALL, **limits), disk_cache=cache))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for each in started:
        await each.close()


def job(x: float = 1, image: Upload | Reference = IMAGE, account: str = "team", model: str = Plain.name) -> Job:
    return Job(model, image, Prompt([[[x, 0]]]), account=account)


async def written(engine: Engine) -> None:
    """Wait until nothing is to be written."""
    assert engine.disk
    async with asyncio.timeout(20):
        while engine.disk._writes:
            await asyncio.wait(engine.disk._writes)


async def ask(engine: Engine, job: Job) -> tuple[Segmentation, str | None]:
    timings = Timings()
    answer = await segment(engine, job, timings)
    await written(engine)
    return answer, timings.embedding


async def test_after_a_restart_images_are_known(start: MakeEngine, plain: Plain) -> None:
    first = start()
    before, source = await ask(first, job())
    assert source == "new"
    await first.close()
    second = start()
    after, source = await ask(second, job())
    assert source == "disk"
    assert_same(before, after)
    assert (await ask(second, job(2)))[1] == "known"
    assert plain.encoded == 1


async def test_masks_from_disk_are_the_same_with_a_network(start: MakeEngine, tmp_path: Path) -> None:
    store = Store(tmp_path / "models")
    store.install_from_folder("team/small", write_model(tmp_path / "folder"))
    asked = Job("team/small", Upload(jpeg(squares())), Prompt([[[20, 20]], [[70, 40], [65, 35]]]), account="team")
    one, source = await ask(start(store), asked)
    other, known = await ask(start(store), asked)
    assert (source, known) == ("new", "disk")
    assert_same(one, other)


async def test_another_server_knows_the_image_at_once(start: MakeEngine, plain: Plain) -> None:
    one, other = start(), start()
    await ask(one, job())
    assert (await ask(other, job()))[1] == "disk"


async def test_accounts_never_share_files(start: MakeEngine, plain: Plain) -> None:
    engine = start()
    prepared = await engine.prepare(plain.name, IMAGE, "team")
    await written(engine)
    other = start()
    assert (await ask(other, job(account="others")))[1] == "new"
    with pytest.raises(NotPrepared):
        await segment(other, job(image=Reference(prepared.id), account="others"))
    assert plain.encoded == 2


async def test_accounts_that_share_images_share_files_but_no_ids(start: MakeEngine, plain: Plain) -> None:
    engine = start(share_images=True)
    prepared = await engine.prepare(plain.name, IMAGE, "team")
    await written(engine)
    other = start(share_images=True)
    assert (await ask(other, job(account="others")))[1] == "disk"
    with pytest.raises(NotPrepared):
        await segment(other, job(image=Reference(prepared.id), account="others"))


async def test_an_image_evicted_from_memory_is_read_again(start: MakeEngine, plain: Plain) -> None:
    engine = start(cache_bytes=64)
    answers = [await ask(engine, job(image=Upload(png_file(corner)))) for corner in (1, 2, 1, 2)]
    assert [source for _, source in answers] == ["new", "new", "disk", "disk"]
    assert_same(answers[0][0], answers[2][0])
    assert plain.encoded == 2


async def test_a_replaced_model_uses_none_of_the_files(
    start: MakeEngine, plain: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(start(), job())
    monkeypatch.setattr(plain, "revision", "2", raising=False)
    assert (await ask(start(), job()))[1] == "new"


async def test_many_requests_at_once_read_the_file_once(start: MakeEngine, plain: Plain) -> None:
    await ask(start(), job())
    engine = start()
    answers = await asyncio.gather(*(ask(engine, job(x % 10)) for x in range(40)))
    assert {source for _, source in answers} <= {"disk", "known"}
    assert engine.disk
    assert engine.disk.cache.hits == 1
    assert plain.encoded == 1


async def test_a_damaged_file_is_encoded_again(start: MakeEngine, plain: Plain) -> None:
    first = start()
    before, _ = await ask(first, job())
    assert first.disk
    [path] = [path for path in first.disk.cache.folder.rglob("*") if path.is_file()]
    data = bytearray(path.read_bytes())
    data[-1] ^= 255
    path.write_bytes(data)
    second = start()
    after, source = await ask(second, job())
    assert source == "new"
    assert_same(before, after)
    assert second.disk
    assert second.disk.cache.damaged == 1
    assert (await ask(start(), job()))[1] == "disk"


async def test_a_folder_that_cannot_be_written_fails_no_request(
    start: MakeEngine, plain: Plain, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = start()
    assert engine.disk

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("maskery.engine.disk_cache._write", fail)
    for corner in (1, 2, 3):
        assert (await ask(engine, job(image=Upload(png_file(corner)))))[1] == "new"
        assert (await ask(engine, job(2, Upload(png_file(corner)))))[1] == "known"
    assert engine.disk.cache.failures == 3
    assert [record.levelno for record in caplog.records].count(logging.WARNING) == 1


async def test_more_embeddings_than_the_disk_can_keep_up_with_are_skipped(
    start: MakeEngine, plain: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskery.engine.disk._MAX_WAITING", 0)
    engine = start()
    assert (await ask(engine, job()))[1] == "new"
    assert engine.disk
    assert (engine.disk.skipped, len(engine.disk.cache)) == (1, 0)


async def test_what_was_encoded_last_is_written_before_the_server_ends(start: MakeEngine, plain: Plain) -> None:
    engine = start()
    await segment(engine, job())
    await engine.close()
    assert (await ask(start(), job()))[1] == "disk"


async def test_an_id_is_valid_on_the_next_server(start: MakeEngine, plain: Plain) -> None:
    first = start()
    prepared = await first.prepare(plain.name, IMAGE, "team")
    expected, _ = await ask(first, job(image=Reference(prepared.id)))
    await first.close()
    second = start()
    assert await second.show(prepared.id, "team") == prepared
    answer, source = await ask(second, job(image=Reference(prepared.id)))
    assert source == "known", "it was read when it was shown"
    assert_same(answer, expected)
    third = start()
    assert (await ask(third, job(image=Reference(prepared.id))))[1] == "disk"
    assert await third.prepare(plain.name, IMAGE, "team") == prepared
    assert plain.encoded == 1


async def test_the_folder_may_be_deleted_while_a_server_runs(start: MakeEngine, plain: Plain, tmp_path: Path) -> None:
    engine = start()
    shutil.rmtree(tmp_path / "cache")
    other = Upload(png_file(1))
    for upload in (IMAGE, other):
        prepared = await engine.prepare(plain.name, upload, "team")
        await written(engine)
        shutil.rmtree(tmp_path / "cache")
    prepared = await engine.prepare(plain.name, Upload(png_file(2)), "team")
    await written(engine)
    await engine.close()
    assert (await ask(start(), job(image=Reference(prepared.id))))[1] == "disk"


async def test_an_id_outlives_the_eviction_from_memory(start: MakeEngine, plain: Plain) -> None:
    engine = start(cache_bytes=64)
    ids = [(await engine.prepare(plain.name, Upload(png_file(corner)), "team")).id for corner in (1, 2)]
    await written(engine)
    assert len(engine.prepared) == 1
    for image_id in (*ids, *ids):
        assert (await segment(engine, job(image=Reference(image_id)))).masks
    assert plain.encoded == 2


async def test_an_id_is_valid_for_one_model_only(start: MakeEngine, plain: Plain) -> None:
    first = start()
    prepared = await first.prepare(plain.name, IMAGE, "team")
    await written(first)
    with pytest.raises(NotPrepared, match=f"prepared for {plain.name}"):
        await segment(start(), job(image=Reference(prepared.id), model="maskery/grabcut"))


async def test_an_id_without_its_embedding_is_not_valid(start: MakeEngine, plain: Plain) -> None:
    first = start()
    prepared = await first.prepare(plain.name, IMAGE, "team")
    await written(first)
    assert first.disk
    first.disk.cache.remove(prepared.key)
    with pytest.raises(NotPrepared):
        await segment(start(), job(image=Reference(prepared.id)))


async def test_a_deleted_image_is_gone_from_the_disk(start: MakeEngine, plain: Plain, tmp_path: Path) -> None:
    first = start()
    prepared = await first.prepare(plain.name, IMAGE, "team")
    await first.discard(prepared.id, "team")
    await written(first)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []
    other = start()
    with pytest.raises(NotPrepared):
        await other.show(prepared.id, "team")
    assert (await ask(other, job()))[1] == "new"


async def test_an_image_can_be_deleted_on_a_server_that_has_not_prepared_it(start: MakeEngine, plain: Plain) -> None:
    first, second = start(), start()
    prepared = await first.prepare(plain.name, IMAGE, "team")
    await written(first)
    await second.discard(prepared.id, "team")
    await written(second)
    with pytest.raises(NotPrepared):
        await start().show(prepared.id, "team")


async def test_a_deleted_image_that_is_shared_stays_for_the_others(start: MakeEngine, plain: Plain) -> None:
    first = start(share_images=True)
    prepared = await first.prepare(plain.name, IMAGE, "team")
    await first.discard(prepared.id, "team")
    await written(first)
    assert (await ask(start(share_images=True), job(account="others")))[1] == "disk"


async def test_an_id_expires_on_disk_too(start: MakeEngine, plain: Plain, monkeypatch: pytest.MonkeyPatch) -> None:
    first = start()
    prepared = await first.prepare(plain.name, IMAGE, "team")
    await written(first)
    later = time.time() + ALL.prepared_seconds + 1
    monkeypatch.setattr("maskery.engine.prepared_files.time.time", lambda: later)
    with pytest.raises(NotPrepared):
        await start().show(prepared.id, "team")


async def test_files_of_expired_ids_are_removed(
    start: MakeEngine, plain: Plain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start().prepare(plain.name, IMAGE, "team")
    later = time.time() + ALL.prepared_seconds + 1
    monkeypatch.setattr("maskery.engine.prepared_files.time.time", lambda: later)
    await start().prepare(plain.name, Upload(png_file(9)), "team")
    assert len(list((tmp_path / "cache" / "prepared").iterdir())) == 1


@pytest.mark.parametrize("text", ["", "not a record", '00000000 ["digest", "model", "1", 0]'])
async def test_a_damaged_file_of_an_id_is_not_used(start: MakeEngine, plain: Plain, tmp_path: Path, text: str) -> None:
    first = start()
    prepared = await first.prepare(plain.name, IMAGE, "team")
    await written(first)
    [path] = (tmp_path / "cache" / "prepared").iterdir()
    path.write_text(text)
    with pytest.raises(NotPrepared):
        await start().show(prepared.id, "team")


async def test_a_use_is_noted_on_disk_once_in_a_while(start: MakeEngine, plain: Plain, tmp_path: Path) -> None:
    engine = start()
    prepared = await engine.prepare(plain.name, IMAGE, "team")
    await written(engine)
    noted = []
    assert engine.disk
    engine.disk.cache.touch = noted.append  # type: ignore[method-assign]
    for _ in range(5):
        await ask(engine, job(image=Reference(prepared.id)))
    assert noted == [prepared.key]


def test_the_files_of_ids_have_no_names_in_them(tmp_path: Path) -> None:
    assert not PreparedFiles(tmp_path, 60).read("img_" + "../" * 20, "team")
    assert not PreparedFiles(tmp_path, 60).read("img_\0", "team")
