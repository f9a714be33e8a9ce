"""Lanes: which work gets a slot, which waits, and which is refused."""

import asyncio
import random

import pytest
from engine.parts import Clock, settle, stop_clock

from maskery.engine import Busy
from maskery.engine.lanes import Lane


class Works:
    """Work by name, each running until the test ends it."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.started: list[str] = []
        self._ends: dict[str, asyncio.Future[None]] = {}

    async def run(self, name: str, account: str = "") -> str:
        async with self.lane.slot(account):
            self.started.append(name)
            self._ends[name] = asyncio.get_running_loop().create_future()
            await self._ends[name]
        return name

    def begin(self, name: str, account: str = "") -> asyncio.Task[str]:
        return asyncio.create_task(self.run(name, account))

    async def end(self, name: str, error: Exception | None = None) -> None:
        if error:
            self._ends[name].set_exception(error)
        else:
            self._ends[name].set_result(None)
        await settle()


async def test_work_runs_in_as_many_slots_as_there_are() -> None:
    lane = Lane(2)
    works = Works(lane)
    tasks = [works.begin(name) for name in "abcde"]
    await settle()
    assert works.started == ["a", "b"]
    assert (lane.running, lane.waiting) == (2, 3)
    await works.end("b")
    assert works.started == ["a", "b", "c"]
    assert (lane.running, lane.waiting) == (2, 2)
    for name in "acde":
        await works.end(name)
    assert [await task for task in tasks] == list("abcde")
    assert (lane.running, lane.waiting) == (0, 0)


async def test_slots_go_to_accounts_in_turn_however_many_requests_one_has() -> None:
    works = Works(Lane(1))
    tasks = [works.begin(f"a{number}", "a") for number in range(4)]
    await settle()
    tasks += [works.begin(name, name[0]) for name in ("b0", "c0", "b1")]
    await settle()
    order = []
    while works.lane.running:
        order.append(works.started[-1])
        await works.end(works.started[-1])
    assert order == ["a0", "a1", "b0", "c0", "a2", "b1", "a3"]
    await asyncio.gather(*tasks)


async def test_a_full_queue_refuses_and_estimates_when_to_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    clock: Clock = stop_clock(monkeypatch, "maskery.engine.lanes")
    lane = Lane(2, max_waiting=4, name="encoding")
    works = Works(lane)
    first = works.begin("first")
    await settle()
    clock.now += 10
    await works.end("first")
    tasks = [works.begin(str(number)) for number in range(6)]
    await settle()
    with pytest.raises(Busy, match=r"^the encoding queue is full \(6 requests\)$") as caught:
        await works.run("one too many")
    # Three of the six are done after one and a half rounds of two at a time, of ten seconds each.
    assert caught.value.retry_after == 15
    clock.now += 5
    for number in range(6):
        await works.end(str(number))
    await asyncio.gather(first, *tasks)
    assert lane.retry_after() == 1
    assert "one too many" not in works.started


async def test_recent_durations_count_more_than_earlier_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = stop_clock(monkeypatch, "maskery.engine.lanes")
    lane = Lane(1, max_waiting=9)
    works = Works(lane)

    async def run(seconds: float) -> None:
        task = works.begin("work")
        await settle()
        clock.now += seconds
        await works.end("work")
        await task

    await run(100)
    for _ in range(20):
        await run(10)
    tasks = [works.begin(str(number)) for number in range(10)]
    await settle()
    assert 50 <= lane.retry_after() <= 60
    for number in range(10):
        await works.end(str(number))
    await asyncio.gather(*tasks)


async def test_a_retry_is_never_suggested_in_less_than_a_second() -> None:
    works = Works(Lane(1, max_waiting=0))
    task = works.begin("a")
    await settle()
    with pytest.raises(Busy) as caught:
        await works.run("b")
    assert caught.value.retry_after == 1
    await works.end("a")
    assert await task == "a"


async def test_cancelled_work_leaves_the_queue_and_never_starts() -> None:
    lane = Lane(1, max_waiting=1)
    works = Works(lane)
    first, leaving = works.begin("first"), works.begin("leaving")
    await settle()
    leaving.cancel()
    await settle()
    assert leaving.cancelled()
    assert lane.waiting == 0
    staying = works.begin("staying")
    await settle()
    await works.end("first")
    await works.end("staying")
    assert await staying == "staying"
    assert works.started == ["first", "staying"]
    await first
    assert lane.running == 0


async def test_a_slot_given_to_work_that_is_cancelled_in_that_moment_goes_to_the_next() -> None:
    works = Works(Lane(1))

    async def first() -> None:
        async with works.lane.slot():
            await asyncio.sleep(0)
        # Runs when the slot has been given to `leaving`, and before its task resumes.
        leaving.cancel()

    running = asyncio.create_task(first())
    await asyncio.sleep(0)
    leaving, last = works.begin("leaving"), works.begin("last")
    await settle()
    assert leaving.cancelled()
    assert works.started == ["last"]
    await works.end("last")
    await running
    assert await last == "last"
    assert (works.lane.running, works.lane.waiting) == (0, 0)


async def test_work_that_is_cancelled_while_a_slot_becomes_free_is_passed_over() -> None:
    works = Works(Lane(1))
    first, leaving, last = (works.begin(name) for name in ("first", "leaving", "last"))
    await settle()
    leaving.cancel()
    await works.end("first")
    assert works.started == ["first", "last"]
    await works.end("last")
    await asyncio.gather(first, last)
    assert (works.lane.running, works.lane.waiting) == (0, 0)


async def test_work_that_fails_releases_its_slot() -> None:
    works = Works(Lane(1))
    failing, next_one = works.begin("failing"), works.begin("next")
    await settle()
    await works.end("failing", ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await failing
    await works.end("next")
    assert await next_one == "next"
    assert works.lane.running == 0


@pytest.mark.parametrize("slots", [1, 3])
async def test_no_slot_is_lost_in_random_cancellations_and_failures(slots: int) -> None:
    rng = random.Random(slots)
    lane = Lane(slots)
    most = running = 0

    async def work(account: str) -> None:
        nonlocal running, most
        async with lane.slot(account):
            running += 1
            most = max(most, running)
            try:
                for _ in range(rng.randrange(5)):
                    await asyncio.sleep(0)
                if rng.random() < 0.2:
                    raise ValueError
            finally:
                running -= 1

    tasks = []
    for _ in range(500):
        tasks.append(asyncio.create_task(work(rng.choice("abc"))))
        for _ in range(rng.randrange(3)):
            await asyncio.sleep(0)
        if rng.random() < 0.4:
            rng.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert most == slots
    assert (lane.running, lane.waiting) == (0, 0)
