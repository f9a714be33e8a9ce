"""Many requests, a few at a time."""

import asyncio
import threading
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sized
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from ._config import checked_count
from ._segment_request import SegmentArguments
from .types.images import SegmentationResponse

Progress = Callable[[int, int | None], object]


@dataclass(frozen=True)
class SegmentResult:
    """The result of one request of ``segment_many``: a response or an error, never both.

    Attributes:
        index: the position of the request among the requests, from 0.
        response: the answer; None if the request failed.
        error: what ``segment`` would have raised; None if the request succeeded.
    """

    index: int
    response: SegmentationResponse | None = None
    error: Exception | None = None

    def unwrap(self) -> SegmentationResponse:
        """The response. Raises the error if there is one."""
        if self.response is None:
            raise self.error or AssertionError("a result holds a response or an error")
        return self.response


def run_all(
    requests: Iterable[Mapping[str, Any]],
    segment: Callable[[SegmentArguments, threading.Event], SegmentationResponse],
    defaults: Mapping[str, Any],
    concurrency: int,
    progress: Progress | None,
) -> list[SegmentResult]:
    """In threads. Takes the next request when one of ``concurrency`` has finished."""
    concurrency = checked_count(concurrency, "concurrency", least=1)
    cancelled = threading.Event()
    results = _Results(requests, progress)
    running: set[Future[SegmentResult]] = set()

    def one(index: int, request: Mapping[str, Any]) -> SegmentResult:
        try:
            arguments = SegmentArguments.from_request(request, defaults)
            return SegmentResult(index, response=segment(arguments, cancelled))
        except Exception as error:  # noqa: BLE001 - it is the result of this request; the others continue
            return SegmentResult(index, error=_without_traceback(error))

    def collect() -> None:
        finished, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            running.remove(future)
            results.add(future.result())

    with ThreadPoolExecutor(concurrency, thread_name_prefix="air-segment") as pool:
        try:
            for index, request in enumerate(requests):
                running.add(pool.submit(one, index, request))
                if len(running) == concurrency:
                    collect()
            while running:
                collect()
        except BaseException:  # Ctrl-C, or the caller's iterable or progress failed
            cancelled.set()
            raise
    return results.in_order()


async def run_all_async(
    requests: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
    segment: Callable[[SegmentArguments], Awaitable[SegmentationResponse]],
    defaults: Mapping[str, Any],
    concurrency: int,
    progress: Progress | None,
) -> list[SegmentResult]:
    """The same in tasks."""
    concurrency = checked_count(concurrency, "concurrency", least=1)
    results = _Results(requests, progress)
    running: set[asyncio.Task[SegmentResult]] = set()

    async def one(index: int, request: Mapping[str, Any]) -> SegmentResult:
        try:
            arguments = SegmentArguments.from_request(request, defaults)
            return SegmentResult(index, response=await segment(arguments))
        except Exception as error:  # noqa: BLE001 - as above
            return SegmentResult(index, error=_without_traceback(error))

    async def collect() -> None:
        finished, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in finished:
            running.remove(task)
            results.add(task.result())

    try:
        index = 0
        async for request in _each(requests):
            running.add(asyncio.create_task(one(index, request)))
            index += 1
            if len(running) == concurrency:
                await collect()
        while running:
            await collect()
    except BaseException:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        raise
    return results.in_order()


class _Results:
    def __init__(self, requests: object, progress: Progress | None) -> None:
        self._done: list[SegmentResult] = []
        self._total = len(requests) if isinstance(requests, Sized) else None
        self._progress = progress

    def add(self, result: SegmentResult) -> None:
        self._done.append(result)
        if self._progress is not None:
            self._progress(len(self._done), self._total)

    def in_order(self) -> list[SegmentResult]:
        return sorted(self._done, key=lambda result: result.index)


async def _each(
    requests: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
) -> AsyncIterator[Mapping[str, Any]]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request


def _without_traceback(error: Exception) -> Exception:
    """Without references that would keep the image of a failed request in memory."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
