"""The API's errors: one JSON shape, and a table from exceptions to status, code and message."""

import logging
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from maskery.accounts import DatabaseError, ExceedsQuota, LimitsUnavailable, NoSuchAccount, NoSuchKey, RateLimited
from maskery.api.requests.record import record_of
from maskery.bridges.label_studio import ImageUnavailable
from maskery.engine import Busy, CannotPrepare, DeadlineExceeded, EncoderLost, NotPrepared
from maskery.models import ModelNotInstalled, StoreError
from maskery.segmentation import ImageTooLarge, NotAnImage, PromptError

_log = logging.getLogger(__name__)

#: The status that the access log and metrics show for a request whose client disconnected (nginx' convention).
CLIENT_DISCONNECTED = 499

# Retry-After, in seconds, while the server restarts or a database does not respond.
_RETRY_AFTER = 5

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

# OpenAI's error types, by status; clients branch on them.
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str = Field(description="What is wrong and what is accepted, as a sentence.")
    type: str = Field(description="The category of the error, by status.")
    param: str | None = Field(description="The path of the invalid field.")
    code: str = Field(description="The error's name, for programs.")


class ErrorResponse(BaseModel):
    """The body of every error response."""

    error: ErrorDetail


class ApiError(Exception):
    """An error response: status, code, message, the field's path, and headers."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        param = None if self.param is None else _encodable(self.param)
        detail = ErrorDetail(message=_encodable(self.message), type=kind, param=param, code=self.code)
        # Some clients drop the bodies of error responses; aiohttp's raise_for_status does.
        headers = {"X-Error-Code": self.code, "X-Error-Message": _header_value(self.message), **self.headers}
        return JSONResponse(ErrorResponse(error=detail).model_dump(), self.status, headers)


_DESCRIPTIONS = {
    400: "Malformed JSON, form or base64",
    401: "The API key is missing or invalid",
    403: "The key lacks the scope, or the account is disabled",
    404: "The model or the prepared image does not exist",
    413: "Too many bytes or pixels",
    415: "The media type or the image format is not supported",
    422: "A field is invalid; `param` is its path",
    429: "A rate limit or quota is reached; see Retry-After",
    501: "The cache is too small for one image",
    503: "The server is overloaded, or a database does not respond; see Retry-After",
    504: "The request's time limit was reached",
}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """A route's error responses, for the OpenAPI document."""
    return {status: {"model": ErrorResponse, "description": _DESCRIPTIONS[status]} for status in statuses}


def _encodable(text: str) -> str:
    """The text without lone surrogates, which cannot be encoded; JSON inside a text field can contain them."""
    return text.encode(errors="replace").decode()


def _header_value(text: str) -> str:
    """The text in printable ASCII, at most 500 characters; all else becomes a question mark."""
    return "".join(character if " " <= character <= "~" else "?" for character in text[:500]).strip()


def _from_busy(error: Busy) -> ApiError:
    return ApiError(503, "busy", f"The server is busy: {error}", headers={"Retry-After": str(error.retry_after)})


def _from_limit(error: RateLimited) -> ApiError:
    return ApiError(429, "rate_limited", str(error), headers={**error.headers, "Retry-After": str(error.retry_after)})


def _from_database(_: DatabaseError) -> ApiError:
    message = "The accounts database does not respond, so API keys cannot be checked. Try again later."
    return ApiError(503, "accounts_unavailable", message, headers={"Retry-After": str(_RETRY_AFTER)})


def _from_limits(error: LimitsUnavailable) -> ApiError:
    return ApiError(503, "limits_unavailable", str(error), headers={"Retry-After": str(error.retry_after)})


def _from_lost_encoder(error: EncoderLost) -> ApiError:
    message = f"{sentence(error)} Send the request again."
    return ApiError(503, "encoder_lost", message, headers={"Retry-After": str(error.retry_after)})


def _from_model(error: ModelNotInstalled) -> ApiError:
    return ApiError(404, "model_not_installed" if error.known else "model_not_found", str(error), "model")


def _from_query(error: RequestValidationError) -> ApiError:
    """FastAPI itself validates only query parameters."""
    first = error.errors()[0]
    name = str(first["loc"][-1])
    if first["type"] == "extra_forbidden":
        return ApiError(422, "unknown_field", f"There is no query parameter {name[:100]!r}.", name[:120])
    return ApiError(422, "invalid_field", f"{name}: {first['msg'][:1].lower()}{first['msg'][1:]}.", name)


