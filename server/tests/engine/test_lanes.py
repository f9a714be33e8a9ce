"""Turns at something scarce: who gets one, who waits, who is sent away."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from engine.parts import Clock, settle, stop_clock

from maskery.engine import Busy
from maskery.engine.lanes import Lane

Work = Callable[[], Awaitable[str]]


class Works:
    """Work by name, each going on until it is told to end."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[str] = []
        self._ends: dict[str, asyncio.Future[None]] = {}

    def __call__(self, name: str) -> Work:
        async def work() -> str:
            self.started.append(name)
            self._ends[name] = asyncio.get_running_loop().create_future()
            await self._ends[name]
            self.ended.append(name)
            return name

        return work

    async def end(self, name: str, error: Exception | None = None) -> None:
        if error:
            self._ends[name].set_exception(error)
        else:
            self._ends[name].set_result(None)
        await settle()


def begin(lane: Lane, works: Works, name: str, account: str = "") -> asyncio.Task[str]:
    return asyncio.create_task(lane.run(works(name), account))


async def test_no_more_work_at_a_time_than_there_are_slots() -> None:
    lane, works = Lane(2), Works()
    tasks = [begin(lane, works, name) for name in "abcde"]
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


async def test_accounts_take_turns_however_long_the_line_of_one_is() -> None:
    lane, works = Lane(1), Works()
    tasks = [begin(lane, works, f"a{number}", "a") for number in range(4)]
    await settle()
    tasks += [begin(lane, works, name, name[0]) for name in ("b0", "c0", "b1")]
    await settle()
    order = []
    while lane.running:
        order.append(works.started[-1])
        await works.end(works.started[-1])
    assert order == ["a0", "a1", "b0", "c0", "a2", "b1", "a3"]
    await asyncio.gather(*tasks)


async def test_a_full_line_sends_away_and_says_for_how_long_by_the_speed_it_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock: Clock = stop_clock(monkeypatch, "maskery.engine.lanes")
    lane, works = Lane(2, max_waiting=4, doing="being encoded"), Works()
    first = begin(lane, works, "first")
    await settle()
    clock.now += 10
    await works.end("first")
    tasks = [begin(lane, works, str(number)) for number in range(6)]
    await settle()
    with pytest.raises(Busy, match="6 requests are being encoded or waiting for it") as caught:
        await lane.run(works("one too many"))
    # Three of the six are through after one and a half rounds of two at a time, of ten seconds each.
    assert caught.value.retry_after == 15
    clock.now += 5
    for number in range(6):
        await works.end(str(number))
    await asyncio.gather(first, *tasks)
    assert lane.retry_after() == 1
    assert "one too many" not in works.started


async def test_later_turns_count_more_than_earlier_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = stop_clock(monkeypatch, "maskery.engine.lanes")
    lane, works = Lane(1, max_waiting=9), Works()

    async def turn(seconds: float) -> None:
        task = begin(lane, works, "turn")
        await settle()
        clock.now += seconds
        await works.end("turn")
        await task

    await turn(100)
    for _ in range(20):
        await turn(10)
    tasks = [begin(lane, works, str(number)) for number in range(10)]
    await settle()
    assert 50 <= lane.retry_after() <= 60
    for number in range(10):
        await works.end(str(number))
    await asyncio.gather(*tasks)


async def test_nobody_is_told_to_come_back_at_once() -> None:
    lane, works = Lane(1, max_waiting=0), Works()
    task = begin(lane, works, "a")
    await settle()
    with pytest.raises(Busy) as caught:
        await lane.run(works("b"))
    assert caught.value.retry_after == 1
    await works.end("a")
    assert await task == "a"


