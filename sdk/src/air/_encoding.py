"""Base64, JSON and multipart: from plain data to the bytes of a request, and back."""

import base64
import binascii
import hashlib
import importlib
import json
from dataclasses import dataclass, field
from typing import Any

import httpx

from .errors import InputError, MaskError, MissingExtraError


@dataclass(frozen=True)
class Body:
    """The body of a request.

    Attributes:
        session_id: of the image in it, for the header ``x-session-id``.
    """

    content: bytes = field(repr=False)
    content_type: str
    session_id: str | None = None


class OptionalModule:
    """numpy or a module of Pillow, imported at first use: both are optional, and slow to import.

    Raises:
        MissingExtraError: on first use, if it is not installed.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        try:
            module = importlib.import_module(self._name)
        except ImportError as error:
            raise MissingExtraError(
                'reading and drawing pixels needs numpy and Pillow: pip install "maskery-sdk[images]"'
            ) from error
        return getattr(module, attribute)


def plain(value: Any) -> Any:
    """A numpy scalar or array as plain Python numbers; anything else unchanged."""
    return value.tolist() if hasattr(value, "tolist") else value


def encode_base64(data: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Decode base64, with or without a ``data:`` prefix. Raises binascii.Error."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    # Line breaks are common in base64 and mean nothing; any other stray character is an error.
    return base64.b64decode("".join(text.split()).encode("utf-8"), validate=True)


def decode_image(text: str) -> bytes:
    """The image file in a caller's base64. Raises InputError."""
    try:
        return decode_base64(text)
    except binascii.Error as error:
        raise InputError(f"image is not base64: {error}") from None


def decode_mask(text: str) -> bytes:
    """The PNG file in a server's base64. Raises MaskError."""
    try:
        return decode_base64(text)
    except binascii.Error as error:
        raise MaskError(f"b64_json is not base64: {error}") from None


def session_id(file: bytes) -> str:
    """The first 32 hexadecimal digits of the SHA-256 of an image file.

    Proxies that choose a server by the header ``x-session-id`` send all requests for an image to the same one, which
    has encoded it.
    """
    return hashlib.sha256(file).hexdigest()[:32]


def json_body(fields: dict[str, Any], session_id: str | None = None) -> Body:
    """The fields as a JSON body. Raises InputError for what JSON cannot represent."""
    return Body(_json(fields), "application/json", session_id)


def multipart_body(image: bytes, fields: dict[str, Any]) -> Body:
    """An image file and the fields as JSON, as ``multipart/form-data``. Raises InputError as `json_body` does."""
    request = httpx.Request(
        "POST",
        "http://multipart",  # httpx encodes forms for a request only; this one is not sent
        files={
            "image": ("image", image, "application/octet-stream"),
            "request": (None, _json(fields), "application/json"),
        },
    )
    return Body(request.read(), request.headers["content-type"], session_id(image))


def _json(fields: dict[str, Any]) -> bytes:
    try:
        return json.dumps(fields, allow_nan=False, separators=(",", ":"), default=_default).encode()
    except ValueError as error:
        raise InputError(f"JSON has no NaN or infinity, and no list that contains itself: {error}") from None
    except TypeError as error:
        raise InputError(f"JSON cannot represent this: {error}") from None


def _default(value: Any) -> Any:
    """numpy scalars and arrays anywhere in options or ``extra_body``."""
    converted = plain(value)
    if converted is value:
        raise TypeError(f"{type(value).__name__} is not JSON serializable")
    return converted
