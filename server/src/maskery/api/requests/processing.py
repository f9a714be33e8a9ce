"""What every request with an image goes through: time limit, place, body, and whether its client is still there."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request

from maskery.api.container import Container
from maskery.api.errors import ApiError
from maskery.api.requests.body import Body, read_body
from maskery.api.requests.disconnects import while_connected
from maskery.engine import DeadlineExceeded, Timings
from maskery.settings import Settings

Answer = TypeVar("Answer")


async def serve(
    request: Request, container: Container, work: Callable[[Body, Timings], Coroutine[Any, Any, Answer]]
) -> Answer:
    """The answer of `work`, which is cancelled when its client goes away or its time is up.

    Raises:
        ApiError: the body cannot be read; 504 where it has not arrived in time.
        Busy: there is no place, or no memory, for one more request.
        DeadlineExceeded: the answer was not there in time.
        ClientDisconnect: there is nobody to answer any more.
    """
    seconds = time_limit(request, container.settings)
    started = time.monotonic()
    timings = request.state.timings = Timings()
    with container.engine.admission.arrive() as ticket:
        with timings.stage("read"):
            body = await read_body(request, container.settings.max_body_bytes, seconds, ticket.bring)
        ticket.take_place()
        answer = work(body, timings)
        del body
        try:
            async with asyncio.timeout(seconds - (time.monotonic() - started)) as limit:
                return await while_connected(request, answer)
        except TimeoutError:
            if not limit.expired():
                raise
            raise DeadlineExceeded(f"the answer was not there within the request's {seconds:g} seconds") from None


def time_limit(request: Request, settings: Settings) -> float:
    """Seconds that the client allows for its answer, else the server's default.

    Raises:
        ApiError: 422.
    """
    text = request.headers.get("x-request-timeout")
    if text is None:
        return settings.default_timeout
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ApiError(422, "invalid_header", "x-request-timeout is a number of seconds above 0.", "x-request-timeout")
    return min(seconds, settings.max_timeout)
