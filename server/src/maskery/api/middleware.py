"""Around every request: an id, a line in the log, and no requests that a web page made behind its user's back."""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Collection
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maskery import logs
from maskery.api.errors import NOT_ANSWERED, ApiError, cut_off, unexpected
from maskery.api.services import Services
from maskery.engine import Trace

_log = logging.getLogger("maskery.access")

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class RequestLog:
    """Gives every request an id, which its answer and the log's line carry.

    A client may name the id itself in `x-request-id`, so that it can be followed through several systems.
    """

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        named = Headers(scope=scope).get("x-request-id", "")
        request_id = named if _ID.fullmatch(named) else uuid.uuid4().hex
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        logs.request_id.set(request_id)
        started = time.perf_counter()
        status = NOT_ANSWERED

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                if self._services.state.phase == "stopping":
                    # The connection is not going to answer another one.
                    headers["connection"] = "close"
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        # Nothing but the end of the grace period cancels a request as a whole, and this is where it ends.
        except asyncio.CancelledError:
            if status == NOT_ANSWERED:
                await cut_off().response()(scope, receive, send_with_id)
        # The last place where a failure can still be given its id, and its client an answer.
        except Exception:  # noqa: BLE001
            _log.exception("unexpected error, request=%s", request_id)
            if status == NOT_ANSWERED:
                await unexpected(request_id).response()(scope, receive, send_with_id)
        finally:
            self._note(scope, status, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        """In the log and in the metrics."""
        state = scope["state"]
        trace: Trace | None = state.get("trace")
        model = state.get("model", "")
        route = getattr(scope.get("route"), "path", "other")
        self._services.metrics.count(
            route, model if self._services.engine.models.knows(model) else "", status, seconds, trace
        )
        line = {
            "request_id": state["request_id"],
            "method": _one_word(scope["method"]),
            "path": _one_word(scope["path"]),
            "status": status,
            "milliseconds": round(seconds * 1e3, 1),
            "account": state.get("account"),
            "user": state.get("user"),
            "model": model or None,
            "picture": trace.picture if trace else None,
            "stages": {name: round(spent * 1e3, 1) for name, spent in trace.stages.items()} if trace else None,
        }
        _log.info(
            "%s %s %d %.1fms request=%s account=%s user=%r%s",
            line["method"],
            line["path"],
            status,
            seconds * 1e3,
            line["request_id"],
            line["account"] or "-",
            line["user"],
            "".join(f" {name}={spent}ms" for name, spent in (line["stages"] or {}).items()),
            extra=line,
        )


class HostGuard:
    """Refuses requests for other hosts, and from other origins.

    A page on the web can make its reader's browser send requests to a server on the reader's own machine, under a
    name of its own that resolves to 127.0.0.1. The Host header gives that away, the Origin header the rest.

    Args:
        hosts: names that requests may carry, without port.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

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
        if origin is not None and origin.partition("://")[2] != host:
            return ApiError(403, "origin_not_allowed", "Pages of other origins may not call this server.")
        return None


def loopback_names(host: str) -> frozenset[str]:
    """Names under which programs of this machine ask a server that listens on this address of loopback."""
    return _LOOPBACK_NAMES | {host, f"[{host}]"}


def _one_word(text: str) -> str:
    """As it stands in a URL: no line break or space of the client's makes a line of its own in the log."""
    return quote(text, safe="/!$&'()*+,:;=@~", errors="replace")


def _without_port(host: str) -> str:
    return re.sub(r":\d*$", "", host).lower()
