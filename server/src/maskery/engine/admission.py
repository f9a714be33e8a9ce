"""Who may come in: so many requests at a time, and so many bytes that they brought along."""

import math
import time

from maskery.engine.errors import Busy

# Weight of the newest in the running mean.
_NEWEST = 0.2


class RetryEstimate:
    """A running mean.

    Attributes:
        seconds: that one took of late; 0 before the first.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def note(self, seconds: float) -> None:
        """One more has taken that long."""
        self.seconds += _NEWEST * (seconds - self.seconds) if self.seconds else seconds

    def retry_after(self, here: int, at_a_time: int) -> int:
        """Whole seconds in which half of those here are expected to be through."""
        return max(1, math.ceil(self.seconds * here / at_a_time / 2))


class Admission:
    """Counts the requests that are here. For one event loop.

    Args:
        max_requests: being answered or waiting for something.
        max_bytes: of the bodies of all requests, those still on their way included.
    """

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self.max_requests = max_requests
        self.max_bytes = max_bytes
        self.requests = self.nbytes = 0
        self.pace = RetryEstimate()

    @property
    def seconds_a_request(self) -> float:
        """That one stayed of late."""
        return self.pace.seconds

    def arrive(self) -> "Ticket":
        """A request has begun; a context manager around all of it."""
        return Ticket(self)

    def retry_after(self) -> int:
        """Whole seconds in which half of those here are expected to be answered, by how long they took of late."""
        return self.pace.retry_after(self.requests, self.max_requests)


class Ticket:
    """One request's bytes and, once its body is there, its place."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._nbytes = 0
        self._since: float | None = None

    def bring(self, nbytes: int) -> None:
        """That many more bytes have arrived.

        Raises:
            Busy: there is no memory for them.
        """
        here = self._admission
        if here.nbytes + nbytes > here.max_bytes:
            raise Busy("the requests on their way fill the memory that there is for them", here.retry_after())
        here.nbytes += nbytes
        self._nbytes += nbytes

    def take_place(self) -> None:
        """The body is complete and its work may begin.

        Raises:
            Busy: all places are taken.
        """
        here = self._admission
        if here.requests >= here.max_requests:
            raise Busy(f"{here.requests} requests are being answered or waiting, no more can wait", here.retry_after())
        here.requests += 1
        self._since = time.monotonic()

    def __enter__(self) -> "Ticket":
        return self

    def __exit__(self, *_: object) -> None:
        here = self._admission
        here.nbytes -= self._nbytes
        if self._since is not None:
            here.requests -= 1
            here.pace.note(time.monotonic() - self._since)
