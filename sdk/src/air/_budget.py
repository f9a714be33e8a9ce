"""How long a call may take and how often it is retried: deadline, backoff and Retry-After."""

import logging
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from email.utils import parsedate_to_datetime

from ._config import Config, checked_timeout
from .errors import AirError, APIConnectionError, APIStatusError, APITimeoutError

_log = logging.getLogger("air")

# Every call is safe to repeat: segmenting has no side effects, a duplicate prepared image expires, and deleting an
# image twice is the same as once. 500 and 504 are not retried: the same request would most likely fail again, at the
# same cost.
_RETRIED_STATUSES = frozenset({429, 502, 503})

_FIRST_WAIT = 0.5
_LONGEST_WAIT = 8.0

# How often a blocked read of a call that can be cancelled looks whether it has been.
_CANCEL_INTERVAL = 0.1


class Budget:
    """The time and the retries that a flow may use, over all its calls. The clock starts here.

    Args:
        timeout: seconds; None: the client's.
        cancelled: ends the time at once when it is set, from any thread.
    """

    def __init__(self, config: Config, timeout: float | None, cancelled: threading.Event | None = None) -> None:
        self._config = config
        self._timeout = checked_timeout(config.timeout if timeout is None else timeout)
        self._deadline = time.monotonic() + self._timeout
        self._cancelled = cancelled
        self._failures = 0

    def left(self) -> float:
        """Seconds until the deadline; 0 or less after it."""
        if self._cancelled is not None and self._cancelled.is_set():
            return 0.0
        return self._deadline - time.monotonic()

    def remaining(self) -> float:
        """Seconds until the deadline. Raises APITimeoutError after it."""
        left = self.left()
        if left <= 0:
            raise self.timed_out()
        return left

    def block_time(self) -> float:
        """Seconds that a thread may block before it asks again; short if the budget can be cancelled meanwhile."""
        left = self.left()
        return left if self._cancelled is None else min(left, _CANCEL_INTERVAL)

    def sleep(self, seconds: float) -> None:
        """Wait between two attempts; cancelling ends the wait."""
        if self._cancelled is None:
            time.sleep(seconds)
        else:
            self._cancelled.wait(seconds)

    def wait_after(self, error: AirError) -> float:
        """Seconds to wait before the next attempt. Raises ``error`` if there is to be none."""
        if not is_retried(error):
            raise error
        self._failures += 1
        if self._failures > self._config.max_retries:
            raise error
        wait = seconds_to_wait(error, self._failures)
        if wait >= self.left():
            raise error
        _log.info("retrying in %.2f s (%d of %d): %s", wait, self._failures, self._config.max_retries, error)
        return wait

    def timed_out(self) -> APITimeoutError:
        return APITimeoutError(
            f"no answer from {self._config.server} within {self._timeout:g} s; pass timeout=… to wait longer"
        )

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Limit what this thread reads and writes in the body of the ``with``: see `current_budget`."""
        token = current_budget.set(self)
        try:
            yield
        finally:
            current_budget.reset(token)


#: The budget of the request that the running thread sends; read by `_network.DeadlineStream`.
current_budget: ContextVar[Budget | None] = ContextVar("current_budget", default=None)


def is_retried(error: AirError) -> bool:
    if isinstance(error, APIStatusError):
        return error.status_code in _RETRIED_STATUSES
    return isinstance(error, APIConnectionError) and not isinstance(error, APITimeoutError)


def seconds_to_wait(error: AirError, failures: int) -> float:
    """Seconds to wait after ``failures`` failed attempts (1 or more).

    Full jitter spreads clients that failed together (Brooker, "Exponential Backoff And Jitter", 2015);
    Retry-After is the lower bound.
    """
    ceiling = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (failures - 1))
    jittered = random.uniform(0, ceiling)  # noqa: S311 - spreads load, protects nothing
    retry_after = error.retry_after if isinstance(error, APIStatusError) else None
    return max(retry_after or 0.0, jittered)


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
