"""How much an account or a key may use, and what is said to one who wants more."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

#: What can be limited: the fields of `Limits`.
Measure = Literal["requests_per_minute", "images_per_minute", "concurrent_requests", "pixels_per_day"]

_WORDS: dict[Measure, str] = {
    "requests_per_minute": "requests a minute",
    "images_per_minute": "new images a minute",
    "concurrent_requests": "requests at a time",
    "pixels_per_day": "pixels of new images a day (UTC)",
}


@dataclass(frozen=True)
class Limits:
    """What one may use. 0: as much as one likes; None: it is not said here.

    Attributes:
        requests_per_minute: begun in any 60 seconds.
        images_per_minute: images encoded that were not known yet, in any 60 seconds.
        concurrent_requests: being answered at a time.
        pixels_per_day: of these images, from midnight to midnight UTC.

    Raises:
        ValueError: a limit is negative.
    """

    requests_per_minute: int | None = None
    images_per_minute: int | None = None
    concurrent_requests: int | None = None
    pixels_per_day: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            amount = getattr(self, field.name)
            if amount is not None and amount < 0:
                raise ValueError(f"{field.name} must be 0 or more, not {amount}")


@dataclass(frozen=True)
class Subject:
    """Who has limits.

    Attributes:
        name: the account's name, or the key's ID.
    """

    kind: Literal["account", "key"]
    name: str
    limits: Limits

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


class RateLimited(Exception):  # noqa: N818
    """A holder has used all that it may.

    Attributes:
        limit: which one.
        amount: that it allows.
        holder: whose it is.
        retry_after: whole seconds, at least 1, after which there is room again if nobody else takes it.
        headers: `x-ratelimit-...` for the answer.
    """

    def __init__(
        self, limit: Measure, amount: int, subject: Subject, retry_after: int, headers: Mapping[str, str]
    ) -> None:
        seconds = "1 second" if retry_after == 1 else f"{retry_after:,} seconds"
        words = _WORDS[limit].replace("s ", " ", 1) if amount == 1 else _WORDS[limit]
        super().__init__(f"The {subject} may have {amount:,} {words}; come back in {seconds}.")
        self.limit = limit
        self.amount = amount
        self.subject = subject
        self.retry_after = retry_after
        self.headers = dict(headers)


class ExceedsQuota(Exception):  # noqa: N818
    """An image has more pixels than a holder may have on any day."""

    def __init__(self, pixels: int, amount: int, subject: Subject) -> None:
        super().__init__(
            f"The image has {pixels:,} pixels and the {subject} may have {amount:,} a day: it will never fit."
        )


class LimitsUnavailable(Exception):  # noqa: N818
    """What was used is counted in a Redis that does not answer, and nobody is let in uncounted.

    Attributes:
        retry_after: whole seconds after which it is asked again.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__("The limits cannot be checked at the moment: the Redis that counts does not answer.")
        self.retry_after = retry_after
