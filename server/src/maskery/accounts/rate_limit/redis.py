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

from maskery.accounts import claims as claiming
from maskery.accounts.claims import Claim, Count, TallyLost

#: Seconds in which Redis must have answered.
PATIENCE = 0.5

# Of one server. A call takes a fraction of a millisecond, so that these carry tens of thousands a second.
_CONNECTIONS = 8

_SCHEMES = {"redis": "redis", "rediss": "rediss", "unix": "unix", "valkey": "redis", "valkeys": "rediss"}

Answer = TypeVar("Answer")


class RedisTally:
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
        self._take = self._redis.register_script(files(__package__).joinpath("tally.lua").read_text())
        self._refund = self._redis.register_script(files(__package__).joinpath("refund.lua").read_text())

    async def take(self, claims: Sequence[Claim], token: str, lease: float) -> list[Count]:
        """Like every tally's.

        Raises:
            TallyLost: the claims were not taken, or it is not known whether they were.
        """
        arguments: list[str | int] = [token, _microseconds(lease), _microseconds(claiming.MINUTE)]
        for claim in claims:
            arguments += (claim.kind, claim.amount, claim.cost)
        counts = await self._ask(lambda: self._take([_key(claim) for claim in claims], arguments))
        return [Count(left, reset / 1e6, wait / 1e6) for left, reset, wait in counts]

    async def give_back(self, claims: Sequence[Claim], token: str) -> None:
        """Like every tally's.

        Raises:
            TallyLost: the places are taken until their lease ends.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for claim in claims:
            if claim.kind == "place":
                pipeline.zrem(_key(claim), token)
        await self._ask(pipeline.execute)

    async def refund(self, claims: Sequence[Claim]) -> None:
        """Like every tally's.

        Raises:
            TallyLost: it is not known whether they still count.
        """
        arguments = [argument for claim in claims for argument in (claim.kind, claim.cost)]
        await self._ask(lambda: self._refund([_key(claim) for claim in claims], arguments))

    async def ping(self) -> None:
        """Nothing.

        Raises:
            TallyLost: it is not there, or lets nobody in.
        """
        await self._ask(self._redis.ping)

    async def close(self) -> None:
        await self._redis.aclose()

    async def _ask(self, question: Callable[[], Awaitable[Answer]]) -> Answer:
        losses = self._losses
        async with self._turns:
            # Those who queued behind one who waited in vain do not wait as long, one after the other.
            if self._losses != losses:
                raise TallyLost("others got no answer")
            try:
                async with asyncio.timeout(PATIENCE):
                    return await question()
            except TimeoutError:
                self._losses += 1
                raise TallyLost(f"no answer within {PATIENCE} s") from None
            except (RedisError, OSError) as error:
                self._losses += 1
                raise TallyLost(f"{type(error).__name__}: {error}") from error


def _key(claim: Claim) -> str:
    return f"maskery:{claim.name}"


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)
