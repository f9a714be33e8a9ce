"""The request record: what the access log, metrics and usage need to know about a request."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection
from starlette.types import Scope

from maskery.engine import Timings


@dataclass(slots=True)
class RequestRecord:
    """Data about one request, filled in while the request is processed.

    Attributes:
        request_id: the id in the response's header `x-request-id` and in the log.
        account: the account that sent the request; None before authentication.
        key_id: the public part of its API key.
        user: the client's own id of its end user.
        model: the model's name as the client sent it.
        session_id: of the image, if it was sent; see `Upload.session_id`.
        timings: set for requests with an image.
        rate_limit_headers: headers to add to the response.
    """

    request_id: str
    account: str | None = None
    key_id: str | None = None
    user: str | None = None
    model: str | None = None
    session_id: str | None = None
    timings: Timings | None = None
    rate_limit_headers: Mapping[str, str] = field(default_factory=dict)


def start_record(scope: Scope, request_id: str) -> RequestRecord:
    """Attach a new record to a request."""
    record = scope.setdefault("state", {})["record"] = RequestRecord(request_id)
    return record


def record_of(request: HTTPConnection | Scope) -> RequestRecord:
    """The record of a request, or of its ASGI scope."""
    scope = request.scope if isinstance(request, HTTPConnection) else request
    record: RequestRecord = scope["state"]["record"]
    return record
