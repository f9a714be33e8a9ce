"""Passes embeddings between processes through shared memory.

The memory is an anonymous file (`memfd_create`): it needs no folder, and the kernel frees it when the last process that
holds it ends. The receiver copies it, which takes a millisecond. A mapping would keep a file descriptor open per
embedding, and a large cache holds more embeddings than a process may have open files.
"""

import math
import mmap
import os
import tempfile
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from maskery.engine.encoding import Encoded
from maskery.segmentation import Embedding, Size

# Vector instructions load whole cache lines.
_ALIGNMENT = 64


@dataclass(frozen=True)
class _Array:
    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class _Layout:
    """An `Encoded` without the bytes of its arrays."""

    arrays: tuple[_Array, ...]
    nbytes: int
    size: Size
    tokens: int
    decode_image: float
    encode: float


def send(link: Connection, encoded: Encoded) -> None:
    """Send an embedding through a Unix socket."""
    embedding = encoded.embedding
    arrays, end = [], 0
    for name, array in embedding.arrays.items():
        offset = -(-end // _ALIGNMENT) * _ALIGNMENT
        arrays.append(_Array(name, array.dtype.str, array.shape, offset))
        end = offset + array.nbytes
    layout = _Layout(tuple(arrays), max(end, 1), embedding.size, embedding.tokens, encoded.decode_image, encoded.encode)
    handle = _anonymous_file()
    try:
        os.ftruncate(handle, layout.nbytes)
        with mmap.mmap(handle, layout.nbytes) as memory:
            for entry in layout.arrays:
                _view(memory, entry)[...] = embedding.arrays[entry.name]
        link.send(layout)
        reduction.send_handle(link, handle, None)
    finally:
        os.close(handle)


def receive(link: Connection) -> Encoded | Exception:
    """Receive an embedding, or the exception that was sent instead.

    Raises:
        EOFError, OSError: the other process has ended.
    """
    layout = link.recv()
    if isinstance(layout, Exception):
        return layout
    # Unmapped when the last array that views it is deleted.
    memory = mmap.mmap(-1, layout.nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with os.fdopen(reduction.recv_handle(link), "rb") as file:
        file.readinto(memory)
    arrays = {array.name: _view(memory, array) for array in layout.arrays}
    return Encoded(Embedding(arrays, layout.size, layout.tokens), layout.decode_image, layout.encode)


def _view(memory: mmap.mmap, array: _Array) -> NDArray[np.generic]:
    dtype = np.dtype(array.dtype)
    flat = np.frombuffer(memory, dtype, math.prod(array.shape), array.offset)
    return flat.reshape(array.shape)


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("embedding")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
