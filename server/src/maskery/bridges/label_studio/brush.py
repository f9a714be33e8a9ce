"""Label Studio's run-length encoding of brushes, which is that of the package rle-pack of thi.ng/umbrella.

A stream of bits, most significant first. The head: the number of values (32 bits), the width of a value minus one (5),
and four widths of run lengths minus one (4 each). Then runs: whether all values are equal (1 bit), which of the four
widths follows (2), the number of values minus one (of that width), and one value for all of them, or each of them.
The values are the bytes of RGBA pixels, row by row.
"""

import numpy as np
from numpy.typing import NDArray

_VALUE_BITS = 8
_LENGTH_BITS = np.array([3, 4, 8, 16])
_LONGEST = 2 ** int(_LENGTH_BITS[-1])
_CHANNELS = 4

# The widths in the head: of a value, and of the four run lengths.
_WIDTHS = (_VALUE_BITS - 1) << 16 | 2 << 12 | 3 << 8 | 7 << 4 | 15

# Bytes of a brush that is read. Its runs are read one by one, so that more would keep a processor busy for seconds.
_MAX_BYTES = 2**22

# A pixel whose opacity is at least half belongs to the brush; its edges are blurred.
_HALF = 128


def encode(mask: NDArray[np.bool_]) -> bytes:
    """Encode a mask, bool [height, width], as pixels of the value 255 in all channels."""
    pixels = mask.ravel()
    ends = np.append(np.flatnonzero(np.diff(pixels)) + 1, pixels.size)
    lengths = np.diff(ends, prepend=0) * _CHANNELS
    pieces = -(-lengths // _LONGEST)
    values = np.repeat(np.where(pixels[ends - 1], 255, 0), pieces)
    # All pieces of a run have the longest length, but for the last one.
    sizes = np.full(int(pieces.sum()), _LONGEST)
    sizes[np.cumsum(pieces) - 1] = lengths - (pieces - 1) * _LONGEST
    index = np.searchsorted(2**_LENGTH_BITS, sizes)
    width = _LENGTH_BITS[index]
    runs = ((4 + index) << width | (sizes - 1)) << _VALUE_BITS | values
    head = pixels.size * _CHANNELS << 21 | _WIDTHS
    return _pack(np.insert(runs, 0, head), np.insert(3 + width + _VALUE_BITS, 0, 53))


def decode(data: bytes, pixels: int) -> NDArray[np.bool_]:
    """Decode a brush to bool [pixels]: the pixels whose alpha is at least half.

    Raises:
        ValueError: the bytes are no brush of that many pixels. The message continues the name of the field.
    """
    if len(data) > _MAX_BYTES:
        raise ValueError(f"has {len(data):,} bytes; at most {_MAX_BYTES:,} are accepted")
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    position = 0

    def read(width: int) -> int:
        nonlocal position
        start, position = position, position + width
        if position > len(bits):
            raise ValueError("ends in the middle of a run")
        first = start // 8
        window = int.from_bytes(data[first : first + 5].ljust(5, b"\0"), "big")
        value: int = window >> (40 - start % 8 - width) & (2**width - 1)
        return value

    count, value_bits = read(32), read(5) + 1
    widths = [read(4) + 1 for _ in range(4)]
    if count != pixels * _CHANNELS or value_bits != _VALUE_BITS:
        raise ValueError(f"has {count:,} values, not the four bytes of each of the image's {pixels:,} pixels")
    values = np.empty(count, np.uint8)
    done = 0
    while done < count:
        is_run = read(1)
        end = done + 1 + read(widths[read(2)])
        if end > count:
            raise ValueError("has more values than the image")
        if is_run:
            values[done:end] = read(_VALUE_BITS)
        else:
            stop = position + (end - done) * _VALUE_BITS
            if stop > len(bits):
                raise ValueError("ends in the middle of a run")
            values[done:end] = np.packbits(bits[position:stop])
            position = stop
        done = end
    return values[_CHANNELS - 1 :: _CHANNELS] >= _HALF


def _pack(codes: NDArray[np.int64], widths: NDArray[np.int64]) -> bytes:
    """The lowest bits of each code, as many as its width, one after another, filled up with zeros to whole bytes."""
    ends = np.cumsum(widths)
    bits = np.zeros(ends[-1], np.uint8)
    for bit in range(int(widths.max())):
        # The codes that have such a bit, from the last.
        wide = widths > bit
        bits[ends[wide] - 1 - bit] = codes[wide] >> bit & 1
    return np.packbits(bits).tobytes()
