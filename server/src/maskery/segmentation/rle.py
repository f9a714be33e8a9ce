"""COCO's compressed run-length encoding of one mask.

Runs go down the columns, background first. The compression of the counts is pycocotools'; reading is our own,
because counts come from clients and pycocotools trusts them with its memory.
"""

from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from maskery.segmentation.image import Size

# No mask that was drawn or computed comes near this many; noise has that of the pixels.
_MAX_RUNS = 1_000_000

# Groups of five bits in one number: differences of 35 bits, and sums of a million of them fit 64.
_MAX_GROUPS = 7


class Rle(TypedDict):
    """COCO RLE: ``size`` is [height, width], ``counts`` the compressed run lengths."""

    size: list[int]
    counts: str


def encode(crop: NDArray[np.bool_], origin: tuple[int, int], size: Size) -> Rle:
    """RLE of a mask that is empty outside a crop.

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
    # A run that leaves a column at its foot and enters the next at its head is one run.
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
    """Mask bool [height, width] of compressed (text) or plain (list of numbers) counts.

    Raises:
        ValueError: the counts are neither, are too many, or do not fill the image exactly. The message goes on
            from the name of the field.
    """
    max_runs = min(size.pixels + 1, _MAX_RUNS)
    if isinstance(counts, str):
        lengths = _decompress(counts, max_runs)
    elif isinstance(counts, list) and all(type(count) is int for count in counts):
        _check_runs(len(counts), max_runs)
        # What is out of range is so after clipping too, and fits the array.
        lengths = np.array([min(max(count, -1), size.pixels + 1) for count in counts], np.int64)
    else:
        raise ValueError("must be COCO's compressed text or a list of run lengths")
    if ((lengths < 0) | (lengths > size.pixels)).any() or lengths.sum() != size.pixels:
        raise ValueError(f"must add up to the image's {size.pixels} pixels, each run 0 or more")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(size.width, size.height).T


def _decompress(text: str, max_runs: int) -> NDArray[np.int64]:
    """Each number is groups of five bits, lowest first, from the character '0' on; bit 5 says that another
    group follows, bit 4 of the last group is the sign; from the fourth number on it is the difference to the
    number two before it (`maskApi.c` in cocoapi).
    """
    # Before anything is made of it: the text may be as long as a request.
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
