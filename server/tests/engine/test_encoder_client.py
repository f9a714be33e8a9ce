"""Encoding in a process of its own, with real processes: what comes back, and what happens when it goes wrong."""

import asyncio
import contextlib
import io
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from engine.parts import until
from PIL import Image
from sam_folders import write_model
from samples import MODEL, jpeg, png, squares

from maskery.engine import Busy, EncoderLost, EncoderOptions, EncoderProcess
from maskery.engine.encoder import Encoded
from maskery.engine.encoder_client import Order
from maskery.engine.encoder_worker import _portable
from maskery.models import Registry, Store
from maskery.segmentation import Embedding, ImageLimits, ImageTooLarge, Model, NotAnImage, Size, open_image

SAM = "team/small"

MakeEncoder = Callable[..., EncoderProcess]


def options(models: Path | None = None, image_limits: ImageLimits | None = None) -> EncoderOptions:
    return EncoderOptions(models, None, "auto", False, image_limits or ImageLimits(), "warning", "text")


@pytest.fixture
async def make_encoder() -> AsyncIterator[MakeEncoder]:
    made: list[EncoderProcess] = []

    def make(models: Path | None = None, time_limit: float = 60, limits: ImageLimits | None = None) -> EncoderProcess:
        made.append(EncoderProcess(options(models, limits), time_limit))
        return made[-1]

    yield make
    for each in made:
        if each.pid:
            # A test may have stopped it.
            os.kill(each.pid, signal.SIGCONT)
        await each.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("home") / "models")
    store.install_from_folder(SAM, write_model(tmp_path_factory.mktemp("folder"), "sam_hq"))
    return store


@pytest.fixture(scope="module")
def sam_model(store: Store) -> Model:
    return Registry(store=store).get(SAM)


@pytest.fixture(scope="module")
def sam_encoder(store: Store) -> Iterator[EncoderProcess]:
    """One for all tests that leave it as it was: loading a network takes seconds."""
    encoder = EncoderProcess(options(store.folder, ImageLimits(max_bytes=200_000)), 60)
    yield encoder
    asyncio.run(encoder.close())


def order(image: bytes, model: str = MODEL, revision: str = "1") -> Order:
    return Order(model, revision, "apply", image, "a-request")


def assert_same(one: Embedding, other: Embedding) -> None:
    assert (one.size, one.tokens) == (other.size, other.tokens)
    assert list(one.arrays) == list(other.arrays)
    for name, array in one.arrays.items():
        assert array.dtype == other.arrays[name].dtype
        np.testing.assert_array_equal(array, other.arrays[name])


def ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def started(encoder: EncoderProcess) -> int:
    """The process' id, once it has answered."""
    await encoder.encode(order(png(squares())))
    assert encoder.pid
    return encoder.pid


def out_of_memory_score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def turned() -> bytes:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(squares()).save(file, "JPEG", exif=exif)
    return file.getvalue()


@pytest.mark.parametrize(
    "image", [png(squares()), jpeg(squares(300, 200)), turned()], ids=["small", "large", "turned by EXIF"]
)
async def test_an_embedding_is_exactly_that_of_the_model_in_this_process(
    sam_encoder: EncoderProcess, sam_model: Model, image: bytes
) -> None:
    encoded = await sam_encoder.encode(order(image, SAM, sam_model.revision))
    assert_same(encoded.embedding, sam_model.encode(open_image(image)))
    assert encoded.encode > 0
    assert encoded.decode_image > 0


async def test_exif_is_left_alone_when_the_order_says_so(sam_encoder: EncoderProcess, sam_model: Model) -> None:
    asked = Order(SAM, sam_model.revision, "ignore", turned(), "")
    encoded = await sam_encoder.encode(asked)
    assert encoded.embedding.size == (96, 64)
    assert_same(encoded.embedding, sam_model.encode(open_image(turned(), "ignore")))


async def test_many_orders_at_once_get_each_their_own_image(sam_encoder: EncoderProcess, sam_model: Model) -> None:
    images = [png(np.full((20 + number, 30, 3), 10 * number, np.uint8)) for number in range(20)]
    answers = await asyncio.gather(*(sam_encoder.encode(order(image, SAM, sam_model.revision)) for image in images))
    for image, encoded in zip(images, answers, strict=True):
        assert_same(encoded.embedding, sam_model.encode(open_image(image)))


def damaged() -> bytes:
    """An image whose header is right and whose pixels are cut off."""
    return jpeg(squares(300, 200))[:-1000]


