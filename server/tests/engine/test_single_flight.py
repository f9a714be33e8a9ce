"""Callers of the same key at the same time share one call."""

import asyncio
from collections.abc import Callable

import pytest
from engine.parts import settle

from maskery.engine.single_flight import SingleFlight

Calls = SingleFlight[str, str]


class Work:
    """Counts its calls; each waits until the test ends it."""

    def __init__(self, committed: bool = False) -> None:
        self.calls = self.cancelled = 0
        self._committed = committed
        self._ends: list[asyncio.Future[str]] = []

    async def __call__(self, commit: Callable[[], None]) -> str:
        self.calls += 1
        end = asyncio.get_running_loop().create_future()
        self._ends.append(end)
        if self._committed:
            commit()
        try:
            return await end
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def end(self, result: str | Exception) -> None:
        if isinstance(result, Exception):
            self._ends[-1].set_exception(result)
        else:
            self._ends[-1].set_result(result)


Caller = asyncio.Task[tuple[str, bool]]


def call(calls: Calls, work: Callable[..., object], key: str = "image") -> Caller:
    return asyncio.create_task(calls.do(key, work))  # type: ignore[arg-type]


@pytest.fixture
def calls() -> Calls:
    return SingleFlight()


@pytest.fixture
def work() -> Work:
    return Work()


async def test_a_hundred_callers_share_one_call(calls: Calls, work: Work) -> None:
    callers = [call(calls, work) for _ in range(100)]
    await settle()
    assert "image" in calls
    work.end("embedding")
    assert await asyncio.gather(*callers) == [("embedding", False), *[("embedding", True)] * 99]
    assert work.calls == 1
    assert "image" not in calls


async def test_different_keys_run_at_the_same_time(calls: Calls) -> None:
    one, other = Work(), Work()
    callers = [call(calls, work, key) for key, work in (("1", one), ("2", other), ("1", one))]
    await settle()
    other.end("second")
    one.end("first")
    assert await asyncio.gather(*callers) == [("first", False), ("second", False), ("first", True)]
    assert (one.calls, other.calls) == (1, 1)


async def test_a_later_caller_starts_a_new_call(calls: Calls, work: Work) -> None:
    for result in ("first", "second"):
        caller = call(calls, work)
        await settle()
        work.end(result)
        assert await caller == (result, False)
    assert work.calls == 2


async def test_a_cancelled_caller_does_not_affect_the_others(calls: Calls, work: Work) -> None:
    first, *others = [call(calls, work) for _ in range(4)]
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    assert work.cancelled == 0
    work.end("embedding")
    assert await asyncio.gather(*others) == [("embedding", True)] * 3
    assert work.calls == 1


async def test_the_call_is_cancelled_with_its_last_caller(calls: Calls, work: Work) -> None:
    callers = [call(calls, work) for _ in range(3)]
    await settle()
    for caller in callers[:2]:
        caller.cancel()
    await settle()
    assert work.cancelled == 0
    callers[2].cancel()
    await settle()
    assert work.cancelled == 1
    assert "image" not in calls


async def test_a_committed_call_outlives_its_callers_and_is_joined_by_later_ones(calls: Calls) -> None:
    work = Work(committed=True)
    leaving = call(calls, work)
    await settle()
    leaving.cancel()
    await settle()
    assert leaving.cancelled()
    assert "image" in calls
    later = call(calls, work)
    await settle()
    work.end("embedding")
    assert await later == ("embedding", True)
    assert (work.calls, work.cancelled) == (1, 0)
    assert "image" not in calls


async def test_an_exception_is_raised_in_all_callers_and_the_next_tries_again(calls: Calls, work: Work) -> None:
    callers = [call(calls, work) for _ in range(5)]
    await settle()
    work.end(ValueError("damaged"))
    errors = await asyncio.gather(*callers, return_exceptions=True)
    assert [str(error) for error in errors] == ["damaged"] * 5
    assert work.calls == 1
    again = call(calls, work)
    await settle()
    work.end("embedding")
    assert await again == ("embedding", False)
    assert work.calls == 2


async def test_a_caller_that_arrives_while_the_call_fails_tries_again(calls: Calls, work: Work) -> None:
    first = call(calls, work)
    await settle()
    work.end(ValueError("not now"))
    # Scheduled right after the failing task, before its callbacks.
    active: list[bool] = []

    async def arrive() -> tuple[str, bool]:
        active.append("image" in calls)
        return await calls.do("image", work)

    second = asyncio.create_task(arrive())
    await settle()
    assert active == [False]
    assert work.calls == 2
    work.end("embedding")
    assert await second == ("embedding", False)
    with pytest.raises(ValueError, match="not now"):
        await first
    assert "image" not in calls


@pytest.mark.parametrize("committed", [False, True])
async def test_an_exception_without_callers_is_not_logged(calls: Calls, committed: bool) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def fail(commit: Callable[[], None]) -> str:
        if committed:
            commit()
        started.set()
        try:
            await go_on.wait()
        finally:
            raise ValueError("not retrieved")

    caller = call(calls, fail)
    await started.wait()
    caller.cancel()
    await settle()
    go_on.set()
    # asyncio would report an exception that was never retrieved, and the test would fail.
    await settle()
    assert "image" not in calls


async def test_a_caller_that_arrives_during_the_cancellation_starts_a_new_call(calls: Calls) -> None:
    cleaned_up = asyncio.Event()
    begun = []

    async def slow_to_cancel(_: Callable[[], None]) -> str:
        begun.append(len(begun))
        if len(begun) > 1:
            return "second"
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await cleaned_up.wait()
        raise AssertionError

    leaving = call(calls, slow_to_cancel)
    await settle()
    leaving.cancel()
    await settle()
    assert await call(calls, slow_to_cancel) == ("second", False)
    # The late end of the first call must not remove the third.
    third = Work()
    callers = [call(calls, third)]
    await settle()
    cleaned_up.set()
    await settle()
    assert "image" in calls
    callers.append(call(calls, third))
    await settle()
    third.end("third")
    assert await asyncio.gather(*callers) == [("third", False), ("third", True)]


async def test_a_caller_that_joins_in_the_moment_the_last_one_leaves_is_served(calls: Calls, work: Work) -> None:
    leaving = call(calls, work)
    await settle()
    leaving.cancel()
    joining = call(calls, work)
    await settle()
    work.end("embedding")
    assert (await joining)[0] == "embedding"
