"""Gives every request an id, a line in the access log and a count in the metrics."""

import ipaddress
import logging
import re
import time
import uuid
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maskery import logs
from maskery.api.container import Container
from maskery.api.errors import CLIENT_DISCONNECTED
from maskery.api.requests.record import RequestRecord, start_record

_log = logging.getLogger("maskery.access")

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestLog:
    """ASGI middleware that starts the request record, and logs and counts the request when it ends.

    The request id is the client's `x-request-id`, so that a request can be traced across systems, or a new one.
    """

    def __init__(self, app: ASGIApp, container: Container) -> None:
        self._app = app
        self._container = container

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        named = Headers(scope=scope).get("x-request-id", "")
        record = start_record(scope, named if _ID.fullmatch(named) else uuid.uuid4().hex)
        logs.request_id.set(record.request_id)
        started = time.perf_counter()
        status = CLIENT_DISCONNECTED

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = record.request_id
                headers.update(record.rate_limit_headers)
                if record.session_id:
                    headers["x-session-id"] = record.session_id
                if self._container.state.phase == "stopping":
                    headers["connection"] = "close"
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            self._count(scope, record, status, seconds)
            _write_line(scope, record, status, seconds)

    def _count(self, scope: Scope, record: RequestRecord, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        # Only installed models become labels: a label for every name that clients send would fill the memory.
        model = record.model if record.model and self._container.models.knows(record.model) else ""
        self._container.metrics.count(route, model, status, seconds, record.timings)


def _write_line(scope: Scope, record: RequestRecord, status: int, seconds: float) -> None:
    timings = record.timings
    stages = {name: round(spent * 1e3, 1) for name, spent in timings.stages.items()} if timings else None
    line = {
        "request_id": record.request_id,
        "client": _address(scope),
        "method": _one_word(scope["method"]),
        "path": _one_word(scope["path"]),
        "status": status,
        "milliseconds": round(seconds * 1e3, 1),
        "account": record.account,
        "key": record.key_id,
        # Clients put API keys into wrong fields, and handlers that are not ours do not redact them.
        "user": logs.without_secrets(record.user or "") or None,
        "model": logs.without_secrets(record.model or "") or None,
        "objects": timings.objects if timings else None,
        "known_objects": timings.known_objects if timings else None,
        "embedding": timings.embedding if timings else None,
        "stages": stages,
    }
    _log.info(
        "%s %s %d %.1fms request=%s client=%s account=%s user=%r objects=%s known_objects=%s embedding=%s%s",
        line["method"],
        line["path"],
        status,
        seconds * 1e3,
        line["request_id"],
        line["client"] or "-",
        line["account"] or "-",
        line["user"],
        *("-" if line[name] is None else line[name] for name in ("objects", "known_objects")),
        line["embedding"] or "-",
        "".join(f" {name}={spent}ms" for name, spent in (stages or {}).items()),
        extra=line,
    )


def _one_word(text: str) -> str:
    """The text with everything escaped that could end or forge a log line."""
    return quote(logs.without_secrets(text), safe="/!$&'()*+,:;=@~", errors="replace")


def _address(scope: Scope) -> str | None:
    """The client's IP address; None if a trusted proxy passed on something else."""
    host = (scope.get("client") or ("",))[0]
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None
