"""What an operator watches of accounts, for Prometheus to read."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from maskery.accounts.office import Office


class OfficeState(Collector):
    """Read at the moment of asking instead of being kept up to date."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        limiter, ledger = self._office.limiter, self._office.ledger
        yield CounterMetricFamily("maskery_limits_failures", "Times Redis did not answer.", limiter.failures)
        yield GaugeMetricFamily("maskery_limits_degraded", "Whether limits do without Redis.", limiter.degraded)
        yield CounterMetricFamily("maskery_usage_failures", "Times usage could not be written.", ledger.failures)
