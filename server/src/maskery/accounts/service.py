"""Everything about accounts that a server needs, put together."""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

from maskery.accounts.book import AccountBook
from maskery.accounts.clerk import Clerk
from maskery.accounts.database import Database
from maskery.accounts.keys import KeyStore
from maskery.accounts.ledger import Ledger
from maskery.accounts.limiter import Limiter
from maskery.accounts.limits import Limits
from maskery.accounts.usage import UsageBook
from maskery.accounts.verifier import Verifier

_log = logging.getLogger("maskery.accounts")

# Seconds for usage to be written when the server stops.
_LAST_WRITING = 5.0


@dataclass(frozen=True)
class Records:
    """What the database holds: all that a command needs."""

    database: Database
    book: AccountBook
    keys: KeyStore
    usage: UsageBook

    @classmethod
    def open(cls, url: str | Path) -> "Records":
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
        return cls(database, AccountBook(database), KeyStore(database), UsageBook(database))

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()


class Office:
    """Lets callers in, bounds and counts them. For one event loop.

    Args:
        records: who there is.
        defaults: limits of accounts that have none of their own.
        limiter: counts requests.
    """

    def __init__(self, records: Records, defaults: Limits, limiter: Limiter) -> None:
        self.records, self.limiter = records, limiter
        self.clerk = Clerk()
        self.verifier = Verifier(records.keys, defaults, clerk=self.clerk)
        self.ledger = Ledger(records.usage, records.keys, self.clerk)
        self._writing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write down what is used, and see whether limits can be counted where they are to be."""
        self.limiter.check()
        self._writing = asyncio.create_task(self.ledger.run())

    async def close(self) -> None:
        """Write down what was not yet, and let go of the database."""
        if self._writing:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        try:
            async with asyncio.timeout(_LAST_WRITING):
                await self.ledger.write()
        except TimeoutError:
            _log.error("the database of accounts does not answer: what was used last is not written down")
        await self.limiter.close()
        self.clerk.close()
        self.records.close()
