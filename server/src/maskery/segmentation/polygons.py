"""A mask as polygons along its pixels' edges, holes kept.

Such polygons describe the mask exactly: filling them by the even-odd rule gives it back, and the area by the
shoelace formula is the number of pixels.
"""

from collections import defaultdict

import cv2
import numpy as np
from numpy.typing import NDArray

Ring = list[list[int]]
Polygon = list[Ring]


def timings(crop: NDArray[np.bool_], origin: tuple[int, int] = (0, 0)) -> list[Polygon]:
    """Polygons of a mask.

    Args:
        crop: bool [rows, columns].
        origin: (x, y) of the crop's top left pixel, added to every corner.

    Returns:
        For each part that hangs together by its pixels' sides, in reading order: a list of rings, the outside
        first, then the holes. A ring is its corners [x, y], each once; pixel (x, y) covers x to x + 1 and y to
        y + 1.
    """
    padded = np.pad(crop, 1).astype(np.uint8)
    _, parts = cv2.connectedComponents(padded, connectivity=4, ltype=cv2.CV_32S)
    outside: dict[int, Ring] = {}
    holes: defaultdict[int, list[Ring]] = defaultdict(list)
    x_origin, y_origin = origin
    for corners in _rings(padded):
        # The first corner is the ring's topmost, then leftmost: what lies below it is inside the ring.
        x, y = corners[0]
        ring = [[x + x_origin, y + y_origin] for x, y in corners]
        below, above = int(parts[y + 1, x + 1]), int(parts[y, x + 1])
        if below:
            outside[below] = ring
        else:
            holes[above].append(ring)
    return [[outside[part], *holes[part]] for part in sorted(outside)]


def _rings(padded: NDArray[np.uint8]) -> list[list[tuple[int, int]]]:
    """Closed walks along the mask's edge.

    A lattice point is a corner where an odd number of its four pixels is set, and two corners where only two
    that touch diagonally are. Along a row of the lattice, corners pair up into horizontal edges; along a column
    into vertical ones. Every corner has one of each, so alternating between them walks a ring.
    """
    upper_left, upper_right = padded[:-1, :-1], padded[:-1, 1:]
    lower_left, lower_right = padded[1:, :-1], padded[1:, 1:]
    odd = (upper_left ^ upper_right ^ lower_left ^ lower_right).astype(bool)
    diagonal = ~odd & (upper_left == lower_right) & (upper_left != upper_right)
    y_odd, x_odd = np.nonzero(odd)
    y_two, x_two = np.nonzero(diagonal)
    falls = upper_left[y_two, x_two] == 1
    nothing = np.zeros(len(y_odd), np.int8)
    # Of two corners at one point, the first has the edge to the left, the second the one to the right; which of
    # them has the edge upwards depends on the diagonal.
    y = np.concatenate([y_odd, y_two, y_two])
    x = np.concatenate([x_odd, x_two, x_two])
    after_in_row = np.concatenate([nothing, np.zeros(len(y_two), np.int8), np.ones(len(y_two), np.int8)])
    after_in_column = np.concatenate([nothing, ~falls, falls]).astype(np.int8)
    horizontal = _pair(np.lexsort((after_in_row, x, y)))
    vertical = _pair(np.lexsort((after_in_column, y, x)))

    reading_order = np.lexsort((after_in_row, x, y)).tolist()
    points = list(zip(x.tolist(), y.tolist(), strict=True))
    seen = bytearray(len(points))
    rings = []
    for first in reading_order:
        if seen[first]:
            continue
        ring = []
        corner = first
        while not seen[corner]:
            turn = horizontal[corner]
            seen[corner] = seen[turn] = 1
            ring += [points[corner], points[turn]]
            corner = vertical[turn]
        rings.append(ring)
    return rings


def _pair(order: NDArray[np.intp]) -> list[int]:
    """Partner of each corner when those in `order` are taken two by two."""
    partner = np.empty(len(order), np.intp)
    partner[order[0::2]] = order[1::2]
    partner[order[1::2]] = order[0::2]
    return partner.tolist()
