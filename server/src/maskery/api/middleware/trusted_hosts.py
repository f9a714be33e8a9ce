"""No requests that a web page makes behind its reader's back."""

import re
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from maskery.api.errors import ApiError

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class TrustedHosts:
    """Refuses requests for other hosts, and from other origins than those that are named.

    A page on the web can make its reader's browser send requests to a server on the reader's own machine, under a
    name of its own that resolves to 127.0.0.1. The Host header gives that away, the Origin header the rest.

    Args:
        hosts: names that requests may carry, without port.
        origins: whose pages may call, beside the server's own.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], origins: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            refusal = self._refuse(headers.get("host", ""), headers.get("origin"))
            if refusal:
                await refusal.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refuse(self, host: str, origin: str | None) -> ApiError | None:
        if _without_port(host) not in self._hosts:
            return ApiError(
                403,
                "host_not_allowed",
                f"This server does not answer as {host[:100]!r}; the setting MASKERY_ALLOWED_HOSTS names more hosts.",
            )
        if origin is not None and origin not in self._origins and origin.partition("://")[2] != host:
            return ApiError(
                403,
                "origin_not_allowed",
                "Pages of this origin may not call this server: the setting MASKERY_CORS_ORIGINS names others.",
            )
        return None


def loopback_names(host: str) -> frozenset[str]:
    """Names under which programs of this machine ask a server that listens on this address of loopback."""
    return _LOOPBACK_NAMES | {host, f"[{host}]"}


def _without_port(host: str) -> str:
    return re.sub(r":\d*$", "", host).lower()
