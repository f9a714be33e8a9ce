"""The image in a request's JSON, decoded from where it stands: it is all but a few bytes of the body."""

import binascii
import re
import secrets
from typing import Any

import pybase64

from maskery.api.errors import ApiError
from maskery.api.requests.json_object import parse_json_object

#: What is left in `image_prompt` where its image has been taken out.
TAKEN = "-"

_KEY = b'"image_prompt"'
_START = re.compile(rb'[ \t\r\n]*:[ \t\r\n]*"(?:data:[\w/+.-]{0,100};base64,)?', re.IGNORECASE)

# Stands in for the image while the rest is read: no client can write it, so it is found only where it was put.
_STAND_IN = secrets.token_hex(16)


def take_image(body: bytes) -> tuple[dict[str, Any], bytes | None]:
    """The JSON object that a body holds, and the image in its field `image_prompt`.

    The image is None, and the field as it was sent, wherever this is not the usual case: base64 without line
    breaks or escapes, bare or in a data: URL, in an object that has no fault. Anything else is better read, or
    refused, from the text as a whole.

    Raises:
        ApiError: as of `parse_json_object`.
    """
    key = body.find(_KEY)
    start = _START.match(body, key + len(_KEY)) if key >= 0 else None
    end = body.find(b'"', start.end()) if start else -1
    if start and end > start.end():
        try:
            image = pybase64.b64decode(memoryview(body)[start.end() : end], validate=True)
            fields = parse_json_object(b"".join([body[: start.end()], _STAND_IN.encode(), body[end:]]))
        except (binascii.Error, ApiError):
            return parse_json_object(body), None
        value = fields.get("image_prompt")
        if isinstance(value, str) and value.endswith(_STAND_IN):
            return {**fields, "image_prompt": TAKEN}, image
    return parse_json_object(body), None
