"""What many ask for at the same time is made once."""

import asyncio

import pytest
from engine.parts import settle

from maskery.engine.single_flight import SingleFlight


class Making:
    """Counts how often it is made, and goes on until it is told to end."""

    def __init__(self) -> None:
        self.made = self.cancelled = 0
        self._ends: list[asyncio.Future[str]] = []

    async def __call__(self) -> str:
        self.made += 1
        end = asyncio.get_running_loop().create_future()
        self._ends.append(end)
        try:
            return await end
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def arrive(self, result: str | Exception, index: int = -1) -> None:
        if isinstance(result, Exception):
            self._ends[index].set_exception(result)
        else:
            self._ends[index].set_result(result)


@pytest.fixture
def flights() -> SingleFlight[str, str]:
    return SingleFlight()


@pytest.fixture
def making() -> Making:
    return Making()


async def test_a_hundred_callers_are_served_by_one_making(flights: SingleFlight[str, str], making: Making) -> None:
    callers = [asyncio.create_task(flights.join("image", making)) for _ in range(100)]
    await settle()
    assert "image" in flights
    making.arrive("embedding")
    assert await asyncio.gather(*callers) == ["embedding"] * 100
    assert making.made == 1
    assert "image" not in flights


async def test_who_comes_the_moment_in_which_it_fails_tries_again(
    flights: SingleFlight[str, str], making: Making
) -> None:
    first = asyncio.create_task(flights.join("image", making))
    await settle()
    making.arrive(ValueError("not now"))
    # Its turn comes right after that of the failing task, before anybody is told of the failure.
    asked: list[bool] = []

    async def come() -> str:
        asked.append("image" in flights)
        return await flights.join("image", making)

    second = asyncio.create_task(come())
    await settle()
    assert asked == [False]
    assert making.made == 2
    making.arrive("embedding")
    assert await second == "embedding"
    with pytest.raises(ValueError, match="not now"):
        await first
    assert "image" not in flights


async def test_different_things_are_made_beside_each_other(flights: SingleFlight[str, str]) -> None:
    one, other = Making(), Making()
    callers = [asyncio.create_task(flights.join(name, make)) for name, make in (("1", one), ("2", other), ("1", one))]
    await settle()
    other.arrive("second")
    one.arrive("first")
    assert await asyncio.gather(*callers) == ["first", "second", "first"]
    assert (one.made, other.made) == (1, 1)


async def test_what_has_arrived_is_made_again_for_who_asks_later(
    flights: SingleFlight[str, str], making: Making
) -> None:
    for time in ("first", "second"):
        caller = asyncio.create_task(flights.join("image", making))
        await settle()
        making.arrive(time)
        assert await caller == time
    assert making.made == 2


async def test_when_the_first_caller_leaves_the_others_still_get_it(
    flights: SingleFlight[str, str], making: Making
) -> None:
    first, *others = [asyncio.create_task(flights.join("image", making)) for _ in range(4)]
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    assert making.cancelled == 0
    making.arrive("embedding")
    assert await asyncio.gather(*others) == ["embedding"] * 3
    assert making.made == 1


async def test_when_all_have_left_the_making_is_cancelled(flights: SingleFlight[str, str], making: Making) -> None:
    callers = [asyncio.create_task(flights.join("image", making)) for _ in range(3)]
    await settle()
    for caller in callers[:2]:
        caller.cancel()
    await settle()
    assert making.cancelled == 0
    callers[2].cancel()
    await settle()
    assert making.cancelled == 1
    assert "image" not in flights


async def test_a_failure_goes_to_all_who_wait_and_the_next_tries_again(
    flights: SingleFlight[str, str], making: Making
) -> None:
    callers = [asyncio.create_task(flights.join("image", making)) for _ in range(5)]
    await settle()
    making.arrive(ValueError("damaged"))
    errors = await asyncio.gather(*callers, return_exceptions=True)
    assert [str(error) for error in errors] == ["damaged"] * 5
    assert making.made == 1
    again = asyncio.create_task(flights.join("image", making))
    await settle()
    making.arrive("embedding")
    assert await again == "embedding"
    assert making.made == 2


async def test_a_failure_after_all_have_left_is_no_news(flights: SingleFlight[str, str]) -> None:
    started = asyncio.Event()

    async def stubborn() -> str:
        started.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise ValueError("nobody hears this") from None
        raise AssertionError

    caller = asyncio.create_task(flights.join("image", stubborn))
    await started.wait()
    caller.cancel()
    # The event loop would complain of a failure that nobody took note of, and the test fail.
    await settle()
    assert "image" not in flights


async def test_who_comes_while_the_making_is_being_cancelled_gets_one_that_arrives(
    flights: SingleFlight[str, str],
) -> None:
    cleaned_up = asyncio.Event()
    made = []

    async def make() -> str:
        made.append(len(made))
        if len(made) > 1:
            return "second"
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await cleaned_up.wait()
        raise AssertionError

    leaving = asyncio.create_task(flights.join("image", make))
    await settle()
    leaving.cancel()
    await settle()
    coming = asyncio.create_task(flights.join("image", make))
    await settle()
    assert await coming == "second"
    # The first one's end, late, must not take away a third one.
    third = asyncio.get_running_loop().create_future()

    async def make_third() -> str:
        result: str = await third
        return result

    callers = [asyncio.create_task(flights.join("image", make_third))]
    await settle()
    cleaned_up.set()
    await settle()
    assert "image" in flights
    callers.append(asyncio.create_task(flights.join("image", make)))
    await settle()
    third.set_result("third")
    assert await asyncio.gather(*callers) == ["third", "third"]


async def test_a_caller_who_joins_in_the_very_moment_the_last_one_leaves_is_served(
    flights: SingleFlight[str, str], making: Making
) -> None:
    leaving = asyncio.create_task(flights.join("image", making))
    await settle()
    leaving.cancel()
    coming = asyncio.create_task(flights.join("image", making))
    await settle()
    making.arrive("embedding")
    assert await coming == "embedding"
