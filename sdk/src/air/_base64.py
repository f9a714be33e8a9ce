"""Base64, with or without the ``data:`` prefix that browsers and helpers put before it."""

import base64
import binascii

from .errors import InputError, MaskError


def encode(data: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(data).decode("ascii")


def decode_picture(text: str) -> bytes:
    """The picture file in a caller's base64. Raises InputError."""
    try:
        return _decode(text)
    except binascii.Error as error:
        raise InputError(f"image is not base64: {error}") from None


def decode_mask(text: str) -> bytes:
    """The PNG file in a server's base64. Raises MaskError."""
    try:
        return _decode(text)
    except binascii.Error as error:
        raise MaskError(f"b64_json is not base64: {error}") from None


def _decode(text: str) -> bytes:
    if text.startswith("data:"):
        text = text.partition(",")[2]
    # Line breaks are common in base64 and say nothing; any other stray character does.
    return base64.b64decode("".join(text.split()).encode("utf-8"), validate=True)
