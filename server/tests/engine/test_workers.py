import asyncio
import gc
import threading
import time
import weakref

import pytest

from maskery.engine import Busy, DeadlineExceeded, Workers, memory, processors

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_work_is_done_off_the_event_loop() -> None:
    async with Workers(1, 0) as workers:
        assert await workers.run(threading.get_ident, 5) != threading.get_ident()


async def test_what_the_work_raises_is_raised() -> None:
    async with Workers(1, 0) as workers:
        with pytest.raises(ZeroDivisionError):
            await workers.run(lambda: 1 // 0, 5)


async def test_no_more_runs_at_a_time_than_there_are_workers() -> None:
    running = most = 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    async with Workers(3, 100) as workers:
        await asyncio.gather(*(workers.run(work, 5) for _ in range(30)))
    assert most == 3


async def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    release = threading.Event()
    async with Workers(1, 1) as workers:
        await workers.run(lambda: time.sleep(0.2), 5)
        held = [asyncio.create_task(workers.run(release.wait, 5)) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(Busy) as caught:
            await workers.run(release.wait, 5)
        assert caught.value.retry_after >= 1
        release.set()
        await asyncio.gather(*held)
        assert await workers.run(lambda: "free again", 5) == "free again"


async def test_work_whose_time_is_up_while_it_waits_is_never_started() -> None:
    started = threading.Event()
    release = threading.Event()
    async with Workers(1, 5) as workers:
        first = asyncio.create_task(workers.run(release.wait, 5))
        await asyncio.sleep(0.02)
        with pytest.raises(DeadlineExceeded, match=r"0\.05 seconds"):
            await workers.run(started.set, 0.05)
        release.set()
        await first
    assert not started.is_set()


async def test_work_that_is_cancelled_while_it_waits_is_never_started_and_let_go_of() -> None:
    class Picture:
        def segment(self) -> None:
            started.set()

    started = threading.Event()
    release = threading.Event()
    picture = Picture()
    kept = weakref.ref(picture)
    async with Workers(1, 1) as workers:
        first = asyncio.create_task(workers.run(lambda: release.wait(5), 5))
        await asyncio.sleep(0.02)
        second = asyncio.create_task(workers.run(picture.segment, 5))
        await asyncio.sleep(0.02)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        del picture, second
        gc.collect()
        assert kept() is None
        third = asyncio.create_task(workers.run(lambda: "the place is free", 5))
        release.set()
        await first
        assert await third == "the place is free"
    assert not started.is_set()


async def test_time_that_was_spent_before_counts() -> None:
    release = threading.Event()
    async with Workers(1, 1) as workers:
        with pytest.raises(DeadlineExceeded, match="60 seconds"):
            await workers.run(lambda: release.wait(5), 60, spent=59.95)
        release.set()


async def test_work_that_was_given_up_keeps_its_worker_until_it_ends() -> None:
    release = threading.Event()
    async with Workers(1, 0) as workers:
        with pytest.raises(DeadlineExceeded):
            await workers.run(release.wait, 0.05)
        with pytest.raises(Busy):
            await workers.run(release.wait, 0.05)
        release.set()
        for _ in range(100):
            await asyncio.sleep(0.01)
            try:
                assert await workers.run(lambda: 7, 5) == 7
                break
            except Busy:
                continue
        else:
            pytest.fail("the worker never came back")


def test_the_machine_has_a_processor_and_memory() -> None:
    assert processors() >= 1
    assert memory() > 2**27
