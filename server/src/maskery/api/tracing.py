"""OpenTelemetry spans of requests and their stages, exported by OTLP over HTTP. Imported only if they are exported."""

import asyncio
import threading
import time
from collections.abc import Mapping
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from maskery.api.requests.record import RequestRecord

# Seconds to send the last spans when the server stops.
_LAST_EXPORT = 2.0

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})


class Tracer:
    """Makes the spans of requests that have ended; a thread of OpenTelemetry's exports them.

    Address, headers, sampling and batches are configured by OpenTelemetry's own variables, `OTEL_*`.

    Args:
        replica: name of this process among the replicas of a cluster.
    """

    def __init__(self, replica: str = "") -> None:
        attributes = {"service.name": "maskery", "service.version": version("maskery")}
        if replica:
            attributes["service.instance.id"] = replica
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES take precedence.
        resource = Resource.create(attributes).merge(OTELResourceDetector().detect())
        # At exit it would wait without a limit.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("maskery", version("maskery"))
        self._propagator = TraceContextTextMapPropagator()

    def record(
        self,
        headers: Mapping[str, str],
        method: str,
        route: str | None,
        model: str,
        status: int,
        started: float,
        seconds: float,
        record: RequestRecord,
    ) -> str:
        """Make the span of a request that has ended, with a child for each stage.

        Args:
            headers: of which `traceparent` and `tracestate` name the client's span.
            route: the path's template; None if there is no such route.
            model: its name; empty if it is not installed.
            started: as of `time.perf_counter`.

        Returns:
            The trace id.
        """
        clock_offset = time.time_ns() - time.perf_counter_ns()

        def nanoseconds(clock: float) -> int:
            return clock_offset + round(clock * 1e9)

        timings = record.timings
        attributes = {
            "http.request.method": method if method in _METHODS else "_OTHER",
            "http.route": route,
            "http.response.status_code": status,
            "maskery.request_id": record.request_id,
            "maskery.model": model or None,
            "maskery.objects": timings.objects if timings else None,
            "maskery.known_objects": timings.known_objects if timings else None,
            "maskery.embedding": timings.embedding if timings else None,
        }
        name = method if method in _METHODS else "HTTP"
        span = self._tracer.start_span(
            f"{name} {route}" if route else name,
            self._propagator.extract(headers),
            SpanKind.SERVER,
            {name: value for name, value in attributes.items() if value is not None},
            start_time=nanoseconds(started),
        )
        if status >= 500:
            span.set_status(StatusCode.ERROR)
        parent = set_span_in_context(span)
        # Threads of a request that was cancelled may still add to them.
        for stage, stage_started, stage_seconds in tuple(timings.intervals if timings else ()):
            child = self._tracer.start_span(stage, parent, start_time=nanoseconds(stage_started))
            child.end(nanoseconds(stage_started + stage_seconds))
        span.end(nanoseconds(started + seconds))
        return format_trace_id(span.get_span_context().trace_id)

    async def close(self) -> None:
        """Send the last spans. After two seconds they are lost."""
        flush = threading.Thread(target=self._provider.shutdown, name="maskery-last-spans", daemon=True)
        flush.start()
        await asyncio.to_thread(flush.join, _LAST_EXPORT)
