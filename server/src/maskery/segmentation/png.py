"""Writes masks as PNG files.

A mask consists of runs of one value along its rows or, after subtracting the row above, of runs of zeros. Deflate's
run-length strategy finds them in one pass; slower strategies gain next to nothing.

Format: Portable Network Graphics (PNG) Specification, third edition (W3C, 2025), sections 5, 9 and 11.
"""

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from zlib_ng import zlib_ng

from maskery.segmentation.mask import Values

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY = 0

# Filter types of a row: none, or minus the row above.
_NONE, _UP = 0, 2

# Filtered and compressed at a time: fits a core's cache.
_BAND_BYTES = 2**18

# The filter is chosen by comparing neighbouring pixels in every n-th row.
_SAMPLED = 8

_LEVEL, _MEMORY = 1, 9


def to_png(values: Values) -> bytes:
    """Encode a mask as a PNG with one channel of 8 or 16 bits, losslessly.

    Args:
        values: uint8 or uint16 [height, width], both at least 1.
    """
    height, width = values.shape
    header = struct.pack(">2I5B", width, height, 8 * values.itemsize, _GRAY, 0, 0, 0)
    deflate = zlib_ng.compressobj(_LEVEL, zlib_ng.DEFLATED, zlib_ng.MAX_WBITS, _MEMORY, zlib_ng.Z_RLE)
    pixels = b"".join([*map(deflate.compress, _filtered(values)), deflate.flush()])
    return b"".join([_SIGNATURE, *_chunk(b"IHDR", header), *_chunk(b"IDAT", pixels), *_chunk(b"IEND", b"")])


def _filtered(values: Values) -> Iterator[NDArray[np.uint8]]:
    """The filtered rows, band by band: the filter type of each row, then its bytes."""
    height, width = values.shape
    row_bytes = width * values.itemsize
    rows = max(1, _BAND_BYTES // row_bytes)
    for y in range(0, height, rows):
        part = values[y : y + rows]
        band = np.empty((len(part), 1 + row_bytes), np.uint8)
        kinds, data = band[:, 0], band[:, 1:]
        if values.itemsize == 1 and not _repeats_rows(part):
            kinds[:] = _NONE
            data[:] = part
        else:
            kinds[:] = _UP
            # The row above the first counts as zeros.
            first = 1 if y == 0 else 0
            data[:first] = _as_bytes(part[:first])
            np.subtract(_as_bytes(part[first:]), _as_bytes(values[y + first - 1 : y + len(part) - 1]), out=data[first:])
        yield band


def _repeats_rows(part: Values) -> bool:
    """Whether more pixels equal the one above than the one to the left."""
    down = np.count_nonzero(part[1::_SAMPLED] != part[:-1:_SAMPLED])
    across = np.count_nonzero(part[::_SAMPLED, 1:] != part[::_SAMPLED, :-1])
    return int(down) < int(across)


def _as_bytes(part: Values) -> NDArray[np.uint8]:
    """Rows as bytes, big-endian."""
    return np.ascontiguousarray(part, f">u{part.itemsize}").view(np.uint8)


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, ...]:
    check = zlib_ng.crc32(data, zlib_ng.crc32(kind))
    return struct.pack(">I", len(data)), kind, data, struct.pack(">I", check)
