import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from maskery.accounts import DatabaseError, KeyAuthenticator, KeyRepository, Limits
from maskery.accounts.executor import DatabaseExecutor

PATIENCE = 0.1


@pytest.fixture
def executor() -> Iterator[DatabaseExecutor]:
    executor = DatabaseExecutor(PATIENCE)
    yield executor
    executor.close()


@pytest.fixture
def frozen() -> Iterator[threading.Event]:
    """A database that hangs until the test is over."""
    thawed = threading.Event()
    yield thawed
    thawed.set()


async def test_what_takes_too_long_is_not_waited_for(executor: DatabaseExecutor, frozen: threading.Event) -> None:
    started = time.monotonic()
    with pytest.raises(DatabaseError, match=r"not answered within 0\.1 seconds"):
        await executor.run(frozen.wait)
    assert time.monotonic() - started < 20 * PATIENCE


async def test_even_when_all_threads_hang(executor: DatabaseExecutor, frozen: threading.Event) -> None:
    answers = await asyncio.gather(*(executor.run(frozen.wait) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(answer, DatabaseError) for answer in answers)


async def test_what_must_be_known_is_waited_for(executor: DatabaseExecutor) -> None:
    def slow() -> str:
        time.sleep(3 * PATIENCE)
        return "done"

    assert await executor.run_to_completion(slow) == "done"


async def test_a_timeout_of_the_work_itself_is_passed_on(executor: DatabaseExecutor) -> None:
    def fail() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        await executor.run(fail)


async def test_keys_are_refused_while_the_database_hangs(
    executor: DatabaseExecutor, frozen: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeyRepository, "find_records", lambda *_: frozen.wait() and {})
    authenticator = KeyAuthenticator(KeyRepository(None), Limits(), executor=executor)  # type: ignore[arg-type]
    text = "mk_0123456789ab_" + "x" * 43
    with pytest.raises(DatabaseError):
        await authenticator.authenticate(text)
    with pytest.raises(DatabaseError):
        await authenticator.authenticate(text)
