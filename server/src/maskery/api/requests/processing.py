"""Processes a request with an image: admission, body, time limit, and cancellation when the client disconnects."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from maskery.api.container import Container
from maskery.api.errors import ApiError
from maskery.api.requests.body import Body, read_body
from maskery.api.requests.record import record_of
from maskery.engine import DeadlineExceeded, Timings
from maskery.settings import Settings

Parsed = TypeVar("Parsed")
Answer = TypeVar("Answer")


async def process(
    request: Request,
    container: Container,
    parse: Callable[[Body], Parsed],
    work: Callable[[Parsed, Timings], Coroutine[Any, Any, Answer]],
) -> Answer:
    """Read and parse a request's body, then return the result of `work`.

    `work` is cancelled when the client disconnects or the time limit is reached. The body is freed before it starts.

    Args:
        parse: runs in a thread.

    Raises:
        ApiError: the body cannot be read or parsed, or it was not complete in time (504).
        Busy: too many requests, or too many bytes of requests, are in flight.
        DeadlineExceeded: `work` did not finish in time.
        ClientDisconnect: the client has disconnected.
    """
    seconds = time_limit(request, container.settings)
    started = time.monotonic()
    timings = record_of(request).timings = Timings()
    with container.engine.admission.ticket() as ticket:

        async def parse_and_work(body: Body) -> Answer:
            ticket.admit()
            with timings.stage("read"):
                parsing = container.engine.run_in_thread(partial(parse, body))
                # No frame may keep the body while `work` waits.
                del body
                parsed = await parsing
            return await work(parsed, timings)

        with timings.stage("read"):
            answer = parse_and_work(
                await read_body(request, container.settings.max_body_bytes, seconds, ticket.reserve_bytes)
            )
        try:
            async with asyncio.timeout(seconds - (time.monotonic() - started)) as limit:
                return await _while_connected(request, answer)
        except TimeoutError:
            if not limit.expired():
                raise
            raise DeadlineExceeded(f"the request was not finished within its {seconds:g} seconds") from None


def time_limit(request: Request, settings: Settings) -> float:
    """The client's time limit from the header `x-request-timeout`, or the server's default, in seconds.

    Raises:
        ApiError: 422; the header is not a positive number.
    """
    text = request.headers.get("x-request-timeout")
    if text is None:
        return settings.default_timeout
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        message = "x-request-timeout must be a number of seconds above 0."
        raise ApiError(422, "invalid_header", message, "x-request-timeout")
    return min(seconds, settings.max_timeout)


async def _while_connected(request: Request, work: Coroutine[Any, Any, Answer]) -> Answer:
    """Return the result of `work`, or cancel it when the client disconnects.

    Args:
        request: its body has been read.

    Raises:
        ClientDisconnect: the client has disconnected.
    """
    answer, gone = asyncio.create_task(work), asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientDisconnect
        return answer.result()
    finally:
        for task in (answer, gone):
            task.cancel()
        await asyncio.gather(answer, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
