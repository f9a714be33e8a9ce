"""Counts in a Redis or Valkey that several servers share."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import TypeVar
from urllib.parse import urlsplit

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import RedisError

from maskery.accounts.rate_limit import backend as backends
from maskery.accounts.rate_limit.backend import BackendUnavailable, Count, QuotaRequest

#: Seconds in which Redis must have answered.
PATIENCE = 0.5

# Of one server. A call takes a fraction of a millisecond, so that these carry tens of thousands a second.
_CONNECTIONS = 8

_SCHEMES = {"redis": "redis", "rediss": "rediss", "unix": "unix", "valkey": "redis", "valkeys": "rediss"}

Answer = TypeVar("Answer")


class RedisBackend:
    """For one event loop; needs Redis 6 or newer, or a Valkey; one, not a cluster.

    Args:
        url: ``redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]``, ``rediss://`` with TLS, or ``unix:///PATH``;
            ``valkey://`` and ``valkeys://`` are the same.

    Raises:
        ValueError: the URL is of none of these forms.
    """

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        try:
            pool = ConnectionPool.from_url(
                f"{_SCHEMES[scheme]}://{rest}",
                # A connection may have been closed while it was idle: once more, at once, on a new one.
                retry=Retry(NoBackoff(), 1, supported_errors=(Disconnected,)),
            )
            parts = urlsplit(url)
            self.place = parts.path if scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"
        except (KeyError, ValueError):
            raise ValueError(
                "the address of the Redis that counts must read redis://[USER:PASSWORD@]HOST:PORT/DATABASE, "
                "rediss://... with TLS, or unix:///PATH"
            ) from None
        # The wait for one's turn is not Redis' fault, and no part of its time.
        self._turns = asyncio.Semaphore(_CONNECTIONS)
        self._losses = 0
        self._redis = Redis.from_pool(pool)
        self._take = self._redis.register_script(files(__package__).joinpath("acquire.lua").read_text())
        self._refund = self._redis.register_script(files(__package__).joinpath("refund.lua").read_text())

    async def take(self, quota_requests: Sequence[QuotaRequest], token: str, lease: float) -> list[Count]:
        """Like every tally's.

        Raises:
            BackendUnavailable: the claims were not taken, or it is not known whether they were.
        """
        arguments: list[str | int] = [token, _microseconds(lease), _microseconds(backends.MINUTE)]
        for quota_request in quota_requests:
            arguments += (quota_request.kind, quota_request.amount, quota_request.cost)
        counts = await self._ask(
            lambda: self._take([_key(quota_request) for quota_request in quota_requests], arguments)
        )
        return [Count(left, reset / 1e6, wait / 1e6) for left, reset, wait in counts]

    async def give_back(self, quota_requests: Sequence[QuotaRequest], token: str) -> None:
        """Like every tally's.

        Raises:
            BackendUnavailable: the places are taken until their lease ends.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for quota_request in quota_requests:
            if quota_request.kind == "place":
                pipeline.zrem(_key(quota_request), token)
        await self._ask(pipeline.execute)

    async def refund(self, quota_requests: Sequence[QuotaRequest]) -> None:
        """Like every tally's.

        Raises:
            BackendUnavailable: it is not known whether they still count.
        """
        arguments = [
            argument for quota_request in quota_requests for argument in (quota_request.kind, quota_request.cost)
        ]
        await self._ask(lambda: self._refund([_key(quota_request) for quota_request in quota_requests], arguments))

    async def ping(self) -> None:
        """Nothing.

        Raises:
            BackendUnavailable: it is not there, or lets nobody in.
        """
        await self._ask(self._redis.ping)

    async def close(self) -> None:
        await self._redis.aclose()

    async def _ask(self, question: Callable[[], Awaitable[Answer]]) -> Answer:
        losses = self._losses
        async with self._turns:
            # Those who queued behind one who waited in vain do not wait as long, one after the other.
            if self._losses != losses:
                raise BackendUnavailable("others got no answer")
            try:
                async with asyncio.timeout(PATIENCE):
                    return await question()
            except TimeoutError:
                self._losses += 1
                raise BackendUnavailable(f"no answer within {PATIENCE} s") from None
            except (RedisError, OSError) as error:
                self._losses += 1
                raise BackendUnavailable(f"{type(error).__name__}: {error}") from error


def _key(quota_request: QuotaRequest) -> str:
    return f"maskery:{quota_request.name}"


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)
