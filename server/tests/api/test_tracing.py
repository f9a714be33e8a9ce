"""Traces: `traceparent` in the log, and spans exported by OTLP to a collector of the test."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from samples import MODEL

from maskery.api import tracing
from maskery.engine import Engine

ROUTE = "/v1/images/segmentations"
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"

Serve = Callable[..., Any]


@dataclass
class Collector:
    """An OTLP receiver. It answers while `answers` is set."""

    bodies: list[bytes] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)
    answers: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def exports(self) -> list[ExportTraceServiceRequest]:
        return [ExportTraceServiceRequest.FromString(body) for body in self.bodies]

    def spans(self) -> list[Span]:
        groups = [group for export in self.exports() for group in export.resource_spans]
        return [span for group in groups for scope in group.scope_spans for span in scope.spans]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    collector = Collector()
    collector.answers.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            collector.bodies.append(self.rfile.read(int(self.headers["content-length"])))
            collector.asked.set()
            collector.answers.wait()
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing to standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    collector.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    yield collector
    collector.answers.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def access_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "maskery.access")


def traces(caplog: pytest.LogCaptureFixture) -> list[str | None]:
    """The field `trace` of each line of the access log."""
    return [record.__dict__["trace"] for record in caplog.records if record.name == "maskery.access"]


def trace_of(request_id: str, caplog: pytest.LogCaptureFixture) -> str | None:
    """The field `trace` of the line of a request, which is written after the response was sent."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for record in caplog.records:
            if record.name == "maskery.access" and record.__dict__["request_id"] == request_id:
                return cast("str | None", record.__dict__["trace"])
        time.sleep(0.01)
    raise AssertionError("the request is not in the log")


def values(attributes: Iterator[KeyValue]) -> dict[str, Any]:
    return {each.key: getattr(each.value, str(each.value.WhichOneof("value"))) for each in attributes}


def test_a_request_is_a_span_below_the_callers_and_its_stages_are_spans_below_it(
    serve: Serve, own_home: Any, collector: Collector, body: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with serve(own_home) as client:
        headers = {"traceparent": TRACEPARENT, "tracestate": "vendor=1", "x-request-id": "mine"}
        assert client.post(ROUTE, json=body, headers=headers).status_code == 200
    (request,) = [span for span in collector.spans() if span.kind == Span.SPAN_KIND_SERVER]
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, CALLER)
    assert (request.name, request.trace_state) == (f"POST {ROUTE}", "vendor=1")
    assert values(request.attributes) == {
        "http.request.method": "POST",
        "http.route": ROUTE,
        "http.response.status_code": 200,
        "maskery.request_id": "mine",
        "maskery.model": MODEL,
        "maskery.objects": 1,
        "maskery.known_objects": 0,
        "maskery.embedding": "new",
    }
    stages = [span for span in collector.spans() if span is not request and span.trace_id == request.trace_id]
    stages = [span for span in stages if span.kind == Span.SPAN_KIND_INTERNAL]
    assert {span.name for span in stages} == {"read", "wait", "decode_image", "encode", "decode", "compose", "write"}
    assert {span.parent_span_id for span in stages} == {request.span_id}
    for span in stages:
        assert request.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= request.end_time_unix_nano
    worked = sorted(
        (span for span in stages if span.name not in ("read", "wait")), key=lambda s: s.start_time_unix_nano
    )
    assert [span.name for span in worked] == ["decode_image", "encode", "decode", "compose", "write"]
    assert traces(caplog) == [TRACE]


