"""Lanes: a limited number of slots, and a bounded queue that is fair to accounts."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from maskery.engine.admission import RetryEstimate
from maskery.engine.errors import Busy


class Lane:
    """Limits how much work runs at the same time. For one event loop.

    Free slots go to the queued accounts in turn (round robin), so that an account with many queued requests does not
    delay an account with one.

    Args:
        slots: number of slots.
        max_waiting: length of the queue; a request beyond it is refused. None: not limited here.
        name: of the queue, for the message of a refusal.

    Attributes:
        running: slots in use.
    """

    def __init__(self, slots: int, max_waiting: int | None = None, name: str = "request") -> None:
        self._slots = slots
        self._max_waiting = max_waiting
        self._name = name
        self._estimate = RetryEstimate()
        # By account, the next to get a slot first.
        self._queue: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self.running = 0

    @property
    def waiting(self) -> int:
        """Length of the queue."""
        return sum(map(len, self._queue.values()))

    @asynccontextmanager
    async def slot(self, account: str = "") -> AsyncIterator[None]:
        """A context manager that waits for a slot and holds it.

        A task that is cancelled while it waits leaves the queue. A task whose work goes on in a thread must not be
        cancelled while it holds the slot: a thread cannot be stopped, and counts for as long as it computes.

        Raises:
            Busy: the queue is full.
        """
        await self._acquire(account)
        started = time.monotonic()
        try:
            yield
        finally:
            self._estimate.note(time.monotonic() - started)
            self._release()

    def retry_after(self) -> int:
        """Whole seconds after which half of the requests here are expected to be served."""
        return self._estimate.retry_after(self.running + self.waiting, self._slots)

    async def _acquire(self, account: str) -> None:
        if self.running < self._slots:
            self.running += 1
            return
        if self._max_waiting is not None and self.waiting >= self._max_waiting:
            here = self.running + self.waiting
            raise Busy(f"the {self._name} queue is full ({here} requests)", self.retry_after())
        turn = asyncio.get_running_loop().create_future()
        self._queue.setdefault(account, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(account, turn)
            else:
                # Cancelled after it was given the slot.
                self._release()
            raise

    def _release(self) -> None:
        """Give the slot to the next in the queue."""
        while self._queue:
            account, turns = self._queue.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._queue[account] = turns
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1

    def _leave(self, account: str, turn: asyncio.Future[None]) -> None:
        turns = self._queue.get(account)
        if turns and turn in turns:
            turns.remove(turn)
            if not turns:
                del self._queue[account]


@dataclass(frozen=True)
class Lanes:
    """The engine's lanes.

    Attributes:
        encode: images for the encoder process, one at a time: it uses all processors.
        encode_inline: images for models that encode in this process.
        decode: calls of models that decode. Its queue is limited by the admission of requests.
    """

    encode: Lane
    encode_inline: Lane
    decode: Lane

    @classmethod
    def of(cls, workers: int, max_encodings: int) -> "Lanes":
        """Lanes for so many threads, and so many queued images each."""
        return cls(
            encode=Lane(1, max_encodings, "encoding"),
            encode_inline=Lane(workers, max_encodings, "encoding"),
            decode=Lane(workers),
        )
