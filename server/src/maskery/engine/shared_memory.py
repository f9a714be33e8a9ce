"""Passes embeddings between processes through shared memory.

The memory is an anonymous file (`memfd_create`): it needs no folder, and the kernel frees it when the last process that
holds it ends. The receiver copies it, which takes a millisecond. A mapping would keep a file descriptor open per
embedding, and a large cache holds more embeddings than a process may have open files.
"""

import mmap
import os
import tempfile
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.connection import Connection

from maskery.engine.encoding import Encoded
from maskery.engine.layout import Layout
from maskery.segmentation import Embedding, Size


@dataclass(frozen=True)
class _Message:
    """An `Encoded` without the bytes of its arrays."""

    layout: Layout
    size: Size
    tokens: int
    decode_image: float
    encode: float

    @property
    def nbytes(self) -> int:
        """Of the memory: a mapping cannot be empty."""
        return max(self.layout.nbytes, 1)


def send(link: Connection, encoded: Encoded) -> None:
    """Send an embedding through a Unix socket."""
    embedding = encoded.embedding
    layout = Layout.of(embedding.arrays)
    message = _Message(layout, embedding.size, embedding.tokens, encoded.decode_image, encoded.encode)
    handle = _anonymous_file()
    try:
        os.ftruncate(handle, message.nbytes)
        with mmap.mmap(handle, message.nbytes) as memory:
            layout.write(memory, embedding.arrays)
        link.send(message)
        reduction.send_handle(link, handle, None)
    finally:
        os.close(handle)


def receive(link: Connection) -> Encoded | Exception:
    """Receive an embedding, or the exception that was sent instead.

    Raises:
        EOFError, OSError: the other process has ended.
    """
    message = link.recv()
    if isinstance(message, Exception):
        return message
    # Unmapped when the last array that views it is deleted.
    memory = mmap.mmap(-1, message.nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with os.fdopen(reduction.recv_handle(link), "rb") as file:
        file.readinto(memory)
    embedding = Embedding(message.layout.read(memory), message.size, message.tokens)
    return Encoded(embedding, message.decode_image, message.encode)


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("embedding")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
