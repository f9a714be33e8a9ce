"""What is written down later: usage, and when keys were used. Requests do not wait for it."""

import asyncio
import logging
import time
from datetime import UTC, date, datetime
from functools import partial

from maskery.accounts.clerk import Clerk
from maskery.accounts.database import DatabaseError
from maskery.accounts.keys import KeyStore
from maskery.accounts.usage import Amount, UsageBook

_log = logging.getLogger("maskery.usage")

# Seconds between two writings: so much is lost when a server is killed.
_EVERY = 5.0

# Seconds by which a key's last use may be off.
_LAST_USE = 60.0


class Ledger:
    """Collects, and writes every few seconds. For one event loop.

    Where the database does not answer, what was collected is kept and written later.

    Args:
        book: for usage.
        keys: for last uses.
        clerk: goes to the database.

    Attributes:
        failures: how often the database did not answer.
    """

    def __init__(self, book: UsageBook, keys: KeyStore, clerk: Clerk | None = None) -> None:
        self._book, self._keys = book, keys
        self._clerk = clerk or Clerk()
        self._used: dict[tuple[str, date], Amount] = {}
        self._last: dict[str, float] = {}
        self._written: dict[str, float] = {}
        self._failing = False
        self._turn = asyncio.Lock()
        self.failures = 0

    def note(self, account: str, amount: Amount) -> None:
        """An account has used this, now."""
        name = account, datetime.now(UTC).date()
        self._used[name] = self._used.get(name, Amount()) + amount

    def note_key(self, key_id: str) -> None:
        """A key was used, now."""
        now = time.time()
        if now - self._written.get(key_id, 0.0) > _LAST_USE:
            self._last[key_id] = now

    async def run(self) -> None:
        """Write until cancelled; what is left then is written by `write`."""
        while True:
            await asyncio.sleep(_EVERY)
            await self.write()

    async def write(self) -> None:
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
            await self._clerk.wait(partial(self._book.add, used))
            used = {}
            await self._clerk.wait(partial(self._keys.used, last))
        except DatabaseError as error:
            for name, amount in used.items():
                self._used[name] = self._used.get(name, Amount()) + amount
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
