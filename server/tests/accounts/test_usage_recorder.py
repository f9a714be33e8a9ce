"""What was used is written down: later, together, once."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from maskery.accounts import (
    AccountService,
    AccountStore,
    DailyUsage,
    Database,
    DatabaseError,
    KeyRepository,
    Limiter,
    Limits,
    Usage,
    UsageRecorder,
    UsageRepository,
)
from maskery.accounts import usage as module


@pytest.fixture
def location(tmp_path: Path) -> Path:
    """The database does nothing here that its own tests do not try on both."""
    return tmp_path / "accounts.db"


class Failing(UsageRepository):
    """A book that can be told to fail, before or in the middle, and to take its time."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.is_failing = False
        self.entered, self.open = threading.Semaphore(0), threading.Event()
        self.open.set()

    def add(self, used: Mapping[tuple[str, date], Usage]) -> None:
        self.entered.release()
        assert self.open.wait(20)
        if self.is_failing:
            raise DatabaseError("the disk is full")
        super().add(used)


@pytest.fixture
def failing(database: Database) -> Failing:
    return Failing(database)


@pytest.fixture
def usage_recorder(failing: Failing, keys: KeyRepository) -> UsageRecorder:
    return UsageRecorder(failing, keys)


def today() -> date:
    return datetime.now(UTC).date()


def total(usage: UsageRepository, account: str = "team") -> Usage:
    return sum((use.usage for use in usage.list(account=account)), Usage())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a thread does it
            await asyncio.sleep(0.01)


async def test_what_is_noted_is_written_together(usage_recorder: UsageRecorder, usage: UsageRepository) -> None:
    for _ in range(10):
        usage_recorder.record("team", Usage(1, 1, 2, 100, 0.5))
    usage_recorder.record("other", Usage(1))
    assert usage.list() == []
    await usage_recorder.flush()
    assert usage.list() == [
        DailyUsage("other", today(), Usage(1)),
        DailyUsage("team", today(), Usage(10, 10, 20, 1000, 5.0)),
    ]


async def test_nothing_is_written_twice(usage_recorder: UsageRecorder, usage: UsageRepository) -> None:
    usage_recorder.record("team", Usage(1))
    await asyncio.gather(*(usage_recorder.flush() for _ in range(5)))
    await usage_recorder.flush()
    assert total(usage) == Usage(1)


