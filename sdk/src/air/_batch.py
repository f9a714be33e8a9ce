"""Many requests, a few at a time."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sized
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from ._cutoff import Abort
from .errors import InputError
from .types import SegmentationResponse

Progress = Callable[[int, int | None], object]

_REQUIRED = ("image", "segment_prompt", "model")


@dataclass(frozen=True)
class SegmentResult:
    """What became of one request of ``segment_many``: a response or an error, never both.

    Attributes:
        index: the request's place among the requests, from 0.
        response: the answer; None if the request failed.
        error: why it failed: what ``segment`` would have raised; None if it did not.
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
    segment: Callable[[dict[str, Any], Abort], SegmentationResponse],
    defaults: dict[str, Any],
    concurrency: int,
    progress: Progress | None,
) -> list[SegmentResult]:
    """In threads. Takes the next request only when one of ``concurrency`` is free."""
    _check_concurrency(concurrency)
    abort = Abort()
    results = _Results(requests, progress)
    running: set[Future[SegmentResult]] = set()

    def one(index: int, request: Mapping[str, Any]) -> SegmentResult:
        try:
            return SegmentResult(index, response=segment(_merged(defaults, request), abort))
        except Exception as error:  # noqa: BLE001 - it is the result of this one; the others go on
            return SegmentResult(index, error=_lightened(error))

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
            abort.ask()
            raise
    return results.in_order()


async def run_all_async(
    requests: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
    segment: Callable[[dict[str, Any]], Awaitable[SegmentationResponse]],
    defaults: dict[str, Any],
    concurrency: int,
    progress: Progress | None,
) -> list[SegmentResult]:
    """`run_all`'s twin, in tasks."""
    _check_concurrency(concurrency)
    results = _Results(requests, progress)
    running: set[asyncio.Task[SegmentResult]] = set()

    async def one(index: int, request: Mapping[str, Any]) -> SegmentResult:
        try:
            return SegmentResult(index, response=await segment(_merged(defaults, request)))
        except Exception as error:  # noqa: BLE001 - as above
            return SegmentResult(index, error=_lightened(error))

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


def _check_concurrency(concurrency: int) -> None:
    if not isinstance(concurrency, int) or concurrency < 1:
        raise InputError(f"concurrency must be a positive integer, got {concurrency!r}")


def _merged(defaults: dict[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(request, Mapping):
        raise InputError(f"a request must be a mapping of segment()'s arguments, got {type(request).__name__}")
    arguments = {**defaults, **request}
    missing = [name for name in _REQUIRED if name not in arguments]
    if missing:
        raise InputError(f"a request lacks {' and '.join(missing)}")
    return arguments


def _lightened(error: Exception) -> Exception:
    """Without what leads back to the picture: a failed request must not keep it in memory."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
