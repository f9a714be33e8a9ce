"""Rejects DNS-rebinding and cross-origin requests."""

import re
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from maskery.api.errors import ApiError
from maskery.api.middleware.bridge_listener import is_on_port

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class TrustedHosts:
    """ASGI middleware that rejects requests with another Host or Origin header than the allowed ones.

    A web page can make a visitor's browser send requests to a server on the visitor's own machine, under a host name
    of the page's own domain that resolves to 127.0.0.1 (DNS rebinding). Such requests carry that name in Host.

    Args:
        hosts: allowed host names, without port.
        origins: allowed origins, in addition to the server's own.
        open_port: the port of a bridge, whose clients call it by names of their own; it rejects pages itself.
    """

    def __init__(
        self, app: ASGIApp, hosts: Collection[str], origins: Collection[str] = (), open_port: int | None = None
    ) -> None:
        self._app = app
        self._open_port = open_port
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Health checks of load balancers and orchestrators send an address as Host, or no Host at all.
        is_checked = scope["type"] == "http" and not is_on_port(scope, self._open_port)
        if is_checked and not scope["path"].startswith(f"{scope['root_path']}/health/"):
            headers = Headers(scope=scope)
            error = self._check(headers.get("host", ""), headers.get("origin"))
            if error:
                await error.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, host: str, origin: str | None) -> ApiError | None:
        if _without_port(host) not in self._hosts:
            return ApiError(
                403,
                "host_not_allowed",
                f"The host {host[:100]!r} is not allowed. The setting MASKERY_ALLOWED_HOSTS lists allowed hosts.",
            )
        if origin is not None and origin not in self._origins and origin.partition("://")[2] != host:
            return ApiError(
                403,
                "origin_not_allowed",
                "This origin is not allowed. The setting MASKERY_CORS_ORIGINS lists allowed origins.",
            )
        return None


def loopback_names(host: str) -> frozenset[str]:
    """The host names of a server that listens on this loopback address."""
    return _LOOPBACK_NAMES | {host, f"[{host}]"}


def _without_port(host: str) -> str:
    return re.sub(r":\d*$", "", host).lower()