async def test_a_day_ends_at_midnight_utc(
    usage_recorder: UsageRecorder, usage: UsageRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = [datetime(2026, 3, 2, 23, 59, 59, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC)]
    monkeypatch.setattr(module, "datetime", SimpleNamespace(now=lambda zone: moments.pop(0).astimezone(zone)))
    usage_recorder.record("team", Usage(1))
    usage_recorder.record("team", Usage(2))
    await usage_recorder.flush()
    assert usage.list() == [
        DailyUsage("team", date(2026, 3, 2), Usage(1)),
        DailyUsage("team", date(2026, 3, 3), Usage(2)),
    ]


async def test_a_database_that_fails_loses_nothing(
    usage_recorder: UsageRecorder,
    failing: Failing,
    keys: KeyRepository,
    usage: UsageRepository,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "maskery.usage")
    key, _ = keys.create("team")
    failing.is_failing = True
    for count in range(1, 4):
        usage_recorder.record("team", Usage(1, pixels=10))
        usage_recorder.record_key_use(key.id)
        await usage_recorder.flush()
        assert usage_recorder.failures == count
    assert keys.get(key.id).last_used is None
    failing.is_failing = False
    usage_recorder.record("team", Usage(1, pixels=10))
    await usage_recorder.flush()
    await usage_recorder.flush()
    assert total(usage) == Usage(4, pixels=40)
    assert keys.get(key.id).last_used == pytest.approx(time.time(), abs=20)
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"], "it is said once, and when it is over"
    assert "the disk is full" in caplog.messages[0]


async def test_usage_is_not_written_again_where_only_the_last_uses_fail(
    usage_recorder: UsageRecorder, keys: KeyRepository, usage: UsageRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _ = keys.create("team")

    def fail(last: Mapping[str, float]) -> None:
        raise DatabaseError("gone")

    usage_recorder.record("team", Usage(1))
    usage_recorder.record_key_use(key.id)
    monkeypatch.setattr(keys, "record_uses", fail)
    await usage_recorder.flush()
    assert usage_recorder.failures == 1
    monkeypatch.undo()
    await usage_recorder.flush()
    assert total(usage) == Usage(1)
    assert keys.get(key.id).last_used is not None


async def test_what_comes_while_it_is_written_is_written_next(
    usage_recorder: UsageRecorder, failing: Failing, usage: UsageRepository
) -> None:
    usage_recorder.record("team", Usage(1))
    failing.open.clear()
    first = asyncio.create_task(usage_recorder.flush())
    assert await asyncio.to_thread(failing.entered.acquire, timeout=20)
    usage_recorder.record("team", Usage(10))
    second = asyncio.create_task(usage_recorder.flush())
    await asyncio.sleep(0.05)
    assert not second.done(), "who asks for it now is to find all of it"
    failing.open.set()
    await second
    assert total(usage) == Usage(11)
    await first


async def test_what_was_being_written_when_its_writer_was_cancelled(
    usage_recorder: UsageRecorder, failing: Failing, keys: KeyRepository, usage: UsageRepository
) -> None:
    key, _ = keys.create("team")
    usage_recorder.record("team", Usage(1))
    usage_recorder.record_key_use(key.id)
    failing.open.clear()
    writing = asyncio.create_task(usage_recorder.flush())
    assert await asyncio.to_thread(failing.entered.acquire, timeout=20)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    usage_recorder.record("team", Usage(10))
    failing.open.set()
    await usage_recorder.flush()
    assert total(usage) == Usage(11)
    assert keys.get(key.id).last_used is not None


async def test_a_key_that_is_always_in_use_is_written_once_a_minute(
    usage_recorder: UsageRecorder, keys: KeyRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _ = keys.create("team")
    now = 1_800_000_000.0
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: now))
    written: list[float] = []
    used = keys.record_uses

    def watched(last: Mapping[str, float]) -> None:
        written.extend(last.values())
        used(last)

    monkeypatch.setattr(keys, "record_uses", watched)
    begun = now
    while now < begun + 200:
        usage_recorder.record_key_use(key.id)
        await usage_recorder.flush()
        now += 5
    assert 3 <= len(written) <= 4
    assert keys.get(key.id).last_used == written[-1] >= begun + 120
    assert len(usage_recorder._written) == 1
    now += 1000
    usage_recorder.record("team", Usage(1))
    await usage_recorder.flush()
    assert usage_recorder._written == {}, "it is not remembered for ever"


async def test_an_office_writes_from_time_to_time_and_when_it_closes(
    store: AccountStore, location: str | Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_EVERY", 0.02)
    account_service = AccountService(store, Limits(), Limiter())
    account_service.start()
    account_service.usage_recorder.record("team", Usage(1))
    await until(lambda: total(store.usage) == Usage(1))
    monkeypatch.setattr(module, "_EVERY", 1000.0)
    await asyncio.sleep(0.05)
    account_service.usage_recorder.record("team", Usage(2))
    await account_service.close()
    again = AccountStore.open(location)
    assert total(again.usage) == Usage(3)
    again.close()


async def test_an_office_goes_on_writing_after_a_failure(
    store: AccountStore, failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_EVERY", 0.02)
    account_service = AccountService(store, Limits(), Limiter())
    account_service.usage_recorder = usage_recorder = UsageRecorder(failing, store.keys)
    failing.is_failing = True
    account_service.start()
    usage_recorder.record("team", Usage(1))

    await until(lambda: usage_recorder.failures >= 2)
    failing.is_failing = False
    await until(lambda: total(store.usage) == Usage(1))
    await account_service.close()
