"""Turns at something scarce: so many at a time, the rest in a bounded line in which accounts take turns."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from maskery.engine.admission import RetryEstimate
from maskery.engine.errors import Busy

Answer = TypeVar("Answer")


class Lane:
    """Lets work through, `slots` at a time. For one event loop.

    Whoever waits and is cancelled leaves the line, and their work is never started. Work that was started runs to its
    end and keeps its slot until then, also where nobody waits for it any more: a thread cannot be stopped, and must
    be counted for as long as it computes.

    Args:
        slots: turns at a time.
        max_waiting: length of the line; one more is refused. None: no limit here, because one was passed before.
        doing: what the turns are, for the sentence of a refusal.
    """

    def __init__(self, slots: int, max_waiting: int | None = None, doing: str = "being answered") -> None:
        self._slots = slots
        self._max_waiting = max_waiting
        self._doing = doing
        self._pace = RetryEstimate()
        # By account, the next to be served first.
        self._line: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._tasks: set[asyncio.Task[object]] = set()
        self.running = 0

    @property
    def waiting(self) -> int:
        return sum(map(len, self._line.values()))

    async def run(self, work: Callable[[], Awaitable[Answer]], account: str = "") -> Answer:
        """The work's answer, or what it raised.

        Args:
            account: whose turn it is. One with a long line of its own waits for that, not the others.

        Raises:
            Busy: the line is full.
        """
        await self._take_turn(account)
        task = asyncio.ensure_future(self._hold(work))
        # The event loop itself keeps no reference that would hold a task.
        self._tasks.add(task)
        task.add_done_callback(self._let_go)
        return await asyncio.shield(task)

    async def idle(self) -> None:
        """Wait until nothing is running."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def retry_after(self) -> int:
        """Whole seconds in which half of those here are expected to be served, by how long turns took of late."""
        return self._pace.retry_after(self.running + self.waiting, self._slots)

    async def _take_turn(self, account: str) -> None:
        if self.running < self._slots:
            self.running += 1
            return
        if self._max_waiting is not None and self.waiting >= self._max_waiting:
            here = self.running + self.waiting
            raise Busy(f"{here} requests are {self._doing} or waiting for it, no more can wait", self.retry_after())
        turn = asyncio.get_running_loop().create_future()
        self._line.setdefault(account, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(account, turn)
            else:
                # Given the slot and cancelled at the same time.
                self._pass_on()
            raise

    async def _hold(self, work: Callable[[], Awaitable[Answer]]) -> Answer:
        started = time.monotonic()
        try:
            return await work()
        finally:
            self._pace.note(time.monotonic() - started)
            self._pass_on()

    def _pass_on(self) -> None:
        """Give a slot that has become free to the next in line."""
        while self._line:
            account, turns = self._line.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._line[account] = turns
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1

    def _leave(self, account: str, turn: asyncio.Future[None]) -> None:
        turns = self._line.get(account)
        if turns and turn in turns:
            turns.remove(turn)
            if not turns:
                del self._line[account]

    def _let_go(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        # A failure that nobody waits for any more is no news.
        if not task.cancelled():
            task.exception()
