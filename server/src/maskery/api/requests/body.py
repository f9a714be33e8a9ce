"""Reads a request's body, JSON or a form, within limits on its size and time."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import parse_qsl

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from maskery.api.errors import ApiError

#: Upper limit of a form's field `request`, which holds everything but the image, in bytes.
MAX_FORM_REQUEST = 8 * 2**20

_FORM_HINT = "send the image as the file `image` and the rest as JSON in one field `request`."

# As in RFC 2046, section 5.1.1, without the quotation marks, which clients do not use in it.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{1,70}")


@dataclass(frozen=True)
class Body:
    """A body that has not been parsed yet.

    Attributes:
        json: the text of the request's JSON object.
        image: the image's file, if it was sent in a form.
    """

    json: bytes
    image: bytes | None = None


async def read_body(
    request: Request, max_bytes: int, time_limit: float, arrived: Callable[[int], None] = lambda _: None
) -> Body:
    """Read a body of JSON or of a form with an image.

    Args:
        max_bytes: the limit on its size.
        time_limit: the limit on the time until it is complete, in seconds.
        arrived: called with the size of every chunk; an exception ends the reading.

    Raises:
        ApiError: 413; the body is too large. 415; it is neither JSON nor a form, or it is compressed. 422; a part of
            the form is missing or unexpected. 504; it was not complete in time.
    """
    kind = _kind(request, "application/json")
    async with _in_time(time_limit):
        stream = _limited(request, max_bytes, arrived)
        if kind == "multipart/form-data":
            return await _read_form(request, stream, max_bytes)
        if kind == "application/json" or kind.endswith("+json"):
            return Body(b"".join([chunk async for chunk in stream]))
    raise _unsupported(kind, "application/json, or multipart/form-data with the image as `image`")


async def read_fields(request: Request, max_bytes: int, time_limit: float) -> dict[str, str]:
    """Read the fields of a URL-encoded form.

    Raises:
        ApiError: 400; it has too many fields. 413; it is too large. 415; it is another kind of body, or compressed.
            504; it was not complete in time.
    """
    kind = _kind(request, "application/x-www-form-urlencoded")
    if kind != "application/x-www-form-urlencoded":
        raise _unsupported(kind, "application/x-www-form-urlencoded")
    async with _in_time(time_limit):
        body = b"".join([chunk async for chunk in _limited(request, max_bytes)])
    try:
        return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=16))
    except ValueError:
        raise ApiError(400, "malformed_form", "The form has more than 16 fields.") from None


@asynccontextmanager
async def _in_time(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        # The rest of the body would be read as the next request.
        raise ApiError(
            504,
            "deadline_exceeded",
            f"The request's body was not complete within {seconds:g} seconds.",
            headers={"Connection": "close"},
        ) from None


def _kind(request: Request, default: str) -> str:
    """The body's media type. Compressed bodies are refused, because the size limit is checked on received bytes."""
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        message = f"The body is compressed ({encoding[:100]!r}); send it without the header Content-Encoding."
        headers = {"Accept-Encoding": "identity"}
        raise ApiError(415, "unsupported_media_type", message, "content-encoding", headers)
    return request.headers.get("content-type", default).partition(";")[0].strip().lower()


async def _limited(
    request: Request, max_bytes: int, arrived: Callable[[int], None] = lambda _: None
) -> AsyncGenerator[bytes, None]:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        arrived(len(chunk))
        yield chunk


async def _read_form(request: Request, stream: AsyncGenerator[bytes, None], max_bytes: int) -> Body:
    try:
        headers = _form_headers(request)
        # `request` may be sent as a field or as a file.
        parser = MultiPartParser(headers, stream, max_files=2, max_fields=1, max_part_size=max_bytes)
        # Keep every part in memory: the body's limit bounds it, and no temporary file is left behind.
        parser.spool_max_size = 0
        form = await parser.parse()
    except (MultiPartException, LookupError, ValueError) as error:
        reason = str(error).rstrip(".")
        if reason.startswith("Too many fields"):
            # The parser's own message does not say which fields it counts.
            reason = "it has more than one text field"
        raise ApiError(400, "malformed_form", f"The form is malformed ({reason}): {_FORM_HINT}") from None
    try:
        for name, _ in form.multi_items():
            if name not in ("image", "request") or len(form.getlist(name)) > 1:
                code = "given_twice" if name in ("image", "request") else "unknown_field"
                raise ApiError(422, code, f"The form has an unexpected part: {_FORM_HINT}", name[:120])
        image, text = form.get("image"), await _read_part(form, "request")
        if not isinstance(image, UploadFile):
            raise ApiError(422, "missing_field", f"The form has no file named image: {_FORM_HINT}", "image")
        if text is None:
            raise ApiError(422, "missing_field", f"The form has no field named request: {_FORM_HINT}", "request")
        if len(text) > MAX_FORM_REQUEST:
            message = f"The form's field request is larger than the limit of {MAX_FORM_REQUEST:,} bytes."
            raise ApiError(413, "body_too_large", message, "request")
        return Body(text, await image.read())
    finally:
        await form.close()


def _form_headers(request: Request) -> Headers:
    """Headers for the form parser: the form's boundary, and Latin-1, which preserves every byte of a text field.

    The client's charset is ignored: the JSON in the field is UTF-8, and some of Python's codecs raise or do not
    produce text.
    """
    _, options = parse_options_header(request.headers["content-type"])
    boundary = options.get(b"boundary", b"").decode("latin-1")
    if not _BOUNDARY.fullmatch(boundary):
        raise MultiPartException("the header Content-Type has no valid boundary")
    return Headers({"content-type": f'multipart/form-data; boundary="{boundary}"; charset=latin-1'})


async def _read_part(form: FormData, name: str) -> bytes | None:
    part = form.get(name)
    if part is None:
        return None
    return part.encode("latin-1") if isinstance(part, str) else await part.read()


def _unsupported(kind: str, accepted: str) -> ApiError:
    message = f"The body is {kind[:100]!r}; send {accepted}."
    return ApiError(415, "unsupported_media_type", message, "content-type")


def _too_large(max_bytes: int) -> ApiError:
    message = f"The request is larger than the limit of {max_bytes:,} bytes."
    return ApiError(413, "body_too_large", message)
