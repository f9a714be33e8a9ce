"""The metrics of several replicas as one text."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector


def merge(expositions: Iterable[tuple[str, bytes]]) -> bytes:
    """The metrics of all replicas in Prometheus' text format, with the further label `replica`.

    Args:
        expositions: name and metrics of each replica.
    """
    merged: dict[str, Metric] = {}
    for name, text in expositions:
        for family in text_string_to_metric_families(text.decode()):
            metric = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                metric.samples.append(sample._replace(labels={**sample.labels, "replica": name}))
    registry = CollectorRegistry()
    registry.register(_Collected(list(merged.values())))
    return generate_latest(registry)


@dataclass(frozen=True, eq=False)
class _Collected(Collector):
    metrics: list[Metric]

    def collect(self) -> Iterator[Metric]:
        return iter(self.metrics)