async def test_who_leaves_the_line_is_never_started_and_gives_the_place_to_another() -> None:
    lane, works = Lane(1, max_waiting=1), Works()
    first, leaving = begin(lane, works, "first"), begin(lane, works, "leaving")
    await settle()
    leaving.cancel()
    await settle()
    assert leaving.cancelled()
    assert lane.waiting == 0
    staying = begin(lane, works, "staying")
    await settle()
    await works.end("first")
    await works.end("staying")
    assert await staying == "staying"
    assert works.started == ["first", "staying"]
    await first
    assert lane.running == 0


async def test_a_slot_given_to_one_who_leaves_in_that_moment_goes_to_the_next() -> None:
    lane, works = Lane(1), Works()

    async def first() -> None:
        await asyncio.sleep(0)
        # Runs when the slot has been given away, and before whoever got it has learnt that.
        asyncio.get_running_loop().call_soon(leaving.cancel)

    running = asyncio.create_task(lane.run(first))
    await asyncio.sleep(0)
    leaving, last = begin(lane, works, "leaving"), begin(lane, works, "last")
    await settle()
    assert leaving.cancelled()
    assert works.started == ["last"]
    await works.end("last")
    await running
    assert await last == "last"
    assert (lane.running, lane.waiting) == (0, 0)


async def test_one_who_leaves_while_the_slot_before_is_freed_is_passed_over() -> None:
    lane, works = Lane(1), Works()
    first, leaving, last = (begin(lane, works, name) for name in ("first", "leaving", "last"))
    await settle()
    leaving.cancel()
    await works.end("first")
    assert works.started == ["first", "last"]
    await works.end("last")
    await asyncio.gather(first, last)
    assert (lane.running, lane.waiting) == (0, 0)


async def test_work_that_was_started_keeps_its_slot_until_it_ends_though_nobody_waits() -> None:
    lane, works = Lane(1), Works()
    left, next_one = begin(lane, works, "left"), begin(lane, works, "next")
    await settle()
    left.cancel()
    await settle()
    assert left.cancelled()
    assert works.started == ["left"]
    assert lane.running == 1
    await works.end("left")
    assert works.ended == ["left"]
    assert works.started == ["left", "next"]
    await works.end("next")
    assert await next_one == "next"


async def test_work_that_fails_frees_its_slot_and_its_caller_learns_why() -> None:
    lane, works = Lane(1), Works()
    failing, next_one = begin(lane, works, "failing"), begin(lane, works, "next")
    await settle()
    await works.end("failing", ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await failing
    await works.end("next")
    assert await next_one == "next"
    assert lane.running == 0


async def test_a_failure_that_nobody_waits_for_frees_the_slot_in_silence() -> None:
    lane, works = Lane(1), Works()
    left = begin(lane, works, "left")
    await settle()
    left.cancel()
    await settle()
    await works.end("left", ValueError("nobody hears this"))
    assert lane.running == 0


async def test_idle_waits_for_the_last_work_also_for_what_nobody_waits_for() -> None:
    lane, works = Lane(2), Works()
    await lane.idle()
    left, other = begin(lane, works, "left"), begin(lane, works, "other")
    await settle()
    left.cancel()
    idle = asyncio.create_task(lane.idle())
    await settle()
    await works.end("other")
    assert not idle.done()
    await works.end("left")
    assert idle.done()
    assert await other == "other"


@pytest.mark.parametrize("slots", [1, 3])
async def test_whatever_comes_and_goes_no_slot_is_lost(slots: int) -> None:
    rng = random.Random(slots)
    lane = Lane(slots)
    most = running = 0

    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        assert running <= slots
        for _ in range(rng.randrange(5)):
            await asyncio.sleep(0)
        running -= 1
        if rng.random() < 0.2:
            raise ValueError

    tasks = []
    for _ in range(500):
        tasks.append(asyncio.create_task(lane.run(work, rng.choice("abc"))))
        for _ in range(rng.randrange(3)):
            await asyncio.sleep(0)
        if rng.random() < 0.4:
            rng.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await lane.idle()
    assert most == slots
    assert (lane.running, lane.waiting) == (0, 0)
