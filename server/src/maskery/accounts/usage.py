"""Usage of accounts by day: recorded in memory, written to the database every few seconds."""

import asyncio
import csv
import io
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, astuple, dataclass, fields
from datetime import UTC, date, datetime
from functools import partial

from sqlalchemy import select

from maskery.accounts.accounts import has_account
from maskery.accounts.database import Database, DatabaseError, insert_into
from maskery.accounts.executor import DatabaseExecutor
from maskery.accounts.keys import KeyRepository
from maskery.accounts.schema import usage

_log = logging.getLogger("maskery.usage")

# Seconds between two writes. A server that is killed loses at most the usage of this time.
_FLUSH_INTERVAL = 5.0

# Seconds by which the last use of a key may be out of date.
_KEY_USE_INTERVAL = 60.0


@dataclass(frozen=True)
class Usage:
    """Amounts that an account has used.

    Attributes:
        requests: that were admitted.
        images: that were encoded; images in the cache are not counted.
        objects: that were segmented.
        pixels: of the encoded images.
        seconds: of work, from reading the image file to writing the mask; a model call that serves several requests
            counts for each of them.
    """

    requests: int = 0
    images: int = 0
    objects: int = 0
    pixels: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class DailyUsage:
    """Usage of an account on a day, in UTC."""

    account: str
    day: date
    usage: Usage


class UsageRepository:
    """Stores usage in the database. Every method raises `DatabaseError` if the database does not respond."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, used: Mapping[tuple[str, date], Usage]) -> None:
        """Add usage by account and day to the stored sums, all of it or nothing."""
        rows = [{"account": account, "day": day, **asdict(each)} for (account, day), each in used.items()]
        if not rows:
            return
        # All servers lock the rows in the same order, so that they do not deadlock.
        rows.sort(key=lambda row: (row["account"], row["day"]))
        with self._database.writing() as connection:
            insert = insert_into(connection, usage)
            names = [each.name for each in fields(Usage)]
            sums = {name: usage.c[name] + insert.excluded[name] for name in names}
            connection.execute(insert.on_conflict_do_update(index_elements=["account", "day"], set_=sums), rows)

    def list(self, first: date | None = None, last: date | None = None, account: str | None = None) -> list[DailyUsage]:
        """Return usage by day and account, from the first to the last day inclusive."""
        query = select(usage).order_by(usage.c.day, usage.c.account)
        if first is not None:
            query = query.where(usage.c.day >= first)
        if last is not None:
            query = query.where(usage.c.day <= last)
        if account is not None:
            query = query.where(has_account(usage.c.account, account))
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [DailyUsage(row[0], row[1], Usage(*row[2:])) for row in rows]


def to_csv(days: Iterable[DailyUsage]) -> str:
    """CSV as of RFC 4180, with a header line."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["day", "account", *(each.name for each in fields(Usage))])
    for each in days:
        *counts, seconds = astuple(each.usage)
        writer.writerow([each.day.isoformat(), each.account, *counts, f"{seconds:.3f}"])
    return text.getvalue()


class UsageRecorder:
    """Collects usage in memory and writes it to the database every few seconds. For one event loop.

    While the database does not respond, usage stays in memory and is written later.

    Args:
        keys: stores when keys were last used.

    Attributes:
        failures: how often usage could not be written.
    """

    def __init__(
        self, repository: UsageRepository, keys: KeyRepository, executor: DatabaseExecutor | None = None
    ) -> None:
        self._repository, self._keys = repository, keys
        self._executor = executor or DatabaseExecutor()
        self._used: dict[tuple[str, date], Usage] = {}
        self._key_uses: dict[str, float] = {}
        self._written_key_uses: dict[str, float] = {}
        self._failing = False
        self._flushing = asyncio.Lock()
        self.failures = 0

    def record(self, account: str, used: Usage) -> None:
        """Add usage to the account's sum of today."""
        self._add((account, datetime.now(UTC).date()), used)

    def record_key_use(self, key_id: str) -> None:
        """Note that a key was used now."""
        now = time.time()
        if now - self._written_key_uses.get(key_id, 0.0) > _KEY_USE_INTERVAL:
            self._key_uses[key_id] = now

    async def run(self) -> None:
        """Flush every few seconds until cancelled. `flush` writes what is left then."""
        while True:
            await asyncio.sleep(_FLUSH_INTERVAL)
            await self.flush()

    async def flush(self) -> None:
        """Write what has been recorded, or keep it for the next call if that fails, and log the first failure.

        A cancelled call completes in the background, so that nothing is written twice.
        """
        await asyncio.shield(asyncio.create_task(self._flush_alone()))

    async def _flush_alone(self) -> None:
        # A caller that reads the usage next waits for a write that is under way.
        async with self._flushing:
            await self._flush()

    async def _flush(self) -> None:
        used, key_uses = self._used, self._key_uses
        if not used and not key_uses:
            return
        self._used, self._key_uses = {}, {}
        try:
            await self._executor.run_to_completion(partial(self._repository.add, used))
            used = {}
            await self._executor.run_to_completion(partial(self._keys.record_uses, key_uses))
        # Whatever the error, the usage is kept and `run` goes on.
        except Exception as error:  # noqa: BLE001
            for name, amounts in used.items():
                self._add(name, amounts)
            self._key_uses = key_uses | self._key_uses
            if not self._failing:
                is_unexpected = not isinstance(error, DatabaseError)
                _log.error("usage is kept in memory until it can be written: %s", error, exc_info=is_unexpected)
            self._failing = True
            self.failures += 1
            return
        if self._failing:
            _log.info("usage is written again")
        self._failing = False
        now = time.time()
        recent = {
            key_id: used_at for key_id, used_at in self._written_key_uses.items() if now - used_at <= _KEY_USE_INTERVAL
        }
        self._written_key_uses = recent | key_uses

    def _add(self, name: tuple[str, date], used: Usage) -> None:
        self._used[name] = self._used.get(name, Usage()) + used
