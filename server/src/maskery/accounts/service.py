"""Accounts, authentication, limits and usage as one object for the server."""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from maskery.accounts.accounts import AccountRepository
from maskery.accounts.authentication import KeyAuthenticator
from maskery.accounts.database import Database, DatabaseError
from maskery.accounts.executor import DatabaseExecutor
from maskery.accounts.keys import KeyRepository
from maskery.accounts.rate_limit.limiter import Limiter
from maskery.accounts.rate_limit.limits import Limits
from maskery.accounts.usage import UsageRecorder, UsageRepository

_log = logging.getLogger("maskery.accounts")

# Seconds for the last usage to be written when the server stops.
_LAST_FLUSH_TIMEOUT = 5.0

# Seconds between two checks of the database, and for one of them.
_CHECK_INTERVAL = 1.0
_CHECK_TIMEOUT = 1.0


@dataclass(frozen=True)
class AccountStore:
    """The database of accounts and its repositories."""

    database: Database
    accounts: AccountRepository
    keys: KeyRepository
    usage: UsageRepository

    @classmethod
    def open(cls, url: str | Path) -> "AccountStore":
        """Open the database at a URL or path, and migrate it to this release.

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
        """Close the database's connections."""
        self.database.close()


class AccountService:
    """Authenticates callers, applies their limits and records their usage. For one event loop.

    Args:
        store: closed with the service.
        defaults: limits of accounts where they have none of their own.
    """

    def __init__(self, store: AccountStore, defaults: Limits, limiter: Limiter) -> None:
        self.store, self.limiter = store, limiter
        self.executor = DatabaseExecutor()
        self.authenticator = KeyAuthenticator(store.keys, defaults, executor=self.executor)
        self.usage_recorder = UsageRecorder(store.usage, store.keys, self.executor)
        self._recording: asyncio.Task[None] | None = None
        self._is_available = True
        self._next_check = 0.0

    def start(self) -> None:
        """Begin to write usage, and check the connection to Redis."""
        self.limiter.check()
        self._recording = asyncio.create_task(self.usage_recorder.run())

    async def is_available(self) -> bool:
        """Whether the database responds. It is asked at most once per second, and waited for no longer than that."""
        now = time.monotonic()
        if now >= self._next_check:
            self._next_check = now + _CHECK_INTERVAL
            try:
                async with asyncio.timeout(_CHECK_TIMEOUT):
                    await self.executor.run(self.store.database.ping)
                self._is_available = True
            except (DatabaseError, TimeoutError):
                self._is_available = False
        return self._is_available

    async def close(self) -> None:
        """Write the last usage, then close the connections to Redis and to the database."""
        async with AsyncExitStack() as stack:
            stack.callback(self.store.close)
            stack.callback(self.executor.close)
            stack.push_async_callback(self.limiter.close)
            if self._recording:
                self._recording.cancel()
                await asyncio.wait([self._recording])
            try:
                async with asyncio.timeout(_LAST_FLUSH_TIMEOUT):
                    await self.usage_recorder.flush()
            except TimeoutError:
                _log.error("the database of accounts does not respond: the last usage is lost")


class AccountMetrics(Collector):
    """Prometheus metrics, read from the service when they are collected."""

    def __init__(self, account_service: AccountService) -> None:
        self._service = account_service

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        limiter, usage_recorder = self._service.limiter, self._service.usage_recorder
        yield CounterMetricFamily("maskery_limits_failures", "Calls to which Redis did not respond.", limiter.failures)
        yield GaugeMetricFamily("maskery_limits_degraded", "1 while Redis does not respond.", limiter.degraded)
        yield CounterMetricFamily("maskery_usage_failures", "Failures to write usage.", usage_recorder.failures)
