"""From what a caller has to the prompts and options of the request's JSON."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from . import _base64
from ._extra import images_extra
from ._image_input import ArrayLike, is_array, is_pil_image
from .errors import InputError
from .types import RLE

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

Points: TypeAlias = Sequence[Sequence[float]] | ArrayLike
SegmentPrompt: TypeAlias = str | Sequence[Points] | ArrayLike
PointLabels: TypeAlias = Sequence[Sequence[int] | ArrayLike | None] | ArrayLike
Boxes: TypeAlias = Sequence[Sequence[float] | ArrayLike | None] | ArrayLike
MaskPrompt: TypeAlias = Union[
    RLE, Mapping[str, Any], str, bytes, bytearray, memoryview, os.PathLike[str], "PILImage", ArrayLike, None
]
MaskPrompts: TypeAlias = Sequence[MaskPrompt] | ArrayLike

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def numbers(value: object, where: str) -> Any:
    """Nested lists of numbers and None from nested lists, tuples and arrays.

    Raises:
        InputError: something else is in there, or a number that JSON cannot carry. Says where.
    """
    if value is None:
        return None
    if isinstance(value, int):
        return int(value)  # labels may come as True and False
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"{where} is {value}: a coordinate must be a finite number")
        return float(value)
    if hasattr(value, "tolist"):  # numpy's arrays and scalars, tensors
        return numbers(value.tolist(), where)
    if is_array(value):
        return numbers(value.__array__(), where)
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        return [numbers(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise InputError(f"{where} must be a number or a list of them, got {type(value).__name__}")


def segment_prompt(value: SegmentPrompt | None) -> Any:
    """Text is passed on as it is: the API types the prompt as str, and takes JSON in it. None stays None."""
    return value if isinstance(value, str) else numbers(value, "segment_prompt")


def mask_prompts(masks: MaskPrompts) -> list[Any]:
    """For each object its mask as COCO RLE or as base64 PNG, or None.

    Raises:
        InputError: one of them is no mask. Says which.
        OSError: a file cannot be read.
        MissingExtraError: one is an array, and numpy or Pillow is not installed.
    """
    if isinstance(masks, str | bytes | Mapping) or not isinstance(masks, Iterable):
        raise InputError(f"mask_prompts must be a list with a mask or None per object, got {type(masks).__name__}")
    return [_mask_prompt(mask, f"mask_prompts[{index}]") for index, mask in enumerate(masks)]


def _mask_prompt(mask: object, where: str) -> Any:
    if mask is None or isinstance(mask, str):
        return mask
    if isinstance(mask, RLE):
        return mask.model_dump()
    if isinstance(mask, Mapping):
        counts = mask.get("counts")  # pycocotools answers bytes, which JSON has not
        return {**mask, "counts": counts.decode("ascii")} if isinstance(counts, bytes) else dict(mask)
    if isinstance(mask, os.PathLike):
        mask = Path(mask).read_bytes()
    if isinstance(mask, bytes | bytearray | memoryview):
        if bytes(mask[:8]) != _PNG_SIGNATURE:
            raise InputError(f"{where} is not a PNG file")
        return _base64.encode(mask)
    if is_pil_image(mask) or is_array(mask):
        with images_extra("mask_prompts of pixels"):
            from . import _pixels  # noqa: PLC0415
        try:
            return _base64.encode(_pixels.mask_png(mask))
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    raise InputError(
        f"{where} must be COCO RLE, a base64 PNG, a PNG's bytes or path, a PIL image, an array or None; "
        f"got {type(mask).__name__}"
    )


def size(value: str | tuple[int, int]) -> str:
    """``(width, height)`` as "WxH"; text as it is."""
    if isinstance(value, str):
        return value
    try:
        width, height = (int(side) for side in value)
    except (TypeError, ValueError):
        raise InputError(f'size must be "WIDTHxHEIGHT" or (width, height), got {value!r}') from None
    return f"{width}x{height}"
