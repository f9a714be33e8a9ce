"""CORS: access for pages of the origins in the setting `cors_origins`."""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from maskery.api.errors import ApiError

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

# Request headers of plain clients, the SDK `air` and the reference SDK.
_REQUEST_HEADERS = (
    "authorization",
    "content-type",
    "x-request-timeout",
    "x-request-id",
    "x-session-id",
    "traceparent",
    "tracestate",
    "sdk_version",
)

# Response headers that a page's script may read.
_RESPONSE_HEADERS = (
    "x-request-id",
    "x-session-id",
    "retry-after",
    "x-error-code",
    "x-error-message",
    *(
        f"x-ratelimit-{what}-{of}"
        for what in ("limit", "remaining", "reset")
        for of in ("requests", "images", "pixels")
    ),
)


class Cors(CORSMiddleware):
    """Starlette's CORS middleware with error responses in the shape of all errors.

    Args:
        origins: as browsers send them, such as `https://app.example`.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        super().__init__(app, origins, _METHODS, _REQUEST_HEADERS, expose_headers=_RESPONSE_HEADERS)

    def preflight_response(self, request_headers: Headers) -> Response:
        """The response to a preflight request."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        if not self.is_allowed_origin(request_headers["origin"]):
            message = "This origin is not allowed. The setting MASKERY_CORS_ORIGINS lists allowed origins."
            return ApiError(403, "origin_not_allowed", message, headers={"Vary": "Origin"}).response()
        message = f"Allowed methods: {', '.join(_METHODS)}. Allowed headers: {', '.join(_REQUEST_HEADERS)}."
        headers = {name: response.headers[name] for name in ("Access-Control-Allow-Origin", "Vary")}
        return ApiError(400, "not_for_pages", message, headers=headers).response()
