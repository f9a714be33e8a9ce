"""Counters in a Redis or Valkey that several servers share."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import TypeVar
from urllib.parse import urlsplit

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from maskery.accounts.rate_limit import backend as backends
from maskery.accounts.rate_limit.backend import Acquisition, BackendUnavailable, QuotaRequest, QuotaState

#: Seconds in which Redis must respond.
TIMEOUT = 0.5

# A call takes a fraction of a millisecond, so these carry tens of thousands of calls per second.
_CONNECTIONS = 8

_SCHEMES = {"redis": "redis", "rediss": "rediss", "unix": "unix", "valkey": "redis", "valkeys": "rediss"}

Result = TypeVar("Result")


class RedisBackend:
    """For one event loop. Needs Redis 6 or newer, or a Valkey; a single server, not a cluster.

    `Acquisition.time` is in microseconds of Redis's clock.

    Args:
        url: ``redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]``, ``rediss://`` with TLS, or ``unix:///PATH``;
            ``valkey://`` and ``valkeys://`` are synonyms of the first two.

    Raises:
        ValueError: the URL is invalid.
    """

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        try:
            pool = ConnectionPool.from_url(
                f"{_SCHEMES[scheme]}://{rest}",
                # A call whose response was lost is not repeated, because it may have been counted.
                retry=Retry(NoBackoff(), 0),
                # With protocol 3 the pool does not replace connections that were closed while they were idle.
                protocol=2,
            )
            parts = urlsplit(url)
            self.address = parts.path if scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"
        except (KeyError, ValueError):
            raise ValueError(
                "the URL of Redis must be redis://[USER:PASSWORD@]HOST:PORT/DATABASE, rediss://... for TLS, "
                "or unix:///PATH"
            ) from None
        # Time spent waiting for a connection does not count towards the timeout.
        self._connections = asyncio.Semaphore(_CONNECTIONS)
        self._failures = 0
        self._redis = Redis.from_pool(pool)
        self._acquire = self._redis.register_script(files(__package__).joinpath("acquire.lua").read_text())
        self._refund = self._redis.register_script(files(__package__).joinpath("refund.lua").read_text())

    async def acquire(self, requests: Sequence[QuotaRequest], token: str, lease: float) -> Acquisition:
        """See `CounterBackend`.

        Raises:
            BackendUnavailable: the requests were not granted, or it is unknown whether they were.
        """
        arguments: list[str | int] = [token, _microseconds(lease), _microseconds(backends.MINUTE)]
        for request in requests:
            arguments += (request.kind, request.limit, request.cost)
        time, states = await self._call(lambda: self._acquire(_keys(requests), arguments))
        return Acquisition(time, [QuotaState(left, reset / 1e6, wait / 1e6) for left, reset, wait in states])

    async def release(self, requests: Sequence[QuotaRequest], token: str) -> None:
        """See `CounterBackend`.

        Raises:
            BackendUnavailable: the slots may be in use until their lease ends.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for request, key in zip(requests, _keys(requests), strict=True):
            if request.kind == "slot":
                pipeline.zrem(key, token)
        await self._call(pipeline.execute)

    async def refund(self, requests: Sequence[QuotaRequest], charged_at: float) -> None:
        """See `CounterBackend`.

        Raises:
            BackendUnavailable: it is unknown whether the charges were undone.
        """
        arguments: list[str | float] = [charged_at]
        for request in requests:
            arguments += (request.kind, request.cost)
        await self._call(lambda: self._refund(_keys(requests), arguments))

    async def ping(self) -> None:
        """Check the connection and the password.

        Raises:
            BackendUnavailable: Redis does not respond, or refuses the connection.
        """
        await self._call(self._redis.ping)

    async def close(self) -> None:
        await self._redis.aclose()

    async def _call(self, call: Callable[[], Awaitable[Result]]) -> Result:
        failures = self._failures
        async with self._connections:
            # Calls that waited behind a failed one fail at once, instead of each after its own timeout.
            if self._failures != failures:
                raise BackendUnavailable("another call failed")
            try:
                async with asyncio.timeout(TIMEOUT):
                    return await call()
            except TimeoutError:
                self._failures += 1
                raise BackendUnavailable(f"no response within {TIMEOUT} s") from None
            except (RedisError, OSError) as error:
                self._failures += 1
                raise BackendUnavailable(f"{type(error).__name__}: {error}") from error


def _keys(requests: Sequence[QuotaRequest]) -> list[str]:
    return [f"maskery:{request.counter}" for request in requests]


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)
