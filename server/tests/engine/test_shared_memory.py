"""Embeddings passed between processes through shared memory."""

import gc
import mmap
import os
import socket
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from maskery.engine import shared_memory
from maskery.engine.encoding import Encoded
from maskery.segmentation import Embedding, NotAnImage, Size

RANDOM = np.random.default_rng(0)

ARRAYS: dict[str, dict[str, np.ndarray]] = {
    "one": {"embedding": RANDOM.standard_normal((1, 16, 8, 8)).astype(np.float32)},
    "several types and odd lengths": {
        "half": RANDOM.standard_normal((3, 7, 5)).astype(np.float16),
        "bytes": RANDOM.integers(0, 255, (13, 3), np.uint8),
        "long": RANDOM.integers(-(2**60), 2**60, 3),
        "double": RANDOM.standard_normal(11),
        "yes or no": RANDOM.random((2, 3)) < 0.5,
    },
    "a number": {"scale": np.array(0.25, np.float32)},
    "an empty one last": {"bytes": np.arange(3, dtype=np.uint8), "empty": np.empty((0, 4), np.float32)},
    "an empty one first": {"empty": np.empty((2, 0), np.float16), "bytes": np.arange(3, dtype=np.uint8)},
    "empty ones only": {"empty": np.empty(0, np.float32), "also": np.empty((0, 3), np.float64)},
    "none": {},
    "not in one piece": {"every other": RANDOM.standard_normal((8, 6))[::2, ::-1]},
    "large": {"embedding": RANDOM.standard_normal((256, 64, 64)).astype(np.float32)},
}


@pytest.fixture
def ends() -> Iterator[tuple[Connection, Connection]]:
    mine, its = (Connection(end.detach()) for end in socket.socketpair())
    with mine, its:
        yield mine, its


def transfer(ends: tuple[Connection, Connection], encoded: Encoded) -> Encoded:
    mine, its = ends
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(shared_memory.send, its, encoded)
        received = shared_memory.receive(mine)
        sending.result()
    assert isinstance(received, Encoded)
    return received


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_arrive_as_they_were_sent(ends: tuple[Connection, Connection], name: str) -> None:
    sent = ARRAYS[name]
    received = transfer(ends, Encoded(Embedding(sent, Size(30, 20), 64), 0.25, 1.5))
    assert (received.decode_image, received.encode) == (0.25, 1.5)
    embedding = received.embedding
    assert (embedding.size, embedding.tokens) == (Size(30, 20), 64)
    assert isinstance(embedding.size, Size)
    assert embedding.nbytes == sum(array.nbytes for array in sent.values())
    assert list(embedding.arrays) == list(sent)
    for each, array in embedding.arrays.items():
        assert array.dtype == sent[each].dtype
        assert array.shape == sent[each].shape
        np.testing.assert_array_equal(array, sent[each])


def test_arrays_are_aligned_to_cache_lines(ends: tuple[Connection, Connection]) -> None:
    received = transfer(ends, Encoded(Embedding(ARRAYS["several types and odd lengths"], Size(1, 1), 1), 0, 0))
    for array in received.embedding.arrays.values():
        assert array.ctypes.data % 64 == 0


def test_an_exception_is_received_instead(ends: tuple[Connection, Connection]) -> None:
    mine, its = ends
    its.send(NotAnImage("the image is damaged"))
    received = shared_memory.receive(mine)
    assert isinstance(received, NotAnImage)
    assert str(received) == "the image is damaged"


def test_a_received_embedding_does_not_change_with_the_next(ends: tuple[Connection, Connection]) -> None:
    received = [
        transfer(ends, Encoded(Embedding({"a": np.full(5000, number)}, Size(1, 1), 1), 0, 0)) for number in range(5)
    ]
    for number, each in enumerate(received):
        assert (each.embedding.arrays["a"] == number).all()


def test_memory_is_freed_with_the_last_array(ends: tuple[Connection, Connection]) -> None:
    sent = Encoded(Embedding({"a": np.ones(2**20, np.float32), "b": np.ones(3)}, Size(1, 1), 1), 0, 0)
    arrays = dict(transfer(ends, sent).embedding.arrays)
    memory = weakref.ref(memory_under(arrays["a"]))
    assert memory_under(arrays["b"]) is memory()
    del arrays["a"]
    gc.collect()
    assert memory() is not None
    assert (arrays.pop("b") == 1).all()
    gc.collect()
    assert memory() is None


def test_embeddings_keep_no_file_open(ends: tuple[Connection, Connection]) -> None:
    """A cache of a thousand would leave no file descriptors for connections."""
    before = open_files()
    kept = [transfer(ends, Encoded(Embedding(ARRAYS["one"], Size(1, 1), 1), 0, 0)) for _ in range(20)]
    assert open_files() == before
    assert len(kept) == 20


def test_a_closed_link_raises(ends: tuple[Connection, Connection]) -> None:
    mine, its = ends
    its.close()
    with pytest.raises((EOFError, OSError)):
        shared_memory.receive(mine)


def test_without_memfd_an_unlinked_file_is_used(
    ends: tuple[Connection, Connection], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    sent = ARRAYS["several types and odd lengths"]
    received = transfer(ends, Encoded(Embedding(sent, Size(1, 1), 1), 0, 0))
    for name, array in received.embedding.arrays.items():
        np.testing.assert_array_equal(array, sent[name])
    assert list(tmp_path.iterdir()) == []


def memory_under(array: np.ndarray) -> mmap.mmap:
    """The mapping that an array views."""
    base: object = array
    while not isinstance(base, mmap.mmap):
        base = base.obj if isinstance(base, memoryview) else getattr(base, "base", None)
        assert base is not None, "the array has memory of its own"
    return base


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
