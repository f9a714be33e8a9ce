"""From an answered mask to arrays, whichever format was answered. Needs numpy and Pillow."""

from collections.abc import Iterator
from io import BytesIO
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from . import _polygons, _rle
from ._base64 import decode_mask
from .errors import MaskError

if TYPE_CHECKING:
    from .types.images import Mask, Segment

Categorical = NDArray[np.uint8] | NDArray[np.uint16]


def categorical(mask: "Mask") -> Categorical:
    """uint8 or uint16 [height, width]. Raises MaskError."""
    if mask.b64_json is not None:
        return _read_png(mask.b64_json)
    segments = mask.segments or []
    height, width = _size(mask)
    dtype = np.uint16 if any(segment.value > 255 for segment in segments) else np.uint8
    values: NDArray[Any] = np.zeros((height, width), dtype)
    for segment in segments:
        pixels = segment.to_numpy()
        if pixels.shape != values.shape:
            raise MaskError(f"segment {segment.value} is {pixels.shape}, its mask {values.shape}")
        if values[pixels].any():
            raise MaskError(
                f"segment {segment.value} overlaps another (compose=False answers whole masks), so no single "
                "array holds them: take each from mask.segments[i].to_numpy()"
            )
        values[pixels] = segment.value
    return values


def layers(mask: "Mask") -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Each segment's value and pixels (bool [height, width]), large before small. Raises MaskError."""
    if mask.b64_json is None:
        segments = [(segment.value, segment.to_numpy()) for segment in mask.segments or ()]
        yield from sorted(segments, key=lambda layer: -int(layer[1].sum()))
    else:
        values = _read_png(mask.b64_json)
        for value in np.unique(values[values > 0]).tolist():
            yield value, np.equal(values, value)


def segment_pixels(
    segment: "Segment", b64_json: str | None, height: int | None, width: int | None
) -> NDArray[np.bool_]:
    """bool [height, width]. Raises MaskError."""
    if segment.rle is not None:
        return _rle.decode(segment.rle.counts, *segment.rle.size)
    if segment.polygons is not None and height is not None and width is not None:
        return _polygons.fill(chain.from_iterable(segment.polygons), height, width)
    if b64_json is not None:
        return np.equal(_read_png(b64_json), segment.value)
    raise MaskError(f"segment {segment.value} came without its pixels")


def to_image(mask: "Mask") -> Image.Image:
    """Mode L or I;16. Raises MaskError."""
    return Image.fromarray(categorical(mask))


def _size(mask: "Mask") -> tuple[int, int]:
    if mask.height is not None and mask.width is not None:
        return mask.height, mask.width
    for segment in mask.segments or ():
        if segment.rle is not None:
            return segment.rle.size
    raise MaskError("the mask came without pixels: it has neither b64_json nor a size with segments")


def _read_png(b64_json: str) -> Categorical:
    try:
        with Image.open(BytesIO(decode_mask(b64_json)), formats=["PNG"]) as image:
            mode, array = image.mode, np.asarray(image)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:  # Pillow's ways to say: damaged
        raise MaskError(f"the mask is not a whole PNG: {error}") from None
    if mode in ("1", "L", "P"):
        return array.astype(np.uint8)
    if mode.startswith("I"):  # 16 bits: "I;16", or "I" in older releases of Pillow
        return array.astype(np.uint16)
    raise MaskError(f"the mask is a PNG of mode {mode}; a categorical mask has one channel")
