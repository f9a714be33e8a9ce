"""Limits of accounts and keys, and the errors raised when one is reached."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

#: The fields of `Limits`.
LimitName = Literal["requests_per_minute", "images_per_minute", "concurrent_requests", "pixels_per_day"]

_UNITS: dict[LimitName, str] = {
    "requests_per_minute": "requests per minute",
    "images_per_minute": "new images per minute",
    "concurrent_requests": "requests at a time",
    "pixels_per_day": "pixels of new images per day (UTC)",
}


@dataclass(frozen=True)
class Limits:
    """Rate limits and quotas. 0 means unlimited; None means that the next default applies.

    Attributes:
        requests_per_minute: requests started in any 60 seconds.
        images_per_minute: new images encoded in any 60 seconds.
        concurrent_requests: requests in flight.
        pixels_per_day: pixels of new images encoded between two midnights, UTC.

    Raises:
        ValueError: a limit is negative.
    """

    requests_per_minute: int | None = None
    images_per_minute: int | None = None
    concurrent_requests: int | None = None
    pixels_per_day: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and value < 0:
                raise ValueError(f"{field.name} must be 0 or more, not {value}")


@dataclass(frozen=True)
class Subject:
    """An account or a key that limits apply to.

    Attributes:
        name: the account's name, or the key's ID.
    """

    kind: Literal["account", "key"]
    name: str
    limits: Limits

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


class RateLimited(Exception):  # noqa: N818
    """A subject has reached one of its limits.

    Attributes:
        name: of the limit.
        limit: its value.
        retry_after: whole seconds, at least 1, after which the request fits if no other uses the limit meanwhile.
        headers: `x-ratelimit-...` for the response.
    """

    def __init__(
        self, subject: Subject, name: LimitName, limit: int, retry_after: int, headers: Mapping[str, str]
    ) -> None:
        units = _UNITS[name].replace("s ", " ", 1) if limit == 1 else _UNITS[name]
        seconds = "1 second" if retry_after == 1 else f"{retry_after:,} seconds"
        super().__init__(f"The {subject} is limited to {limit:,} {units}; retry in {seconds}.")
        self.subject = subject
        self.name = name
        self.limit = limit
        self.retry_after = retry_after
        self.headers = dict(headers)


class ExceedsQuota(Exception):  # noqa: N818
    """An image alone has more pixels than a subject's daily quota."""

    def __init__(self, subject: Subject, pixels: int, limit: int) -> None:
        super().__init__(
            f"The image has {pixels:,} pixels, more than the daily quota of the {subject}, which is {limit:,}."
        )


class LimitsUnavailable(Exception):  # noqa: N818
    """The limits cannot be checked because Redis does not respond.

    Attributes:
        retry_after: whole seconds until Redis is tried again.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__("The rate limits cannot be checked: the Redis that counts requests does not respond.")
        self.retry_after = retry_after
