"""Gives every request an id, a line in the access log and a count in the metrics."""

import ipaddress
import logging
import re
import time
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maskery import logs
from maskery.api.container import Container
from maskery.api.errors import CLIENT_DISCONNECTED
from maskery.api.requests.record import RequestRecord, start_record

if TYPE_CHECKING:
    from maskery.api.tracing import Tracer

_log = logging.getLogger("maskery.access")

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

# W3C Trace Context, section 3.2: version, trace id, id of the client's span, flags.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class RequestLog:
    """ASGI middleware that starts the request record, and logs and counts the request when it ends.

    The request id is the client's `x-request-id`, so that a request can be traced across systems, or a new one. The
    trace id is that of the client's `traceparent`; if it has none and spans are exported, that of a new trace.

    Args:
        tracer: exports a span for the request.
    """

    def __init__(self, app: ASGIApp, container: Container, tracer: "Tracer | None" = None) -> None:
        self._app = app
        self._container = container
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_headers = Headers(scope=scope)
        named = request_headers.get("x-request-id", "")
        parent = _TRACEPARENT.fullmatch(request_headers.get("traceparent", ""))
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
            route = getattr(scope.get("route"), "path", None)
            # Only installed models become labels: a label for every name that clients send would fill the memory.
            model = record.model if record.model and self._container.models.knows(record.model) else ""
            self._container.metrics.count(route or "other", model, status, seconds, record.timings)
            trace = parent[1] if parent else None
            if self._tracer:
                carrier = request_headers if parent else {}
                trace = self._tracer.record(carrier, scope["method"], route, model, status, started, seconds, record)
            _write_line(scope, record, route, status, seconds, trace)


def _write_line(
    scope: Scope, record: RequestRecord, route: str | None, status: int, seconds: float, trace: str | None
) -> None:
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
        "trace": trace,
    }
    # Probes ask every few seconds; only what fails is of interest.
    _log.log(
        logging.DEBUG if (route or "").startswith("/health/") and status == HTTPStatus.OK else logging.INFO,
        "%s %s %d %.1fms request=%s client=%s account=%s%s objects=%s known_objects=%s embedding=%s%s%s",
        line["method"],
        line["path"],
        status,
        seconds * 1e3,
        line["request_id"],
        line["client"] or "-",
        line["account"] or "-",
        f" user={line['user']!r}" if line["user"] else "",
        *("-" if line[name] is None else line[name] for name in ("objects", "known_objects")),
        line["embedding"] or "-",
        "".join(f" {name}={spent}ms" for name, spent in (stages or {}).items()),
        f" trace={trace}" if trace else "",
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
