"""Limits counted in the memory of one server, and in a Redis that two servers share."""

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from outside import RedisServer

from maskery.accounts.rate_limit.backend import QuotaRequest, quota_requests_for
from maskery.accounts.rate_limit.limiter import RETRY_INTERVAL, Limiter
from maskery.accounts.rate_limit.limits import ExceedsQuota, Limits, LimitsUnavailable, RateLimited, Subject
from maskery.accounts.rate_limit.memory import MemoryBackend
from maskery.accounts.rate_limit.redis import TIMEOUT, RedisBackend

Make = Callable[..., Limiter]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def long_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine must not look like an outage of Redis."""
    monkeypatch.setattr("maskery.accounts.rate_limit.redis.TIMEOUT", 20)


@pytest.fixture
async def closing() -> AsyncIterator[Make]:
    """Creates limiters and closes them after the test."""
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
def sleep(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, limiter: Limiter
) -> Callable[[float], Awaitable[None]]:
    """Lets time pass for the limiter, whose minute takes a second: a clock of its own, or that of Redis."""
    monkeypatch.setattr("maskery.accounts.rate_limit.backend.MINUTE", 1.0)
    if request.node.callspec.params["limiter"] == "redis":
        return asyncio.sleep
    clock = SimpleNamespace(now=1000.0, time=lambda: 1.8e9 + clock.now, monotonic=lambda: clock.now)
    monkeypatch.setattr("maskery.accounts.rate_limit.memory.time", clock)

    async def advance(seconds: float) -> None:
        clock.now += seconds

    return advance


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, long_timeout: None) -> SimpleNamespace:
    """The clock of the limiter's retries, which stands still unless a test advances it."""
    clock = SimpleNamespace(now=1000.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr("maskery.accounts.rate_limit.limiter.time", clock)
    monkeypatch.setattr("maskery.accounts.rate_limit.redis.TIMEOUT", TIMEOUT)
    return clock


def account(name: str = "team", **limits: int) -> Subject:
    return Subject("account", name, Limits(**limits))


def key(name: str = "abc", **limits: int) -> Subject:
    return Subject("key", name, Limits(**limits))


async def ask(limiter: Limiter, *subjects: Subject) -> dict[str, str]:
    """A request without duration; returns its rate limit headers."""
    async with limiter.admit(subjects, lease=60) as headers:
        return dict(headers)


async def charge(limiter: Limiter, subjects: Sequence[Subject], pixels: int) -> None:
    """Charge an image that is encoded."""
    async with limiter.charge_image(subjects, pixels):
        pass


async def refund(limiter: Limiter, subjects: Sequence[Subject], pixels: int) -> None:
    """Charge an image that cannot be encoded."""
    with pytest.raises(ZeroDivisionError):
        async with limiter.charge_image(subjects, pixels):
            raise ZeroDivisionError


async def passed(limiters: Sequence[Limiter], times: int, *subjects: Subject) -> int:
    """How many of concurrent requests are admitted; they alternate between servers."""
    requests = (ask(limiters[number % len(limiters)], *subjects) for number in range(times))
    answers = await asyncio.gather(*requests, return_exceptions=True)
    assert all(isinstance(answer, dict | RateLimited) for answer in answers)
    return sum(isinstance(answer, dict) for answer in answers)


async def stay(limiter: Limiter, entered: asyncio.Event, *subjects: Subject) -> None:
    async with limiter.admit(subjects, lease=60):
        entered.set()
        await asyncio.sleep(60)


async def test_sixty_per_minute_of_concurrent_requests(limiter: Limiter) -> None:
    assert await passed([limiter], 100, account(requests_per_minute=60)) == 60


async def test_sixty_per_minute_over_two_servers(two_servers: tuple[Limiter, Limiter]) -> None:
    assert await passed(two_servers, 100, account(requests_per_minute=60), key(requests_per_minute=1000)) == 60


async def test_the_window_slides(limiter: Limiter, sleep: Callable[[float], Awaitable[None]]) -> None:
    team = account(requests_per_minute=2)
    await ask(limiter, team)
    await sleep(0.5)
    await ask(limiter, team)
    with pytest.raises(RateLimited):
        await ask(limiter, team)
    await sleep(0.55)
    await ask(limiter, team)
    with pytest.raises(RateLimited):
        await ask(limiter, team)


async def test_a_changed_limit_counts_earlier_requests(limiter: Limiter) -> None:
    assert await passed([limiter], 6, account(requests_per_minute=6)) == 6
    assert await passed([limiter], 5, account(requests_per_minute=5)) == 0
    assert await passed([limiter], 5, account(requests_per_minute=8)) == 2


async def test_the_error_names_subject_limit_and_delay(
    limiter: Limiter, sleep: Callable[[float], Awaitable[None]]
) -> None:
    team, own = account(requests_per_minute=1), key(requests_per_minute=1)
    await ask(limiter, team, own)
    with pytest.raises(
        RateLimited, match=r"^The account 'team' is limited to 1 request per minute; retry in 1 second\.$"
    ):
        await ask(limiter, team)
    with pytest.raises(RateLimited) as refused:
        await ask(limiter, account("other"), own)
    assert (refused.value.subject.kind, refused.value.name, refused.value.limit) == ("key", "requests_per_minute", 1)
    await sleep(refused.value.retry_after)
    await ask(limiter, team)


@pytest.mark.parametrize("key_first", [False, True])
async def test_a_request_that_one_subject_refuses_is_not_counted_for_the_other(
    limiter: Limiter, key_first: bool
) -> None:
    team, own = account(requests_per_minute=3), key(requests_per_minute=10)
    subjects = (own, team) if key_first else (team, own)
    assert await passed([limiter], 20, *subjects) == 3
    assert (await ask(limiter, own))["x-ratelimit-remaining-requests"] == "6"


async def test_a_request_without_a_free_slot_is_not_counted(limiter: Limiter) -> None:
    team = account(requests_per_minute=5, concurrent_requests=1)
    async with limiter.admit([team], 60):
        with pytest.raises(RateLimited):
            await ask(limiter, team)
    assert (await ask(limiter, team))["x-ratelimit-remaining-requests"] == "3"


async def test_subjects_have_separate_counters(limiter: Limiter) -> None:
    for subject in (account("a"), account("b"), account("b:c"), key("a")):
        limits = Limits(requests_per_minute=2, concurrent_requests=2)
        assert await passed([limiter], 4, Subject(subject.kind, subject.name, limits)) == 2


async def test_headers_are_of_the_subject_with_the_least_left(limiter: Limiter) -> None:
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


async def test_an_image_above_the_daily_quota_is_not_told_to_retry(limiter: Limiter) -> None:
    team = account(pixels_per_day=100, images_per_minute=5)
    with pytest.raises(
        ExceedsQuota, match=r"101 pixels, more than the daily quota of the account 'team', which is 100\."
    ):
        await charge(limiter, [team], 101)
    await charge(limiter, [team], 100)


async def test_0_and_none_are_unlimited(limiter: Limiter) -> None:
    assert await passed([limiter], 50, account(requests_per_minute=0), key(requests_per_minute=None)) == 50


async def test_headers_are_sent_for_limits_that_are_set(limiter: Limiter) -> None:
    assert await ask(limiter, account(concurrent_requests=1)) == {}
    assert await ask(limiter, account(images_per_minute=1), key()) == {}
    team = account(images_per_minute=1, requests_per_minute=1)
    await charge(limiter, [team], 100)
    with pytest.raises(RateLimited) as refused:
        await charge(limiter, [team], 100)
    assert refused.value.headers == {
        "x-ratelimit-limit-images": "1",
        "x-ratelimit-remaining-images": "0",
        "x-ratelimit-reset-images": "1m0s",
    }


async def test_concurrent_requests(limiter: Limiter) -> None:
    team = account(concurrent_requests=2)
    async with limiter.admit([team], 60), limiter.admit([team], 60):
        with pytest.raises(RateLimited, match=r"limited to 2 requests at a time; retry in 1 second"):
            await ask(limiter, team)
    assert await ask(limiter, team) == {}


async def test_slots_are_counted_over_servers(two_servers: tuple[Limiter, Limiter]) -> None:
    team = account(concurrent_requests=1)
    async with two_servers[0].admit([team], 60):
        with pytest.raises(RateLimited):
            await ask(two_servers[1], team)
    await ask(two_servers[1], team)


async def test_a_slot_is_released_after_an_error(limiter: Limiter) -> None:
    team = account(concurrent_requests=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with limiter.admit([team], 60):
                raise ZeroDivisionError


async def test_a_slot_is_released_after_a_cancellation(limiter: Limiter) -> None:
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
async def test_a_slot_is_released_if_its_acquisition_is_cancelled(redis_url: str, closing: Make, turns: int) -> None:
    team, limiter = account(concurrent_requests=1), closing(redis_url)
    task = asyncio.create_task(stay(limiter, asyncio.Event(), team))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    # `close` waits until the slot is released.
    await limiter.close()
    assert await passed([closing(redis_url)], 1, team) == 1


async def test_slots_of_a_crashed_server_become_free(two_servers: tuple[Limiter, Limiter]) -> None:
    team = account(concurrent_requests=2)
    crashed, living = two_servers
    async with crashed.admit([team], lease=60), crashed.admit([team], lease=1):
        with pytest.raises(RateLimited):
            await ask(living, team)
        await asyncio.sleep(1.05)
        assert await ask(living, team) == {}
        async with living.admit([team], 60):
            with pytest.raises(RateLimited):
                await ask(living, team)


async def test_images_and_pixels_are_charged_together_or_not_at_all(limiter: Limiter) -> None:
    team, own = account(images_per_minute=3, pixels_per_day=10**13), key(pixels_per_day=1000)
    await charge(limiter, [team, own], 600)
    with pytest.raises(RateLimited, match=r"key 'abc' is limited to 1,000 pixels of new images per day") as refused:
        await charge(limiter, [team, own], 401)
    assert refused.value.headers["x-ratelimit-remaining-pixels"] == "400"
    assert refused.value.headers["x-ratelimit-remaining-images"] == "2"
    midnight = 86400 - time.time() % 86400
    assert math.isclose(refused.value.retry_after, midnight, abs_tol=2)
    await charge(limiter, [team, own], 400)
    await charge(limiter, [team], 10**13 - 1000)
    with pytest.raises(RateLimited) as refused:
        await charge(limiter, [account(pixels_per_day=10**13)], 1)
    assert refused.value.headers["x-ratelimit-remaining-pixels"] == "0"


async def test_an_image_that_is_not_encoded_is_refunded(limiter: Limiter) -> None:
    team, own = account(images_per_minute=2, pixels_per_day=1000), key(pixels_per_day=800)
    await charge(limiter, [team], 100)
    with contextlib.suppress(ZeroDivisionError):
        async with limiter.charge_image([team, own], 800):
            with pytest.raises(RateLimited):
                await charge(limiter, [team], 50)
            raise ZeroDivisionError
    await charge(limiter, [team, own], 800)
    with pytest.raises(RateLimited) as refused:
        await charge(limiter, [team], 101)
    assert refused.value.headers["x-ratelimit-remaining-images"] == "0"
    assert refused.value.headers["x-ratelimit-remaining-pixels"] == "100"


async def test_a_refund_after_the_window_leaves_later_charges(
    limiter: Limiter, sleep: Callable[[float], Awaitable[None]]
) -> None:
    team = account(images_per_minute=1)
    with contextlib.suppress(ZeroDivisionError):
        async with limiter.charge_image([team], 1):
            await sleep(1.05)
            await charge(limiter, [team], 1)
            raise ZeroDivisionError
    with pytest.raises(RateLimited):
        await charge(limiter, [team], 1)


async def test_a_refund_after_midnight_leaves_the_next_day(monkeypatch: pytest.MonkeyPatch, closing: Make) -> None:
    clock = SimpleNamespace(time=lambda: 86400 * 20000 - 1.5, monotonic=lambda: 1000.0)
    monkeypatch.setattr("maskery.accounts.rate_limit.memory.time", clock)
    team, limiter = account(pixels_per_day=10), closing()
    with contextlib.suppress(ZeroDivisionError):
        async with limiter.charge_image([team], 8):
            clock.time, clock.monotonic = lambda: 86400 * 20000.0, lambda: 1001.5
            await charge(limiter, [team], 3)
            raise ZeroDivisionError
    with pytest.raises(RateLimited) as refused:
        await charge(limiter, [team], 8)
    assert refused.value.headers["x-ratelimit-remaining-pixels"] == "7"


async def test_a_refund_creates_no_counter_that_never_expires(redis_url: str, closing: Make) -> None:
    from redis.asyncio import Redis

    limiter, team, counter = closing(redis_url), account(pixels_per_day=10), "maskery:pixels_per_day:account:team"
    async with Redis.from_url(redis_url) as redis:
        with contextlib.suppress(ZeroDivisionError):
            async with limiter.charge_image([team], 8):
                await redis.delete(counter)
                raise ZeroDivisionError
        assert not await redis.exists(counter)
        await charge(limiter, [team], 3)
        left = await redis.ttl(counter)
        await refund(limiter, [team], 5)
        assert await redis.get(counter) == b"3"
        assert await redis.ttl(counter) == pytest.approx(left, abs=2)


@pytest.mark.parametrize("where", ["memory", "redis"])
async def test_pixels_charged_are_pixels_encoded_whatever_is_cancelled(
    request: pytest.FixtureRequest, closing: Make, where: str
) -> None:
    """Property: over random errors and cancellations, each encoded image is charged once, and no other."""
    url = None if where == "memory" else request.getfixturevalue("redis_url")
    for seed in range(20):
        choose = random.Random(seed)
        limiter, encoded = closing(url), []
        team = account(f"team {seed}", images_per_minute=1000, pixels_per_day=10**6)

        async def encode(pixels: int, turns: int, fails: bool) -> None:
            async with limiter.charge_image([team], pixels):  # noqa: B023 - awaited before the next seed
                for _ in range(turns):
                    await asyncio.sleep(0)
                if fails:
                    raise ZeroDivisionError
            encoded.append(pixels)  # noqa: B023

        async def cancel(task: "asyncio.Task[None]", turns: int) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()

        tasks = [
            asyncio.create_task(encode(choose.randrange(1, 100), choose.randrange(6), choose.random() < 0.3))
            for _ in range(30)
        ]
        # A second cancellation may arrive while the first one is handled.
        cancelled = choose.choices(tasks, k=25)
        await asyncio.gather(*(cancel(task, choose.randrange(25)) for task in cancelled))
        await asyncio.gather(*tasks, return_exceptions=True)
        await limiter.close()
        observer = limiter if url is None else closing(url)
        await charge(observer, [team], 1)
        with pytest.raises(RateLimited) as refused:
            await charge(observer, [team], 10**6)
        assert refused.value.headers["x-ratelimit-remaining-pixels"] == str(10**6 - 1 - sum(encoded)), f"seed {seed}"
        assert refused.value.headers["x-ratelimit-remaining-images"] == str(1000 - 1 - len(encoded)), f"seed {seed}"


async def test_both_backends_grant_the_same_requests(redis_url: str) -> None:
    """Property: over random acquisitions, releases and refunds, both backends agree."""
    memory, redis = MemoryBackend(), RedisBackend(redis_url)
    for seed in range(20):
        choose = random.Random(seed)
        granted: list[tuple[list[QuotaRequest], str, float, float]] = []
        subjects = [
            Subject("account", f"team {seed}", Limits(5, 3, 2, 100)),
            Subject("key", f"abc {seed}", Limits(4, 0, None, 60)),
        ]
        for number in range(40):
            if granted and choose.random() < 0.4:
                requests, token, *times = granted.pop(choose.randrange(len(granted)))
                for backend, charged_at in zip((memory, redis), times, strict=True):
                    await backend.release(requests, token)
                    if number % 2:
                        await backend.refund(requests, charged_at)
                continue
            costs = choose.choice([{"requests_per_minute": 1, "concurrent_requests": 1}, {"images_per_minute": 1}])
            requests = quota_requests_for(subjects, **costs, pixels_per_day=choose.randrange(1, 30))
            one, other = [await backend.acquire(requests, str(number), 60) for backend in (memory, redis)]
            assert [state.remaining for state in one.states] == [state.remaining for state in other.states], seed
            fits = [state.retry_after == 0 for state in one.states]
            assert fits == [state.retry_after == 0 for state in other.states], seed
            if all(fits):
                granted.append((requests, str(number), one.time, other.time))
    await redis.close()


async def test_connections_that_redis_closed_are_replaced(redis_url: str, closing: Make) -> None:
    from redis.asyncio import Redis

    limiter, team = closing(redis_url), account(requests_per_minute=100)
    assert await passed([limiter], 20, team) == 20
    async with Redis.from_url(redis_url) as redis:
        await redis.client_kill_filter(_type="normal", skipme=True)
    await asyncio.sleep(0.05)
    assert await passed([limiter], 20, team) == 20
    assert limiter.failures == 0


async def test_a_charge_whose_response_is_lost_is_not_repeated(redis_server: RedisServer, closing: Make) -> None:
    """A proxy closes the connection after Redis has executed the script."""
    from redis.asyncio import Redis

    redis_server.empty()
    losing = asyncio.Event()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_redis, to_redis = await asyncio.open_connection("127.0.0.1", redis_server.port)

        async def respond() -> None:
            while (data := await from_redis.read(65536)) and not losing.is_set():
                writer.write(data)
            losing.clear()
            writer.close()

        responding = asyncio.create_task(respond())
        while data := await reader.read(65536):
            to_redis.write(data)
        to_redis.close()
        await responding

    async with await asyncio.start_server(forward, "127.0.0.1", 0) as proxy:
        limiter = closing(f"redis://127.0.0.1:{proxy.sockets[0].getsockname()[1]}/0")
        team = account(images_per_minute=9, pixels_per_day=1000)
        await charge(limiter, [team], 1)
        losing.set()
        await charge(limiter, [team], 10)
        assert limiter.failures == 1
        await limiter.close()
    async with Redis.from_url(redis_server.url) as redis:
        assert await redis.get("maskery:pixels_per_day:account:team") == b"11"
        assert await redis.llen("maskery:images_per_minute:account:team") == 2


@pytest.mark.parametrize("turns", range(12))
async def test_a_charge_that_is_cancelled_is_refunded(redis_url: str, closing: Make, turns: int) -> None:
    team, limiter = account(images_per_minute=1), closing(redis_url)

    async def encode() -> None:
        async with limiter.charge_image([team], 1):
            await asyncio.sleep(60)

    task = asyncio.create_task(encode())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await limiter.close()
    await charge(closing(redis_url), [team], 1)


async def test_refunds_during_an_outage(own_redis: RedisServer, closing: Make, clock: SimpleNamespace) -> None:
    limiter, team = closing(own_redis.url), account(images_per_minute=1)
    with contextlib.suppress(ZeroDivisionError):
        async with limiter.charge_image([team], 1):
            own_redis.stop()
            raise ZeroDivisionError
    assert limiter.degraded
    assert limiter.failures == 1
    # Counted and refunded by this server meanwhile.
    for _ in range(3):
        await refund(limiter, [team], 1)
    await charge(limiter, [team], 1)
    with pytest.raises(RateLimited):
        await charge(limiter, [team], 1)


async def test_the_daily_quota_restarts_at_midnight_utc(monkeypatch: pytest.MonkeyPatch, closing: Make) -> None:
    clock = SimpleNamespace(time=lambda: 86400 * 20000 - 1.5, monotonic=time.monotonic)
    monkeypatch.setattr("maskery.accounts.rate_limit.memory.time", clock)
    team, limiter = account(pixels_per_day=10), closing()
    await charge(limiter, [team], 10)
    with pytest.raises(RateLimited) as refused:
        await charge(limiter, [team], 1)
    assert refused.value.retry_after == 2
    clock.time = lambda: 86400 * 20000.0
    await charge(limiter, [team], 10)


async def test_redis_keys_expire(redis_server: RedisServer, redis_url: str, closing: Make) -> None:
    from redis.asyncio import Redis

    limiter = closing(redis_url)
    limits = Limits(requests_per_minute=9, images_per_minute=9, concurrent_requests=9, pixels_per_day=10**12)
    team = Subject("account", "team", limits)
    async with Redis.from_url(redis_url) as redis:
        async with limiter.admit([team], lease=30):
            await charge(limiter, [team], 12_000_000)
            left = {name.decode(): await redis.ttl(name) for name in await redis.keys()}
            # A sum, not an entry for each pixel.
            assert await redis.get("maskery:pixels_per_day:account:team") == b"12000000"
        # Redis deletes an empty set.
        assert await redis.exists("maskery:concurrent_requests:account:team") == 0
    assert left == {
        "maskery:requests_per_minute:account:team": pytest.approx(60, abs=2),
        "maskery:images_per_minute:account:team": pytest.approx(60, abs=2),
        "maskery:concurrent_requests:account:team": pytest.approx(30, abs=2),
        "maskery:pixels_per_day:account:team": pytest.approx(86400 - time.time() % 86400, abs=2),
    }


async def test_subjects_without_limits_are_not_counted(closing: Make) -> None:
    # Nothing listens there.
    limiter = closing("redis://127.0.0.1:1/0", "refuse")
    for _ in range(100):
        assert await ask(limiter, account(), key()) == {}
        await charge(limiter, [account(requests_per_minute=1), key(concurrent_requests=1)], 10**9)
    assert limiter.failures == 0
    with pytest.raises(LimitsUnavailable):
        await ask(limiter, account(), key(requests_per_minute=1))


@pytest.mark.parametrize("way", ["stop", "freeze"])
async def test_while_redis_fails_a_server_counts_alone(
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
    assert await passed([limiter], 50, team) == 5
    failures = limiter.failures
    assert failures > 0
    assert limiter.degraded
    clock.now += RETRY_INTERVAL - 0.1
    assert await passed([limiter], 50, team) == 0
    assert limiter.failures == failures
    clock.now += 0.2
    # One of the requests tries Redis again.
    await passed([limiter], 50, team)
    assert limiter.failures == failures + 1

    own_redis.stop()
    own_redis.start("--requirepass", "open-sesame")
    clock.now += RETRY_INTERVAL + 0.1
    assert await passed([limiter], 1, team) == 1
    assert not limiter.degraded
    assert await passed([limiter], 50, team) == 4
    assert len(caplog.messages) == 2
    assert f"127.0.0.1:{own_redis.port}" in caplog.messages[0]
    assert "again" in caplog.messages[1]
    assert "sesame" not in caplog.text


async def test_while_redis_fails_limited_requests_may_be_refused(
    own_redis: RedisServer, closing: Make, clock: SimpleNamespace
) -> None:
    limiter = closing(own_redis.url, "refuse")
    team = account(requests_per_minute=1, images_per_minute=1)
    own_redis.stop()
    for _ in range(3):
        with pytest.raises(LimitsUnavailable):
            await ask(limiter, team)
        with pytest.raises(LimitsUnavailable):
            await charge(limiter, [team], 1)
    assert limiter.failures == 1
    assert await ask(limiter, account()) == {}
    own_redis.start()
    clock.now += RETRY_INTERVAL + 0.1
    await ask(limiter, team)


async def test_slots_are_released_after_an_outage(
    own_redis: RedisServer, closing: Make, clock: SimpleNamespace
) -> None:
    limiter, team = closing(own_redis.url), account(concurrent_requests=3)
    async with limiter.admit([team], 60), limiter.admit([team], 60):
        own_redis.freeze()
        # Redis receives this on an idle connection, and counts it after the client has stopped waiting.
        await ask(limiter, team)
        clock.now += RETRY_INTERVAL + 0.1
    own_redis.thaw()
    clock.now += RETRY_INTERVAL + 0.1
    await ask(limiter, account(requests_per_minute=9))
    assert not limiter.degraded
    await limiter.close()
    other = closing(own_redis.url)
    async with other.admit([team], 60), other.admit([team], 60), other.admit([team], 60):
        pass


@pytest.mark.parametrize("url", ["http://host", "redis//host", "redis://me:open-sesame@host:port"])
def test_the_error_for_an_invalid_url_does_not_repeat_it(url: str) -> None:
    with pytest.raises(ValueError, match="must be redis://") as refused:
        Limiter(url)
    assert "sesame" not in str(refused.value)


@pytest.mark.parametrize("limit", ["requests_per_minute", "pixels_per_day"])
def test_negative_limits_are_refused(limit: str) -> None:
    with pytest.raises(ValueError, match=limit):
        Limits(**{limit: -1})


async def test_memory_of_expired_counters_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1e6
    clock = SimpleNamespace(time=lambda: now, monotonic=lambda: now)
    monkeypatch.setattr("maskery.accounts.rate_limit.memory.time", clock)
    backend = MemoryBackend()
    limits = Limits(requests_per_minute=60, concurrent_requests=5, pixels_per_day=10**9)
    most = 0
    # 20,000 keys in ten days, a thousand of them in any minute.
    for number in range(20_000):
        now += 0.06 if number % 2_000 else 86400
        costs = {"pixels_per_day": 1} if number % 100 == 0 else {"concurrent_requests": 1}
        requests = quota_requests_for([Subject("key", str(number), limits)], requests_per_minute=1, **costs)
        await backend.acquire(requests, "", 60)
        await backend.release(requests, "")
        most = max(most, len(backend))
    assert 1_000 <= most < 1_300