@pytest.mark.parametrize(
    ("image", "kind", "says"),
    [
        (damaged(), NotAnImage, "damaged"),
        (b"no image", NotAnImage, "not an image"),
        (b"x" * 200_001, ImageTooLarge, "at most 200,000 are accepted"),
    ],
    ids=["damaged", "none", "too large"],
)
async def test_what_is_wrong_with_an_image_is_said_and_the_process_lives_on(
    sam_encoder: EncoderProcess, sam_model: Model, image: bytes, kind: type[Exception], says: str
) -> None:
    before = sam_encoder.restarts
    with pytest.raises(kind, match=says):
        await sam_encoder.encode(order(image, SAM, sam_model.revision))
    good = png(squares())
    encoded = await sam_encoder.encode(order(good, SAM, sam_model.revision))
    assert_same(encoded.embedding, sam_model.encode(open_image(good)))
    assert sam_encoder.restarts == before == 0


@pytest.mark.parametrize(("model", "revision"), [(SAM, "an older one"), ("team/removed", "1")])
async def test_a_model_that_was_replaced_or_removed_meanwhile_asks_for_another_try(
    sam_encoder: EncoderProcess, model: str, revision: str
) -> None:
    with pytest.raises(Busy, match=f"{model} was replaced or removed") as caught:
        await sam_encoder.encode(order(png(squares()), model, revision))
    assert caught.value.retry_after == 1
    assert not isinstance(caught.value, EncoderLost)


async def test_a_model_that_is_replaced_in_the_store_is_seen(make_encoder: MakeEncoder, tmp_path: Path) -> None:
    store = Store(tmp_path / "models")
    store.install_from_folder(SAM, write_model(tmp_path / "1", seed=1))
    encoder, registry = make_encoder(store.folder), Registry(store=store)
    image = png(squares())
    old = registry.get(SAM)
    await encoder.encode(order(image, SAM, old.revision))
    store.remove(SAM)
    store.install_from_folder(SAM, write_model(tmp_path / "2", seed=2))
    with pytest.raises(Busy, match="replaced"):
        await encoder.encode(order(image, SAM, old.revision))
    new = registry.get(SAM)
    assert new.revision != old.revision
    encoded = await encoder.encode(order(image, SAM, new.revision))
    assert_same(encoded.embedding, new.encode(open_image(image)))


async def with_an_unread_image(encoder: EncoderProcess) -> tuple[int, asyncio.Task[Encoded]]:
    """The process, stopped, and who waits for the image that was sent to it then."""
    pid = await started(encoder)
    os.kill(pid, signal.SIGSTOP)
    waiting = asyncio.create_task(encoder.encode(order(png(squares()))))
    await asyncio.sleep(0.05)
    return pid, waiting


async def test_killed_before_it_has_read_an_image_another_encodes_it(make_encoder: MakeEncoder) -> None:
    encoder = make_encoder()
    first, unread = await with_an_unread_image(encoder)
    os.kill(first, signal.SIGKILL)
    assert (await unread).embedding.size == Size(*squares().shape[1::-1])
    assert encoder.pid != first
    assert ended(first)
    assert encoder.restarts == 1


async def test_killed_before_it_has_read_an_image_twice_it_is_lost_and_the_next_works(
    make_encoder: MakeEncoder,
) -> None:
    encoder = make_encoder()
    first, lost = await with_an_unread_image(encoder)
    os.kill(first, signal.SIGKILL)
    await until(lambda: encoder.pid not in (None, first))
    second = encoder.pid
    assert second
    # It is still coming up, and has not read either.
    os.kill(second, signal.SIGSTOP)
    await asyncio.sleep(0.2)
    os.kill(second, signal.SIGKILL)
    with pytest.raises(EncoderLost) as caught:
        await lost
    assert caught.value.retry_after >= 1
    assert await started(encoder) not in (first, second)
    assert encoder.restarts == 2


async def test_killed_while_it_has_nothing_to_do_nobody_notices(make_encoder: MakeEncoder) -> None:
    encoder = make_encoder()
    first = await started(encoder)
    os.kill(first, signal.SIGKILL)
    await until(lambda: encoder.pid is None)
    assert await started(encoder) != first
    assert encoder.restarts == 1


async def test_one_that_hangs_is_ended_after_the_time_limit(make_encoder: MakeEncoder) -> None:
    encoder = make_encoder(time_limit=0.5)
    hanging = asyncio.create_task(encoder.encode(order(png(squares()))))
    await until(lambda: encoder.pid is not None)
    pid = encoder.pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    before = time.monotonic()
    with pytest.raises(EncoderLost):
        await hanging
    assert 0.3 < time.monotonic() - before < 5
    assert ended(pid)
    assert encoder.restarts == 1
    assert encoder.pid not in (None, pid)


