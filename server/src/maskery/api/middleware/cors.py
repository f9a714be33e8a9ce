"""Pages of other origins that the operator has named."""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from maskery.api.errors import ApiError

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

# What clients send: plain ones, the SDK `air`, the reference SDK.
_ASKED = ("authorization", "content-type", "x-request-timeout", "x-request-id", "sdk_version")

# What a page's script may read of an answer, beside its body.
_SHOWN = (
    "x-request-id",
    "retry-after",
    *(
        f"x-ratelimit-{what}-{of}"
        for what in ("limit", "remaining", "reset")
        for of in ("requests", "images", "pixels")
    ),
)


class Cors(CORSMiddleware):
    """Tells browsers which pages of other origins may call the server, and read what it answers.

    Args:
        origins: as browsers send them, such as `https://app.example`.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        super().__init__(app, origins, _METHODS, _ASKED, expose_headers=_SHOWN)

    def preflight_response(self, request_headers: Headers) -> Response:
        """A refusal reads as every other does."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        if not self.is_allowed_origin(request_headers["origin"]):
            message = "Pages of this origin may not call this server: the setting MASKERY_CORS_ORIGINS names others."
            return ApiError(403, "origin_not_allowed", message, headers={"Vary": "Origin"}).response()
        message = f"Pages may use the methods {', '.join(_METHODS)} and the headers {', '.join(_ASKED)}."
        headers = {name: response.headers[name] for name in ("Access-Control-Allow-Origin", "Vary")}
        return ApiError(400, "not_for_pages", message, headers=headers).response()
