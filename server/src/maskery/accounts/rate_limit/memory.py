"""Counters in this process's memory."""

import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from maskery.accounts.rate_limit import backend as backends
from maskery.accounts.rate_limit.backend import Acquisition, QuotaRequest, QuotaState

_DAY = 86400

# Counters removed per call at most: more than a call adds, so that memory is bounded, and too few to make it slow.
_REMOVED_AT_ONCE = 8


class MemoryBackend:
    """For one event loop. No method suspends, so every call is atomic. `Acquisition.time` is in monotonic seconds."""

    def __init__(self) -> None:
        # Times of the charges of each counter, oldest first, in 8 bytes each. The last counter is the last charged.
        self._windows: dict[str, array[float]] = {}
        self._day = 0
        self._spent: dict[str, int] = {}
        self._slots: dict[str, int] = {}

    def __len__(self) -> int:
        """Number of counters in memory."""
        return len(self._windows) + len(self._spent) + len(self._slots)

    async def acquire(self, requests: Sequence[QuotaRequest], token: str, lease: float) -> Acquisition:
        """See `CounterBackend`. Slots need neither token nor lease, because they end with the process."""
        now = time.monotonic()
        self._remove_expired(now)
        states = [self._state(request, now) for request in requests]
        if not any(state.retry_after for state in states):
            for request in requests:
                self._add(request, now)
            states = [
                QuotaState(state.remaining - request.cost, state.reset, 0)
                for request, state in zip(requests, states, strict=True)
            ]
        return Acquisition(now, states)

    async def release(self, requests: Sequence[QuotaRequest], token: str) -> None:
        for request in requests:
            if request.kind == "slot":
                used = self._slots.pop(request.counter) - request.cost
                if used:
                    self._slots[request.counter] = used

    async def refund(self, requests: Sequence[QuotaRequest], charged_at: float) -> None:
        now = time.monotonic()
        self._remove_expired(now)
        is_today = (time.time() - (now - charged_at)) // _DAY == self._day
        for request in requests:
            if request.kind == "day" and is_today:
                self._spent[request.counter] = max(self._spent.get(request.counter, 0) - request.cost, 0)
            elif request.kind == "minute" and (times := self._windows.get(request.counter)):
                end = bisect_right(times, charged_at)
                del times[max(end - request.cost, bisect_left(times, charged_at)) : end]

    def _state(self, request: QuotaRequest, now: float) -> QuotaState:
        """Before the request is granted."""
        if request.kind == "slot":
            left = request.limit - self._slots.get(request.counter, 0)
            # When another request ends is unknown.
            return QuotaState(max(left, 0), 0, 0 if request.cost <= left else 1)
        if request.kind == "day":
            left = request.limit - self._spent.get(request.counter, 0)
            midnight = _DAY - time.time() % _DAY
            return QuotaState(max(left, 0), midnight, 0 if request.cost <= left else midnight)
        times = self._windows.get(request.counter, array("d"))
        del times[: bisect_right(times, now - backends.MINUTE)]
        left = request.limit - len(times)
        missing = request.cost - left
        return QuotaState(
            max(left, 0),
            _seconds_left(times, 0, now),
            _seconds_left(times, missing - 1, now) if missing > 0 else 0,
        )

    def _add(self, request: QuotaRequest, now: float) -> None:
        if request.kind == "slot":
            self._slots[request.counter] = self._slots.get(request.counter, 0) + request.cost
        elif request.kind == "day":
            self._spent[request.counter] = self._spent.get(request.counter, 0) + request.cost
        else:
            times = self._windows.pop(request.counter, array("d"))
            times.extend([now] * request.cost)
            self._windows[request.counter] = times

    def _remove_expired(self, now: float) -> None:
        today = int(time.time() // _DAY)
        if self._day != today:
            self._day, self._spent = today, {}
        for _ in range(_REMOVED_AT_ONCE):
            counter = next(iter(self._windows), None)
            if counter is None or (self._windows[counter] and self._windows[counter][-1] > now - backends.MINUTE):
                break
            del self._windows[counter]


def _seconds_left(times: "array[float]", index: int, now: float) -> float:
    """Until the entry at an index leaves the window; a whole window if there is none."""
    return times[index] + backends.MINUTE - now if index < len(times) else backends.MINUTE
