"""Security headers for browsers on every response."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Defaults for every response: browsers must neither render, embed nor cache an API response.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    # Browsers do not check this header for requests that CORS allows.
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class SecurityHeaders:
    """ASGI middleware that adds the headers which a response does not set itself.

    Args:
        hsts_seconds: max-age of Strict-Transport-Security on HTTPS responses; 0: no such header.
    """

    def __init__(self, app: ASGIApp, hsts_seconds: int = 0) -> None:
        self._app = app
        self._hsts_seconds = hsts_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def add_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if self._hsts_seconds and scope["scheme"] == "https" and not _is_localhost(scope):
                    headers["Strict-Transport-Security"] = f"max-age={self._hsts_seconds}"
            await send(message)

        await self._app(scope, receive, add_and_send)


def _is_localhost(scope: Scope) -> bool:
    """For localhost the header would force TLS on every other server of the same machine."""
    return Headers(scope=scope).get("host", "").partition(":")[0].lower() == "localhost"
