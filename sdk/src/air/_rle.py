"""COCO's compressed run-length encoding, decoded. Needs numpy.

A run's length is written in base 32, five bits a character from the low end, offset by 48; bit 5 says that more
follow, bit 4 of the last is the sign. From the fourth run on, what is written is the difference to the run two
before. Runs go down the columns and alternate, background first. (COCO API, common/maskApi.c, ``rleFrString``.)
"""

import numpy as np
from numpy.typing import NDArray

from .errors import MaskError


def decode(counts: str, height: int, width: int) -> NDArray[np.bool_]:
    """The mask, bool [height, width].

    Raises:
        MaskError: the runs are damaged, or do not fill the mask.
    """
    runs = _runs(counts)
    if any(run < 0 for run in runs) or sum(runs) != height * width:
        raise MaskError(f"the RLE does not fill a mask of {width}x{height}")
    on = np.arange(len(runs)) % 2 == 1
    return np.repeat(on, runs).reshape(width, height).T


def _runs(counts: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        digit = ord(character) - 48
        if not 0 <= digit < 64:
            raise MaskError(f"the RLE holds {character!r}, which is no digit of it")
        value |= (digit & 0x1F) << shift
        shift += 5
        if digit & 0x20:
            continue
        if digit & 0x10:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise MaskError("the RLE ends within a number")
    return runs
