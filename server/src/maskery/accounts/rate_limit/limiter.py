"""Lets accounts and keys use as much as they may, and no more."""

import asyncio
import logging
import math
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from maskery.accounts.rate_limit.backend import (
    BackendUnavailable,
    Count,
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

#: Seconds for which a Redis that failed is left alone.
REST = 3.0

# Of an outage: requests that were inside when it began, and the few that asked meanwhile.
_MOST_OWED = 10_000

Result = TypeVar("Result")

#: Takes back what was counted.
Refund = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Standing:
    """How much is left to one who was let in, as headers for the answer."""

    headers: Mapping[str, str]


class Limiter:
    """Counts what holders use, in this process or in a Redis that several servers share. For one event loop.

    Args:
        redis_url: where to count; None: in this process.
        on_failure: while Redis does not answer, "local" counts in this process, so that n servers let n times as much
            through, and "refuse" lets nobody in who has limits.

    Attributes:
        failures: how often Redis did not answer.
        degraded: whether it is left alone because of that.

    Raises:
        ValueError: the URL is not one of a Redis, or the package for it is missing.
    """

    def __init__(self, redis_url: str | None = None, on_failure: Literal["local", "refuse"] = "local") -> None:
        self._own = MemoryBackend()
        self._shared = _connect(redis_url) if redis_url else None
        self._on_failure = on_failure
        self._ask_again = 0.0
        self._owed: deque[tuple[Sequence[QuotaRequest], str]] = deque(maxlen=_MOST_OWED)
        self._tasks: set[asyncio.Task[Any]] = set()
        self.failures = 0
        self.degraded = False

    def admit(self, subjects: Sequence[Subject], lease: float) -> AbstractAsyncContextManager[Standing]:
        """A context manager around a request: counts it for each holder, and holds a place of each until it ends.

        Leave it before the end of the answer is sent: who has that may ask again at once.

        Args:
            holders: each must allow it; where one does not, it is counted for none.
            lease: seconds after which the places are free even if this server died meanwhile (Redis only).

        Raises:
            RateLimited, LimitsUnavailable: at its entry.
        """
        quota_requests = quota_requests_for(subjects, requests_per_minute=1, concurrent_requests=1)
        return _Admission(self, quota_requests, lease) if quota_requests else nullcontext(Standing({}))

    async def charge_image(self, subjects: Sequence[Subject], pixels: int) -> Refund:
        """Count a new image for each holder, or for none.

        Returns:
            Takes it back, for an image that was not encoded after all.

        Raises:
            RateLimited: one has not as much left.
            ExceedsQuota: one never will.
            LimitsUnavailable: Redis does not answer, and is to be asked.
        """
        quota_requests = quota_requests_for(subjects, images_per_minute=1, pixels_per_day=pixels)
        for quota_request in quota_requests:
            if quota_request.cost > quota_request.amount:
                raise ExceedsQuota(quota_request.cost, quota_request.amount, quota_request.subject)
        if not quota_requests:
            return _nothing
        backend, _ = await self.take(quota_requests)

        async def refund() -> None:
            # Where it cannot be done now it is not done later: it is not known then what still counts.
            await self._reach(backend, lambda: backend.refund(quota_requests))

        return refund

    @property
    def waits(self) -> bool:
        """Whether counting takes time, so that requests may be cancelled in the middle of it."""
        return self._shared is not None

    def check(self) -> None:
        """See whether Redis answers, so that the log says it at the start and not when the first limit is needed."""
        if self._shared is not None:
            self.begin(self._check(self._shared))

    async def _check(self, shared: "RedisBackend") -> None:
        try:
            await shared.ping()
        except BackendUnavailable as error:
            self._lose(error)

    async def close(self) -> None:
        """Give back what is owed, if that can be done, and leave Redis."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._shared is not None:
            await self._shared.close()

    async def take(
        self, quota_requests: Sequence[QuotaRequest], token: str = "", lease: float = 0
    ) -> tuple[CounterBackend, dict[str, str]]:
        """Take all claims or none.

        Returns:
            Who has counted them, and headers.

        Raises:
            RateLimited, LimitsUnavailable: nothing was taken.
        """
        backend, counts = await self._count(quota_requests, token, lease)
        headers = rate_headers(quota_requests, counts)
        # Who comes back after the longest of the waits finds room in all of them.
        quota_request, count = max(zip(quota_requests, counts, strict=True), key=lambda pair: pair[1].wait)
        if count.wait:
            raise RateLimited(
                quota_request.measure,
                quota_request.amount,
                quota_request.subject,
                max(1, math.ceil(count.wait)),
                headers,
            )
        return backend, headers

    async def give_back(self, backend: CounterBackend, quota_requests: Sequence[QuotaRequest], token: str) -> None:
        """Give back places to who has counted them, now or when it answers again."""
        if not await self._reach(backend, lambda: backend.give_back(quota_requests, token)):
            self._owed.append((quota_requests, token))

    def begin(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Have something done that nobody's cancellation ends."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _count(
        self, quota_requests: Sequence[QuotaRequest], token: str, lease: float
    ) -> tuple[CounterBackend, list[Count]]:
        if self._shared is None:
            return self._own, await self._own.take(quota_requests, token, lease)
        if self._may_ask():
            try:
                counts = await self._shared.take(quota_requests, token, lease)
            except BackendUnavailable as error:
                # It may have taken them all the same.
                if token:
                    self._owed.append((quota_requests, token))
                self._lose(error)
            else:
                self._find()
                return self._shared, counts
        if self._on_failure == "refuse":
            raise LimitsUnavailable(math.ceil(REST))
        return self._own, await self._own.take(quota_requests, token, lease)

    async def _reach(self, backend: CounterBackend, ask: Callable[[], Awaitable[None]]) -> bool:
        """Ask something of who has counted; whether it was done."""
        if backend is self._shared and not self._may_ask():
            return False
        try:
            await ask()
        except BackendUnavailable as error:
            self._lose(error)
            return False
        if backend is self._shared:
            self._find()
        return True

    def _may_ask(self) -> bool:
        """Whether Redis is to be asked: while it is degraded, by one request at a time, and rarely."""
        now = time.monotonic()
        if self.degraded and now < self._ask_again:
            return False
        self._ask_again = now + REST
        return True

    def _lose(self, error: BackendUnavailable) -> None:
        self.failures += 1
        self._ask_again = time.monotonic() + REST
        if not self.degraded and self._shared is not None:
            self.degraded = True
            meanwhile = (
                "this server counts for itself" if self._on_failure == "local" else "requests with limits are refused"
            )
            _log.warning(
                "The Redis at %s that counts for the limits fails (%s). Meanwhile %s.",
                self._shared.place,
                error,
                meanwhile,
            )

    def _find(self) -> None:
        if self.degraded and self._shared is not None:
            self.degraded = False
            _log.warning("The Redis at %s counts for the limits again.", self._shared.place)
            owed = list(self._owed)
            self._owed.clear()
            self.begin(self._give_back_all(self._shared, owed))

    async def _give_back_all(self, shared: CounterBackend, owed: list[tuple[Sequence[QuotaRequest], str]]) -> None:
        for quota_requests, token in owed:
            await self.give_back(shared, quota_requests, token)


class _Admission:
    """One request's places."""

    def __init__(self, limiter: Limiter, quota_requests: Sequence[QuotaRequest], lease: float) -> None:
        self._limiter = limiter
        self._quota_requests = quota_requests
        self._lease = lease
        self._token = secrets.token_hex(8)
        self._holds_places = any(quota_request.kind == "place" for quota_request in quota_requests)

    async def __aenter__(self) -> Standing:
        take = self._limiter.take(self._quota_requests, self._token, self._lease)
        if not self._holds_places or not self._limiter.waits:
            self._backend, headers = await take
            return Standing(headers)
        taking = self._limiter.begin(take)
        try:
            self._backend, headers = await asyncio.shield(taking)
        except asyncio.CancelledError:
            # It is not known yet whether there are places to give back.
            taking.add_done_callback(self._give_up)
            raise
        return Standing(headers)

    async def __aexit__(self, *_: object) -> None:
        if not self._holds_places:
            return
        if self._limiter.waits:
            await asyncio.shield(self._give_back(self._backend))
        else:
            await self._limiter.give_back(self._backend, self._quota_requests, self._token)

    def _give_up(self, taking: "asyncio.Task[tuple[CounterBackend, dict[str, str]]]") -> None:
        if not taking.cancelled() and taking.exception() is None:
            self._give_back(taking.result()[0])

    def _give_back(self, backend: CounterBackend) -> "asyncio.Task[None]":
        return self._limiter.begin(self._limiter.give_back(backend, self._quota_requests, self._token))


async def _nothing() -> None:
    """The refund of what nobody counts."""


def _connect(url: str) -> "RedisBackend":
    try:
        from maskery.accounts.rate_limit.redis import RedisBackend  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        raise ValueError(
            "limits are counted in a Redis where its package is installed: pip install 'maskery[redis]'"
        ) from None
    return RedisBackend(url)
