"""`x-ratelimit-...`: the headers by which clients of OpenAI's API know how much is left to them."""

import math
from collections.abc import Sequence

from maskery.accounts.rate_limit.backend import Count, QuotaRequest
from maskery.accounts.rate_limit.limits import Measure

# A place is free when a request ends, so that there is nothing to wait for by the clock.
_WORDS: dict[Measure, str] = {
    "requests_per_minute": "requests",
    "images_per_minute": "images",
    "pixels_per_day": "pixels",
}


def rate_headers(quota_requests: Sequence[QuotaRequest], counts: Sequence[Count]) -> dict[str, str]:
    """Limit, what remains, and the time until it is more; of several holders, the one's with the least left."""
    least: dict[str, tuple[QuotaRequest, Count]] = {}
    for quota_request, count in zip(quota_requests, counts, strict=True):
        word = _WORDS.get(quota_request.measure)
        if word and (word not in least or count.left < least[word][1].left):
            least[word] = quota_request, count
    headers = {}
    for word, (quota_request, count) in least.items():
        headers[f"x-ratelimit-limit-{word}"] = str(quota_request.amount)
        headers[f"x-ratelimit-remaining-{word}"] = str(count.left)
        headers[f"x-ratelimit-reset-{word}"] = _duration(count.reset)
    return headers


def _duration(seconds: float) -> str:
    """As OpenAI writes it: 350ms, 12s, 1m5s, 7h12m0s; rounded up."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, seconds = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{seconds}s"
