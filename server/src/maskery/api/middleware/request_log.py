"""Around every request: an id, a line in the log, a count in the metrics."""

import ipaddress
import logging
import re
import time
import uuid
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maskery import logs
from maskery.accounts import Usage
from maskery.api.container import Container
from maskery.api.errors import NOT_ANSWERED
from maskery.engine import Timings

_log = logging.getLogger("maskery.access")

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestLog:
    """Gives every request an id, which its answer and the log's line carry.

    A client may name the id itself in `x-request-id`, so that it can be followed through several systems.
    """

    def __init__(self, app: ASGIApp, container: Container) -> None:
        self._app = app
        self._services = container

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
                headers.update(state.get("headers", {}))
                if self._services.state.phase == "stopping":
                    # The connection is not going to answer another one.
                    headers["connection"] = "close"
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            self._note(scope, status, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        """In the log and in the metrics."""
        state = scope["state"]
        timings: Timings | None = state.get("trace")
        model = state.get("model", "")
        route = getattr(scope.get("route"), "path", "other")
        self._services.metrics.count(
            route, model if self._services.engine.models.knows(model) else "", status, seconds, timings
        )
        if timings and (account := state.get("account")):
            amount = Usage(1, int(timings.embedding == "new"), timings.objects, timings.pixels, timings.work)
            self._services.account_service.usage_recorder.record(account, amount)
        line = {
            "request_id": state["request_id"],
            "client": _address(scope),
            "method": _one_word(scope["method"]),
            "path": _one_word(scope["path"]),
            "status": status,
            "milliseconds": round(seconds * 1e3, 1),
            "account": state.get("account"),
            "key": state.get("key"),
            # Keys get into the wrong places, and not every log is of our making.
            "user": logs.without_secrets(state.get("user") or "") or None,
            "model": logs.without_secrets(model) or None,
            "embedding": timings.embedding if timings else None,
            "stages": {name: round(spent * 1e3, 1) for name, spent in timings.stages.items()} if timings else None,
        }
        _log.info(
            "%s %s %d %.1fms request=%s client=%s account=%s user=%r%s",
            line["method"],
            line["path"],
            status,
            seconds * 1e3,
            line["request_id"],
            line["client"] or "-",
            line["account"] or "-",
            line["user"],
            "".join(f" {name}={spent}ms" for name, spent in (line["stages"] or {}).items()),
            extra=line,
        )


def _one_word(text: str) -> str:
    """As it stands in a URL: no line break or space of the client's makes a line of its own in the log."""
    return quote(logs.without_secrets(text), safe="/!$&'()*+,:;=@~", errors="replace")


def _address(scope: Scope) -> str | None:
    """The client's; what a trusted proxy passes on need not be one."""
    host = (scope.get("client") or ("",))[0]
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None
