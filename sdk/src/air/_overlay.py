"""Drawing a mask over its picture. Needs numpy and Pillow."""

import colorsys
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import _mask_arrays as _masks
from ._image_input import Picture
from ._pixels import open_rgb
from .errors import InputError

if TYPE_CHECKING:
    from .types import Mask

# Steps of the golden ratio around the colour wheel: however many values there are, neighbours are far apart.
_GOLDEN_RATIO = 0.6180339887
_FIRST_HUE = 0.57
# Once around the wheel hues get near to each other; these tell them apart.
_SATURATION_AND_BRIGHTNESS = ((0.85, 1.0), (0.65, 0.85), (1.0, 0.75))

# Pixels of a picture in a notebook, along its longer side.
_LOOKED_AT = 800


def overlay(mask: "Mask", image: Picture, alpha: float, exif: str) -> Image.Image:
    """An RGB image of the picture's size. Raises InputError, MaskError."""
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha must be from 0 to 1, got {alpha!r}")
    if exif not in ("apply", "ignore"):
        raise InputError(f"exif must be 'apply' or 'ignore', got {exif!r}")
    picture = open_rgb(image, exif)
    canvas = np.array(picture)
    thickness = max(1, round(min(picture.size) / 200))
    for value, pixels in _masks.layers(mask):
        _paint(canvas, _scaled(pixels, picture.size), colour(value), alpha, thickness)
    return Image.fromarray(canvas)


def portrait(mask: "Mask") -> bytes:
    """A PNG of the mask alone, every value in its colour on nothing, in a size to look at. Raises MaskError."""
    canvas: NDArray[np.uint8] | None = None
    for value, pixels in _masks.layers(mask):
        if canvas is None:
            canvas = np.zeros((*pixels.shape, 4), np.uint8)
        canvas[pixels] = (*colour(value), 255)
    if canvas is None:
        canvas = np.zeros((*_masks.categorical(mask).shape, 4), np.uint8)
    image = Image.fromarray(canvas)
    image.thumbnail((_LOOKED_AT, _LOOKED_AT), Image.Resampling.NEAREST)
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def colour(value: int) -> tuple[int, int, int]:
    """The colour of a mask's value (from 1), RGB 0 to 255: always the same, unlike its neighbours'."""
    step = value - 1
    hue = (_FIRST_HUE + step * _GOLDEN_RATIO) % 1
    saturation, brightness = _SATURATION_AND_BRIGHTNESS[step // 8 % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, brightness)
    return round(red * 255), round(green * 255), round(blue * 255)


def _scaled(pixels: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    if (pixels.shape[1], pixels.shape[0]) == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST))


def _paint(
    canvas: NDArray[Any], pixels: NDArray[np.bool_], rgb: tuple[int, int, int], alpha: float, thickness: int
) -> None:
    """Tint the pixels and draw their outline, in place, within the rectangle around them."""
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    if not rows.size:
        return
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inside, view = pixels[window], canvas[window]
    tint = np.asarray(rgb, np.float32)
    view[inside] = np.rint(view[inside] * (1 - alpha) + tint * alpha).astype(np.uint8)
    view[inside & ~_eroded(inside, thickness)] = rgb


def _eroded(inside: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    """Without its pixels within ``steps`` of the outside, which begins beyond the array."""
    core = np.pad(inside, 1)
    for _ in range(steps):
        kept = core.copy()
        kept[1:-1, 1:-1] &= core[:-2, 1:-1] & core[2:, 1:-1] & core[1:-1, :-2] & core[1:-1, 2:]
        core = kept
    return core[1:-1, 1:-1]
