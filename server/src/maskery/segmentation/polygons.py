"""Traces a mask as polygons along the edges of its pixels, with holes.

The polygons describe the mask exactly: filling them by the even-odd rule gives the mask back, and the area by the
shoelace formula is the number of pixels.
"""

from collections import defaultdict

import cv2
import numpy as np
from numpy.typing import NDArray

Ring = list[list[int]]
Polygon = list[Ring]


def trace(crop: NDArray[np.bool_], origin: tuple[int, int] = (0, 0)) -> list[Polygon]:
    """Trace the polygons of a mask.

    Args:
        crop: bool [rows, columns].
        origin: (x, y) of the crop's top left pixel, added to every corner.

    Returns:
        A list of rings for each 4-connected component, in reading order: the outer ring first, then the holes. A ring
        is a list of corners [x, y] without repetition; pixel (x, y) covers x to x + 1 and y to y + 1.
    """
    padded = np.pad(crop, 1).astype(np.uint8)
    _, parts = cv2.connectedComponents(padded, connectivity=4, ltype=cv2.CV_32S)
    outer: dict[int, Ring] = {}
    holes: defaultdict[int, list[Ring]] = defaultdict(list)
    x_origin, y_origin = origin
    for corners in _rings(padded):
        # The first corner is the ring's topmost, then leftmost, so the pixel below it is inside the ring.
        x, y = corners[0]
        ring = [[x + x_origin, y + y_origin] for x, y in corners]
        below, above = int(parts[y + 1, x + 1]), int(parts[y, x + 1])
        if below:
            outer[below] = ring
        else:
            holes[above].append(ring)
    return [[outer[part], *holes[part]] for part in sorted(outer)]


def _rings(padded: NDArray[np.uint8]) -> list[list[tuple[int, int]]]:
    """Closed walks along the edges of a mask that is padded by one pixel.

    Every point where four pixels meet is one of these (# is object):

        . .    # #     # .    # .      . #       # .       . #
        . .    # #     # .    . .      # #       . #       # .

        no     no      no     one      one       two       two
        corner corner  corner corner   corner    corners   corners

    In a row of points, the first and second corner are the ends of a horizontal edge, the third and fourth of the next,
    and so on; in a column of points, likewise of vertical edges. So every corner ends one horizontal and one vertical
    edge, and following them in turn walks around a ring:

        a──b        row 1: (a b)             a → b → c → d → a
        │##│        row 2: (d c)
        d──c        columns: (a d) (b c)

    Two corners at one point belong to two rings that touch there, or to one that touches itself. The first of them has
    the edge to the left, the second the edge to the right. Which of them has the edge upwards follows from the
    diagonal, such that pixels that touch only at a corner are not connected:

        # .   falls: first has the edge upwards       . #   rises: second has the edge upwards
        . #                                           # .
    """
    upper_left, upper_right = padded[:-1, :-1], padded[:-1, 1:]
    lower_left, lower_right = padded[1:, :-1], padded[1:, 1:]
    odd = (upper_left ^ upper_right ^ lower_left ^ lower_right).astype(bool)
    diagonal = ~odd & (upper_left == lower_right) & (upper_left != upper_right)
    y_one, x_one = np.nonzero(odd)
    y_two, x_two = np.nonzero(diagonal)
    falls = upper_left[y_two, x_two] == 1
    only = np.zeros(len(y_one), np.int8)
    first, second = np.zeros(len(y_two), np.int8), np.ones(len(y_two), np.int8)
    # All corners: those that are alone at their point, then the first and the second of each pair.
    y = np.concatenate([y_one, y_two, y_two])
    x = np.concatenate([x_one, x_two, x_two])
    rank_in_row = np.concatenate([only, first, second])
    rank_in_column = np.concatenate([only, ~falls, falls]).astype(np.int8)
    in_reading_order = np.lexsort((rank_in_row, x, y))
    horizontal = _pair(in_reading_order)
    vertical = _pair(np.lexsort((rank_in_column, y, x)))

    points = list(zip(x.tolist(), y.tolist(), strict=True))
    seen = bytearray(len(points))
    rings = []
    for start in in_reading_order.tolist():
        if seen[start]:
            continue
        ring = []
        corner = start
        while not seen[corner]:
            turn = horizontal[corner]
            seen[corner] = seen[turn] = 1
            ring += [points[corner], points[turn]]
            corner = vertical[turn]
        rings.append(ring)
    return rings


def _pair(order: NDArray[np.intp]) -> list[int]:
    """The partner of each corner when consecutive corners of `order` form pairs."""
    partner = np.empty(len(order), np.intp)
    partner[order[0::2]] = order[1::2]
    partner[order[1::2]] = order[0::2]
    return partner.tolist()
