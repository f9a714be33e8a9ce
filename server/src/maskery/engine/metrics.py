"""What an operator watches, for Prometheus to read."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from maskery.engine.engine import Engine
from maskery.engine.timings import Timings

# From a known image's composing to a large model's new image on a small machine.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

#: Type of the exposition, as Prometheus names it.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts requests, and reads the engine's state when asked. For one event loop.

    Args:
        engine: whose state is shown.
        others: what else is shown.
    """

    def __init__(self, engine: Engine, *others: Collector) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "maskery_requests", "Requests answered.", ["route", "model", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "maskery_request_seconds",
            "From the first byte to the last, by route.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._stages = Histogram(
            "maskery_stage_seconds",
            "Where the time of answered requests went.",
            ["stage", "model"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        for state in (_EngineState(engine), *others):
            self._registry.register(state)
        ProcessCollector(registry=self._registry)
        if encoder := engine.encoder:
            # Without a process the collector shows nothing.
            ProcessCollector("maskery_encoder", pid=lambda: encoder.pid or "none", registry=self._registry)

    def count(self, route: str, model: str, status: int, seconds: float, timings: Timings | None = None) -> None:
        """One request, answered or given up.

        Args:
            route: its pattern, not the path that was asked for.
            model: that answered; empty where none did. Names that nobody installed would fill the memory.
            status: as the log has it.
        """
        self._requests.labels(route, model, status).inc()
        self._seconds.labels(route).observe(seconds)
        for stage, spent in (timings.stages if timings else {}).items():
            self._stages.labels(stage, model).observe(spent)

    def exposition(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry)


class _EngineState(Collector):
    """Read at the moment of asking instead of being kept up to date."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        engine, cache = self._engine, self._engine.cache
        waiting = GaugeMetricFamily("maskery_queue_waiting", "Waiting for a turn.", labels=["lane"])
        running = GaugeMetricFamily("maskery_queue_running", "Having their turn.", labels=["lane"])
        for name, lane in engine.lanes.items():
            waiting.add_metric([name], lane.waiting)
            running.add_metric([name], lane.running)
        yield waiting
        yield running
        admission = engine.admission
        yield GaugeMetricFamily("maskery_requests_in_flight", "Requests being answered or waiting.", admission.requests)
        yield GaugeMetricFamily(
            "maskery_request_bytes_in_flight", "Bytes that requests brought along.", admission.nbytes
        )
        yield GaugeMetricFamily("maskery_cache_images", "Images whose embedding is kept.", len(cache))
        yield GaugeMetricFamily("maskery_cache_bytes", "Bytes of kept embeddings.", cache.nbytes)
        yield GaugeMetricFamily("maskery_cache_max_bytes", "Bytes that embeddings may take.", cache.max_bytes)
        yield CounterMetricFamily("maskery_cache_hits", "Images that were known.", cache.hits)
        yield CounterMetricFamily("maskery_cache_misses", "Images that were not known.", cache.misses)
        yield CounterMetricFamily("maskery_cache_evictions", "Embeddings that made room.", cache.evictions)
        yield CounterMetricFamily("maskery_cache_evicted_bytes", "Bytes of those.", cache.evicted_bytes)
        yield GaugeMetricFamily("maskery_prepared_images", "Ids of prepared images.", len(engine.prepared))
        yield CounterMetricFamily("maskery_decode_calls", "Calls of models that decode.", engine.decoder.calls)
        yield CounterMetricFamily("maskery_decoded_requests", "Requests these answered.", engine.decoder.requests)
        restarts = engine.encoder.restarts if engine.encoder else 0
        yield CounterMetricFamily("maskery_encoder_restarts", "Times the encoder's process was lost.", restarts)
