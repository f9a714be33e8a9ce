"""COCO's compressed run-length encoding of one mask.

Runs go down the columns, background first. Counts are compressed by pycocotools. They are decompressed here, because
they come from clients and pycocotools writes beyond its memory when they are invalid.
"""

from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from maskery.segmentation.image import Size

# Far more than any real mask has; noise has about as many runs as pixels.
_MAX_RUNS = 1_000_000

# Groups of five bits in a number: 35 bits, and the sum of a million such numbers fits 64.
_MAX_GROUPS = 7


class Rle(TypedDict):
    """COCO RLE: ``size`` is [height, width], ``counts`` the compressed run lengths."""

    size: list[int]
    counts: str


def encode(crop: NDArray[np.bool_], origin: tuple[int, int], size: Size) -> Rle:
    """Encode a mask that is empty outside a crop.

    Args:
        crop: bool [rows, columns].
        origin: (x, y) of the crop's top left pixel.
        size: of the whole mask.
    """
    x0, y0 = origin
    rows, columns = crop.shape
    padded = np.zeros((columns, rows + 2), np.int8)
    padded[:, 1:-1] = crop.T
    change = np.diff(padded, axis=1)
    offset = (np.arange(x0, x0 + columns, dtype=np.int64) * size.height + y0)[:, None]
    position = offset + np.arange(rows + 1, dtype=np.int64)
    starts, ends = position[change == 1], position[change == -1]
    # A run that ends at the bottom of a column and continues at the top of the next is one run.
    joined = starts[1:] == ends[:-1]
    starts = starts[np.concatenate([[True], ~joined])] if len(starts) else starts
    ends = ends[np.concatenate([~joined, [True]])] if len(ends) else ends
    borders = np.stack([starts, ends], axis=1).ravel()
    counts = np.diff(borders, prepend=0, append=size.pixels)
    if len(counts) > 1 and counts[-1] == 0:
        counts = counts[:-1]
    shape = [size.height, size.width]
    compressed = coco.frPyObjects({"size": shape, "counts": counts.tolist()}, *shape)
    return Rle(size=shape, counts=compressed["counts"].decode("ascii"))


def decode(counts: Any, size: Size) -> NDArray[np.bool_]:
    """Decode compressed (text) or plain (list of numbers) counts to bool [height, width].

    Raises:
        ValueError: the counts are neither, are too many, or do not fill the image exactly. The message continues the
            name of the field.
    """
    max_runs = min(size.pixels + 1, _MAX_RUNS)
    if isinstance(counts, str):
        lengths = _decompress(counts, max_runs)
    elif isinstance(counts, list) and all(type(count) is int for count in counts):
        _check_runs(len(counts), max_runs)
        # Clipped values are still out of range, and fit the array.
        lengths = np.array([min(max(count, -1), size.pixels + 1) for count in counts], np.int64)
    else:
        raise ValueError("must be COCO's compressed text or a list of run lengths")
    if ((lengths < 0) | (lengths > size.pixels)).any() or lengths.sum() != size.pixels:
        raise ValueError(f"must add up to the image's {size.pixels} pixels, each run 0 or more")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(size.width, size.height).T


def _decompress(text: str, max_runs: int) -> NDArray[np.int64]:
    """Decompress counts as `rleFrString` in cocoapi's `maskApi.c` does.

    A number is a sequence of groups of five bits, lowest first, each a character from '0' on. Bit 5 says that another
    group follows, bit 4 of the last group is the sign. From the fourth number on, it is the difference to the one two
    places before.
    """
    # Checked before any array is made: the text may be as long as a request.
    if len(text) > max_runs * _MAX_GROUPS:
        raise _too_many(max_runs)
    groups = np.frombuffer(text.encode(errors="replace"), np.uint8).astype(np.int64) - 48
    if not text.isascii() or not ((groups >= 0) & (groups < 64)).all():
        raise ValueError("is not COCO's compressed text")
    last = np.flatnonzero(groups & 0x20 == 0)
    _check_runs(len(last), max_runs)
    if len(groups) and groups[-1] & 0x20:
        raise ValueError("ends in the middle of a number")
    first = np.concatenate([[0], last[:-1] + 1])[: len(last)]
    widths = last - first + 1
    if (widths > _MAX_GROUPS).any():
        raise ValueError("is not COCO's compressed text")
    shifts = 5 * (np.arange(len(groups)) - np.repeat(first, widths))
    numbers = np.add.reduceat((groups & 0x1F) << shifts, first) if len(first) else first
    numbers -= np.where(groups[last] & 0x10, 1 << (5 * widths), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def _check_runs(runs: int, max_runs: int) -> None:
    if runs > max_runs:
        raise _too_many(max_runs)


def _too_many(max_runs: int) -> ValueError:
    return ValueError(f"must be at most {max_runs:,} runs")
