"""Authentication of API keys, and its cache."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from maskery.accounts import (
    AccountStore,
    Database,
    DatabaseError,
    InvalidKeyError,
    KeyAuthenticator,
    KeyRepository,
    Limits,
)
from maskery.accounts import authentication as authentication_module
from maskery.accounts import keys as module
from maskery.accounts.keys import KeyRecord

# Seconds after which a revocation applies, as documented.
DOCUMENTED_DELAY = 5.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Watched(KeyRepository):
    """Records queries, which can be blocked or fail."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.queries: list[list[str]] = []
        self.failures: list[Exception] = []
        self.entered = threading.Semaphore(0)
        self._open = threading.Event()
        self._open.set()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    def find_records(self, ids: Sequence[str]) -> dict[str, KeyRecord]:
        self.queries.append(list(ids))
        found = super().find_records(ids)
        self.entered.release()
        assert self._open.wait(20)
        if self.failures:
            raise self.failures.pop()
        return found

    async def wait_for_query(self) -> None:
        assert await asyncio.to_thread(self.entered.acquire, timeout=20)


@pytest.fixture
def location(request: pytest.FixtureRequest, sqlite_file: Path) -> str | Path:
    """SQLite, unless a test is parametrized with the other database."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return sqlite_file
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(database: Database) -> Watched:
    return Watched(database)


@pytest.fixture
def authenticator(keys: Watched, clock: Clock) -> KeyAuthenticator:
    return KeyAuthenticator(keys, Limits(requests_per_minute=10, concurrent_requests=4), clock)


async def rejection(authenticator: KeyAuthenticator, text: str) -> str:
    with pytest.raises(InvalidKeyError) as refused:
        await authenticator.authenticate(text)
    message = str(refused.value)
    assert text[16:] not in message or not text[16:]
    return refused.value.reason


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_authenticate_returns_the_caller_of_a_key(authenticator: KeyAuthenticator, keys: Watched) -> None:
    key, text = keys.create("team", scopes=["admin", "segment"])
    caller = await authenticator.authenticate(text)
    assert (caller.account, caller.key_id, caller.scopes) == ("team", key.id, {"admin", "segment"})


async def test_the_reason_is_given_only_for_the_right_secret(
    authenticator: KeyAuthenticator, keys: Watched, store: AccountStore
) -> None:
    revoked, expired = keys.create("team"), keys.create("team", lifetime=1e-6)
    disabled = keys.create("gone")
    keys.revoke(revoked[0].id)
    store.accounts.update("gone", disabled=True)
    for (key, text), why in ((revoked, "revoked"), (expired, "expired"), (disabled, "disabled")):
        assert await rejection(authenticator, text) == why
        assert await rejection(authenticator, f"mk_{key.id}_{'x' * 43}") == "unknown", "the ID may have been guessed"


@pytest.mark.parametrize("text", ["", "mk_", "Bearer", "mk_000000000000_" + "x" * 43, "\ud800", "x" * 10**6, "\0"])
async def test_malformed_and_unknown_keys_are_rejected(
    authenticator: KeyAuthenticator, keys: Watched, text: str
) -> None:
    assert await rejection(authenticator, text) == "unknown"
    # Only well-formed keys reach the database.
    assert len(keys.queries) == text.startswith("mk_0")


async def test_wrong_secrets_are_rejected_before_and_after_the_right_one_is_cached(
    authenticator: KeyAuthenticator, keys: Watched
) -> None:
    key, text = keys.create("team")
    wrong = [f"mk_{key.id}_{text[16:-1]}{last}" for last in "AB-_" if last != text[-1]]
    for each in [*wrong, *wrong]:
        assert await rejection(authenticator, each) == "unknown"
    assert (await authenticator.authenticate(text)).key_id == key.id
    for each in wrong:
        assert await rejection(authenticator, each) == "unknown"
    assert len(keys.queries) == 1


async def test_every_rejection_compares_hashes_in_constant_time(
    authenticator: KeyAuthenticator, keys: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoked, expired, good = keys.create("a"), keys.create("a", lifetime=1e-6), keys.create("a")
    keys.revoke(revoked[0].id)
    compared: list[tuple[int, int]] = []
    compare = module.hmac.compare_digest

    def watched(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(module.hmac, "compare_digest", watched)
    unknown, malformed = "mk_000000000000_" + "x" * 43, "nonsense"
    for text in (revoked[1], expired[1], unknown, malformed, good[1][:-2] + "xx"):
        await rejection(authenticator, text)
    await authenticator.authenticate(good[1])
    assert compared == [(32, 32)] * 6


async def test_a_cached_key_is_not_queried_again(authenticator: KeyAuthenticator, keys: Watched, clock: Clock) -> None:
    text = keys.create("team")[1]
    for _ in range(50):
        await authenticator.authenticate(text)
    assert len(keys.queries) == 1
    clock.now += DOCUMENTED_DELAY
    await authenticator.authenticate(text)
    assert len(keys.queries) == 2


async def test_only_queries_in_quick_succession_wait(
    authenticator: KeyAuthenticator, keys: Watched, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication_module, "_BATCH_SECONDS", 3600)
    clock.now += 3600
    await asyncio.wait_for(authenticator.authenticate(keys.create("first")[1]), 20)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(authenticator.authenticate(keys.create("second")[1]), 0.1)
    assert len(keys.queries) == 1


@pytest.mark.parametrize("location", ["sqlite", "postgres"], indirect=True)
async def test_concurrent_requests_share_queries(authenticator: KeyAuthenticator, keys: Watched) -> None:
    made = [keys.create("team") for _ in range(20)]
    with keys.held():
        first = asyncio.create_task(authenticator.authenticate(made[0][1]))
        await keys.wait_for_query()
        others = [asyncio.create_task(authenticator.authenticate(text)) for _, text in made * 5]
        await settle()
    callers = await asyncio.gather(first, *others)
    assert [caller.key_id for caller in callers[1:]] == [key.id for key, _ in made * 5]
    assert [len(ids) for ids in keys.queries] == [1, 20]
    assert authenticator._pending == {}


async def test_a_flood_of_wrong_keys_runs_one_query_at_a_time(
    authenticator: KeyAuthenticator, keys: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication_module, "_BATCH_SIZE", 100)
    good = keys.create("team")[1]
    wrong = [f"mk_{number:012x}_{'x' * 43}" for number in range(1000)]
    running = most = 0
    find = KeyRepository.find_records

    def counted(self: KeyRepository, ids: Sequence[str]) -> dict[str, KeyRecord]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.002)
        try:
            return find(self, ids)
        finally:
            running -= 1

    monkeypatch.setattr(KeyRepository, "find_records", counted)
    flood = [asyncio.create_task(rejection(authenticator, text)) for text in wrong]
    await settle()
    assert (await authenticator.authenticate(good)).account == "team"
    assert set(await asyncio.gather(*flood)) == {"unknown"}
    assert most == 1
    assert [len(ids) for ids in keys.queries][-1] <= 100
    assert len(keys.queries) <= 12
    assert len(authenticator._cache) == 1, "unknown keys are not cached"


@pytest.mark.parametrize("location", ["sqlite", "postgres"], indirect=True)
@pytest.mark.parametrize("how", ["revoked", "disabled"])
async def test_a_change_by_another_server_applies_after_a_delay(
    authenticator: KeyAuthenticator, keys: Watched, clock: Clock, location: str | Path, how: str
) -> None:
    key, text = keys.create("team")
    await authenticator.authenticate(text)
    other = AccountStore.open(location)
    if how == "revoked":
        other.keys.revoke(key.id)
    else:
        other.accounts.update("team", disabled=True)
    other.close()
    # Frequent use must not renew the cached record.
    for _ in range(48):
        clock.now += DOCUMENTED_DELAY / 50
        with contextlib.suppress(InvalidKeyError):
            await authenticator.authenticate(text)
    assert await rejection(authenticator, text) == how


async def test_a_change_by_this_server_applies_at_once(authenticator: KeyAuthenticator, keys: Watched) -> None:
    key, text = keys.create("team")
    await authenticator.authenticate(text)
    keys.revoke(key.id)
    authenticator.invalidate()
    assert await rejection(authenticator, text) == "revoked"


async def test_a_query_that_began_before_a_change_is_not_cached(authenticator: KeyAuthenticator, keys: Watched) -> None:
    key, text = keys.create("team")
    with keys.held():
        early = asyncio.create_task(authenticator.authenticate(text))
        await keys.wait_for_query()
        keys.revoke(key.id)
        authenticator.invalidate()
    assert (await early).key_id == key.id, "the request arrived before the change"
    assert await rejection(authenticator, text) == "revoked"


async def test_a_cached_key_expires(
    authenticator: KeyAuthenticator, keys: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = keys.create("team", lifetime=60)[1]
    await authenticator.authenticate(text)
    clock = time.time
    monkeypatch.setattr(module.time, "time", lambda: clock() + 61)
    assert await rejection(authenticator, text) == "expired"
    assert len(keys.queries) == 1


async def test_a_failed_query_fails_only_the_requests_that_wait_for_it(
    authenticator: KeyAuthenticator, keys: Watched
) -> None:
    made = [keys.create("team")[1] for _ in range(3)]
    keys.failures = [DatabaseError("gone")]
    with keys.held():
        waiting = [asyncio.create_task(authenticator.authenticate(text)) for text in made[:2] * 3]
        await keys.wait_for_query()
        later = asyncio.create_task(authenticator.authenticate(made[2]))
        await settle()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, DatabaseError) for result in results)
    assert (await later).account == "team"
    assert (await authenticator.authenticate(made[0])).account == "team"


async def test_requests_after_any_error_query_again(authenticator: KeyAuthenticator, keys: Watched) -> None:
    text = keys.create("team")[1]
    keys.failures = [ZeroDivisionError(), OSError("no threads")]
    for kind in (OSError, ZeroDivisionError):
        with pytest.raises(kind):
            await authenticator.authenticate(text)
    await authenticator.authenticate(text)


async def test_a_cached_key_is_accepted_briefly_while_the_database_fails(
    authenticator: KeyAuthenticator, keys: Watched, clock: Clock
) -> None:
    text = keys.create("team")[1]
    await authenticator.authenticate(text)
    keys.failures = [DatabaseError("gone")] * 3
    clock.now += 1
    await authenticator.authenticate(text)
    clock.now += DOCUMENTED_DELAY - 1
    for _ in range(3):
        with pytest.raises(DatabaseError):
            await authenticator.authenticate(text)
    await authenticator.authenticate(text)


async def test_a_cancelled_request_does_not_cancel_the_query_of_others(
    authenticator: KeyAuthenticator, keys: Watched
) -> None:
    text = keys.create("team")[1]
    with keys.held():
        tasks = [asyncio.create_task(authenticator.authenticate(text)) for _ in range(3)]
        await keys.wait_for_query()
        tasks[0].cancel()
        await settle()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert [(await task).account for task in tasks[1:]] == ["team", "team"]


async def test_a_failed_query_without_waiting_requests_is_not_reported_by_asyncio(
    authenticator: KeyAuthenticator, keys: Watched
) -> None:
    reports: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    text = keys.create("team")[1]
    keys.failures = [DatabaseError("gone")]
    with keys.held():
        task = asyncio.create_task(authenticator.authenticate(text))
        await keys.wait_for_query()
        task.cancel()
        await settle()
    await authenticator.authenticate(text)
    import gc

    gc.collect()
    await settle()
    assert reports == []


async def test_the_cache_is_bounded(
    authenticator: KeyAuthenticator, keys: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication_module, "_CACHE_SIZE", 5)
    texts = [keys.create("team")[1] for _ in range(8)]
    for text in [texts[0], *texts[1:5], texts[0], *texts[5:]]:
        await authenticator.authenticate(text)
    assert len(authenticator._cache) == 5
    count = len(keys.queries)
    await authenticator.authenticate(texts[0])
    assert len(keys.queries) == count, "recently used records stay in the cache"
    await authenticator.authenticate(texts[1])
    assert len(keys.queries) == count + 1


async def test_limits_of_the_account_default_to_the_servers_and_those_of_a_key_do_not(
    authenticator: KeyAuthenticator, keys: Watched, store: AccountStore
) -> None:
    store.accounts.create("team", Limits(requests_per_minute=0, pixels_per_day=7))
    key, text = keys.create("team", limits=Limits(images_per_minute=3, concurrent_requests=0))
    account, own = (await authenticator.authenticate(text)).subjects
    assert (account.kind, account.name, own.kind, own.name) == ("account", "team", "key", key.id)
    assert account.limits == Limits(0, None, 4, 7), "None: the server's default"
    assert own.limits == Limits(None, 3, 0, None), "no default for keys"


async def test_the_anonymous_caller(authenticator: KeyAuthenticator) -> None:
    caller = authenticator.anonymous
    assert (caller.account, caller.key_id, caller.scopes) == ("anonymous", "", {"segment", "metrics"})
    (subject,) = caller.subjects
    assert (subject.kind, subject.name, subject.limits) == ("account", "anonymous", Limits(10, None, 4, None))


async def test_changed_limits_apply_after_a_delay(
    authenticator: KeyAuthenticator, keys: Watched, clock: Clock, store: AccountStore
) -> None:
    text = keys.create("team")[1]
    await authenticator.authenticate(text)
    store.accounts.update("team", {"requests_per_minute": 1})
    clock.now += DOCUMENTED_DELAY
    assert (await authenticator.authenticate(text)).subjects[0].limits.requests_per_minute == 1
