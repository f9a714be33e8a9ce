"""COCO's compressed run-length encoding of one mask.

Runs go down the columns, background first. The compression of the counts is pycocotools'; reading is our own,
because counts come from clients and pycocotools trusts them with its memory.
"""

from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from maskery.segmentation.image import Size


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
        ValueError: the counts are neither, or do not fill the picture exactly. The message goes on from the
            name of the field.
    """
    if isinstance(counts, str):
        lengths = _decompress(counts)
    elif isinstance(counts, list) and all(type(count) is int for count in counts):
        lengths = counts
    else:
        raise ValueError("must be COCO's compressed text or a list of run lengths")
    if any(length < 0 for length in lengths) or sum(lengths) != size.pixels:
        raise ValueError(f"must add up to the picture's {size.pixels} pixels, each run 0 or more")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(size.width, size.height).T


def _decompress(text: str) -> list[int]:
    """Each number is groups of five bits, lowest first, from the character '0' on; bit 5 says that another
    group follows, bit 4 of the last group is the sign; from the fourth number on it is the difference to the
    number two before it (`maskApi.c` in cocoapi).
    """
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64 or shift > 40:
            raise ValueError("is not COCO's compressed text")
        value |= (group & 0x1F) << shift
        shift += 5
        if group & 0x20:
            continue
        if group & 0x10:
            value -= 1 << shift
        if len(lengths) > 2:
            value += lengths[-2]
        lengths.append(value)
        value = shift = 0
    if shift:
        raise ValueError("ends in the middle of a number")
    return lengths
