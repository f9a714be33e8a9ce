"""Every way a request can fail, as the one shape that errors have on the wire."""

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from maskery.accounts import DatabaseError, ExceedsQuota, LimitsUnavailable, NoSuchAccount, NoSuchKey, RateLimited
from maskery.engine import Busy, CannotPrepare, DeadlineExceeded, EncoderLost, NotPrepared
from maskery.models import ModelNotInstalled, StoreError
from maskery.segmentation import ImageTooLarge, NotAnImage, PromptError

_log = logging.getLogger(__name__)

#: What the log says of a request whose client went away before its answer was there.
NOT_ANSWERED = 499

# Seconds after which a server that was stopped in order to be started again is expected to answer.
_STARTS_AGAIN = 5

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

# The kinds that clients of such APIs branch on, by status.
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str = Field(description="A sentence for a person: what was wrong, and what would be right.")
    type: str = Field(description="The kind of error, by status.")
    param: str | None = Field(description="Path of the field that is wrong.")
    code: str = Field(description="The error's name, for programs.")


class ErrorResponse(BaseModel):
    """The body of every answer whose status is not 2xx."""

    error: ErrorDetail


class ApiError(Exception):
    """An error with the status and the code that clients see."""

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
        return JSONResponse(ErrorResponse(error=detail).model_dump(), self.status, self.headers)


_DESCRIPTIONS = {
    400: "Malformed JSON, form or base64",
    401: "No API key, or one that is not known",
    403: "The key may not do this, or its account is disabled",
    404: "The model, or the prepared image, is not here",
    413: "Too many bytes or pixels",
    415: "Not a kind of body, or of image, that is read here",
    422: "A field is wrong; `param` says which",
    429: "A limit is reached; see Retry-After",
    501: "The cache has no room for even one image",
    503: "Too many requests are waiting, or a database does not answer; see Retry-After",
    504: "The request's time was up",
}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """A route's errors, for the OpenAPI document."""
    return {status: {"model": ErrorResponse, "description": _DESCRIPTIONS[status]} for status in statuses}


def _encodable(text: str) -> str:
    """Without halves of surrogate pairs, which JSON inside of text may have brought along."""
    return text.encode(errors="replace").decode()


def _from_busy(error: Busy) -> ApiError:
    return ApiError(503, "busy", f"The server is busy: {error}", headers={"Retry-After": str(error.retry_after)})


def _from_limit(error: RateLimited) -> ApiError:
    return ApiError(429, "rate_limited", str(error), headers={**error.headers, "Retry-After": str(error.retry_after)})


def _from_database(_: DatabaseError) -> ApiError:
    message = "The database of accounts does not answer; nobody can be let in until it does."
    return ApiError(503, "accounts_unavailable", message, headers={"Retry-After": str(_STARTS_AGAIN)})


def _from_limits(error: LimitsUnavailable) -> ApiError:
    return ApiError(503, "limits_unavailable", str(error), headers={"Retry-After": str(error.retry_after)})


def _from_lost_encoder(error: EncoderLost) -> ApiError:
    message = f"{sentence(error)} Send it again."
    return ApiError(503, "encoder_lost", message, headers={"Retry-After": str(error.retry_after)})


def _from_model(error: ModelNotInstalled) -> ApiError:
    return ApiError(404, "model_not_installed" if error.known else "model_not_found", str(error), "model")


def _from_query(error: RequestValidationError) -> ApiError:
    """What FastAPI checks itself: the fields of a query."""
    first = error.errors()[0]
    name = str(first["loc"][-1])
    if first["type"] == "extra_forbidden":
        return ApiError(422, "unknown_field", f"The query has no field {name[:100]!r}.", name[:120])
    return ApiError(422, "invalid_field", f"{name}: {first['msg'][:1].lower()}{first['msg'][1:]}.", name)


def _from_http(error: HTTPException, request: Request) -> ApiError:
    """What the router itself refuses: unknown paths and methods."""
    phrase = HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "_")
    if error.status_code == 404:
        message = "There is nothing at this path. POST /v1/images/segmentations segments; /docs lists all routes."
    elif error.status_code == 405:
        allowed = ", ".join(sorted(_methods(request)))
        message = f"This path does not answer this method; it answers {allowed}."
        return ApiError(405, code, message, headers={"Allow": allowed})
    else:
        message = str(error.detail)
    return ApiError(error.status_code, code, message, headers=error.headers)


def _methods(request: Request) -> set[str]:
    """All that the path answers; the router itself knows only those of the first route that it finds."""

    def answers(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return set(filter(answers, _METHODS))


_TRANSLATIONS: dict[type[Exception], Callable[..., ApiError]] = {
    ApiError: lambda error: error,
    PromptError: lambda error: ApiError(422, "invalid_prompt", str(error), error.param),
    NotAnImage: lambda error: ApiError(415, "unsupported_image", sentence(error), "image_prompt"),
    ImageTooLarge: lambda error: ApiError(413, "image_too_large", sentence(error), "image_prompt"),
    ModelNotInstalled: _from_model,
    StoreError: lambda error: ApiError(500, "model_unusable", str(error), "model"),
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
    DeadlineExceeded: lambda error: ApiError(504, "deadline_exceeded", sentence(error)),
}


def install(app: FastAPI) -> None:
    """Have every exception answered in the one shape."""
    for kind, translate in _TRANSLATIONS.items():

        async def answer(_: Request, error: Exception, translate: Callable[..., ApiError] = translate) -> JSONResponse:
            return translate(error).response()

        app.add_exception_handler(kind, answer)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(ClientDisconnect, _to_nobody)


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    return _from_http(error, request).response()


async def _to_nobody(_: Request, error: Exception) -> Response:
    """The client went away: nothing is sent, and this is the status that the log shows."""
    del error
    return Response(status_code=NOT_ANSWERED)


def unexpected(request_id: str) -> ApiError:
    """The server's own failure, of which a client learns only where to look."""
    message = f"The server failed; its log says why under request {request_id}."
    return ApiError(500, "internal_error", message)


def cut_off() -> ApiError:
    """The server was told to stop and could not wait any longer."""
    message = "The server is being stopped and could not wait for this answer. Send it again."
    return ApiError(503, "stopping", message, headers={"Retry-After": str(_STARTS_AGAIN)})


def not_http(max_bytes: int) -> ApiError:
    """What was sent cannot be read as a request; after it the connection is of no use."""
    message = f"What was sent is not HTTP/1.1, or its head is larger than {max_bytes:,} bytes."
    return ApiError(400, "malformed_http", message)


def sentence(error: Exception) -> str:
    """What an error says, as it stands by itself."""
    text = str(error)
    return text[:1].upper() + text[1:] + "."
