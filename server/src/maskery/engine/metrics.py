"""Metrics in the text format of Prometheus."""

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from maskery.engine.cache import LruCache
from maskery.engine.disk_cache import DiskCache
from maskery.engine.engine import Engine
from maskery.engine.timings import Timings

# From composing a small mask to encoding with a large model on a small machine.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

#: Content type of the text format.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts requests, and collects the state of the engine. For one event loop.

    Args:
        engine: its queues, cache and encoder process are collected.
        others: further collectors.
    """

    def __init__(self, engine: Engine, *others: Collector) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "maskery_requests",
            "Requests, by route, model and status.",
            ["route", "model", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "maskery_request_seconds",
            "Duration of requests, by route.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._stages = Histogram(
            "maskery_stage_seconds",
            "Duration of the stages of requests, by stage and model.",
            ["stage", "model"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        for state in (_EngineState(engine), *others):
            self._registry.register(state)
        ProcessCollector(registry=self._registry)
        if client := engine.encoder.client:
            # Without a process the collector yields nothing.
            ProcessCollector("maskery_encoder", pid=lambda: client.pid or "none", registry=self._registry)

    def count(self, route: str, model: str, status: int, seconds: float, timings: Timings | None = None) -> None:
        """Count one request, whether it was answered or cancelled.

        Args:
            route: the pattern of the route, not the path.
            model: an installed model or an alias; else empty: every other name would add a time series.
            status: of the answer; 499 if the client disconnected.
        """
        self._requests.labels(route, model, status).inc()
        self._seconds.labels(route).observe(seconds)
        for stage, spent in (timings.stages if timings else {}).items():
            self._stages.labels(stage, model).observe(spent)

    def exposition(self) -> bytes:
        """The metrics in the text format."""
        return generate_latest(self._registry)


class _EngineState(Collector):
    """The state of the engine at the time of the scrape."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        engine = self._engine
        waiting = GaugeMetricFamily("maskery_queue_waiting", "Work that waits in the queue.", labels=["queue"])
        running = GaugeMetricFamily("maskery_queue_running", "Work that is running.", labels=["queue"])
        for name, lane in vars(engine.lanes).items():
            waiting.add_metric([name], lane.waiting)
            running.add_metric([name], lane.running)
        yield waiting
        yield running
        admission = engine.admission
        yield GaugeMetricFamily("maskery_requests_in_flight", "Requests running or queued.", admission.requests)
        yield GaugeMetricFamily("maskery_request_bytes_in_flight", "Bytes of the bodies of requests.", admission.nbytes)
        yield from _cache_metrics("maskery_cache", "images", "Embeddings", engine.cache)
        yield from _cache_metrics("maskery_candidate_cache", "objects", "Candidates of objects", engine.candidates)
        if disk := engine.disk:
            yield from _cache_metrics("maskery_disk_cache", "images", "Embeddings", disk.cache)
            yield CounterMetricFamily("maskery_disk_cache_damaged", "Damaged files, removed.", disk.cache.damaged)
            failures = disk.cache.failures + disk.skipped
            yield CounterMetricFamily("maskery_disk_cache_failures", "Files not read or not written.", failures)
        yield GaugeMetricFamily("maskery_prepared_images", "Ids of prepared images.", len(engine.prepared))
        decoder, client = engine.decoder, engine.encoder.client
        yield CounterMetricFamily("maskery_decode_calls", "Calls of Model.decode.", decoder.calls)
        yield CounterMetricFamily("maskery_decoded_requests", "Requests answered by these calls.", decoder.requests)
        restarts = client.restarts if client else 0
        yield CounterMetricFamily("maskery_encoder_restarts", "Restarts of the encoder process.", restarts)


def _cache_metrics(
    prefix: str, unit: str, what: str, cache: LruCache[Any, Any] | DiskCache
) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
    yield GaugeMetricFamily(f"{prefix}_{unit}", f"{what} in the cache.", len(cache))
    yield GaugeMetricFamily(f"{prefix}_bytes", "Their bytes.", cache.nbytes)
    yield GaugeMetricFamily(f"{prefix}_max_bytes", "Size limit of the cache.", cache.max_bytes)
    yield CounterMetricFamily(f"{prefix}_hits", f"{what} found in the cache.", cache.hits)
    yield CounterMetricFamily(f"{prefix}_misses", f"{what} not found in the cache.", cache.misses)
    yield CounterMetricFamily(f"{prefix}_evictions", f"{what} evicted from the cache.", cache.evictions)
    yield CounterMetricFamily(f"{prefix}_evicted_bytes", "Bytes of what was evicted.", cache.evicted_bytes)
