"""What is counted for whom, and how counts are kept: the border between the limiter and its two tallies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from maskery.accounts.rate_limit.limits import Measure, Subject

#: Seconds of the moving window that "a minute" is.
MINUTE = 60.0

#: A moving window of MINUTE; a sum that begins anew at midnight UTC; a place, taken and given back.
Kind = Literal["minute", "day", "place"]

_KINDS: dict[Measure, Kind] = {
    "requests_per_minute": "minute",
    "images_per_minute": "minute",
    "pixels_per_day": "day",
    "concurrent_requests": "place",
}


@dataclass(frozen=True, slots=True)
class QuotaRequest:
    """`cost` more of a measure, for a holder that may have `amount`."""

    subject: Subject
    measure: Measure
    amount: int
    cost: int = 1

    @property
    def kind(self) -> Kind:
        return _KINDS[self.measure]

    @property
    def name(self) -> str:
        """Under which it is counted. The holder's own name stands last, as it may have any characters."""
        return f"{self.measure}:{self.subject.kind}:{self.subject.name}"


@dataclass(frozen=True, slots=True)
class Count:
    """How a claim stands, after it was taken or refused. Times in seconds from now.

    Attributes:
        left: of the amount.
        reset: until there is more left: the oldest of the window leaves it, or a day begins.
        wait: until the claim fits; 0: it does now.
    """

    left: int
    reset: float
    wait: float


class BackendUnavailable(Exception):  # noqa: N818
    """What keeps the counts does not answer, or refuses to count. The message has no secret of its address."""


class CounterBackend(Protocol):
    """Keeps counts. All claims of a call are taken together or not at all, and nobody comes in between."""

    async def take(self, quota_requests: Sequence[QuotaRequest], token: str, lease: float) -> list[Count]:
        """Take all claims, or none if one does not fit: it has a `wait` then.

        Args:
            token: a name of its own for the places taken.
            lease: seconds after which a place that nobody has given back is free again.
        """
        ...

    async def give_back(self, quota_requests: Sequence[QuotaRequest], token: str) -> None:
        """The places among the claims are free again."""
        ...

    async def refund(self, quota_requests: Sequence[QuotaRequest]) -> None:
        """The counts among the claims, which were taken just now, are as if they had not been."""
        ...


def quota_requests_for(subjects: Sequence[Subject], **costs: int) -> list[QuotaRequest]:
    """Claims on the measures named, of those holders for whom they are limited."""
    return list(_quota_requests(subjects, costs))


def _quota_requests(subjects: Sequence[Subject], costs: dict[str, int]) -> Iterator[QuotaRequest]:
    for subject in subjects:
        for measure in _KINDS:
            amount = getattr(subject.limits, measure)
            if measure in costs and amount:
                yield QuotaRequest(subject, measure, amount, costs[measure])
