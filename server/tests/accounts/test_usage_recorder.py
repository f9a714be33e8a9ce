"""Usage is collected in memory and written to the database."""

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
from maskery.accounts import service as service_module
from maskery.accounts import usage as module


@pytest.fixture
def location(sqlite_file: Path) -> Path:
    """SQLite only: the tests of the repository run on both databases."""
    return sqlite_file


class Failing(UsageRepository):
    """A repository that can fail or block."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.error: Exception | None = None
        self.entered, self.open = threading.Semaphore(0), threading.Event()
        self.open.set()

    def add(self, used: Mapping[tuple[str, date], Usage]) -> None:
        self.entered.release()
        assert self.open.wait(20)
        if self.error:
            raise self.error
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


async def test_recorded_usage_is_added_up_and_written_by_flush(
    usage_recorder: UsageRecorder, usage: UsageRepository
) -> None:
    for _ in range(10):
        usage_recorder.record("team", Usage(1, 1, 2, 100, 0.5))
    usage_recorder.record("other", Usage(1))
    assert usage.list() == []
    await usage_recorder.flush()
    assert usage.list() == [
        DailyUsage("other", today(), Usage(1)),
        DailyUsage("team", today(), Usage(10, 10, 20, 1000, 5.0)),
    ]


async def test_usage_is_written_once(usage_recorder: UsageRecorder, usage: UsageRepository) -> None:
    usage_recorder.record("team", Usage(1))
    await asyncio.gather(*(usage_recorder.flush() for _ in range(5)))
    await usage_recorder.flush()
    assert total(usage) == Usage(1)


async def test_days_are_in_utc(
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


async def test_usage_is_kept_while_the_database_fails(
    usage_recorder: UsageRecorder,
    failing: Failing,
    keys: KeyRepository,
    usage: UsageRepository,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "maskery.usage")
    key, _ = keys.create("team")
    failing.error = DatabaseError("the disk is full")
    for count in range(1, 4):
        usage_recorder.record("team", Usage(1, pixels=10))
        usage_recorder.record_key_use(key.id)
        await usage_recorder.flush()
        assert usage_recorder.failures == count
    assert keys.get(key.id).last_used is None
    failing.error = None
    usage_recorder.record("team", Usage(1, pixels=10))
    await usage_recorder.flush()
    await usage_recorder.flush()
    assert total(usage) == Usage(4, pixels=40)
    assert keys.get(key.id).last_used == pytest.approx(time.time(), abs=20)
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"], (
        "once at the start of the outage, once at its end"
    )
    assert "the disk is full" in caplog.messages[0]


async def test_usage_is_not_written_again_if_only_key_uses_fail(
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


async def test_usage_recorded_during_a_flush_is_written_by_the_next(
    usage_recorder: UsageRecorder, failing: Failing, usage: UsageRepository
) -> None:
    usage_recorder.record("team", Usage(1))
    failing.open.clear()
    first = asyncio.create_task(usage_recorder.flush())
    assert await asyncio.to_thread(failing.entered.acquire, timeout=20)
    usage_recorder.record("team", Usage(10))
    second = asyncio.create_task(usage_recorder.flush())
    await asyncio.sleep(0.05)
    assert not second.done(), "a caller that reads the usage next must find all of it"
    failing.open.set()
    await second
    assert total(usage) == Usage(11)
    await first


async def test_a_cancelled_flush_completes(
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


async def test_the_last_use_of_a_busy_key_is_written_once_a_minute(
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
    assert len(usage_recorder._written_key_uses) == 1
    now += 1000
    usage_recorder.record("team", Usage(1))
    await usage_recorder.flush()
    assert usage_recorder._written_key_uses == {}, "old entries are removed"


async def test_the_service_flushes_periodically_and_when_it_closes(
    store: AccountStore, location: str | Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FLUSH_INTERVAL", 0.02)
    account_service = AccountService(store, Limits(), Limiter())
    account_service.start()
    account_service.usage_recorder.record("team", Usage(1))
    await until(lambda: total(store.usage) == Usage(1))
    monkeypatch.setattr(module, "_FLUSH_INTERVAL", 1000.0)
    await asyncio.sleep(0.05)
    account_service.usage_recorder.record("team", Usage(2))
    await account_service.close()
    again = AccountStore.open(location)
    assert total(again.usage) == Usage(3)
    again.close()


@pytest.mark.parametrize("error", [DatabaseError("the disk is full"), ZeroDivisionError("a bug")])
async def test_the_service_flushes_after_a_failure(
    store: AccountStore,
    failing: Failing,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "_FLUSH_INTERVAL", 0.02)
    account_service = AccountService(store, Limits(), Limiter())
    account_service.usage_recorder = usage_recorder = UsageRecorder(failing, store.keys)
    failing.error = error
    account_service.start()
    usage_recorder.record("team", Usage(1))
    await until(lambda: usage_recorder.failures >= 2)
    assert str(error) in caplog.text
    assert ("Traceback" in caplog.text) == isinstance(error, ZeroDivisionError), "a bug is logged with its traceback"
    failing.error = None
    await until(lambda: total(store.usage) == Usage(1))
    await account_service.close()


async def test_is_available_asks_the_database_at_most_once_per_interval(
    store: AccountStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, error = 0, None
    hanging = threading.Event()
    hanging.set()

    def ping(_: Database) -> None:
        nonlocal calls
        calls += 1
        assert hanging.wait(20)
        if error:
            raise error

    monkeypatch.setattr(Database, "ping", ping)
    account_service = AccountService(store, Limits(), Limiter())
    assert [await account_service.is_available() for _ in range(5)] == [True] * 5
    assert calls == 1
    monkeypatch.setattr(service_module, "_CHECK_INTERVAL", 0)
    account_service._next_check = 0
    error = DatabaseError("gone")
    assert not await account_service.is_available()
    error = None
    assert await account_service.is_available()
    monkeypatch.setattr(service_module, "_CHECK_TIMEOUT", 0.05)
    hanging.clear()
    assert not await account_service.is_available(), "a database that hangs"
    hanging.set()
    await account_service.close()


async def test_close_closes_everything_after_a_failure(
    store: AccountStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limiter, closed = Limiter(), []
    account_service = AccountService(store, Limits(), limiter)
    account_service.start()

    async def fail() -> None:
        raise ZeroDivisionError

    async def close_limiter() -> None:
        closed.append("limiter")
        await fail()

    monkeypatch.setattr(account_service.usage_recorder, "flush", fail)
    monkeypatch.setattr(limiter, "close", close_limiter)
    monkeypatch.setattr(account_service.executor, "close", lambda: closed.append("executor"))
    monkeypatch.setattr(AccountStore, "close", lambda _: closed.append("store"))
    with pytest.raises(ZeroDivisionError):
        await account_service.close()
    assert closed == ["limiter", "executor", "store"]
