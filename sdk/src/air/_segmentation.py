"""From the arguments of ``segment`` to the call that is sent."""

import json
from collections.abc import Mapping
from typing import Any

import httpx

from . import _prompts
from ._config import Upload
from ._pictures import Picture, as_base64, as_file
from ._transport import Body, Call
from .errors import InputError
from .types import SegmentationResponse

_PATH = "/v1/images/segmentations"

# What turns each option into plain JSON.
_OPTIONS = {
    "point_labels": lambda value: _prompts.numbers(value, "point_labels"),
    "boxes": lambda value: _prompts.numbers(value, "boxes"),
    "mask_prompts": _prompts.mask_prompts,
    "n": None,
    "size": _prompts.size,
    "exif": None,
    "response_format": None,
    "compose": None,
    "merge_iou": None,
    "user": None,
}


def segmentation_call(
    upload: Upload,
    /,
    image: Picture,
    segment_prompt: _prompts.SegmentPrompt,
    model: str,
    timeout: float | None = None,
    extra_headers: Mapping[str, str] | None = None,
    extra_body: object | None = None,
    **parameters: Any,
) -> Call[SegmentationResponse]:
    def body() -> Body:
        fields = {
            "model": model,
            "segment_prompt": _prompts.segment_prompt(segment_prompt),
            "extra_body": extra_body,
            **_plain(parameters),
        }
        if upload == "multipart":
            return _multipart(as_file(image), _json(fields))
        return Body(_json({"image_prompt": as_base64(image), **fields}), "application/json")

    return Call("POST", _PATH, SegmentationResponse, body=body, headers=extra_headers, timeout=timeout)


def _plain(parameters: dict[str, Any]) -> dict[str, Any]:
    """Options as plain JSON, those that were left out dropped; parameters unknown to us as they are."""
    plain = {}
    for name, value in parameters.items():
        if name not in _OPTIONS:
            plain[name] = value
        elif value is not None:
            convert = _OPTIONS[name]
            plain[name] = value if convert is None else convert(value)
    return plain


def _json(fields: dict[str, Any]) -> bytes:
    try:
        return json.dumps(fields, allow_nan=False, separators=(",", ":"), default=_from_array).encode()
    except ValueError as error:
        raise InputError(f"JSON cannot carry NaN or infinity, nor a list inside itself: {error}") from None
    except TypeError as error:
        raise InputError(f"JSON cannot carry this: {error}") from None


def _from_array(value: Any) -> Any:
    """numpy's scalars and arrays, wherever they are in options or ``extra_body``."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON serializable")


def _multipart(picture: bytes | bytearray | memoryview, fields: bytes) -> Body:
    request = httpx.Request(
        "POST",
        "http://multipart",  # httpx needs an address to encode a form; nothing is sent there
        files={
            "image": ("image", bytes(picture), "application/octet-stream"),
            "request": (None, fields, "application/json"),
        },
    )
    return Body(request.read(), request.headers["content-type"])
