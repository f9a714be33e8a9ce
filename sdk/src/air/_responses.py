"""From an HTTP response to a typed answer or a typed error."""

import json
import re
from http import HTTPStatus
from typing import Any, TypeVar

import httpx
import pydantic

from ._budget import parse_retry_after
from ._proxy import Proxy
from .errors import APIStatusError, BadResponseError, status_error_class
from .types.base import Answer, Nothing

AnswerT = TypeVar("AnswerT", bound=Answer)

_LONGEST_EXCERPT = 300


def read_answer(
    response: httpx.Response, content: bytes, kind: type[AnswerT], secret: str, proxy: Proxy | None
) -> AnswerT:
    """The body as ``kind``.

    Args:
        content: the decoded body.
        secret: replaced wherever an error would repeat it.
        proxy: named by errors that it may have answered itself.

    Raises:
        APIStatusError: the status is not 2xx.
        BadResponseError: the body is not JSON, or does not follow the API.
    """
    failure = _Failure(response, content, secret, proxy)
    if not response.is_success:
        raise failure.status_error()
    try:
        answer = kind() if issubclass(kind, Nothing) else kind.model_validate_json(content)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise failure.bad_response(first) from None
    answer._request_id = failure.request_id
    return answer


class _Failure:
    """A response that is to become an error."""

    def __init__(self, response: httpx.Response, content: bytes, secret: str, proxy: Proxy | None) -> None:
        self._response = response
        self._content = content
        self._secret = secret
        self._proxy = proxy
        self.request_id = response.headers.get("x-request-id")

    def _redacted_request_id(self) -> str | None:
        return None if self.request_id is None else self._redacted(self.request_id)

    def bad_response(self, first: Any) -> BadResponseError:
        text, body = self._text_and_body()
        if body is None:
            message = f"expected JSON, the server answered: {_excerpt(text)}" + self._through()
        else:
            message = f"the answer's {_path(first['loc']) or 'body'}: {first['msg']}"
        return BadResponseError(
            message,
            status_code=self._response.status_code,
            request_id=self._redacted_request_id(),
            body=text if body is None else body,
        )

    def status_error(self) -> APIStatusError:
        text, body = self._text_and_body()
        details = body.get("error") if isinstance(body, dict) else None
        fields: dict[str, Any] = details if isinstance(details, dict) else {}
        status = self._response.status_code
        if self._response.has_redirect_location:
            message = (
                f"the server redirects to {self._redacted(self._response.headers['location'])}; redirects are not "
                "followed, so that the key is sent to no other host. If that is your server, use it as base_url"
            )
        else:
            message = _message(body) or _excerpt(text) or _reason(status)
        code = _text(fields.get("code"))
        return status_error_class(status, code)(
            message if fields else message + self._through(),
            status_code=status,
            type=_text(fields.get("type")),
            param=_text(fields.get("param")),
            code=code,
            request_id=self._redacted_request_id(),
            body=text if body is None else body,
            retry_after=parse_retry_after(self._response.headers.get("retry-after")),
        )

    def _text_and_body(self) -> tuple[str, Any]:
        text = self._redacted(self._content.decode(self._response.encoding or "utf-8", "replace"))
        try:
            return text, json.loads(text)
        except ValueError:
            return text, None

    def _redacted(self, text: str) -> str:
        if not self._secret:
            return text
        # JSON escapes quotes and backslashes, which a key may contain.
        return text.replace(self._secret, "***").replace(json.dumps(self._secret)[1:-1], "***")

    def _through(self) -> str:
        return f" (through {self._proxy})" if self._proxy else ""


def _message(body: object) -> str | None:
    """The message of a JSON error body, in the forms that servers and proxies use."""
    if isinstance(body, str):
        return body
    if not isinstance(body, dict):
        return None
    for key in ("error", "detail", "message"):
        value = body.get(key)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, dict) and isinstance(value.get("message"), str):
            return str(value["message"])
        if isinstance(value, list):  # FastAPI: [{"loc": [...], "msg": "..."}]
            items = [item for item in value if isinstance(item, dict) and "msg" in item]
            if items:
                return "; ".join(f"{_path(item.get('loc') or ())}: {item['msg']}" for item in items)
    return None


def _excerpt(text: str) -> str:
    """The words of a body that is not JSON, such as a proxy's HTML page, short enough for one line."""
    words = re.sub(r"(?is)<(script|style)\b.*?</\1>|<[^>]*>", " ", text)
    words = " ".join(words.split())
    return words if len(words) <= _LONGEST_EXCERPT else words[:_LONGEST_EXCERPT] + "…"


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
