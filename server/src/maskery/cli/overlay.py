"""Draw a mask over its image."""

import colorsys
import sys
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from maskery.segmentation import ImageLimits

# The colours of `air`'s `Mask.overlay()` and of the playground; a test compares them.
# Steps of the golden ratio around the colour wheel keep neighbouring values apart, however many there are.
_GOLDEN_RATIO = 0.6180339887
_FIRST_HUE = 0.57
# After eight hues the next ones are similar: vary saturation and brightness.
_SATURATION_AND_BRIGHTNESS = ((0.85, 1.0), (0.65, 0.85), (1.0, 0.75))

_ALPHA = 0.45

#: To open an image that has been accepted already, under the limits of this machine or of a server.
ACCEPTED = ImageLimits(sys.maxsize, sys.maxsize)


def draw_overlay(image: NDArray[np.uint8], values: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """The image with each object tinted and outlined in its colour.

    Args:
        image: uint8 [height, width, 3], RGB.
        values: categorical mask [rows, columns], scaled to the image's size where it has another.

    Returns:
        uint8 [height, width, 3], RGB.
    """
    height, width = image.shape[:2]
    values = values[_nearest(height, values.shape[0])[:, None], _nearest(width, values.shape[1])]
    drawn = image.copy()
    thickness = max(1, round(min(values.shape) / 300))
    for value in np.unique(values[values > 0]).tolist():
        inside = values == value
        tint = np.array(colour(value))
        drawn[inside] = (drawn[inside] * (1 - _ALPHA) + tint * _ALPHA).astype(np.uint8)
        outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, tint.tolist(), thickness, cv2.LINE_AA)
    return drawn


def colour(value: int) -> tuple[int, int, int]:
    """The colour of a mask's value, counted from 1: RGB, 0 to 255."""
    step = value - 1
    saturation, brightness = _SATURATION_AND_BRIGHTNESS[step // 8 % 3]
    red, green, blue = colorsys.hsv_to_rgb((_FIRST_HUE + step * _GOLDEN_RATIO) % 1, saturation, brightness)
    return round(red * 255), round(green * 255), round(blue * 255)


def _nearest(length: int, cells: int) -> NDArray[np.intp]:
    """For each of `length` pixels the cell that contains its centre."""
    return ((np.arange(length) + 0.5) * cells / length).astype(np.intp)
