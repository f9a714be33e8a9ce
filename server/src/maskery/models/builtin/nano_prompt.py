"""Encodes a prompt as planes for `maskery/nano`.

The network was trained on these planes, so this module changes only together with the weights.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

PLANES = 10

# Radius of the spot that marks a point, in cells.
_SPOT = 1.0

# Distance at which the nearness of a point has fallen to 1 / e, in sides of the grid.
_REACH = 0.15

# Difference of two colours, see `opponent_colours`, at which their likeness is one half.
_ALIKE = 24.0

# Lightness and two differences; lightness counts less than hue.
_OPPONENT = np.array(((0.4, 0.4, 0.4), (0.8, -0.8, 0.0), (0.4, 0.4, -0.8)), np.float32)

# Points whose distances are computed at a time, which bounds the temporary arrays.
_POINTS = 16


def opponent_colours(image: Bytes) -> Floats:
    """Colours of an image uint8 [4 rows, 4 columns, 3] on a grid of a quarter of its size, slightly smoothed.

    Returns:
        float32 [rows, columns, 3], lightness and two differences of colours.
    """
    rows, columns = image.shape[0] // 4, image.shape[1] // 4
    # Rows first: the columns of four rows are neighbours in memory.
    quarter = image.reshape(rows, 4, 4 * columns, 3).sum(1, dtype=np.uint16)
    quarter = quarter.reshape(rows, columns, 4, 3).sum(2, dtype=np.uint16)
    mixed = cv2.transform(quarter.astype(np.float32) / 16, _OPPONENT)
    # Cells beyond the border do not count.
    smooth = cv2.boxFilter(mixed, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    down, across = (_neighbours(count) for count in (rows, columns))
    colours: Floats = smooth / (down[:, None] * across)[:, :, None]
    return colours


def prompt_planes(
    colours: Floats,
    points: Floats,
    labels: Bytes,
    newest: tuple[Floats, int] | None = None,
    box: Floats | None = None,
    single: bool = False,
    local: bool = False,
) -> Floats:
    """Planes float32 [10, rows, columns].

    Two planes each, for points on the object and off it: spots at the points, nearness of the points, likeness to
    their colours. Then 1 inside the box and -1 outside, 0 without a box; 1 everywhere if the prompt is a single point;
    the spot of the newest point, negative off the object; 1 everywhere in a window around the newest point.

    Args:
        colours: of the image, see `opponent_colours`.
        points: float32 [points, 2], (x, y) in cells; the centre of the first cell is (0.5, 0.5).
        labels: uint8 [points], 1 on the object, 0 off it.
        newest: the newest point, float32 [2], and its label; None: it is not in the window, or there is none.
        box: float32 [4], (x0, y0, x1, y1) in cells.
        single: the prompt is a single point, which may mean more than one thing.
        local: the window surrounds the newest point.
    """
    rows, columns = colours.shape[:2]
    planes = np.zeros((PLANES, rows, columns), np.float32)
    reach = _REACH * (rows * columns) ** 0.5
    for plane, label in enumerate((1, 0)):
        chosen = points[labels == label]
        if len(chosen):
            nearest = _squared_distance(chosen, rows, columns)
            planes[plane] = np.exp(nearest / (-2 * _SPOT**2))
            planes[2 + plane] = np.exp(np.sqrt(nearest) / -reach)
            planes[4 + plane] = _likeness(colours, chosen)
    if box is not None:
        across, down = np.arange(0.5, columns), np.arange(0.5, rows)[:, None]
        inside = (across > box[0]) & (across < box[2]) & (down > box[1]) & (down < box[3])
        planes[6] = np.where(inside, 1, -1)
    planes[7] = single
    if newest:
        spot = np.exp(_squared_distance(newest[0][None], rows, columns) / (-2 * _SPOT**2))
        planes[8] = spot if newest[1] else -spot
    planes[9] = local
    return planes


def _squared_distance(points: Floats, rows: int, columns: int) -> Floats:
    """Of each cell from the nearest of the points, float32 [rows, columns]."""
    nearest = np.full((rows, columns), np.inf, np.float32)
    for start in range(0, len(points), _POINTS):
        some = points[start : start + _POINTS]
        across = np.square(np.arange(0.5, columns, dtype=np.float32) - some[:, :1])
        down = np.square(np.arange(0.5, rows, dtype=np.float32) - some[:, 1:])
        np.minimum(nearest, (down[:, :, None] + across[:, None, :]).min(axis=0), out=nearest)
    return nearest


def _likeness(colours: Floats, points: Floats) -> Floats:
    """float32 [rows, columns], 1 where the colour is that of a point."""
    rows, columns = colours.shape[:2]
    cells = points.astype(np.intp).clip(0, (columns - 1, rows - 1))
    least = np.full((rows, columns), np.inf, np.float32)
    for colour in np.unique(colours[cells[:, 1], cells[:, 0]], axis=0):
        difference = colours - colour
        np.minimum(least, np.einsum("ijk,ijk->ij", difference, difference), out=least)
    likeness: Floats = np.exp2(least / -(_ALIKE**2))
    return likeness


def _neighbours(count: int) -> Floats:
    """How many cells of a row lie within one cell of each, itself included."""
    return np.convolve(np.ones(count, np.float32), np.ones(3, np.float32), "same")
