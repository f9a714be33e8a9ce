"""Applies the limits of accounts and keys."""

import asyncio
import logging
import math
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from maskery.accounts.rate_limit.backend import (
    Acquisition,
    BackendUnavailable,
    CounterBackend,
    QuotaRequest,
    quota_requests_for,
)
from maskery.accounts.rate_limit.headers import rate_headers
from maskery.accounts.rate_limit.limits import ExceedsQuota, LimitsUnavailable, RateLimited, Subject
from maskery.accounts.rate_limit.memory import MemoryBackend

if TYPE_CHECKING:
    from maskery.accounts.rate_limit.redis import RedisBackend

_log = logging.getLogger("maskery.limits")

#: Seconds between two attempts to reach a Redis that failed.
RETRY_INTERVAL = 3.0

# Slots to be released when Redis responds again: of the requests in flight when it failed, and of failed attempts.
_MAX_UNRELEASED = 10_000

Result = TypeVar("Result")


@dataclass(frozen=True)
class _Grant:
    """Quota requests that a backend has granted."""

    backend: CounterBackend
    requests: Sequence[QuotaRequest]
    token: str
    time: float
    headers: Mapping[str, str]


class Limiter:
    """Applies limits, counting in this process or in a Redis that several servers share. For one event loop.

    Args:
        redis_url: where to count; None: in this process.
        on_failure: what happens while Redis does not respond. "local": this process counts alone, so that n servers
            allow n times the limits. "refuse": requests that have limits are refused.

    Attributes:
        failures: how often Redis did not respond.
        degraded: whether the last call of Redis failed.

    Raises:
        ValueError: the URL is invalid, or the package `redis` is not installed.
    """

    def __init__(self, redis_url: str | None = None, on_failure: Literal["local", "refuse"] = "local") -> None:
        self._local = MemoryBackend()
        self._redis = _connect(redis_url) if redis_url else None
        self._on_failure = on_failure
        self._next_attempt = 0.0
        self._unreleased: deque[_Grant] = deque(maxlen=_MAX_UNRELEASED)
        self._tasks: set[asyncio.Task[Any]] = set()
        self.failures = 0
        self.degraded = False

    @asynccontextmanager
    async def admit(self, subjects: Sequence[Subject], lease: float) -> AsyncIterator[Mapping[str, str]]:
        """Count a request against the limits of all subjects, and hold their slots while the context is open.

        Yields the `x-ratelimit-...` headers of the response. Leave the context before the end of the response is
        sent: a client that has received it may send the next request at once.

        Args:
            lease: seconds after which the slots are free even if this server has crashed (Redis only).

        Raises:
            RateLimited: a subject has reached a limit; nothing was counted for any of them.
            LimitsUnavailable: Redis does not respond, and `on_failure` is "refuse".
        """
        requests = quota_requests_for(subjects, requests_per_minute=1, concurrent_requests=1)
        if not requests:
            yield {}
            return
        grant = await self._acquire(requests, self._release, lease)
        try:
            yield grant.headers
        finally:
            await self._shielded(self._release(grant))

    @asynccontextmanager
    async def charge_image(self, subjects: Sequence[Subject], pixels: int) -> AsyncIterator[None]:
        """Charge a new image to all subjects; refund it if an exception or a cancellation leaves the context.

        Raises:
            RateLimited: a subject has reached a limit; nothing was charged to any of them.
            ExceedsQuota: the image alone exceeds the daily quota of a subject.
            LimitsUnavailable: as of `admit`.
        """
        requests = quota_requests_for(subjects, images_per_minute=1, pixels_per_day=pixels)
        for request in requests:
            if request.cost > request.limit:
                raise ExceedsQuota(request.subject, request.cost, request.limit)
        if not requests:
            yield
            return
        grant = await self._acquire(requests, self._refund)
        try:
            yield
        except BaseException:
            await self._shielded(self._refund(grant))
            raise

    def check(self) -> None:
        """Test the connection to Redis in the background, so that a failure is logged at the start."""
        if self._redis is not None:
            self._begin(self._attempt(self._redis, self._redis.ping))

    async def close(self) -> None:
        """Finish releases and refunds that have begun, and disconnect from Redis."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._redis is not None:
            await self._redis.close()

    async def _acquire(
        self, requests: Sequence[QuotaRequest], undo: Callable[[_Grant], Awaitable[None]], lease: float = 0
    ) -> _Grant:
        """Acquire all quotas or none. If the caller is cancelled meanwhile, what was granted is undone."""
        granting = self._begin(self._grant(requests, lease))
        try:
            return await asyncio.shield(granting)
        except asyncio.CancelledError:
            self._begin(_undo_late(granting, undo))
            raise

    async def _grant(self, requests: Sequence[QuotaRequest], lease: float) -> _Grant:
        token = secrets.token_hex(8)
        backend, acquisition = await self._count(requests, token, lease)
        headers = rate_headers(requests, acquisition.states)
        # After the longest of the delays, the request fits all limits.
        request, state = max(zip(requests, acquisition.states, strict=True), key=lambda pair: pair[1].retry_after)
        if state.retry_after:
            retry_after = max(1, math.ceil(state.retry_after))
            raise RateLimited(request.subject, request.name, request.limit, retry_after, headers)
        return _Grant(backend, requests, token, acquisition.time, headers)

    async def _count(
        self, requests: Sequence[QuotaRequest], token: str, lease: float
    ) -> tuple[CounterBackend, Acquisition]:
        if self._redis is not None:
            if self._may_attempt():
                try:
                    acquisition = await self._redis.acquire(requests, token, lease)
                except BackendUnavailable as error:
                    # Redis may have granted the requests nevertheless.
                    self._unreleased.append(_Grant(self._redis, requests, token, 0, {}))
                    self._note_failure(error)
                else:
                    self._note_success()
                    return self._redis, acquisition
            if self._on_failure == "refuse":
                raise LimitsUnavailable(math.ceil(RETRY_INTERVAL))
        return self._local, await self._local.acquire(requests, token, lease)

    async def _release(self, grant: _Grant) -> None:
        """Release the slots, now or when Redis responds again."""
        if not any(request.kind == "slot" for request in grant.requests):
            return
        if not await self._attempt(grant.backend, lambda: grant.backend.release(grant.requests, grant.token)):
            self._unreleased.append(grant)

    async def _refund(self, grant: _Grant) -> None:
        # Not repeated after a failure: if only the response was lost, a second refund would be one too many.
        await self._attempt(grant.backend, lambda: grant.backend.refund(grant.requests, grant.time))

    async def _attempt(self, backend: CounterBackend, call: Callable[[], Awaitable[None]]) -> bool:
        """Call a backend, unless it is a Redis that failed a moment ago. Return whether the call succeeded."""
        if backend is self._local:
            await call()
            return True
        if not self._may_attempt():
            return False
        try:
            await call()
        except BackendUnavailable as error:
            self._note_failure(error)
            return False
        self._note_success()
        return True

    def _may_attempt(self) -> bool:
        """Whether to call Redis now. While it fails, only one request per interval does."""
        now = time.monotonic()
        if self.degraded and now < self._next_attempt:
            return False
        self._next_attempt = now + RETRY_INTERVAL
        return True

    def _note_failure(self, error: BackendUnavailable) -> None:
        self.failures += 1
        self._next_attempt = time.monotonic() + RETRY_INTERVAL
        if not self.degraded and self._redis is not None:
            self.degraded = True
            consequence = (
                "this server counts alone" if self._on_failure == "local" else "requests that have limits are refused"
            )
            _log.warning(
                "Redis at %s, which counts for the limits, does not respond (%s). Until it does, %s.",
                self._redis.address,
                error,
                consequence,
            )

    def _note_success(self) -> None:
        if self.degraded and self._redis is not None:
            self.degraded = False
            _log.warning("Redis at %s counts for the limits again.", self._redis.address)
            unreleased = list(self._unreleased)
            self._unreleased.clear()
            self._begin(self._release_all(unreleased))

    async def _release_all(self, grants: Sequence[_Grant]) -> None:
        for grant in grants:
            await self._release(grant)

    def _begin(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _shielded(self, work: Coroutine[Any, Any, None]) -> None:
        """Await work that goes on when the caller is cancelled."""
        await asyncio.shield(self._begin(work))


async def _undo_late(granting: "asyncio.Task[_Grant]", undo: Callable[[_Grant], Awaitable[None]]) -> None:
    with suppress(RateLimited, LimitsUnavailable):
        await undo(await granting)


def _connect(url: str) -> "RedisBackend":
    try:
        from maskery.accounts.rate_limit.redis import RedisBackend  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        raise ValueError("counting limits in Redis needs its package: pip install 'maskery[redis]'") from None
    return RedisBackend(url)
