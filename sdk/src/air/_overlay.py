"""Drawing a mask over its image."""

import colorsys
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

from ._encoding import OptionalModule, plain
from ._image_input import ImageInput, open_rgb
from ._mask_arrays import MaskPixels, Region, categorical, layers
from .errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image
    from PIL.Image import Image as PILImage
else:
    np, Image = OptionalModule("numpy"), OptionalModule("PIL.Image")

# Steps of the golden ratio around the colour wheel keep consecutive values far apart, however many there are.
_GOLDEN_RATIO = 0.6180339887
_FIRST_HUE = 0.57
# After one turn hues come close to each other; these keep them apart.
_SATURATION_AND_BRIGHTNESS = ((0.85, 1.0), (0.65, 0.85), (1.0, 0.75))

# Pixels of an image in a notebook, along its longer side.
_PREVIEW_SIZE = 800


def overlay(
    pixels: MaskPixels, segments: Sequence[Region], image: ImageInput, alpha: float, exif: str | None
) -> "PILImage":
    """An RGB image of the image's size. Raises InputError, MaskError."""
    alpha = plain(alpha)
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha must be from 0 to 1, got {alpha!r}")
    if exif not in (None, "apply", "ignore"):
        raise InputError(f"exif must be 'apply' or 'ignore', got {exif!r}")
    background = open_rgb(image, exif)
    canvas = np.array(background)
    thickness = max(1, round(min(background.size) / 200))
    for value, region in layers(pixels, segments):
        _paint(canvas, _scaled(region, background.size), colour(value), alpha, thickness)
    return Image.fromarray(canvas)


def preview(pixels: MaskPixels, segments: Sequence[Region]) -> bytes:
    """A small PNG of the mask alone, each value in its colour on a transparent background. Raises MaskError."""
    canvas: NDArray[np.uint8] | None = None
    for value, region in layers(pixels, segments):
        if canvas is None:
            canvas = np.zeros((*region.shape, 4), np.uint8)
        canvas[region] = (*colour(value), 255)
    if canvas is None:
        canvas = np.zeros((*categorical(pixels, segments).shape, 4), np.uint8)
    image = Image.fromarray(canvas)
    image.thumbnail((_PREVIEW_SIZE, _PREVIEW_SIZE), Image.Resampling.NEAREST)
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def colour(value: int) -> tuple[int, int, int]:
    """The colour of a mask value (from 1), RGB 0 to 255: always the same, unlike those of the values next to it."""
    step = value - 1
    hue = (_FIRST_HUE + step * _GOLDEN_RATIO) % 1
    saturation, brightness = _SATURATION_AND_BRIGHTNESS[step // 8 % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, brightness)
    return round(red * 255), round(green * 255), round(blue * 255)


def _scaled(region: "NDArray[np.bool_]", size: tuple[int, int]) -> "NDArray[np.bool_]":
    if (region.shape[1], region.shape[0]) == size:
        return region
    return np.asarray(Image.fromarray(region).resize(size, Image.Resampling.NEAREST))


def _paint(
    canvas: "NDArray[Any]", region: "NDArray[np.bool_]", rgb: tuple[int, int, int], alpha: float, thickness: int
) -> None:
    """Tint the region and draw its outline, in place, within its bounding box."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    if not rows.size:
        return
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inside, view = region[window], canvas[window]
    tint = np.asarray(rgb, np.float32)
    view[inside] = np.rint(view[inside] * (1 - alpha) + tint * alpha).astype(np.uint8)
    view[inside & ~_eroded(inside, thickness)] = rgb


def _eroded(inside: "NDArray[np.bool_]", steps: int) -> "NDArray[np.bool_]":
    """Without the pixels within ``steps`` of the outside, which includes what lies beyond the array."""
    core = np.pad(inside, 1)
    for _ in range(steps):
        kept = core.copy()
        kept[1:-1, 1:-1] &= core[:-2, 1:-1] & core[2:, 1:-1] & core[1:-1, :-2] & core[1:-1, 2:]
        core = kept
    return core[1:-1, 1:-1]
