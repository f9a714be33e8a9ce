"""Parses mask prompts: a COCO RLE or a base64 PNG."""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskery.segmentation import pillow, rle
from maskery.segmentation.errors import PromptError, SegmentationError
from maskery.segmentation.image import Size

_EXPECTED = 'a mask is a COCO RLE ({"size": [height, width], "counts": …}) or a base64 PNG of the image\'s size'


def read_mask_prompt(value: Any, path: str, size: Size) -> NDArray[np.bool_]:
    """Parse a mask prompt to bool [height, width]. In a PNG, every value but 0 is object.

    Raises:
        PromptError: it is neither RLE nor PNG, is damaged, or differs from the image in size.
    """
    if isinstance(value, dict):
        return _from_rle(value, path, size)
    if isinstance(value, str):
        return _from_png(value, path, size)
    raise PromptError(f"{path} is not a mask; {_EXPECTED}", path)


def _from_rle(value: dict[str, Any], path: str, size: Size) -> NDArray[np.bool_]:
    if value.get("size") != [size.height, size.width]:
        raise PromptError(
            f"{path}.size must be [height, width] of the image, [{size.height}, {size.width}]",
            f"{path}.size",
        )
    try:
        return rle.decode(value.get("counts"), size)
    except ValueError as error:
        raise PromptError(f"{path}.counts {error}", f"{path}.counts") from None


def _from_png(value: str, path: str, size: Size) -> NDArray[np.bool_]:
    payload = value.partition(",")[2] if value.startswith("data:") else value
    try:
        data = base64.b64decode(payload, validate=True)
        image = pillow.read_header(data) if data.startswith(pillow.PNG_SIGNATURE) else None
    except (ValueError, SegmentationError):
        image = None
    if image is None:
        raise PromptError(f"{path} is text but not a base64 PNG; {_EXPECTED}", path)
    if image.size != size:
        raise PromptError(f"{path} is {image.width}x{image.height}, the image is {size}: both must have one size", path)
    try:
        pixels: NDArray[np.generic] = np.asarray(pillow.decode(image, data))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001
        raise PromptError(f"{path} is a damaged PNG", path) from None
    if pixels.ndim != 2:
        raise PromptError(f"{path} has colours; a mask has one channel", path)
    mask: NDArray[np.bool_] = pixels != 0
    return mask
