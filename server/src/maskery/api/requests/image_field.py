"""Decodes the base64 image in a request's JSON, which is nearly all of the body, without parsing it as JSON text."""

import binascii
import re
import secrets
from typing import Any

import pybase64

from maskery.api.errors import ApiError
from maskery.api.requests.json_object import parse_json_object

#: The value of `image_prompt` after its image has been removed.
TAKEN = "-"

_KEY = b'"image_prompt"'
_START = re.compile(rb'[ \t\r\n]*:[ \t\r\n]*"(?:data:[\w/+.-]{0,100};base64,)?', re.IGNORECASE)

# Replaces the image while the rest is parsed. Clients cannot guess it, so it marks the place of the image reliably.
_PLACEHOLDER = secrets.token_hex(16)


def take_image(body: bytes) -> tuple[dict[str, Any], bytes | None]:
    """Parse a JSON object and decode the image in its field `image_prompt`.

    The image is None, and the field unchanged, unless the field holds valid base64 without line breaks or escapes,
    bare or in a data: URL, and the object is valid. The other cases are left to `decode_image`.

    Raises:
        ApiError: as for `parse_json_object`.
    """
    key = body.find(_KEY)
    start = _START.match(body, key + len(_KEY)) if key >= 0 else None
    end = body.find(b'"', start.end()) if start else -1
    if start and end > start.end():
        try:
            image = pybase64.b64decode(memoryview(body)[start.end() : end], validate=True)
            fields = parse_json_object(b"".join([body[: start.end()], _PLACEHOLDER.encode(), body[end:]]))
        except (binascii.Error, ApiError):
            return parse_json_object(body), None
        value = fields.get("image_prompt")
        if isinstance(value, str) and value.endswith(_PLACEHOLDER):
            return {**fields, "image_prompt": TAKEN}, image
    return parse_json_object(body), None


def decode_image(text: str, field: str = "image_prompt") -> bytes:
    """Decode bare base64 or a data: URL.

    Args:
        field: its name, for the error.

    Raises:
        ApiError: 400; it is not base64.
    """
    payload = text
    if text[:5].lower() == "data:":
        head, comma, payload = text.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise _not_base64(field, "is a data: URL that does not begin with data:image/…;base64,")
    try:
        data = pybase64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        # Many encoders break lines. Any other character outside the alphabet is an error.
        try:
            data = pybase64.b64decode("".join(payload.split()), validate=True)
        except (binascii.Error, ValueError):
            hint = "; images are not fetched from URLs" if "://" in text[:40] else ""
            raise _not_base64(field, f"is not base64{hint}") from None
    if not data:
        raise _not_base64(field, "is empty")
    return data


def _not_base64(field: str, reason: str) -> ApiError:
    return ApiError(400, "invalid_base64", f"{field} {reason}: send the image's file in base64.", field)
