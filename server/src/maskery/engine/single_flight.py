"""Single flight: callers that ask for the same key at the same time share one call."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


@dataclass(eq=False)
class _Call(Generic[Result]):
    task: asyncio.Task[Result] = field(init=False)
    waiting: int = 0
    committed: bool = False

    def commit(self) -> None:
        self.committed = True


class SingleFlight(Generic[Key, Result]):
    """Runs one call per key at a time and gives its result to all callers. For one event loop.

    An exception is raised in all callers; the next caller starts a new call. A cancelled caller does not affect the
    others. When all callers are cancelled, so is the call, unless it has been committed: then it runs to its end, and
    later callers join it.
    """

    def __init__(self) -> None:
        self._calls: dict[Key, _Call[Result]] = {}

    def __contains__(self, key: Key) -> bool:
        return self._active(key) is not None

    async def do(
        self, key: Key, function: Callable[[Callable[[], None]], Coroutine[Any, Any, Result]]
    ) -> tuple[Result, bool]:
        """Call `function`, or join the call of another caller.

        Args:
            function: its argument is a function that commits the call.

        Returns:
            The result, and whether it comes from another caller's call.
        """
        call = self._active(key)
        joined = call is not None
        if call is None:
            call = self._calls[key] = _Call()
            call.task = asyncio.create_task(function(call.commit))
            call.task.add_done_callback(lambda task: self._finish(key, task))
        call.waiting += 1
        try:
            return await asyncio.shield(call.task), joined
        finally:
            call.waiting -= 1
            if not call.waiting and not call.committed and not call.task.done():
                call.task.cancel()
                # A caller that arrives during the cancellation must start a new call.
                self._remove(key, call.task)

    def _active(self, key: Key) -> _Call[Result] | None:
        # A task is done before its callbacks run. A caller in between must not join it: awaiting a task that is done
        # does not yield to the event loop, so a caller that retries after an exception would never end.
        call = self._calls.get(key)
        return call if call and not call.task.done() else None

    def _finish(self, key: Key, task: asyncio.Task[Result]) -> None:
        self._remove(key, task)
        # Mark the exception as retrieved: without callers asyncio would log it.
        if not task.cancelled():
            task.exception()

    def _remove(self, key: Key, task: asyncio.Task[Result]) -> None:
        if key in self._calls and self._calls[key].task is task:
            del self._calls[key]
