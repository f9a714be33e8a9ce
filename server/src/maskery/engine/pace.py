"""How long things have taken of late, and when to come back by that."""

import math

# Weight of the newest in the running mean.
_NEWEST = 0.2


class Pace:
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
