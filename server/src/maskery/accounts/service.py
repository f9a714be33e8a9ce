"""Everything about accounts that a server needs, put together."""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from maskery.accounts.accounts import AccountRepository
from maskery.accounts.authentication import KeyAuthenticator
from maskery.accounts.database import Database
from maskery.accounts.executor import DatabaseExecutor
from maskery.accounts.keys import KeyRepository
from maskery.accounts.rate_limit.limiter import Limiter
from maskery.accounts.rate_limit.limits import Limits
from maskery.accounts.usage import UsageRecorder, UsageRepository

_log = logging.getLogger("maskery.accounts")

# Seconds for usage to be written when the server stops.
_LAST_WRITING = 5.0


@dataclass(frozen=True)
class AccountStore:
    """What the database holds: all that a command needs."""

    database: Database
    accounts: AccountRepository
    keys: KeyRepository
    usage: UsageRepository

    @classmethod
    def open(cls, url: str | Path) -> "AccountStore":
        """The database at a URL or path, brought up to date.

        Raises:
            DatabaseError: it cannot be used.
        """
        database = Database(url)
        try:
            database.upgrade()
        except BaseException:
            database.close()
            raise
        return cls(database, AccountRepository(database), KeyRepository(database), UsageRepository(database))

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()


class AccountService:
    """Lets callers in, bounds and counts them. For one event loop.

    Args:
        records: who there is.
        defaults: limits of accounts that have none of their own.
        limiter: counts requests.
    """

    def __init__(self, records: AccountStore, defaults: Limits, limiter: Limiter) -> None:
        self.store, self.limiter = records, limiter
        self.executor = DatabaseExecutor()
        self.authenticator = KeyAuthenticator(records.keys, defaults, executor=self.executor)
        self.usage_recorder = UsageRecorder(records.usage, records.keys, self.executor)
        self._writing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write down what is used, and see whether limits can be counted where they are to be."""
        self.limiter.check()
        self._writing = asyncio.create_task(self.usage_recorder.run())

    async def close(self) -> None:
        """Write down what was not yet, and let go of the database."""
        if self._writing:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        try:
            async with asyncio.timeout(_LAST_WRITING):
                await self.usage_recorder.flush()
        except TimeoutError:
            _log.error("the database of accounts does not answer: what was used last is not written down")
        await self.limiter.close()
        self.executor.close()
        self.store.close()


class AccountMetrics(Collector):
    """Read at the moment of asking instead of being kept up to date."""

    def __init__(self, account_service: AccountService) -> None:
        self._office = account_service

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        limiter, usage_recorder = self._office.limiter, self._office.usage_recorder
        yield CounterMetricFamily("maskery_limits_failures", "Times Redis did not answer.", limiter.failures)
        yield GaugeMetricFamily("maskery_limits_degraded", "Whether limits do without Redis.", limiter.degraded)
        yield CounterMetricFamily(
            "maskery_usage_failures", "Times usage could not be written.", usage_recorder.failures
        )