async def test_one_that_hangs_before_it_has_read_its_order_is_ended_too(make_encoder: MakeEncoder) -> None:
    """An image's file is larger than what fits into a socket that nobody reads."""
    encoder = make_encoder(time_limit=0.5)
    hanging = asyncio.create_task(encoder.encode(order(bytes(8 * 2**20))))
    await until(lambda: encoder.pid is not None)
    pid = encoder.pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.wait([hanging], timeout=10)
        assert hanging.done()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with pytest.raises(EncoderLost):
        await hanging


async def test_who_leaves_in_the_middle_does_not_get_his_answer_to_the_next(make_encoder: MakeEncoder) -> None:
    encoder = make_encoder()
    pid = await started(encoder)
    os.kill(pid, signal.SIGSTOP)
    leaving = asyncio.create_task(encoder.encode(order(png(squares(50, 40)))))
    await asyncio.sleep(0.05)
    leaving.cancel()
    staying = asyncio.create_task(encoder.encode(order(png(squares(70, 60)))))
    await asyncio.wait([leaving])
    os.kill(pid, signal.SIGCONT)
    assert (await staying).embedding.size == (70, 60)
    assert encoder.pid == pid


async def test_it_takes_what_others_leave_of_the_processors_and_goes_first_when_memory_ends(
    make_encoder: MakeEncoder,
) -> None:
    pid = await started(make_encoder())
    assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    assert out_of_memory_score(pid) >= max(500, out_of_memory_score(os.getpid()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_to_the_group_are_left_to_the_parent(make_encoder: MakeEncoder, number: signal.Signals) -> None:
    encoder = make_encoder()
    pid = await started(encoder)
    os.kill(pid, number)
    assert await started(encoder) == pid
    assert encoder.restarts == 0


async def test_files_in_the_working_folder_are_not_imported(
    make_encoder: MakeEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pickle.py", "cv2.py", "maskery.py"):
        (tmp_path / name).write_text("raise SystemExit('somebody else')")
    monkeypatch.chdir(tmp_path)
    assert await started(make_encoder())


async def test_closing_ends_it(make_encoder: MakeEncoder) -> None:
    encoder = make_encoder()
    pid = await started(encoder)
    await encoder.close()
    assert encoder.pid is None
    assert ended(pid)
    assert encoder.restarts == 0


async def test_closing_does_not_wait_for_an_image(make_encoder: MakeEncoder) -> None:
    encoder = make_encoder()
    _, waiting = await with_an_unread_image(encoder)
    async with asyncio.timeout(10):
        await encoder.close()
    with pytest.raises(EncoderLost):
        await waiting
    assert encoder.pid is None
    assert encoder.restarts == 0


async def test_one_that_was_never_needed_is_never_started(make_encoder: MakeEncoder) -> None:
    encoder = make_encoder()
    assert encoder.pid is None
    await encoder.close()
    assert encoder.pid is None


def test_it_ends_with_the_process_that_started_it() -> None:
    program = """
import asyncio, os, signal
from maskery.engine import EncoderOptions, EncoderProcess
from maskery.engine.encoder_client import Order
from maskery.segmentation import ImageLimits, NotAnImage

async def main():
    encoder = EncoderProcess(EncoderOptions(None, None, "auto", False, ImageLimits(), "info", "text"), 60)
    try:
        await encoder.encode(Order("maskery/grabcut", "1", "apply", b"no image", ""))
    except NotAnImage:
        print(encoder.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    result = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, timeout=60)
    assert result.returncode == -signal.SIGKILL
    pid = int(result.stdout)
    deadline = time.monotonic() + 10
    while not gone(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Ended, whether or not whoever inherited it has taken note."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


class Unsendable(Exception):  # noqa: N818
    def __init__(self, message: str, more: object) -> None:
        super().__init__(message)
        self.more = more


def test_an_error_that_cannot_travel_keeps_its_name_and_words() -> None:
    sent = _portable(Unsendable("no way", more=lambda: None))
    assert type(sent) is RuntimeError
    assert str(sent) == "Unsendable: no way"
    travelling = NotAnImage("damaged")
    assert _portable(travelling) is travelling


def test_being_busy_travels_with_its_seconds() -> None:
    for error in (Busy("a", 7), EncoderLost("b", 8)):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), copy.retry_after) == (type(error), str(error), error.retry_after)
