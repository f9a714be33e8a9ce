"""The encoder process, with real processes: its embeddings, its errors, and how it is restarted."""

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
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from engine.parts import until
from PIL import Image
from sam_folders import write_model
from samples import MODEL, jpeg, png, squares

from maskery.engine import Busy, EncoderClient, EncoderLost, EncoderOptions, shared_memory
from maskery.engine.encoder_worker import _portable
from maskery.engine.encoding import Encoded, EncodeRequest
from maskery.models import Registry, Store
from maskery.segmentation import Embedding, ImageLimits, ImageTooLarge, Model, NotAnImage, Size, open_image

SAM = "team/small"

MakeClient = Callable[..., EncoderClient]


def options(folder: Path | None = None, image_limits: ImageLimits | None = None) -> EncoderOptions:
    open_registry = partial(Registry, store=Store(folder) if folder else None)
    return EncoderOptions(open_registry, image_limits or ImageLimits(), "warning", "text")


@pytest.fixture
async def make_client() -> AsyncIterator[MakeClient]:
    made: list[EncoderClient] = []

    def make(folder: Path | None = None, time_limit: float = 60, load_limit: float = 60) -> EncoderClient:
        made.append(EncoderClient(options(folder), time_limit, load_limit))
        return made[-1]

    yield make
    for each in made:
        if each.pid:
            # Some tests stop the process.
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
def sam_client(store: Store) -> Iterator[EncoderClient]:
    """Shared by the tests that do not restart it: loading a network takes seconds."""
    client = EncoderClient(options(store.folder, ImageLimits(max_bytes=200_000)), 60)
    yield client
    asyncio.run(client.close())


def request(image: bytes, model: str = MODEL, revision: str = "1") -> EncodeRequest:
    return EncodeRequest(model, revision, "apply", image, "a-request")


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


async def started(client: EncoderClient) -> int:
    """Process id of the process, after its first answer."""
    await client.encode(request(png(squares())))
    assert client.pid
    return client.pid


def out_of_memory_score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def rotated() -> bytes:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(squares()).save(file, "JPEG", exif=exif)
    return file.getvalue()


@pytest.mark.parametrize(
    "image", [png(squares()), jpeg(squares(300, 200)), rotated()], ids=["small", "large", "rotated by EXIF"]
)
async def test_an_embedding_equals_that_of_the_model_in_this_process(
    sam_client: EncoderClient, sam_model: Model, image: bytes
) -> None:
    encoded = await sam_client.encode(request(image, SAM, sam_model.revision))
    assert_same(encoded.embedding, sam_model.encode(open_image(image)))
    assert encoded.encode > 0
    assert encoded.decode_image > 0


async def test_exif_is_ignored_on_request(sam_client: EncoderClient, sam_model: Model) -> None:
    ignoring = EncodeRequest(SAM, sam_model.revision, "ignore", rotated(), "")
    encoded = await sam_client.encode(ignoring)
    assert encoded.embedding.size == (96, 64)
    assert_same(encoded.embedding, sam_model.encode(open_image(rotated(), "ignore")))


def damaged() -> bytes:
    """An image with a valid header whose pixel data is cut off."""
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
async def test_an_invalid_image_raises_and_the_process_goes_on(
    sam_client: EncoderClient, sam_model: Model, image: bytes, kind: type[Exception], says: str
) -> None:
    before = sam_client.restarts
    with pytest.raises(kind, match=says):
        await sam_client.encode(request(image, SAM, sam_model.revision))
    good = png(squares())
    encoded = await sam_client.encode(request(good, SAM, sam_model.revision))
    assert_same(encoded.embedding, sam_model.encode(open_image(good)))
    assert sam_client.restarts == before == 0


@pytest.mark.parametrize(("model", "revision"), [(SAM, "an older one"), ("team/removed", "1")])
async def test_a_model_that_was_replaced_or_removed_raises_busy(
    sam_client: EncoderClient, model: str, revision: str
) -> None:
    with pytest.raises(Busy, match=f"{model} was replaced or removed") as caught:
        await sam_client.encode(request(png(squares()), model, revision))
    assert caught.value.retry_after == 1
    assert not isinstance(caught.value, EncoderLost)


