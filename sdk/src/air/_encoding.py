"""From plain fields, with a picture or without, to the body that is sent."""

import json
from typing import Any

import httpx

from ._config import Upload
from ._image_input import Picture, as_base64, as_file
from ._transport import Body
from .errors import InputError


def json_body(fields: dict[str, Any]) -> Body:
    """Raises InputError for what JSON cannot carry."""
    return Body(_json(fields), "application/json")


def picture_body(upload: Upload, picture: Picture, fields: dict[str, Any]) -> Body:
    """A picture with its fields: as a form, or as JSON with the picture's base64 in ``image_prompt``.

    Raises:
        InputError: it is no picture, or JSON cannot carry the fields.
        OSError: the picture's file cannot be read.
        MissingExtraError: it is an array, and numpy or Pillow is not installed.
    """
    if upload == "multipart":
        return _multipart(as_file(picture), _json(fields))
    return json_body({"image_prompt": as_base64(picture), **fields})


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
