"""What every answer tells browsers not to do with it."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Of every answer that does not say otherwise; what is no page is to be shown and run nowhere.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    # Not in pages of others; those that CORS lets in are not asked.
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

# A year. Other names of the domain are not spoken for.
_ONLY_TLS = "max-age=31536000"


class SecurityHeaders:
    """Adds the headers that an answer does not have yet."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def add_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["scheme"] == "https" and not _is_localhost(scope):
                    headers["Strict-Transport-Security"] = _ONLY_TLS
            await send(message)

        await self._app(scope, receive, add_and_send)


def _is_localhost(scope: Scope) -> bool:
    """Browsers would ask every other server of their reader's machine by TLS too."""
    return Headers(scope=scope).get("host", "").partition(":")[0].lower() == "localhost"
