"""X-Forwarded-* headers of trusted proxies."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from maskery.settings import ROOT_PATH


class ProxyHeaders:
    """uvicorn's middleware for X-Forwarded-For and X-Forwarded-Proto, and X-Forwarded-Prefix as the root path.

    Args:
        trusted_hosts: addresses and networks of the proxies.
    """

    def __init__(self, app: ASGIApp, trusted_hosts: list[str]) -> None:
        self._uvicorn = ProxyHeadersMiddleware(app, trusted_hosts)  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (scope.get("client") or ("",))[0] in self._uvicorn.trusted_hosts:
            prefix = Headers(scope=scope).get("x-forwarded-prefix", "").rstrip("/")
            if ROOT_PATH.fullmatch(prefix):
                scope["root_path"] = prefix
        await self._uvicorn(scope, receive, send)  # type: ignore[arg-type]
