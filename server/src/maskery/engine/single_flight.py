"""Single flight: who asks for what is being made waits for it instead of making it again."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)
Result = TypeVar("Result")


@dataclass(eq=False)
class _Flight(Generic[Result]):
    task: asyncio.Task[Result]
    waiting: int = 0


class SingleFlight(Generic[Name, Result]):
    """Makes each thing once at a time, however many ask. For one event loop.

    A failure goes to all who wait, and is forgotten: who asks next tries again. One who goes away does not matter to
    the others; when the last has gone, the making is cancelled.
    """

    def __init__(self) -> None:
        self._flights: dict[Name, _Flight[Result]] = {}

    def __contains__(self, name: Name) -> bool:
        return self._in_the_air(name) is not None

    async def join(self, name: Name, make: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """What `make` returns or raises, called by the first of those who wait."""
        flight = self._in_the_air(name)
        if flight is None:
            flight = self._flights[name] = _Flight(asyncio.create_task(make()))
            flight.task.add_done_callback(lambda task: self._land(name, task))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                flight.task.cancel()
                # Whoever comes before the cancellation is through needs a flight that arrives.
                self._forget(name, flight.task)

    def _in_the_air(self, name: Name) -> _Flight[Result] | None:
        # A task is done a moment before its callbacks are called. Who comes in between must not join it: a task that
        # is done is awaited without a pause, so that who tries again after its failure would do so for ever.
        flight = self._flights.get(name)
        return flight if flight and not flight.task.done() else None

    def _land(self, name: Name, task: asyncio.Task[Result]) -> None:
        self._forget(name, task)
        # Where nobody waits any more, nobody would ask for it, and asyncio complains.
        if not task.cancelled():
            task.exception()

    def _forget(self, name: Name, task: asyncio.Task[Result]) -> None:
        if name in self._flights and self._flights[name].task is task:
            del self._flights[name]
