"""Admission: limits the number of requests in flight, and the bytes of their bodies."""

import math
import time

from maskery.engine.errors import Busy

# Weight of the newest value in the moving average.
_NEWEST = 0.2


class RetryEstimate:
    """Estimates when a refused request can be retried.

    Attributes:
        seconds: moving average of what one request took; 0 before the first.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def note(self, seconds: float) -> None:
        """Add one request to the average."""
        self.seconds += _NEWEST * (seconds - self.seconds) if self.seconds else seconds

    def retry_after(self, requests: int, at_a_time: int) -> int:
        """Whole seconds, at least one, after which half of the requests are expected to be done."""
        return max(1, math.ceil(self.seconds * requests / at_a_time / 2))


class Admission:
    """Counts the requests in flight. For one event loop.

    Args:
        max_requests: running or queued at the same time.
        max_bytes: of the bodies of all requests, those that are still being received included.

    Attributes:
        requests: in flight.
        nbytes: of their bodies.
        estimate: of the time that one request takes.
    """

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self.max_requests = max_requests
        self.max_bytes = max_bytes
        self.requests = self.nbytes = 0
        self.estimate = RetryEstimate()

    def ticket(self) -> "Ticket":
        """A context manager around one request, which releases at its end what the request has reserved."""
        return Ticket(self)

    def retry_after(self) -> int:
        """Whole seconds after which half of the requests in flight are expected to be answered."""
        return self.estimate.retry_after(self.requests, self.max_requests)


class Ticket:
    """One request: the bytes of its body and, once that is complete, its admission."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._nbytes = 0
        self._admitted: float | None = None

    def reserve_bytes(self, nbytes: int) -> None:
        """Reserve memory for that many more bytes of the body.

        Raises:
            Busy: the bodies in flight would exceed the limit.
        """
        admission = self._admission
        if admission.nbytes + nbytes > admission.max_bytes:
            raise Busy(
                f"the bodies of the requests in flight would exceed {admission.max_bytes:,} bytes",
                admission.retry_after(),
            )
        admission.nbytes += nbytes
        self._nbytes += nbytes

    def admit(self) -> None:
        """Admit the request, whose body is complete.

        Raises:
            Busy: too many requests are in flight.
        """
        admission = self._admission
        if admission.requests >= admission.max_requests:
            raise Busy(f"the request queue is full ({admission.requests} requests)", admission.retry_after())
        admission.requests += 1
        self._admitted = time.monotonic()

    def __enter__(self) -> "Ticket":
        return self

    def __exit__(self, *_: object) -> None:
        admission = self._admission
        admission.nbytes -= self._nbytes
        if self._admitted is not None:
            admission.requests -= 1
            admission.estimate.note(time.monotonic() - self._admitted)
