"""What accounts have used, by day."""

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

from maskery.accounts.accounts import called
from maskery.accounts.database import Database, DatabaseError, insert_into
from maskery.accounts.executor import DatabaseExecutor
from maskery.accounts.keys import KeyRepository
from maskery.accounts.schema import usage


@dataclass(frozen=True)
class Usage:
    """How much.

    Attributes:
        requests: that were let in.
        images: that were encoded; one that is known already costs nothing.
        objects: that were segmented.
        pixels: of the encoded images.
        seconds: that the server worked on it, from the image's file to the mask's; a call of the model that answers
            several requests counts for each.
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
    """What an account used on a day, in UTC."""

    account: str
    day: date
    usage: Usage


class UsageRepository:
    """All that was used, in the database. Every method raises `DatabaseError` where that does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, used: Mapping[tuple[str, date], Usage]) -> None:
        """Add what accounts used on days to what is there; all of it or nothing."""
        rows = [{"account": account, "day": day, **asdict(amount)} for (account, day), amount in used.items()]
        if not rows:
            return
        # In one order everywhere, so that two servers do not wait for each other's rows for ever.
        rows.sort(key=lambda row: (row["account"], row["day"]))
        with self._database.writing() as connection:
            insert = insert_into(connection, usage)
            names = [each.name for each in fields(Usage)]
            sums = {name: usage.c[name] + insert.excluded[name] for name in names}
            connection.execute(insert.on_conflict_do_update(index_elements=["account", "day"], set_=sums), rows)

    def list(self, first: date | None = None, last: date | None = None, account: str | None = None) -> list[DailyUsage]:
        """What was used, by day and account, from the first to the last day, both included."""
        query = select(usage).order_by(usage.c.day, usage.c.account)
        if first is not None:
            query = query.where(usage.c.day >= first)
        if last is not None:
            query = query.where(usage.c.day <= last)
        if account is not None:
            query = query.where(called(usage.c.account, account))
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [DailyUsage(row[0], row[1], Usage(*row[2:])) for row in rows]


def to_csv(uses: Iterable[DailyUsage]) -> str:
    """A header and a line for each account and day, as RFC 4180 has it."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["day", "account", *(each.name for each in fields(Usage))])
    for use in uses:
        *counts, seconds = astuple(use.usage)
        writer.writerow([use.day.isoformat(), use.account, *counts, f"{seconds:.3f}"])
    return text.getvalue()


_log = logging.getLogger("maskery.usage")

# Seconds between two writings: so much is lost when a server is killed.
_EVERY = 5.0

# Seconds by which a key's last use may be off.
_LAST_USE = 60.0


class UsageRecorder:
    """Collects, and writes every few seconds. For one event loop.

    Where the database does not answer, what was collected is kept and written later.

    Args:
        book: for usage.
        keys: for last uses.
        clerk: goes to the database.

    Attributes:
        failures: how often the database did not answer.
    """

    def __init__(self, book: UsageRepository, keys: KeyRepository, executor: DatabaseExecutor | None = None) -> None:
        self._book, self._keys = book, keys
        self._executor = executor or DatabaseExecutor()
        self._used: dict[tuple[str, date], Usage] = {}
        self._last: dict[str, float] = {}
        self._written: dict[str, float] = {}
        self._failing = False
        self._turn = asyncio.Lock()
        self.failures = 0

    def record(self, account: str, amount: Usage) -> None:
        """An account has used this, now."""
        name = account, datetime.now(UTC).date()
        self._used[name] = self._used.get(name, Usage()) + amount

    def record_key_use(self, key_id: str) -> None:
        """A key was used, now."""
        now = time.time()
        if now - self._written.get(key_id, 0.0) > _LAST_USE:
            self._last[key_id] = now

    async def run(self) -> None:
        """Write until cancelled; what is left then is written by `write`."""
        while True:
            await asyncio.sleep(_EVERY)
            await self.flush()

    async def flush(self) -> None:
        """Write what was collected until now. A failure is logged once, and tried again at the next call.

        Whoever is cancelled meanwhile leaves nothing half written down.
        """
        await asyncio.shield(asyncio.create_task(self._write_in_turn()))

    async def _write_in_turn(self) -> None:
        # Who asks for what was used is to find what another is just writing.
        async with self._turn:
            await self._write()

    async def _write(self) -> None:
        used, last = self._used, self._last
        if not used and not last:
            return
        self._used, self._last = {}, {}
        try:
            await self._executor.run_to_completion(partial(self._book.add, used))
            used = {}
            await self._executor.run_to_completion(partial(self._keys.record_uses, last))
        except DatabaseError as error:
            for name, amount in used.items():
                self._used[name] = self._used.get(name, Usage()) + amount
            self._last = last | self._last
            if not self._failing:
                _log.error("usage is kept in memory until it can be written: %s", error)
            self._failing = True
            self.failures += 1
            return
        if self._failing:
            _log.info("usage is written again")
        self._failing = False
        now = time.time()
        recent = {key_id: moment for key_id, moment in self._written.items() if now - moment <= _LAST_USE}
        self._written = recent | last
