"""Runs blocking database work in threads, with a time limit."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from maskery.accounts.database import DatabaseError

# Seconds for a few statements. A connection that was lost is noticed by its socket, a database that hangs only by this.
_TIMEOUT = 5.0

# A database that hangs blocks these threads, and no others of the server.
_THREADS = 4

Result = TypeVar("Result")


class DatabaseExecutor:
    """A thread pool for database work. For one event loop.

    Args:
        timeout: seconds that `run` waits.
    """

    def __init__(self, timeout: float = _TIMEOUT) -> None:
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="accounts")

    async def run(self, work: Callable[[], Result]) -> Result:
        """Return what the work returns, or raise what it raises.

        Raises:
            DatabaseError: the work took too long; it may still be completed.
        """
        try:
            async with asyncio.timeout(self._timeout) as limit:
                return await self.run_to_completion(work)
        except TimeoutError:
            if not limit.expired():
                raise
            message = f"the database of accounts has not responded within {self._timeout:g} seconds"
            raise DatabaseError(message) from None

    async def run_to_completion(self, work: Callable[[], Result]) -> Result:
        """The same without a time limit, for work whose outcome must be known."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Start no more work. Work that hangs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
