"""A request's body: no more of it than the limit, as JSON read strictly, or as a form with a file."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from maskery.api.errors import ApiError

MAX_DEPTH = 16

# A value costs memory far beyond its two bytes of text; no honest prompt comes near this many.
MAX_VALUES = 1_000_000

_MAX_PROMPT = 8 * 2**20


@dataclass(frozen=True)
class Body:
    """What was sent, not yet parsed.

    Attributes:
        json: text of the request's JSON object.
        image: the picture's file where it was sent beside the JSON.
    """

    json: bytes
    image: bytes | None = None


async def read_body(request: Request, max_bytes: int) -> Body:
    """The body's bytes, refused as soon as it is known to be too large.

    Raises:
        ApiError: 413; 415: neither JSON nor a form; 422: a form without the parts that are expected.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    stream = _limited(request, max_bytes)
    if kind == "multipart/form-data":
        return await _read_form(request, stream)
    if kind == "application/json" or kind.endswith("+json"):
        return Body(b"".join([chunk async for chunk in stream]))
    raise ApiError(
        415,
        "unsupported_media_type",
        f"The body is {kind[:100]!r}; send application/json, or multipart/form-data with the picture as `image`.",
        "content-type",
    )


async def _limited(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        yield chunk


async def _read_form(request: Request, stream: AsyncIterator[bytes]) -> Body:
    parser = MultiPartParser(request.headers, stream, max_files=1, max_fields=1, max_part_size=_MAX_PROMPT)  # type: ignore[arg-type]
    # In memory whatever its size: the limit on the body is the limit on this, and no file is left behind.
    parser.spool_max_size = 0
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise ApiError(400, "malformed_form", f"The form is malformed: {error}.") from None
    try:
        image, text = form.get("image"), form.get("request")
        if not isinstance(image, UploadFile):
            raise ApiError(422, "missing_field", "The form has no file named image, the picture.", "image")
        if not isinstance(text, str):
            raise ApiError(422, "missing_field", "The form has no field named request, the rest as JSON.", "request")
        return Body(text.encode(), await image.read())
    finally:
        await form.close()


def parse_json_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body holds.

    Raises:
        ApiError: 400; it is not JSON, not an object, says a key twice, or is nested or filled beyond reason.
    """
    if body.count(b",") >= MAX_VALUES:
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
    except ValueError:
        # Python refuses to read integers of thousands of digits, whose reading takes quadratic time.
        raise _malformed("the body holds a number of thousands of digits") from None
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
