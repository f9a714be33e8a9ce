"""Counts in this process' memory."""

import time
from array import array
from bisect import bisect_right
from collections.abc import Sequence

from maskery.accounts import claims as claiming
from maskery.accounts.claims import Claim, Count

_DAY = 86400

# More than any call adds, so that what is over goes faster than new comes, and few enough that no call is slow.
_FORGOTTEN_AT_ONCE = 8


class MemoryTally:
    """For one event loop. Nothing in here waits, so that nobody comes in between."""

    def __init__(self) -> None:
        # When each was counted, oldest first; 8 bytes each. The name counted last is the last of the dict.
        self._minutes: dict[str, array[float]] = {}
        self._day = 0
        self._spent: dict[str, int] = {}
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        """How many counts are kept."""
        return len(self._minutes) + len(self._spent) + len(self._places)

    async def take(self, claims: Sequence[Claim], token: str, lease: float) -> list[Count]:
        """Like every tally's; places need neither token nor lease, as they die with the process."""
        now, today = time.monotonic(), time.time()
        self._forget(now, today)
        counts = [self._look(claim, now, today) for claim in claims]
        if any(count.wait for count in counts):
            return counts
        for claim in claims:
            self._add(claim, now)
        return [Count(count.left - claim.cost, count.reset, 0) for claim, count in zip(claims, counts, strict=True)]

    async def give_back(self, claims: Sequence[Claim], token: str) -> None:
        for claim in claims:
            if claim.kind == "place":
                left = self._places.pop(claim.name) - claim.cost
                if left:
                    self._places[claim.name] = left

    async def refund(self, claims: Sequence[Claim]) -> None:
        self._forget(time.monotonic(), time.time())
        for claim in claims:
            if claim.kind == "day" and claim.name in self._spent:
                self._spent[claim.name] = max(0, self._spent[claim.name] - claim.cost)
            elif claim.kind == "minute" and claim.name in self._minutes:
                del self._minutes[claim.name][-claim.cost :]

    def _look(self, claim: Claim, now: float, today: float) -> Count:
        """How the claim stands before it is taken."""
        if claim.kind == "place":
            left = claim.amount - self._places.get(claim.name, 0)
            # Nobody knows when a request ends.
            return Count(max(left, 0), 0, 0 if claim.cost <= left else 1)
        if claim.kind == "day":
            left = claim.amount - self._spent.get(claim.name, 0)
            midnight = _DAY - today % _DAY
            return Count(max(left, 0), midnight, 0 if claim.cost <= left else midnight)
        times = self._minutes.get(claim.name, array("d"))
        del times[: bisect_right(times, now - claiming.MINUTE)]
        missing = claim.cost - (claim.amount - len(times))
        return Count(
            max(claim.amount - len(times), 0),
            _until_left(times, 0, now),
            _until_left(times, missing - 1, now) if missing > 0 else 0,
        )

    def _add(self, claim: Claim, now: float) -> None:
        if claim.kind == "place":
            self._places[claim.name] = self._places.get(claim.name, 0) + claim.cost
        elif claim.kind == "day":
            self._spent[claim.name] = self._spent.get(claim.name, 0) + claim.cost
        else:
            times = self._minutes.pop(claim.name, array("d"))
            times.extend([now] * claim.cost)
            self._minutes[claim.name] = times

    def _forget(self, now: float, today: float) -> None:
        """Drop what does not count any more."""
        if self._day != today // _DAY:
            self._day = int(today // _DAY)
            self._spent = {}
        for _ in range(_FORGOTTEN_AT_ONCE):
            name = next(iter(self._minutes), None)
            if name is None or (self._minutes[name] and self._minutes[name][-1] > now - claiming.MINUTE):
                break
            del self._minutes[name]


def _until_left(times: "array[float]", index: int, now: float) -> float:
    """Seconds until the one at an index leaves the window, a whole window where there is none."""
    return times[index] + claiming.MINUTE - now if index < len(times) else claiming.MINUTE
