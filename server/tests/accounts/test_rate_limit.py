"""Limits in one server's memory and in a Redis that two share."""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from outside import RedisServer

from maskery.accounts.rate_limit.backend import quota_requests_for
from maskery.accounts.rate_limit.limiter import REST, Limiter
from maskery.accounts.rate_limit.limits import ExceedsQuota, Limits, LimitsUnavailable, RateLimited, Subject
from maskery.accounts.rate_limit.memory import MemoryBackend
from maskery.accounts.rate_limit.redis import PATIENCE

Make = Callable[..., Limiter]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no outage."""
    monkeypatch.setattr("maskery.accounts.rate_limit.redis.PATIENCE", 20)


@pytest.fixture
async def closing() -> AsyncIterator[Make]:
    """Makes limiters that are closed after the test."""
    made: list[Limiter] = []

    def make(*arguments: Any) -> Limiter:
        made.append(Limiter(*arguments))
        return made[-1]

    yield make
    for limiter in made:
        await limiter.close()


@pytest.fixture(params=["memory", "redis"])
def limiter(request: pytest.FixtureRequest, closing: Make) -> Limiter:
    return closing(None if request.param == "memory" else request.getfixturevalue("redis_url"))


@pytest.fixture
def two_servers(redis_url: str, closing: Make) -> tuple[Limiter, Limiter]:
    return closing(redis_url), closing(redis_url)


@pytest.fixture
def short_minute(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr("maskery.accounts.rate_limit.backend.MINUTE", 1.0)
    return 1.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, patience: None) -> SimpleNamespace:
    """By which a Redis that failed is left alone: stands still unless a test moves it."""
    clock = SimpleNamespace(now=1000.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr("maskery.accounts.rate_limit.limiter.time", clock)
    monkeypatch.setattr("maskery.accounts.rate_limit.redis.PATIENCE", PATIENCE)
    return clock


def account(name: str = "team", **limits: int) -> Subject:
    return Subject("account", name, Limits(**limits))


def key(name: str = "abc", **limits: int) -> Subject:
    return Subject("key", name, Limits(**limits))


async def ask(limiter: Limiter, *subjects: Subject) -> dict[str, str]:
    """One request that takes no time; the headers of its answer."""
    async with limiter.admit(subjects, lease=60) as standing:
        return dict(standing.headers)


async def passed(limiters: Sequence[Limiter], times: int, *subjects: Subject) -> int:
    """How many of so many requests at once are let in, by servers in turn."""
    requests = (ask(limiters[number % len(limiters)], *subjects) for number in range(times))
    answers = await asyncio.gather(*requests, return_exceptions=True)
    assert all(isinstance(answer, dict | RateLimited) for answer in answers)
    return sum(isinstance(answer, dict) for answer in answers)


async def stay(limiter: Limiter, entered: asyncio.Event, *subjects: Subject) -> None:
    async with limiter.admit(subjects, lease=60):
        entered.set()
        await asyncio.sleep(60)


async def test_sixty_a_minute_are_sixty_however_many_come_at_once(limiter: Limiter) -> None:
    assert await passed([limiter], 100, account(requests_per_minute=60)) == 60


async def test_servers_that_share_a_redis_let_sixty_through_in_all(two_servers: tuple[Limiter, Limiter]) -> None:
    assert await passed(two_servers, 100, account(requests_per_minute=60), key(requests_per_minute=1000)) == 60


async def test_the_window_moves(limiter: Limiter, short_minute: float) -> None:
    team = account(requests_per_minute=2)
    begun = time.monotonic()
    await ask(limiter, team)
    await asyncio.sleep(short_minute / 2)
    await ask(limiter, team)
    while True:
        try:
            await ask(limiter, team)
        except RateLimited:
            await asyncio.sleep(0.005)
        else:
            break
    # The first one left the window and not the second: in any window there were two at most, and no more is free.
    assert short_minute <= time.monotonic() - begun < short_minute * 1.4
    with pytest.raises(RateLimited):
        await ask(limiter, team)


async def test_a_limit_that_is_changed_holds_for_what_was_used_before(limiter: Limiter) -> None:
    assert await passed([limiter], 6, account(requests_per_minute=6)) == 6
    assert await passed([limiter], 5, account(requests_per_minute=5)) == 0
    assert await passed([limiter], 5, account(requests_per_minute=8)) == 2


async def test_a_refusal_says_which_limit_whose_and_when_to_come_back(limiter: Limiter, short_minute: float) -> None:
    team, own = account(requests_per_minute=1), key(requests_per_minute=1)
    await ask(limiter, team, own)
    with pytest.raises(RateLimited, match=r"^The account 'team' may have 1 request a minute; come back in 1 second\.$"):
        await ask(limiter, team)
    with pytest.raises(RateLimited) as refused:
        await ask(limiter, account("other"), own)
    assert (refused.value.subject.kind, refused.value.limit, refused.value.amount) == ("key", "requests_per_minute", 1)
    await asyncio.sleep(refused.value.retry_after)
    await ask(limiter, team)


@pytest.mark.parametrize("key_first", [False, True])
async def test_what_one_refuses_is_not_counted_for_the_other(limiter: Limiter, key_first: bool) -> None:
    team, own = account(requests_per_minute=3), key(requests_per_minute=10)
    subjects = (own, team) if key_first else (team, own)
    assert await passed([limiter], 20, *subjects) == 3
    assert (await ask(limiter, own))["x-ratelimit-remaining-requests"] == "6"


async def test_a_refused_place_is_not_counted_as_a_request(limiter: Limiter) -> None:
    team = account(requests_per_minute=5, concurrent_requests=1)
    async with limiter.admit([team], 60):
        with pytest.raises(RateLimited):
            await ask(limiter, team)
    assert (await ask(limiter, team))["x-ratelimit-remaining-requests"] == "3"


async def test_accounts_do_not_affect_each_other_nor_does_a_key_of_the_same_name(limiter: Limiter) -> None:
    for subject in (account("a"), account("b"), account("b:c"), key("a")):
        limits = Limits(requests_per_minute=2, concurrent_requests=2)
        assert await passed([limiter], 4, Subject(subject.kind, subject.name, limits)) == 2


async def test_headers_are_of_the_holder_with_the_least_left(limiter: Limiter) -> None:
    team, own = account(requests_per_minute=10), key(requests_per_minute=12)
    await ask(limiter, team)
    assert await ask(limiter, team, own) == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "8",
        "x-ratelimit-reset-requests": "1m0s",
    }
    for _ in range(5):
        await ask(limiter, own)
    assert (await ask(limiter, team, own))["x-ratelimit-limit-requests"] == "12"


async def test_an_image_that_never_fits_is_not_told_to_come_back(limiter: Limiter) -> None:
    team = account(pixels_per_day=100, images_per_minute=5)
    with pytest.raises(ExceedsQuota, match=r"101 pixels and the account 'team' may have 100 a day"):
        await limiter.charge_image([team], 101)
    await limiter.charge_image([team], 100)


async def test_nothing_is_counted_where_0_or_nothing_is_said(limiter: Limiter) -> None:
    assert await passed([limiter], 50, account(requests_per_minute=0), key(requests_per_minute=None)) == 50


async def test_headers_speak_of_limits_that_are_set(limiter: Limiter) -> None:
    assert await ask(limiter, account(concurrent_requests=1)) == {}
    assert await ask(limiter, account(images_per_minute=1), key()) == {}
    team = account(images_per_minute=1, requests_per_minute=1)
    await limiter.charge_image([team], 100)
    with pytest.raises(RateLimited) as refused:
        await limiter.charge_image([team], 100)
    assert refused.value.headers == {
        "x-ratelimit-limit-images": "1",
        "x-ratelimit-remaining-images": "0",
        "x-ratelimit-reset-images": "1m0s",
    }


async def test_only_so_many_requests_at_a_time(limiter: Limiter) -> None:
    team = account(concurrent_requests=2)
    async with limiter.admit([team], 60), limiter.admit([team], 60):
        with pytest.raises(RateLimited, match=r"2 requests at a time; come back in 1 second"):
            await ask(limiter, team)
    assert await ask(limiter, team) == {}


async def test_places_are_counted_over_servers(two_servers: tuple[Limiter, Limiter]) -> None:
    team = account(concurrent_requests=1)
    async with two_servers[0].admit([team], 60):
        with pytest.raises(RateLimited):
            await ask(two_servers[1], team)
    await ask(two_servers[1], team)


async def test_a_place_is_given_back_after_a_failure(limiter: Limiter) -> None:
    team = account(concurrent_requests=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with limiter.admit([team], 60):
                raise ZeroDivisionError


async def test_a_place_is_given_back_by_who_is_cancelled_inside(limiter: Limiter) -> None:
    team = account(concurrent_requests=1)
    for _ in range(3):
        entered = asyncio.Event()
        task = asyncio.create_task(stay(limiter, entered, team))
        await entered.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert await passed([limiter], 1, team) == 1


@pytest.mark.parametrize("turns", range(12))
async def test_a_place_is_given_back_by_who_is_cancelled_on_the_way_in(
    redis_url: str, closing: Make, turns: int
) -> None:
    team, limiter = account(concurrent_requests=1), closing(redis_url)
    task = asyncio.create_task(stay(limiter, asyncio.Event(), team))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    # What was cancelled is put right on its own, and has been when the limiter is closed.
    await limiter.close()
    assert await passed([closing(redis_url)], 1, team) == 1


async def test_the_places_of_a_dead_server_become_free(two_servers: tuple[Limiter, Limiter]) -> None:
    team = account(concurrent_requests=2)
    dying, living = two_servers
    for lease in (60, 1):
        # Never left.
        await dying.admit([team], lease).__aenter__()
    with pytest.raises(RateLimited):
        await ask(living, team)
    await asyncio.sleep(1.05)
    assert await ask(living, team) == {}
    async with living.admit([team], 60):
        with pytest.raises(RateLimited):
            await ask(living, team)


async def test_images_and_their_pixels_are_charged_together_or_not_at_all(limiter: Limiter) -> None:
    team, own = account(images_per_minute=3, pixels_per_day=10**13), key(pixels_per_day=1000)
    await limiter.charge_image([team, own], 600)
    with pytest.raises(RateLimited, match=r"key 'abc' may have 1,000 pixels of new images a day") as refused:
        await limiter.charge_image([team, own], 401)
    assert refused.value.headers["x-ratelimit-remaining-pixels"] == "400"
    assert refused.value.headers["x-ratelimit-remaining-images"] == "2"
    midnight = 86400 - time.time() % 86400
    assert math.isclose(refused.value.retry_after, midnight, abs_tol=2)
    await limiter.charge_image([team, own], 400)
    await limiter.charge_image([team], 10**13 - 1000)
    with pytest.raises(RateLimited) as refused:
        await limiter.charge_image([account(pixels_per_day=10**13)], 1)
    assert refused.value.headers["x-ratelimit-remaining-pixels"] == "0"


async def test_an_image_that_was_not_encoded_is_as_if_it_had_not_been_charged(limiter: Limiter) -> None:
    team, own = account(images_per_minute=2, pixels_per_day=1000), key(pixels_per_day=800)
    await limiter.charge_image([team], 100)
    refund = await limiter.charge_image([team, own], 800)
    with pytest.raises(RateLimited):
        await limiter.charge_image([team], 50)
    await refund()
    await limiter.charge_image([team, own], 800)
    with pytest.raises(RateLimited) as refused:
        await limiter.charge_image([team], 101)
    assert refused.value.headers["x-ratelimit-remaining-images"] == "0"
    assert refused.value.headers["x-ratelimit-remaining-pixels"] == "100"


async def test_nothing_is_refunded_of_what_is_over(
    monkeypatch: pytest.MonkeyPatch, redis_url: str, closing: Make
) -> None:
    clock = SimpleNamespace(time=lambda: 86400 * 20000 - 1.5, monotonic=time.monotonic)
    monkeypatch.setattr("maskery.accounts.rate_limit.memory.time", clock)
    team, limiter = account(pixels_per_day=10), closing()
    refund = await limiter.charge_image([team], 8)
    clock.time = lambda: 86400 * 20000.0
    await limiter.charge_image([team], 3)
    await refund()
    await limiter.charge_image([team], 10)
    with pytest.raises(RateLimited):
        await limiter.charge_image([team], 1)

    from redis.asyncio import Redis

    limiter, name = closing(redis_url), "maskery:pixels_per_day:account:team"
    refund = await limiter.charge_image([team], 8)
    async with Redis.from_url(redis_url) as redis:
        await redis.delete(name)
        await refund()
        assert not await redis.exists(name), "it would never end"
        await limiter.charge_image([team], 3)
        left = await redis.ttl(name)
        await refund()
        assert await redis.get(name) == b"0"
        assert await redis.ttl(name) == pytest.approx(left, abs=2)


async def test_a_refund_during_an_outage_harms_nobody(
    own_redis: RedisServer, closing: Make, clock: SimpleNamespace
) -> None:
    limiter, team = closing(own_redis.url), account(images_per_minute=1)
    refunds = [await limiter.charge_image([team], 1)]
    own_redis.stop()
    await refunds[0]()
    assert limiter.degraded
    assert limiter.failures == 1
    # Counted here meanwhile, and refunded here.
    for _ in range(3):
        await (await limiter.charge_image([team], 1))()
    await limiter.charge_image([team], 1)
    with pytest.raises(RateLimited):
        await limiter.charge_image([team], 1)


async def test_a_day_begins_at_midnight_utc(monkeypatch: pytest.MonkeyPatch, closing: Make) -> None:
    clock = SimpleNamespace(time=lambda: 86400 * 20000 - 1.5, monotonic=time.monotonic)
    monkeypatch.setattr("maskery.accounts.rate_limit.memory.time", clock)
    team, limiter = account(pixels_per_day=10), closing()
    await limiter.charge_image([team], 10)
    with pytest.raises(RateLimited) as refused:
        await limiter.charge_image([team], 1)
    assert refused.value.retry_after == 2
    clock.time = lambda: 86400 * 20000.0
    await limiter.charge_image([team], 10)


async def test_redis_forgets_by_itself(redis_server: RedisServer, redis_url: str, closing: Make) -> None:
    from redis.asyncio import Redis

    limiter = closing(redis_url)
    limits = Limits(requests_per_minute=9, images_per_minute=9, concurrent_requests=9, pixels_per_day=10**12)
    team = Subject("account", "team", limits)
    async with Redis.from_url(redis_url) as redis:
        async with limiter.admit([team], lease=30):
            await limiter.charge_image([team], 12_000_000)
            left = {name.decode(): await redis.ttl(name) for name in await redis.keys()}
            # A number, not an entry for each pixel.
            assert await redis.get("maskery:pixels_per_day:account:team") == b"12000000"
        # An empty set of places is no key at all.
        assert await redis.exists("maskery:concurrent_requests:account:team") == 0
    assert left == {
        "maskery:requests_per_minute:account:team": pytest.approx(60, abs=2),
        "maskery:images_per_minute:account:team": pytest.approx(60, abs=2),
        "maskery:concurrent_requests:account:team": pytest.approx(30, abs=2),
        "maskery:pixels_per_day:account:team": pytest.approx(86400 - time.time() % 86400, abs=2),
    }


async def test_nobody_without_limits_is_counted(closing: Make) -> None:
    # Nothing listens there.
    limiter = closing("redis://127.0.0.1:1/0", "refuse")
    for _ in range(100):
        assert await ask(limiter, account(), key()) == {}
        await limiter.charge_image([account(requests_per_minute=1), key(concurrent_requests=1)], 10**9)
    assert limiter.failures == 0
    with pytest.raises(LimitsUnavailable):
        await ask(limiter, account(), key(requests_per_minute=1))


@pytest.mark.parametrize("way", ["stop", "freeze"])
async def test_without_redis_a_server_counts_for_itself_until_it_is_back(
    way: str,
    own_redis: RedisServer,
    closing: Make,
    clock: SimpleNamespace,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "maskery.limits")
    own_redis.stop()
    own_redis.start("--requirepass", "open-sesame")
    limiter = closing(own_redis.url.replace("://", "://:open-sesame@"))
    team = account(requests_per_minute=5, concurrent_requests=100)
    assert await passed([limiter], 3, team) == 3
    assert (limiter.failures, limiter.degraded, caplog.messages) == (0, False, [])

    getattr(own_redis, way)()
    begun = time.monotonic()
    assert await passed([limiter], 50, team) == 5
    # All wait for it at the same time, not eight after eight.
    assert time.monotonic() - begun < 4 * PATIENCE
    failures = limiter.failures
    assert failures > 0
    assert limiter.degraded
    clock.now += REST - 0.1
    assert await passed([limiter], 50, team) == 0
    assert limiter.failures == failures
    clock.now += 0.2
    # Of many, one finds out that it is still away.
    await passed([limiter], 50, team)
    assert limiter.failures == failures + 1

    own_redis.stop()
    own_redis.start("--requirepass", "open-sesame")
    clock.now += REST + 0.1
    assert await passed([limiter], 1, team) == 1
    assert not limiter.degraded
    assert await passed([limiter], 50, team) == 4
    assert len(caplog.messages) == 2
    assert f"127.0.0.1:{own_redis.port}" in caplog.messages[0]
    assert "again" in caplog.messages[1]
    assert "sesame" not in caplog.text


async def test_without_redis_nobody_who_has_limits_is_let_in_if_that_is_wished(
    own_redis: RedisServer, closing: Make, clock: SimpleNamespace
) -> None:
    limiter = closing(own_redis.url, "refuse")
    team = account(requests_per_minute=1, images_per_minute=1)
    own_redis.stop()
    for _ in range(3):
        with pytest.raises(LimitsUnavailable):
            await ask(limiter, team)
        with pytest.raises(LimitsUnavailable):
            await limiter.charge_image([team], 1)
    assert limiter.failures == 1
    assert await ask(limiter, account()) == {}
    own_redis.start()
    clock.now += REST + 0.1
    await ask(limiter, team)


async def test_a_place_taken_before_an_outage_is_given_back_after_it(
    own_redis: RedisServer, closing: Make, clock: SimpleNamespace
) -> None:
    limiter, team = closing(own_redis.url), account(concurrent_requests=3)
    async with limiter.admit([team], 60), limiter.admit([team], 60):
        own_redis.freeze()
        # Redis receives this on the connection that lies ready, and counts it when nobody listens any more.
        await ask(limiter, team)
        clock.now += REST + 0.1
    own_redis.thaw()
    clock.now += REST + 0.1
    await ask(limiter, account(requests_per_minute=9))
    assert not limiter.degraded
    await limiter.close()
    other = closing(own_redis.url)
    async with other.admit([team], 60), other.admit([team], 60), other.admit([team], 60):
        pass


@pytest.mark.parametrize("url", ["http://host", "redis//host", "redis://me:open-sesame@host:port"])
def test_an_address_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="must read redis://") as refused:
        Limiter(url)
    assert "sesame" not in str(refused.value)


@pytest.mark.parametrize("limit", ["requests_per_minute", "pixels_per_day"])
def test_no_limit_is_negative(limit: str) -> None:
    with pytest.raises(ValueError, match=limit):
        Limits(**{limit: -1})


async def test_memory_does_not_grow_with_those_who_were_here(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1e6
    clock = SimpleNamespace(time=lambda: now, monotonic=lambda: now)
    monkeypatch.setattr("maskery.accounts.rate_limit.memory.time", clock)
    backend = MemoryBackend()
    limits = Limits(requests_per_minute=60, concurrent_requests=5, pixels_per_day=10**9)
    most = 0
    # 200,000 keys in ten days, a thousand of them in any minute.
    for number in range(200_000):
        now += 0.06 if number % 20_000 else 86400
        costs = {"pixels_per_day": 1} if number % 100 == 0 else {"concurrent_requests": 1}
        quota_requests = quota_requests_for([Subject("key", str(number), limits)], requests_per_minute=1, **costs)
        await backend.take(quota_requests, "", 60)
        await backend.give_back(quota_requests, "")
        most = max(most, len(backend))
    assert 1_000 <= most < 1_300
