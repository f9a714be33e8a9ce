"""A request's body: no more of it than the limit, in no more time than the limit, as JSON or as a form."""

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

#: Bytes of a form's field `request`, which holds everything but the image.
MAX_FORM_REQUEST = 8 * 2**20

_FORM_HINT = "send the image as the file `image` and the rest as JSON in one field `request`."

# Of RFC 2046, less the quotation marks that nobody puts there.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{1,70}")


@dataclass(frozen=True)
class Body:
    """What was sent, not yet parsed.

    Attributes:
        json: text of the request's JSON object.
        image: the image's file where it was sent beside the JSON.
    """

    json: bytes
    image: bytes | None = None


async def read_body(
    request: Request, max_bytes: int, time_limit: float, arrived: Callable[[int], None] = lambda _: None
) -> Body:
    """The body's bytes, refused as soon as it is known to be too large.

    Args:
        arrived: told of every piece's bytes; what it raises ends the reading.

    Raises:
        ApiError: 413; 415: neither JSON nor a form, or compressed; 422: a form without the parts that are
            expected; 504: the body took longer than `time_limit` seconds.
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
    """The fields of a form without files.

    Raises:
        ApiError: 400; 413; 415: another kind of body, or compressed; 504: it took longer than `time_limit` seconds.
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
        # What is still to come would be taken for the next request, or waited for.
        raise ApiError(
            504,
            "deadline_exceeded",
            f"The request had not arrived within its {seconds:g} seconds.",
            headers={"Connection": "close"},
        ) from None


def _kind(request: Request, default: str) -> str:
    """The body's media type; what is encoded beyond that is refused, since the limits are on bytes as they arrive."""
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        message = f"The body is encoded as {encoding[:100]!r}; send it as it is, without the header Content-Encoding."
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
        # In memory whatever its size: the limit on the body is the limit on this, and no file is left behind.
        parser.spool_max_size = 0
        form = await parser.parse()
    except (MultiPartException, LookupError, ValueError) as error:
        reason = str(error).rstrip(".")
        if reason.startswith("Too many fields"):
            # The parser counts fields of text, and names no field.
            reason = "it has more than one text field"
        raise ApiError(400, "malformed_form", f"The form is malformed ({reason}): {_FORM_HINT}") from None
    try:
        for name, _ in form.multi_items():
            if name not in ("image", "request") or len(form.getlist(name)) > 1:
                code = "given_twice" if name in ("image", "request") else "unknown_field"
                raise ApiError(422, code, f"The form has a part too many: {_FORM_HINT}", name[:120])
        image, text = form.get("image"), await _read_part(form, "request")
        if not isinstance(image, UploadFile):
            raise ApiError(422, "missing_field", f"The form has no file named image: {_FORM_HINT}", "image")
        if text is None:
            raise ApiError(422, "missing_field", f"The form has no field named request: {_FORM_HINT}", "request")
        if len(text) > MAX_FORM_REQUEST:
            message = f"The form's field request is larger than {MAX_FORM_REQUEST:,} bytes, the most that is accepted."
            raise ApiError(413, "body_too_large", message, "request")
        return Body(text, await image.read())
    finally:
        await form.close()


def _form_headers(request: Request) -> Headers:
    """What the parser goes by: the form's boundary, and Latin-1, in which every byte of a field is kept.

    A client may name any of Python's encodings, of which some raise and some make text that is none; the JSON in the
    field is UTF-8 whatever the header says.
    """
    _, options = parse_options_header(request.headers["content-type"])
    boundary = options.get(b"boundary", b"").decode("latin-1")
    if not _BOUNDARY.fullmatch(boundary):
        raise MultiPartException("the header Content-Type names no boundary")
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
    message = f"The request is larger than {max_bytes:,} bytes, the most that is accepted here."
    return ApiError(413, "body_too_large", message)
