"""Database work in threads, with a time limit."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from maskery.accounts import DatabaseError, KeyAuthenticator, KeyRepository, Limits
from maskery.accounts.executor import DatabaseExecutor

TIMEOUT = 0.1


@pytest.fixture
def executor() -> Iterator[DatabaseExecutor]:
    executor = DatabaseExecutor(TIMEOUT)
    yield executor
    executor.close()


@pytest.fixture
def hanging() -> Iterator[threading.Event]:
    """`wait` on it hangs until the test is over."""
    event = threading.Event()
    yield event
    event.set()


async def test_run_raises_after_the_timeout(executor: DatabaseExecutor, hanging: threading.Event) -> None:
    with pytest.raises(DatabaseError, match=r"not responded within 0\.1 seconds"):
        await executor.run(hanging.wait)


async def test_run_raises_after_the_timeout_if_all_threads_hang(
    executor: DatabaseExecutor, hanging: threading.Event
) -> None:
    answers = await asyncio.gather(*(executor.run(hanging.wait) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(answer, DatabaseError) for answer in answers)


async def test_run_to_completion_has_no_timeout(executor: DatabaseExecutor) -> None:
    def slow() -> str:
        time.sleep(1.5 * TIMEOUT)
        return "done"

    assert await executor.run_to_completion(slow) == "done"


async def test_a_timeout_error_of_the_work_is_passed_on(executor: DatabaseExecutor) -> None:
    def fail() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        await executor.run(fail)


async def test_authentication_fails_while_the_database_hangs(
    executor: DatabaseExecutor, hanging: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeyRepository, "find_records", lambda *_: hanging.wait() and {})
    authenticator = KeyAuthenticator(KeyRepository(None), Limits(), executor=executor)  # type: ignore[arg-type]
    text = "mk_0123456789ab_" + "x" * 43
    with pytest.raises(DatabaseError):
        await authenticator.authenticate(text)
    with pytest.raises(DatabaseError):
        await authenticator.authenticate(text)
