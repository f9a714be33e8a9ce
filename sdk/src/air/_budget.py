"""When to try again: backoff with full jitter, and the server's own Retry-After."""

import random
import time
from email.utils import parsedate_to_datetime

from .errors import AirError, APIConnectionError, APIStatusError

# Every call is safe to repeat: segmenting is a pure function, a picture prepared twice is dropped when nobody uses it,
# and one deleted twice is gone. 500 and 504 are left alone: the same request
# would most likely fail the same way, at the same cost.
_RETRIED_STATUSES = frozenset({429, 502, 503})

_FIRST_WAIT = 0.5
_LONGEST_WAIT = 8.0


def is_worth_repeating(error: AirError) -> bool:
    if isinstance(error, APIStatusError):
        return error.status_code in _RETRIED_STATUSES
    return isinstance(error, APIConnectionError)


def seconds_to_wait(error: AirError, failures: int) -> float:
    """How long to wait after the given count of failures (1 or more), in seconds.

    Full jitter spreads clients that failed together (Brooker, "Exponential Backoff And Jitter", 2015);
    a Retry-After is the least they wait.
    """
    ceiling = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (failures - 1))
    jittered = random.uniform(0, ceiling)  # noqa: S311 - spreads load, guards nothing
    told = error.retry_after if isinstance(error, APIStatusError) else None
    return max(told or 0.0, jittered)


def parse_retry_after(value: str | None) -> float | None:
    """Seconds from now that a Retry-After header asks for (RFC 9110, section 10.2.3), or None."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())
