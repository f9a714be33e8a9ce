"""Filling polygons. Needs numpy."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Ring = Sequence[tuple[float, float]]


def fill(rings: Iterable[Ring], height: int, width: int) -> NDArray[np.bool_]:
    """The pixels whose centre lies inside an odd number of rings, bool [height, width].

    That makes holes of rings inside rings. Exact for rings along the edges of pixels, which never touch a centre.

    Args:
        rings: each a list of (x, y); the last corner joins the first.
    """
    # One edge flips every pixel to its right: note where flips begin, then run along the rows.
    flips = np.zeros((height, width + 1), np.uint8)
    for ring in rings:
        for (x0, y0), (x1, y1) in pairwise([*ring, *ring[:1]]):
            top, bottom = min(y0, y1), max(y0, y1)
            rows = np.arange(max(0, _first_centre(top)), min(height, _first_centre(bottom)))
            if rows.size:
                crossings = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
                columns = np.clip(np.ceil(crossings - 0.5), 0, width).astype(np.intp)
                flips[rows, columns] ^= 1
    return np.bitwise_xor.accumulate(flips, axis=1)[:, :width].astype(np.bool_)


def _first_centre(y: float) -> int:
    """The first row whose centre is at or below ``y``."""
    return int(np.ceil(y - 0.5))
