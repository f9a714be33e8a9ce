"""A fixed number of threads behind a bounded queue."""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

from maskery.engine.errors import Busy, DeadlineExceeded

Answer = TypeVar("Answer")

# Weight of the newest job in the running mean of how long one takes.
_NEWEST = 0.2


class Workers:
    """Runs blocking work off the event loop, as much at a time as there are workers.

    Work that was given up, because its deadline passed or its client went away, is taken off the queue if it has
    not started; started work runs to its end and keeps its worker until then, so that there are never more
    threads computing than there are workers.

    Args:
        workers: jobs at a time.
        max_queue: jobs that may wait; one more is refused.
    """

    def __init__(self, workers: int, max_queue: int) -> None:
        self._workers = workers
        self._places = workers + max_queue
        self._taken = 0
        self._seconds_a_job = 0.0
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="segment")

    async def run(self, work: Callable[[], Answer], time_limit: float, spent: float = 0.0) -> Answer:
        """The work's answer, or what it raised.

        Args:
            time_limit: seconds that the request may take.
            spent: those that it has taken already.

        Raises:
            Busy: the queue is full.
            DeadlineExceeded: `time_limit` seconds went by.
        """
        if self._taken >= self._places:
            raise Busy(f"{self._taken} requests are being answered or waiting, no more can wait", self._retry_after())
        self._taken += 1
        loop = asyncio.get_running_loop()
        # The pool keeps what was taken off its queue until a thread comes by; it shall not keep a picture with it,
        # neither by itself nor through this frame, which the cancellation's traceback holds.
        waiting = [work]
        del work
        job = self._pool.submit(lambda: self._timed(waiting.pop()))

        def give_back(_: object) -> None:
            waiting.clear()
            loop.call_soon_threadsafe(self._give_back)

        # A place is free when the work has really ended, also where nobody waits for it any more.
        job.add_done_callback(give_back)
        try:
            async with asyncio.timeout(time_limit - spent):
                return await asyncio.wrap_future(job)
        except TimeoutError:
            if job.done() and not job.cancelled():
                return job.result()
            raise DeadlineExceeded(f"the answer was not there within the request's {time_limit:g} seconds") from None

    def close(self) -> None:
        """Wait for started work and drop the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)

    def _give_back(self) -> None:
        self._taken -= 1

    def _timed(self, work: Callable[[], Answer]) -> Answer:
        started = time.perf_counter()
        try:
            return work()
        finally:
            seconds = time.perf_counter() - started
            mean = self._seconds_a_job
            self._seconds_a_job = mean + _NEWEST * (seconds - mean) if mean else seconds

    def _retry_after(self) -> int:
        """Whole seconds in which the queue is expected to be half empty."""
        return max(1, math.ceil(self._seconds_a_job * self._taken / self._workers / 2))
