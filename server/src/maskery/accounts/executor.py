"""Goes to the database for whoever must not wait for it for ever."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from maskery.accounts.database import DatabaseError

# Seconds for a statement or two. A server that is gone is noticed by its socket; one that hangs, by this alone.
_PATIENCE = 5.0

# Those that wait for a database that hangs are lost to others, not to the rest of the server.
_THREADS = 4

Answer = TypeVar("Answer")


class DatabaseExecutor:
    """Works in threads of its own. For one event loop.

    Args:
        patience: seconds after which an answer comes too late.
    """

    def __init__(self, patience: float = _PATIENCE) -> None:
        self._patience = patience
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="accounts")

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """What the work returns or raises.

        Raises:
            DatabaseError: it took too long; it may be done nevertheless.
        """
        try:
            async with asyncio.timeout(self._patience) as limit:
                return await self.run_to_completion(work)
        except TimeoutError:
            if not limit.expired():
                raise
            message = f"the database of accounts has not answered within {self._patience:g} seconds"
            raise DatabaseError(message) from None

    async def run_to_completion(self, work: Callable[[], Answer]) -> Answer:
        """The same, however long it takes: for what must be known to be done or not."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Begin nothing any more. What hangs is left to itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)
