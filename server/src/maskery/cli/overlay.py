"""A mask drawn over its image, for a person to look at."""

import colorsys
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# Hues a golden angle apart stay distinct however many there are.
_GOLDEN = 0.618034
_FILL = 0.45


def draw(image: NDArray[np.uint8], values: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """The image with each object tinted in a colour of its own and outlined.

    Args:
        image: uint8 [height, width, 3], RGB.
        values: categorical mask [rows, columns]; one of another size than the image is stretched over it.
    """
    height, width = image.shape[:2]
    values = values[_nearest(height, values.shape[0])[:, None], _nearest(width, values.shape[1])]
    drawn = image.copy()
    edge = max(1, round(min(values.shape) / 300))
    for value in np.unique(values[values > 0]).tolist():
        inside = values == value
        colour = np.array(_colour(value))
        drawn[inside] = (drawn[inside] * (1 - _FILL) + colour * _FILL).astype(np.uint8)
        outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, colour.tolist(), edge, cv2.LINE_AA)
    return drawn


def _nearest(length: int, cells: int) -> NDArray[np.intp]:
    """For each of `length` pixels the cell that its middle lies in."""
    return ((np.arange(length) + 0.5) * cells / length).astype(np.intp)


def _colour(value: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb((0.58 + (value - 1) * _GOLDEN) % 1, 0.85, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)