def _from_http(error: HTTPException, request: Request) -> ApiError:
    """The router's own errors: unknown paths and methods."""
    phrase = HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "_")
    if error.status_code == 404:
        message = "This path does not exist. This server segments images: POST /v1/images/segmentations; see /docs."
    elif error.status_code == 405:
        allowed = ", ".join(sorted(_methods(request)))
        message = f"This path does not support the method; it supports {allowed}."
        return ApiError(405, code, message, headers={"Allow": allowed})
    else:
        message = str(error.detail)
    return ApiError(error.status_code, code, message, headers=error.headers)


def _methods(request: Request) -> set[str]:
    """All methods of a path; the router's own error lists only those of the first matching route."""

    def supports(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    methods = set(filter(supports, _METHODS))
    return methods | {"HEAD"} if "GET" in methods else methods


_TRANSLATIONS: dict[type[Exception], Callable[..., ApiError]] = {
    ApiError: lambda error: error,
    PromptError: lambda error: ApiError(422, "invalid_prompt", str(error), error.param),
    NotAnImage: lambda error: ApiError(415, "unsupported_image", sentence(error), "image_prompt"),
    ImageTooLarge: lambda error: ApiError(413, "image_too_large", sentence(error), "image_prompt"),
    ModelNotInstalled: _from_model,
    EncoderLost: _from_lost_encoder,
    Busy: _from_busy,
    CannotPrepare: lambda error: ApiError(501, "cannot_prepare", sentence(error)),
    NotPrepared: lambda error: ApiError(404, "image_not_prepared", sentence(error), "image_prompt"),
    RequestValidationError: _from_query,
    RateLimited: _from_limit,
    ExceedsQuota: lambda error: ApiError(413, "image_beyond_limit", str(error), "image_prompt"),
    LimitsUnavailable: _from_limits,
    DatabaseError: _from_database,
    NoSuchAccount: lambda error: ApiError(404, "account_not_found", sentence(error), "account"),
    NoSuchKey: lambda error: ApiError(404, "key_not_found", sentence(error), "id"),
    ImageUnavailable: lambda error: ApiError(424, "image_unavailable", sentence(error)),
    DeadlineExceeded: lambda error: ApiError(504, "deadline_exceeded", sentence(error)),
}


Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]


def exception_handlers() -> dict[int | type[Exception], Handler]:
    """Handlers that turn every known exception into an error response, for the application's constructor."""

    def handler(translate: Callable[..., ApiError]) -> Handler:
        async def respond(_: Request, error: Exception) -> Response:
            return translate(error).response()

        return respond

    async def respond_to_router(request: Request, error: HTTPException) -> Response:
        return _from_http(error, request).response()

    async def report_model(request: Request, error: StoreError) -> Response:
        """The error's message contains paths, which are for the operator only."""
        _log.error("a model cannot be used: %s", error)
        message = (
            f"The model cannot be used. The server's log has details under request {record_of(request).request_id}."
        )
        return ApiError(500, "model_unusable", message, "model").response()

    async def log_disconnect(_: Request, error: ClientDisconnect) -> Response:
        """Nothing can be sent any more; the log shows this status."""
        del error
        return Response(status_code=CLIENT_DISCONNECTED)

    return {
        **{kind: handler(translate) for kind, translate in _TRANSLATIONS.items()},
        HTTPException: respond_to_router,
        StoreError: report_model,
        ClientDisconnect: log_disconnect,
    }


def internal_error(request_id: str) -> ApiError:
    """An unexpected exception. The client learns only where the log describes it."""
    return ApiError(500, "internal_error", f"Internal server error. The log has details under request {request_id}.")


def stopping() -> ApiError:
    """The grace period ended before the request was finished."""
    message = "The server is shutting down and could not finish this request. Send it again."
    return ApiError(503, "stopping", message, headers={"Retry-After": str(_RETRY_AFTER)})


def malformed_http(max_bytes: int) -> ApiError:
    """The received bytes are not an HTTP request; the connection has to be closed."""
    message = f"The request is not valid HTTP/1.1, or its headers are larger than {max_bytes:,} bytes."
    return ApiError(400, "malformed_http", message)


def sentence(error: Exception) -> str:
    """An error's message as a sentence, with a capital letter and a full stop."""
    text = str(error)
    return text[:1].upper() + text[1:] + "."
