"""A request's body: no more of it than the limit, and JSON read strictly."""

import json
from typing import Any

from starlette.requests import Request

from maskery.api.errors import ApiError

MAX_DEPTH = 16

# A value costs memory far beyond its two bytes of text; no honest prompt comes near this many.
MAX_VALUES = 1_000_000


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The body's bytes, refused as soon as it is known to be too large.

    Raises:
        ApiError: 413.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    chunks = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def parse_json_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body holds.

    Raises:
        ApiError: 400; it is not JSON, not an object, says a key twice, or is nested or filled beyond reason.
    """
    if body.count(b",") > MAX_VALUES:
        raise _malformed(f"the body holds more than {MAX_VALUES:,} values")
    try:
        value = json.loads(body, object_pairs_hook=_without_repeats)
    except UnicodeDecodeError:
        raise _malformed("the body is not UTF-8 text") from None
    except RecursionError:
        raise _malformed(f"the body is nested more than {MAX_DEPTH} deep") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _malformed(f"the body is not JSON: {error.msg} at {place}") from None
    if not isinstance(value, dict):
        raise _malformed("the body is JSON but not an object with the keys model, image_prompt, segment_prompt")
    if _is_deeper(value, MAX_DEPTH):
        raise _malformed(f"the body is nested more than {MAX_DEPTH} deep")
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise _malformed(f"the key {repeated[:100]!r} is given twice", repeated[:100])
    return value


def _is_deeper(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return False
    return depth == 0 or any(_is_deeper(inner, depth - 1) for inner in value)


def _malformed(reason: str, param: str | None = None) -> ApiError:
    return ApiError(400, "malformed_json", f"{reason[:1].upper()}{reason[1:]}.", param)


def _too_large(max_bytes: int) -> ApiError:
    return ApiError(
        413,
        "body_too_large",
        f"The request is larger than {max_bytes:,} bytes, the most that is accepted: send a smaller picture.",
    )