async def test_a_model_replaced_in_the_store_is_loaded_again(make_client: MakeClient, tmp_path: Path) -> None:
    store = Store(tmp_path / "models")
    store.install_from_folder(SAM, write_model(tmp_path / "1", seed=1))
    client, registry = make_client(store.folder), Registry(store=store)
    image = png(squares())
    old = registry.get(SAM)
    await client.encode(request(image, SAM, old.revision))
    store.remove(SAM)
    store.install_from_folder(SAM, write_model(tmp_path / "2", seed=2))
    with pytest.raises(Busy, match="replaced"):
        await client.encode(request(image, SAM, old.revision))
    new = registry.get(SAM)
    assert new.revision != old.revision
    encoded = await client.encode(request(image, SAM, new.revision))
    assert_same(encoded.embedding, new.encode(open_image(image)))


async def with_an_unread_image(client: EncoderClient) -> tuple[int, asyncio.Task[Encoded]]:
    """A stopped process, and a task that waits for an image that it has not read."""
    pid = await started(client)
    os.kill(pid, signal.SIGSTOP)
    waiting = asyncio.create_task(client.encode(request(png(squares()))))
    await asyncio.sleep(0.05)
    return pid, waiting


async def test_an_image_that_a_killed_process_has_not_read_is_encoded_by_the_next(make_client: MakeClient) -> None:
    client = make_client()
    first, unread = await with_an_unread_image(client)
    os.kill(first, signal.SIGKILL)
    assert (await unread).embedding.size == Size(*squares().shape[1::-1])
    assert client.pid != first
    assert ended(first)
    assert client.restarts == 1


async def test_an_image_that_two_killed_processes_have_not_read_is_lost_and_the_third_works(
    make_client: MakeClient,
) -> None:
    client = make_client()
    first, lost = await with_an_unread_image(client)
    os.kill(first, signal.SIGKILL)
    await until(lambda: client.pid not in (None, first))
    second = client.pid
    assert second
    # It is still starting, and has not read the image either.
    os.kill(second, signal.SIGSTOP)
    await asyncio.sleep(0.2)
    os.kill(second, signal.SIGKILL)
    with pytest.raises(EncoderLost) as caught:
        await lost
    assert caught.value.retry_after >= 1
    assert await started(client) not in (first, second)
    assert client.restarts == 2


async def test_a_process_killed_while_idle_is_replaced_without_an_error(make_client: MakeClient) -> None:
    client = make_client()
    first = await started(client)
    os.kill(first, signal.SIGKILL)
    await until(lambda: client.pid is None)
    assert await started(client) != first
    assert client.restarts == 1


@pytest.fixture
def slow_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Encoder processes load and encode with delays: the seconds in the files `load` and `encode` of this folder."""
    (tmp_path / "sitecustomize.py").write_text(f"""
import time
from pathlib import Path
from maskery.models.builtin.grabcut import GrabCut
from maskery.models.registry import Registry

def slow(function, file):
    def call(*arguments):
        time.sleep(float(file.read_text()) if file.exists() else 0)
        return function(*arguments)
    return call

