"""The form in which an embedding is written to a file, with a checksum.

A file is the eight bytes `MASKERY1`, the CRC-32 of all that follows, the length of the header (both 32 bits, little
endian), the header in JSON, zeros up to a multiple of 64 bytes, and the arrays. Numbers of arrays are written in the
byte order that their dtype names.
"""

import json
import mmap
import struct
import zlib

import numpy as np

from maskery.engine.layout import Layout, Place, aligned
from maskery.segmentation import Embedding, Size

_MAGIC = b"MASKERY1"
_START = struct.Struct("<8sII")
_CHECKED = struct.calcsize("<8sI")

# Kinds of numpy's dtypes that are numbers.
_NUMBERS = "biuf"


class Damaged(Exception):  # noqa: N818
    """The bytes are not what was written."""


def pack(name: str, embedding: Embedding) -> mmap.mmap:
    """The bytes of a file.

    Args:
        name: what the embedding is found by. It is written, too, so that a renamed file is found out.
    """
    layout = Layout.of(embedding.arrays)
    header = json.dumps(
        {"name": name, "size": embedding.size, "tokens": embedding.tokens, "arrays": layout.places}
    ).encode()
    start = aligned(_START.size + len(header))
    memory = mmap.mmap(-1, start + layout.nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[_START.size : _START.size + len(header)] = header
    layout.write(memory, embedding.arrays, start)
    memory[: _START.size] = _START.pack(_MAGIC, 0, len(header))
    memory[: _START.size] = _START.pack(_MAGIC, _checksum(memory), len(header))
    return memory


def unpack(name: str, memory: mmap.mmap) -> Embedding:
    """The embedding in a file's bytes, as views of them.

    Raises:
        Damaged: they are not the bytes of `pack` for this name.
    """
    if len(memory) < _START.size:
        raise Damaged("it is too short")
    magic, checksum, length = _START.unpack_from(memory)
    if magic != _MAGIC or checksum != _checksum(memory):
        raise Damaged("its checksum is wrong")
    try:
        header = json.loads(memory[_START.size : _START.size + length])
        if header["name"] != name:
            raise Damaged("it is another image's")
        places = [Place(each, dtype, tuple(shape), offset) for each, dtype, shape, offset in header["arrays"]]
        if any(np.dtype(place.dtype).kind not in _NUMBERS for place in places):
            raise Damaged("it has arrays of unknown types")
        arrays = Layout(tuple(places), 0).read(memory, aligned(_START.size + length))
        return Embedding(arrays, Size(*header["size"]), header["tokens"])
    except (ValueError, TypeError, LookupError) as error:
        raise Damaged(f"its header cannot be read: {error}") from None


def _checksum(memory: mmap.mmap) -> int:
    with memoryview(memory) as view:
        return zlib.crc32(view[_CHECKED:])
