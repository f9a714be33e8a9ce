"""The interface between the limiter and the backends that store its counters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from maskery.accounts.rate_limit.limits import LimitName, Subject

#: Seconds of the sliding window that "per minute" means.
MINUTE = 60.0

#: A sliding window of MINUTE; a sum that restarts at midnight UTC; slots, which are acquired and released.
Kind = Literal["minute", "day", "slot"]

_KINDS: dict[LimitName, Kind] = {
    "requests_per_minute": "minute",
    "images_per_minute": "minute",
    "pixels_per_day": "day",
    "concurrent_requests": "slot",
}


@dataclass(frozen=True, slots=True)
class QuotaRequest:
    """A request to use `cost` units of a subject's limit."""

    subject: Subject
    name: LimitName
    limit: int
    cost: int = 1

    @property
    def kind(self) -> Kind:
        return _KINDS[self.name]

    @property
    def counter(self) -> str:
        """Name of the counter. The subject's name is last because it may contain any character."""
        return f"{self.name}:{self.subject.kind}:{self.subject.name}"


@dataclass(frozen=True, slots=True)
class QuotaState:
    """A limit after a quota request was granted or refused. Times are seconds from now.

    Attributes:
        remaining: units left.
        reset: until more units are left: the oldest entry leaves the window, or the next day begins.
        retry_after: until the request fits; 0 if it fits now.
    """

    remaining: int
    reset: float
    retry_after: float


@dataclass(frozen=True, slots=True)
class Acquisition:
    """The result of `CounterBackend.acquire`.

    Attributes:
        time: of the acquisition by the backend's clock, in the backend's unit; identifies it to `refund`.
        states: one for each quota request; all were granted unless one has a `retry_after`.
    """

    time: float
    states: list[QuotaState]


class BackendUnavailable(Exception):  # noqa: N818
    """The backend does not respond, or reports an error. The message contains no credentials."""


class CounterBackend(Protocol):
    """Stores counters. Every call is atomic."""

    async def acquire(self, requests: Sequence[QuotaRequest], token: str, lease: float) -> Acquisition:
        """Grant all requests, or none if one of them does not fit.

        Args:
            token: identifies the slots to `release`.
            lease: seconds after which slots that were not released are free again.
        """
        ...

    async def release(self, requests: Sequence[QuotaRequest], token: str) -> None:
        """Free the slots among the granted requests."""
        ...

    async def refund(self, requests: Sequence[QuotaRequest], charged_at: float) -> None:
        """Undo the charges among the granted requests, unless their window or day is over.

        Args:
            charged_at: time of the `Acquisition`.
        """
        ...


def quota_requests_for(subjects: Sequence[Subject], **costs: int) -> list[QuotaRequest]:
    """A quota request for each of the named limits that a subject has."""
    return [
        QuotaRequest(subject, name, limit, costs[name])
        for subject in subjects
        for name in _KINDS
        if name in costs and (limit := getattr(subject.limits, name))
    ]
