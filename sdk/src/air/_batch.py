"""Many requests, a few at a time."""

import asyncio
import threading
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sized
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

import httpx

from ._config import checked_count
from ._prepared_images import PreparedImage
from ._segment_request import MalformedRequestError
from .errors import (
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    PermissionDeniedError,
    UnprocessableEntityError,
)
from .types.images import SegmentationResponse

Progress = Callable[[int, int | None], object]

# Codes of errors about arguments that all requests of a batch usually share.
_WRONG_ARGUMENTS = ("model_not_installed", "model_not_found", "unknown_field")

ItemT = TypeVar("ItemT")
ValueT = TypeVar("ValueT")
ResultT = TypeVar("ResultT")


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


@dataclass(frozen=True)
class PrepareResult:
    """The result of one image of ``prepare_many``: a prepared image or an error, never both.

    Attributes:
        index: the position of the image among the images, from 0.
        image: what to pass to ``segment``; None if it could not be prepared.
        error: what ``prepare`` would have raised; None if the image was prepared.
    """

    index: int
    image: PreparedImage | None = None
    error: Exception | None = None

    def unwrap(self) -> PreparedImage:
        """The prepared image. Raises the error if there is one."""
        if self.image is None:
            raise self.error or AssertionError("a result holds an image or an error")
        return self.image


def holds_for_all(error: Exception) -> bool:
    """Whether an error of the first request is one that every request would end in: the key, the server, the model,
    or a request that is not one.
    """
    if isinstance(error, NotFoundError | UnprocessableEntityError):
        return error.code in _WRONG_ARGUMENTS
    lasting = (MalformedRequestError, ConfigurationError, AuthenticationError, PermissionDeniedError)
    # Not a connection that broke, which one request can cause.
    return isinstance(error, lasting) or isinstance(error.__cause__, httpx.ConnectError)


def run_all(
    items: Iterable[ItemT],
    call: Callable[[ItemT, threading.Event], ValueT],
    result: Callable[[int, ValueT | None, Exception | None], ResultT],
    concurrency: int,
    progress: Progress | None,
) -> list[ResultT]:
    """Call for each item, in threads. Takes the next item when one of ``concurrency`` has finished.

    The event is set when the batch has been interrupted. An error that holds for all items is raised if it comes before
    the first success.
    """
    concurrency = checked_count(concurrency, "concurrency", least=1)
    cancelled = threading.Event()
    results: _Results[ResultT] = _Results(items, progress)
    running: set[Future[tuple[int, ResultT]]] = set()

    def one(index: int, item: ItemT) -> tuple[int, ResultT]:
        try:
            value = call(item, cancelled)
        except Exception as error:  # it is the result of this item; the others continue
            if results.has_no_success and holds_for_all(error):
                raise
            return index, result(index, None, _without_traceback(error))
        results.has_no_success = False
        return index, result(index, value, None)

    def collect() -> None:
        finished, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            running.remove(future)
            results.add(*future.result())

    with ThreadPoolExecutor(concurrency, thread_name_prefix="air-batch") as pool:
        try:
            for index, item in enumerate(items):
                running.add(pool.submit(one, index, item))
                if len(running) == concurrency:
                    collect()
            while running:
                collect()
        except BaseException:  # Ctrl-C, or the caller's iterable or progress failed
            cancelled.set()
            raise
    return results.in_order()


async def run_all_async(
    items: Iterable[ItemT] | AsyncIterable[ItemT],
    call: Callable[[ItemT], Awaitable[ValueT]],
    result: Callable[[int, ValueT | None, Exception | None], ResultT],
    concurrency: int,
    progress: Progress | None,
) -> list[ResultT]:
    """The same in tasks."""
    concurrency = checked_count(concurrency, "concurrency", least=1)
    results: _Results[ResultT] = _Results(items, progress)
    running: set[asyncio.Task[tuple[int, ResultT]]] = set()

    async def one(index: int, item: ItemT) -> tuple[int, ResultT]:
        try:
            value = await call(item)
        except Exception as error:  # as above
            if results.has_no_success and holds_for_all(error):
                raise
            return index, result(index, None, _without_traceback(error))
        results.has_no_success = False
        return index, result(index, value, None)

    async def collect() -> None:
        finished, _ = await asyncio.wait(running, return_when=FIRST_COMPLETED)
        for task in finished:
            running.remove(task)
            results.add(*task.result())

    try:
        index = 0
        async for item in _each(items):
            running.add(asyncio.create_task(one(index, item)))
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


class _Results(Generic[ResultT]):
    def __init__(self, items: object, progress: Progress | None) -> None:
        self.has_no_success = True
        self._done: dict[int, ResultT] = {}
        self._total = len(items) if isinstance(items, Sized) else None
        self._progress = progress

    def add(self, index: int, result: ResultT) -> None:
        self._done[index] = result
        if self._progress is not None:
            self._progress(len(self._done), self._total)

    def in_order(self) -> list[ResultT]:
        return [self._done[index] for index in sorted(self._done)]


async def _each(items: Iterable[ItemT] | AsyncIterable[ItemT]) -> AsyncIterator[ItemT]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def _without_traceback(error: Exception) -> Exception:
    """Without references that would keep the image of a failed request in memory."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
