"""The `x-ratelimit-...` response headers, in the format of OpenAI's API."""

import math
from collections.abc import Sequence

from maskery.accounts.rate_limit.backend import QuotaRequest, QuotaState
from maskery.accounts.rate_limit.limits import LimitName

# Slots have no reset time, because they are free when another request ends.
_SUFFIXES: dict[LimitName, str] = {
    "requests_per_minute": "requests",
    "images_per_minute": "images",
    "pixels_per_day": "pixels",
}


def rate_headers(requests: Sequence[QuotaRequest], states: Sequence[QuotaState]) -> dict[str, str]:
    """Limit, remaining units and reset time; where several subjects have a limit, of the one with the least left."""
    nearest: dict[str, tuple[QuotaRequest, QuotaState]] = {}
    for request, state in zip(requests, states, strict=True):
        suffix = _SUFFIXES.get(request.name)
        if suffix and (suffix not in nearest or state.remaining < nearest[suffix][1].remaining):
            nearest[suffix] = request, state
    headers = {}
    for suffix, (request, state) in nearest.items():
        headers[f"x-ratelimit-limit-{suffix}"] = str(request.limit)
        headers[f"x-ratelimit-remaining-{suffix}"] = str(state.remaining)
        headers[f"x-ratelimit-reset-{suffix}"] = _duration(state.reset)
    return headers


def _duration(seconds: float) -> str:
    """As OpenAI writes it: 350ms, 12s, 1m5s, 7h12m0s; rounded up."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, seconds = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{seconds}s"
