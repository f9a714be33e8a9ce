"""From an HTTP response to a typed answer or a typed error."""

import json
import re
from http import HTTPStatus
from typing import Any, TypeVar

import httpx
import pydantic

from ._budget import parse_retry_after
from .errors import BY_STATUS, BY_STATUS_AND_CODE, APIStatusError, BadResponseError
from .types import Answer, Nothing

AnswerT = TypeVar("AnswerT", bound=Answer)

_LONGEST_QUOTE = 300


def read_answer(response: httpx.Response, kind: type[AnswerT], secret: str) -> AnswerT:
    """The body as ``kind``.

    Args:
        secret: blotted out wherever the body repeats it, so that no error shows it.

    Raises:
        APIStatusError: the status is not 2xx.
        BadResponseError: the body is not JSON, or not of that kind.
    """
    text = response.text.replace(secret, "***") if secret else response.text
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    request_id = response.headers.get("x-request-id")
    if not response.is_success:
        raise _status_error(response, text, body, request_id)
    if issubclass(kind, Nothing):
        body = {}

    def bad(reason: str) -> BadResponseError:
        return BadResponseError(
            reason,
            status_code=response.status_code,
            request_id=request_id,
            body=text if body is None else body,
        )

    if body is None:
        raise bad(f"expected JSON, the server answered: {_quote(text)}")
    try:
        answer = kind.model_validate(body)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise bad(f"the answer's {_path(first['loc']) or 'body'}: {first['msg']}") from None
    answer._request_id = request_id
    return answer


def _status_error(response: httpx.Response, text: str, body: object, request_id: str | None) -> APIStatusError:
    details = body.get("error") if isinstance(body, dict) else None
    fields: dict[str, Any] = details if isinstance(details, dict) else {}
    if response.has_redirect_location:
        message = (
            f"the server redirects to {response.headers['location']}; redirects are not followed, so that the "
            "key goes to no other host. If that is your server, make it the base_url"
        )
    else:
        message = _sentence(body) or _quote(text) or _reason(response.status_code)
    code = _text(fields.get("code"))
    kind = BY_STATUS.get(response.status_code, APIStatusError)
    return BY_STATUS_AND_CODE.get((response.status_code, code), kind)(
        message,
        status_code=response.status_code,
        type=_text(fields.get("type")),
        param=_text(fields.get("param")),
        code=code,
        request_id=request_id,
        body=text if body is None else body,
        retry_after=parse_retry_after(response.headers.get("retry-after")),
    )


def _sentence(body: object) -> str | None:
    """What a JSON error body says, in the shapes that servers and proxies use."""
    if isinstance(body, str):
        return body
    if not isinstance(body, dict):
        return None
    for key in ("error", "detail", "message"):
        said = body.get(key)
        if isinstance(said, str) and said:
            return said
        if isinstance(said, dict) and isinstance(said.get("message"), str):
            return str(said["message"])
        if isinstance(said, list):  # FastAPI: [{"loc": [...], "msg": "..."}]
            found = [item for item in said if isinstance(item, dict) and "msg" in item]
            if found:
                return "; ".join(f"{_path(item.get('loc') or ())}: {item['msg']}" for item in found)
    return None


def _quote(text: str) -> str:
    """The words of a body that is not JSON, such as a proxy's HTML page, short enough for one line."""
    words = re.sub(r"(?is)<(script|style)\b.*?</\1>|<[^>]*>", " ", text)
    words = " ".join(words.split())
    return words if len(words) <= _LONGEST_QUOTE else words[:_LONGEST_QUOTE] + "…"


def _path(loc: Any) -> str:
    """``("data", 0, "score")`` as ``data[0].score``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc).lstrip(".")


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _reason(status_code: int) -> str:
    try:
        return HTTPStatus(status_code).phrase
    except ValueError:
        return "no explanation given"