def test_spans_name_the_service_and_no_account(
    serve: Serve, own_home: Any, collector: Collector, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    with serve(own_home) as client:
        client.post(ROUTE, json=body | {"user": "ann"})
    (group,) = collector.exports()[0].resource_spans
    resource = values(group.resource.attributes)
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("maskery", "test")
    assert not [body for body in collector.bodies if b"team" in body or b"ann" in body]


def test_a_request_without_traceparent_starts_a_trace_which_its_log_line_has(
    serve: Serve, own_home: Any, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(own_home) as client:
        client.get("/nowhere")
    (span,) = collector.spans()
    assert (span.name, span.parent_span_id) == ("GET", b"")
    assert "http.route" not in values(span.attributes)
    assert traces(caplog) == [span.trace_id.hex()]


def test_a_trace_that_the_caller_does_not_record_is_not_exported(
    serve: Serve, own_home: Any, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(own_home) as client:
        client.get("/v1/models", headers={"traceparent": f"00-{TRACE}-{CALLER}-00"})
    assert collector.bodies == []
    assert traces(caplog) == [TRACE]


def test_a_failed_request_is_a_failed_span(
    serve: Serve, own_home: Any, collector: Collector, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Engine, "segment", fail)
    with serve(own_home) as client:
        assert client.post(ROUTE, json=body).status_code == 500
        assert client.post(ROUTE, json={}).status_code == 422
    requests = [span for span in collector.spans() if span.kind == Span.SPAN_KIND_SERVER]
    assert [span.status.code for span in requests] == [Status.STATUS_CODE_ERROR, Status.STATUS_CODE_UNSET]


def test_a_collector_that_does_not_answer_delays_neither_requests_nor_the_end(
    serve: Serve, own_home: Any, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector.answers.clear()
    monkeypatch.setattr(tracing, "_LAST_EXPORT", 0.05)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    with serve(own_home) as client:
        client.get("/v1/models")
        assert collector.asked.wait(30)
        assert client.get("/v1/models").status_code == 200
    # The server has ended, and still nothing was answered.
    (flush,) = [thread for thread in threading.enumerate() if thread.name == "maskery-last-spans"]
    collector.answers.set()
    flush.join()


def test_the_log_has_the_trace_of_the_caller_without_opentelemetry(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.get("/v1/models", headers={"traceparent": TRACEPARENT, "x-request-id": "traced"})
    client.get("/v1/models", headers={"x-request-id": "not-traced"})
    assert trace_of("traced", caplog) == TRACE
    assert trace_of("not-traced", caplog) is None
    first, second = [record.getMessage() for record in caplog.records if record.name == "maskery.access"]
    assert first.endswith(f" trace={TRACE}")
    assert "trace=" not in second


@pytest.mark.parametrize(
    "malformed",
    [
        TRACE,
        f"00-{TRACE}-{CALLER}",
        f"00-{TRACE}-{CALLER}-01-more",
        f"00-{TRACE.upper()}-{CALLER}-01",
        f"00-{TRACE[:-1]}g-{CALLER}-01",
        f"00-{'0' * 32}-{CALLER}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{CALLER}-01",
    ],
)
def test_a_malformed_traceparent_is_ignored(
    shared_client: httpx.Client, malformed: str, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"malformed-{len(malformed)}-{hash(malformed) & 0xFFFF}"
    headers = {"traceparent": malformed, "x-request-id": name}
    assert shared_client.get("/v1/models", headers=headers).status_code == 200
    assert trace_of(name, caplog) is None


def test_a_malformed_traceparent_is_no_parent_of_spans(serve: Serve, own_home: Any, collector: Collector) -> None:
    with serve(own_home) as client:
        client.get("/v1/models", headers={"traceparent": f"01-{TRACE}-{CALLER}-01-more"})
    (span,) = collector.spans()
    assert span.trace_id.hex() != TRACE
    assert span.parent_span_id == b""


def test_opentelemetry_is_imported_only_if_spans_are_exported(
    serve: Serve, own_home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "maskery.api.tracing")
    with serve(own_home):
        assert "maskery.api.tracing" not in sys.modules


def test_without_the_extra_the_server_says_so_and_serves(
    serve: Serve,
    own_home: Any,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delitem(sys.modules, "maskery.api.tracing")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with serve(own_home) as client:
        client.get("/v1/models", headers={"traceparent": TRACEPARENT})
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert said == [
        "OTEL_EXPORTER_OTLP_ENDPOINT is set, but no spans are exported: pip install 'maskery[otel]'",
    ]
    assert collector.bodies == []
    assert traces(caplog) == [TRACE]
