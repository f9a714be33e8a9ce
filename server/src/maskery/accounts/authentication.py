"""Authenticates API keys. Most requests are answered from a cache."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Literal

from maskery.accounts.executor import DatabaseExecutor
from maskery.accounts.keys import KeyRecord, KeyRepository, parse_key_id, verify_secret
from maskery.accounts.rate_limit.limits import Limits, Subject
from maskery.accounts.scopes import DEFAULT_SCOPES, Scope

_log = logging.getLogger("maskery.accounts")

# Seconds that a record stays in the cache. A key that is revoked through another server is refused after this time and
# that of a query; five seconds are documented.
_CACHE_SECONDS = 2.0

# Records in the cache, of about 2 kB each.
_CACHE_SIZE = 20_000

# Seconds between queries, during which IDs that are not in the cache are collected into the next one: a flood of
# invented keys costs at most twenty queries per second. Without one, a key's first request does not wait, and keys that
# were in the cache before never do.
_BATCH_SECONDS = 0.05

# IDs in one query.
_BATCH_SIZE = 500

_ANONYMOUS = "anonymous"

Reason = Literal["unknown", "revoked", "expired", "disabled"]


class InvalidKeyError(Exception):
    """The API key is not valid.

    Attributes:
        reason: "unknown" unless the whole key is right; only its owner is told the other reasons.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Caller:
    """An authenticated caller.

    Attributes:
        key_id: empty if the caller is anonymous.
        subjects: whose limits apply: the account's and the key's.
    """

    account: str
    key_id: str
    scopes: frozenset[Scope]
    subjects: tuple[Subject, ...] = ()


class KeyAuthenticator:
    """Authenticates keys with a cache in front of the database. For one event loop.

    One query at a time asks the database for all keys that are not in the cache. A flood of wrong keys uses one thread,
    and keys that are in the cache do not wait behind it.

    Args:
        defaults: limits of accounts where they have none of their own.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        keys: KeyRepository,
        defaults: Limits,
        clock: Callable[[], float] = time.monotonic,
        executor: DatabaseExecutor | None = None,
    ) -> None:
        self._keys, self._defaults, self._clock = keys, defaults, clock
        self._executor = executor or DatabaseExecutor()
        self._failing = False
        #: The caller where no key is needed.
        self.anonymous = Caller(
            _ANONYMOUS, "", frozenset(DEFAULT_SCOPES), (Subject("account", _ANONYMOUS, _merge(Limits(), defaults)),)
        )
        self._cache: OrderedDict[str, tuple[float, KeyRecord]] = OrderedDict()
        self._pending: dict[str, asyncio.Future[KeyRecord | None]] = {}
        self._querying: asyncio.Task[None] | None = None
        self._generation = 0
        self._next_query = 0.0
        self._known_key_waits = asyncio.Event()

    async def authenticate(self, text: str) -> Caller:
        """Return the caller that this key belongs to.

        Raises:
            InvalidKeyError: the key is unknown, revoked or expired, or its account is disabled.
            DatabaseError: the database does not respond.
        """
        key_id = parse_key_id(text)
        record = await self._record(key_id) if key_id else None
        if not verify_secret(record, text) or record is None:
            raise InvalidKeyError("unknown", "The API key is unknown; create one with `maskery keys create`.")
        key = record.key
        if key.state != "active":
            has = "was revoked" if key.state == "revoked" else "has expired"
            message = f"The API key {key.id} {has}; create another with `maskery keys create`."
            raise InvalidKeyError(key.state, message)
        if record.disabled:
            message = f"The account {key.account} is disabled; `maskery accounts enable` enables it."
            raise InvalidKeyError("disabled", message)
        subjects = (
            Subject("account", key.account, _merge(record.account_limits, self._defaults)),
            Subject("key", key.id, key.limits),
        )
        return Caller(key.account, key.id, frozenset(key.scopes), subjects)

    def invalidate(self) -> None:
        """Empty the cache, after a change that this server made."""
        self._cache.clear()
        # A query that is under way may return what was true before the change.
        self._generation += 1

    async def _record(self, key_id: str) -> KeyRecord | None:
        cached = self._cache.get(key_id)
        if cached and self._clock() - cached[0] < _CACHE_SECONDS:
            self._cache.move_to_end(key_id)
            return cached[1]
        future = self._pending.get(key_id)
        if future is None:
            future = self._pending[key_id] = asyncio.get_running_loop().create_future()
            if cached:
                self._known_key_waits.set()
            if self._querying is None:
                self._querying = asyncio.create_task(self._query())
        # Other requests may wait for the same key when this one is cancelled.
        return await asyncio.shield(future)

    async def _query(self) -> None:
        """Query the database until no key is pending."""
        try:
            while self._pending:
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, self._next_query - self._clock())):
                        await self._known_key_waits.wait()
                self._known_key_waits.clear()
                batch = dict(list(self._pending.items())[:_BATCH_SIZE])
                # A request that arrives from now on needs a new query, as this one may miss a change.
                for key_id in batch:
                    del self._pending[key_id]
                started, generation = self._clock(), self._generation
                self._next_query = started + _BATCH_SECONDS
                try:
                    found = await self._executor.run(partial(self._keys.find_records, list(batch)))
                # Every error is passed on to the requests that wait; the next ones query again.
                except Exception as error:  # noqa: BLE001
                    self._log_outage(error)
                    for future in batch.values():
                        future.set_exception(error)
                        # If no request waits any more, asyncio would report an exception that was never retrieved.
                        future.exception()
                    continue
                self._log_outage(None)
                for key_id, future in batch.items():
                    record = found.get(key_id)
                    if record and generation == self._generation:
                        self._store(key_id, started, record)
                    future.set_result(record)
        finally:
            self._querying = None

    def _log_outage(self, error: Exception | None) -> None:
        """Log when the database begins to fail, and when it responds again."""
        if error and not self._failing:
            _log.error("API keys cannot be checked: %s", error)
        elif self._failing and not error:
            _log.warning("the database of accounts responds again")
        self._failing = error is not None

    def _store(self, key_id: str, queried: float, record: KeyRecord) -> None:
        self._cache[key_id] = queried, record
        self._cache.move_to_end(key_id)
        while len(self._cache) > _CACHE_SIZE:
            self._cache.popitem(last=False)


def _merge(limits: Limits, defaults: Limits) -> Limits:
    """The limits, and the defaults where they are None."""
    return replace(defaults, **{name: value for name, value in asdict(limits).items() if value is not None})
