"""Encodes a prompt as planes for `maskery/nano`.

The network was trained on these planes, so this module changes only together with the weights.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

PLANES = 8

# Radius of the spot that marks a point, in cells.
_SPOT = 1.0

# Distance at which the nearness of a point has fallen to 1 / e, in sides of the grid.
_REACH = 0.15

# Difference in 8-bit Lab at which the likeness of two colours is one half.
_ALIKE = 20.0


def lab_colours(image: Bytes) -> Floats:
    """Lab of an image of the grid's size, uint8 [rows, columns, 3], slightly smoothed; float32 likewise."""
    smooth = cv2.blur(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), (3, 3))
    return smooth.astype(np.float32)


def prompt_planes(
    colours: Floats, points: Floats, labels: Bytes, box: Floats | None = None, ambiguous: bool = False
) -> Floats:
    """Planes float32 [8, rows, columns].

    Two planes each, for points on the object and off it: spots at the points, nearness of the points, likeness to
    their colours. Then 1 inside the box and -1 outside, 0 without a box. Then 1 everywhere if the prompt is ambiguous.

    Args:
        colours: of the image, see `lab_colours`.
        points: float32 [points, 2], (x, y) in cells; the centre of the first cell is (0.5, 0.5).
        labels: uint8 [points], 1 on the object, 0 off it.
        box: float32 [4], (x0, y0, x1, y1) in cells.
        ambiguous: the prompt is a single point.
    """
    rows, columns = colours.shape[:2]
    planes = np.zeros((PLANES, rows, columns), np.float32)
    if len(points):
        x = np.arange(0.5, columns, dtype=np.float32) - points[:, :1]
        y = np.arange(0.5, rows, dtype=np.float32) - points[:, 1:]
        squared = x[:, None, :] ** 2 + y[:, :, None] ** 2
        cells = points.astype(np.intp).clip(0, (columns - 1, rows - 1))
        clicked = colours[cells[:, 1], cells[:, 0]]
        reach = _REACH * (rows * columns) ** 0.5
        for plane, label in enumerate((1, 0)):
            chosen = labels == label
            if chosen.any():
                nearest = squared[chosen].min(axis=0)
                planes[plane] = np.exp(nearest / (-2 * _SPOT**2))
                planes[2 + plane] = np.exp(np.sqrt(nearest) / -reach)
                planes[4 + plane] = _likeness(colours, clicked[chosen])
    if box is not None:
        across, down = np.arange(0.5, columns), np.arange(0.5, rows)[:, None]
        inside = (across > box[0]) & (across < box[2]) & (down > box[1]) & (down < box[3])
        planes[6] = np.where(inside, 1, -1)
    planes[7] = ambiguous
    return planes


def _likeness(colours: Floats, clicked: Floats) -> Floats:
    """float32 [rows, columns], 1 where the colour is that of a point."""
    likeness = np.zeros(colours.shape[:2], np.float32)
    for colour in np.unique(clicked, axis=0):
        difference = colours - colour
        squared = np.einsum("ijk,ijk->ij", difference, difference)
        np.maximum(likeness, np.exp2(squared / -(_ALIKE**2)), out=likeness)
    return likeness
