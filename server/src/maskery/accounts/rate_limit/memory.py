"""Counts in this process' memory."""

import time
from array import array
from bisect import bisect_right
from collections.abc import Sequence

from maskery.accounts.rate_limit import backend as backends
from maskery.accounts.rate_limit.backend import Count, QuotaRequest

_DAY = 86400

# More than any call adds, so that what is over goes faster than new comes, and few enough that no call is slow.
_FORGOTTEN_AT_ONCE = 8


class MemoryBackend:
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

    async def take(self, quota_requests: Sequence[QuotaRequest], token: str, lease: float) -> list[Count]:
        """Like every tally's; places need neither token nor lease, as they die with the process."""
        now, today = time.monotonic(), time.time()
        self._forget(now, today)
        counts = [self._look(quota_request, now, today) for quota_request in quota_requests]
        if any(count.wait for count in counts):
            return counts
        for quota_request in quota_requests:
            self._add(quota_request, now)
        return [
            Count(count.left - quota_request.cost, count.reset, 0)
            for quota_request, count in zip(quota_requests, counts, strict=True)
        ]

    async def give_back(self, quota_requests: Sequence[QuotaRequest], token: str) -> None:
        for quota_request in quota_requests:
            if quota_request.kind == "place":
                left = self._places.pop(quota_request.name) - quota_request.cost
                if left:
                    self._places[quota_request.name] = left

    async def refund(self, quota_requests: Sequence[QuotaRequest]) -> None:
        self._forget(time.monotonic(), time.time())
        for quota_request in quota_requests:
            if quota_request.kind == "day" and quota_request.name in self._spent:
                self._spent[quota_request.name] = max(0, self._spent[quota_request.name] - quota_request.cost)
            elif quota_request.kind == "minute" and quota_request.name in self._minutes:
                del self._minutes[quota_request.name][-quota_request.cost :]

    def _look(self, quota_request: QuotaRequest, now: float, today: float) -> Count:
        """How the claim stands before it is taken."""
        if quota_request.kind == "place":
            left = quota_request.amount - self._places.get(quota_request.name, 0)
            # Nobody knows when a request ends.
            return Count(max(left, 0), 0, 0 if quota_request.cost <= left else 1)
        if quota_request.kind == "day":
            left = quota_request.amount - self._spent.get(quota_request.name, 0)
            midnight = _DAY - today % _DAY
            return Count(max(left, 0), midnight, 0 if quota_request.cost <= left else midnight)
        times = self._minutes.get(quota_request.name, array("d"))
        del times[: bisect_right(times, now - backends.MINUTE)]
        missing = quota_request.cost - (quota_request.amount - len(times))
        return Count(
            max(quota_request.amount - len(times), 0),
            _until_left(times, 0, now),
            _until_left(times, missing - 1, now) if missing > 0 else 0,
        )

    def _add(self, quota_request: QuotaRequest, now: float) -> None:
        if quota_request.kind == "place":
            self._places[quota_request.name] = self._places.get(quota_request.name, 0) + quota_request.cost
        elif quota_request.kind == "day":
            self._spent[quota_request.name] = self._spent.get(quota_request.name, 0) + quota_request.cost
        else:
            times = self._minutes.pop(quota_request.name, array("d"))
            times.extend([now] * quota_request.cost)
            self._minutes[quota_request.name] = times

    def _forget(self, now: float, today: float) -> None:
        """Drop what does not count any more."""
        if self._day != today // _DAY:
            self._day = int(today // _DAY)
            self._spent = {}
        for _ in range(_FORGOTTEN_AT_ONCE):
            name = next(iter(self._minutes), None)
            if name is None or (self._minutes[name] and self._minutes[name][-1] > now - backends.MINUTE):
                break
            del self._minutes[name]


def _until_left(times: "array[float]", index: int, now: float) -> float:
    """Seconds until the one at an index leaves the window, a whole window where there is none."""
    return times[index] + backends.MINUTE - now if index < len(times) else backends.MINUTE