GrabCut.encode = slow(GrabCut.encode, Path({str(tmp_path / "encode")!r}))
Registry.get = slow(Registry.get, Path({str(tmp_path / "load")!r}))
""")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


async def test_encoding_that_exceeds_the_time_limit_names_the_setting_and_restarts_the_process(
    make_client: MakeClient, slow_model: Path
) -> None:
    client = make_client(time_limit=0.3)
    pid = await started(client)
    (slow_model / "encode").write_text("60")
    with pytest.raises(EncoderLost, match=r"encoding took longer than 0\.3 seconds \(MASKERY_ENCODE_TIMEOUT\)"):
        await client.encode(request(png(squares())))
    assert ended(pid)
    assert client.restarts == 1
    (slow_model / "encode").unlink()
    assert await started(client) != pid


@pytest.mark.parametrize("slow", ["load", "encode"])
async def test_loading_and_compiling_a_model_do_not_count_towards_the_time_limit(
    make_client: MakeClient, slow_model: Path, slow: str
) -> None:
    (slow_model / slow).write_text("1")
    client = make_client(time_limit=0.5)
    assert await started(client)
    assert client.restarts == 0


async def test_a_model_that_is_never_loaded_restarts_the_process(make_client: MakeClient, slow_model: Path) -> None:
    (slow_model / "load").write_text("60")
    client = make_client(load_limit=0.5)
    with pytest.raises(EncoderLost, match=r"did not load the model within 0\.5 seconds"):
        await client.encode(request(png(squares())))
    assert client.restarts == 1


async def test_a_process_that_does_not_read_is_restarted(make_client: MakeClient) -> None:
    """An image is larger than the buffer of a socket."""
    client = make_client(load_limit=0.5)
    hanging = asyncio.create_task(client.encode(request(bytes(8 * 2**20))))
    await until(lambda: client.pid is not None)
    pid = client.pid
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


@pytest.mark.parametrize("error", [pickle.UnpicklingError("damaged"), MemoryError()])
async def test_an_answer_that_cannot_be_received_restarts_the_process(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """What is left of it in the socket must not be taken for the next answer."""
    client, receive = make_client(), shared_memory.receive
    pid = await started(client)

    def fail(_: object) -> Encoded:
        raise error

    monkeypatch.setattr(shared_memory, "receive", fail)
    with pytest.raises(EncoderLost):
        await client.encode(request(png(squares(50, 40))))
    monkeypatch.setattr(shared_memory, "receive", receive)
    assert (await client.encode(request(png(squares(70, 60))))).embedding.size == (70, 60)
    assert client.restarts == 1
    assert ended(pid)


async def test_the_embedding_of_a_cancelled_request_is_not_given_to_the_next(make_client: MakeClient) -> None:
    client = make_client()
    pid = await started(client)
    os.kill(pid, signal.SIGSTOP)
    leaving = asyncio.create_task(client.encode(request(png(squares(50, 40)))))
    await asyncio.sleep(0.05)
    leaving.cancel()
    staying = asyncio.create_task(client.encode(request(png(squares(70, 60)))))
    await asyncio.wait([leaving])
    os.kill(pid, signal.SIGCONT)
    assert (await staying).embedding.size == (70, 60)
    assert client.pid == pid


async def test_the_process_has_low_priority_and_is_the_first_to_go_when_memory_runs_out(
    make_client: MakeClient,
) -> None:
    pid = await started(make_client())
    assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    assert out_of_memory_score(pid) >= max(500, out_of_memory_score(os.getpid()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_signals_to_the_process_group_are_ignored(make_client: MakeClient, number: signal.Signals) -> None:
    client = make_client()
    pid = await started(client)
    os.kill(pid, number)
    assert await started(client) == pid
    assert client.restarts == 0


async def test_files_in_the_working_folder_are_not_imported(
    make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pickle.py", "cv2.py", "maskery.py"):
        (tmp_path / name).write_text("raise SystemExit('imported from the working folder')")
    monkeypatch.chdir(tmp_path)
    assert await started(make_client())


async def test_closing_ends_the_process(make_client: MakeClient) -> None:
    client = make_client()
    pid = await started(client)
    await client.close()
    assert client.pid is None
    assert ended(pid)
    assert client.restarts == 0


async def test_closing_does_not_wait_for_an_image(make_client: MakeClient) -> None:
    client = make_client()
    _, waiting = await with_an_unread_image(client)
    async with asyncio.timeout(10):
        await client.close()
    with pytest.raises(EncoderLost):
        await waiting
    assert client.pid is None
    assert client.restarts == 0


async def test_the_process_is_not_started_before_it_is_needed(make_client: MakeClient) -> None:
    client = make_client()
    assert client.pid is None
    await client.close()
    assert client.pid is None


def test_the_process_ends_with_its_parent() -> None:
    program = """
import asyncio, os, signal
from maskery.engine import EncoderClient, EncoderOptions
from maskery.engine.encoding import EncodeRequest
from maskery.models import Registry
from maskery.segmentation import ImageLimits, NotAnImage

async def main():
    client = EncoderClient(EncoderOptions(Registry, ImageLimits(), "info", "text"), 60)
    try:
        await client.encode(EncodeRequest("maskery/grabcut", "1", "apply", b"no image", ""))
    except NotAnImage:
        print(client.pid, flush=True)
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
    """Whether a process has ended, even if its new parent has not waited for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


class Unsendable(Exception):  # noqa: N818
    def __init__(self, message: str, more: object) -> None:
        super().__init__(message)
        self.more = more


def test_an_exception_that_cannot_be_pickled_keeps_its_name_and_message() -> None:
    sent = _portable(Unsendable("no way", more=lambda: None))
    assert type(sent) is RuntimeError
    assert str(sent) == "Unsendable: no way"
    error = NotAnImage("damaged")
    assert _portable(error) is error


def test_busy_is_pickled_with_its_seconds() -> None:
    for error in (Busy("a", 7), EncoderLost("b", 8)):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), copy.retry_after) == (type(error), str(error), error.retry_after)
