"""How a call becomes HTTP requests, and when it is tried again.

`Attempts` decides everything, once, for both kinds of client: what is sent, what a response or a failure means,
whether and when to try again. What takes several calls is a `Program`, once for both kinds too. `Transport` and
`AsyncTransport` only do the waiting.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

import httpx

from ._responses import AnswerT, read_answer
from ._config import Config, checked_timeout
from ._cutoff import Abort, Cutoff, Sockets
from ._budget import is_worth_repeating, seconds_to_wait
from .errors import (
    AirError,
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
)

_log = logging.getLogger("air")

# A host that is up accepts within seconds; one that is down should be found out while there is time to retry.
_CONNECT_TIMEOUT = 5.0


@dataclass(frozen=True)
class Body:
    content: bytes = field(repr=False)
    content_type: str


@dataclass(frozen=True)
class Call(Generic[AnswerT]):
    """One call of the API.

    Attributes:
        body: makes the body; called once, in a thread where the client is async, since it may read files.
        headers: override the client's.
    """

    method: str
    path: str
    answer: type[AnswerT]
    body: Callable[[], Body] | None = None
    headers: Mapping[str, str] | None = None


ResultT = TypeVar("ResultT")

#: What a program asks for: an answer, what a slow function returns, or what another thread or task will have done.
Step: TypeAlias = Call[Any] | Callable[[], Any] | Future[Any]

#: Yields its steps, is sent what came of each or thrown its error, and returns its result. It never waits by itself.
Program: TypeAlias = Generator[Step, Any, ResultT]


def ask(call: Call[AnswerT]) -> Program[AnswerT]:
    """The call's answer, for a program that says ``yield from``."""
    answer: AnswerT = yield call
    return answer


class Budget:
    """The time and the retries that a program may take, over all its calls. The clock starts here."""

    def __init__(self, config: Config, timeout: float | None) -> None:
        self._config = config
        self._timeout = checked_timeout(config.timeout if timeout is None else timeout)
        self._deadline = time.monotonic() + self._timeout
        self._failures = 0

    def remaining(self) -> float:
        """Seconds left. Raises APITimeoutError when there are none."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self.timed_out()
        return left

    def wait_after(self, error: AirError) -> float:
        """Seconds to wait before the next attempt. Raises ``error`` when there should be none."""
        if not is_worth_repeating(error):
            raise error
        self._failures += 1
        if self._failures > self._config.max_retries:
            raise error
        wait = seconds_to_wait(error, self._failures)
        if time.monotonic() + wait >= self._deadline:
            raise error
        _log.info("trying again in %.2f s (%d of %d): %s", wait, self._failures, self._config.max_retries, error)
        return wait

    def timed_out(self) -> APITimeoutError:
        return APITimeoutError(
            f"no answer from {self._config.base_url} within {self._timeout:g} s; pass timeout=… to wait longer"
        )


class Attempts(Generic[AnswerT]):
    """One call from its first attempt to its last."""

    def __init__(self, config: Config, call: Call[AnswerT], budget: Budget) -> None:
        self._config = config
        self._call = call
        self._budget = budget
        self._headers = config.headers_with(call.headers)
        self._content: bytes | None = None

    def prepare(self) -> None:
        """Make the body. May read files and compress pictures."""
        if self._call.body is not None:
            body = self._call.body()
            self._content = body.content
            # Last, over the caller's: "application/json" as a default header must not break a multipart body.
            self._headers["Content-Type"] = body.content_type

    def request(self) -> dict[str, Any]:
        """The arguments of ``httpx.Client.build_request`` for the next attempt."""
        left = self._budget.remaining()
        headers = self._headers.copy()
        headers.setdefault("x-request-timeout", f"{left:.3f}")
        return {
            "method": self._call.method,
            "url": self._config.base_url + self._call.path,
            "headers": headers,
            "content": self._content,
            "timeout": httpx.Timeout(left, connect=min(left, _CONNECT_TIMEOUT)),
        }

    @contextmanager
    def typed_failures(self) -> Iterator[None]:
        """Turns what httpx raises in the body into this package's errors."""
        base_url = self._config.base_url
        try:
            yield
        except httpx.ConnectTimeout as error:
            self._budget.remaining()
            raise APIConnectionError(f"{base_url} does not accept connections ({_CONNECT_TIMEOUT:g} s)") from error
        except httpx.TimeoutException as error:
            raise self._budget.timed_out() from error
        except httpx.ConnectError as error:
            raise APIConnectionError(
                f"cannot connect to {base_url} ({error}); is the server running there? "
                "base_url and AIR_BASE_URL name another"
            ) from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise APIConnectionError(f"the connection to {base_url} broke: {error}") from error

    def answer(self, response: httpx.Response) -> AnswerT:
        """What the response says. Raises APIStatusError or BadResponseError."""
        return read_answer(response, self._call.answer, self._secret())

    def _secret(self) -> str:
        key = self._headers.get("authorization", "").rpartition(" ")[2]
        return key if len(key) > 5 else ""  # a shorter one is nobody's secret, and occurs in words


class Transport:
    """Blocking HTTP on one connection pool. Safe to share between threads."""

    def __init__(self, config: Config, http_client: httpx.Client | None) -> None:
        if http_client is not None and not isinstance(http_client, httpx.Client):
            raise ConfigurationError("http_client must be an httpx.Client")
        self.config = config
        self._owns_http = http_client is None
        self._http = httpx.Client() if http_client is None else http_client
        self._sockets = Sockets()

    def send(self, call: Call[AnswerT]) -> AnswerT:
        """Raises APIConnectionError, APITimeoutError, BadResponseError or APIStatusError."""
        return self.run(ask(call))

    def run(self, program: Program[ResultT], timeout: float | None = None, abort: Abort | None = None) -> ResultT:
        """What the program returns, within ``timeout`` seconds for all its steps. Raises what it raises."""
        budget, abort = Budget(self.config, timeout), abort or Abort()
        with closing(program):
            try:
                step = next(program)
                while True:
                    try:
                        outcome = self._outcome(step, budget, abort)
                    except Exception as error:  # noqa: BLE001 - the program's to judge
                        step = program.throw(error)
                    else:
                        step = program.send(outcome)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

    def _outcome(self, step: Step, budget: Budget, abort: Abort) -> Any:
        if isinstance(step, Call):
            return self._answer(step, budget, abort)
        if isinstance(step, Future):
            abort.wait_for(step, budget.remaining())
            if not step.done():
                raise budget.timed_out()
            return step.result()
        return step()

    def _answer(self, call: Call[AnswerT], budget: Budget, abort: Abort) -> AnswerT:
        attempts = Attempts(self.config, call, budget)
        attempts.prepare()
        while True:
            try:
                return attempts.answer(self._exchange(attempts, budget, abort))
            except AirError as error:
                wait = budget.wait_after(error)
            abort.sleep(wait)

    def _exchange(self, attempts: Attempts[AnswerT], budget: Budget, abort: Abort) -> httpx.Response:
        cutoff = Cutoff(self._sockets)
        request = self._http.build_request(**attempts.request(), extensions={"trace": cutoff.trace})
        with attempts.typed_failures(), abort.covers(cutoff), cutoff.after(budget.remaining()):
            response = self._http.send(request, stream=True, auth=None, follow_redirects=False)
            try:
                cutoff.saw(response)
                response.read()
            finally:
                response.close()
        return response

    def close(self) -> None:
        if self._owns_http:
            self._http.close()


class AsyncTransport:
    """The same for asyncio: `Transport`'s twin."""

    def __init__(self, config: Config, http_client: httpx.AsyncClient | None) -> None:
        if http_client is not None and not isinstance(http_client, httpx.AsyncClient):
            raise ConfigurationError("http_client must be an httpx.AsyncClient")
        self.config = config
        self._owns_http = http_client is None
        self._http = httpx.AsyncClient() if http_client is None else http_client

    async def send(self, call: Call[AnswerT]) -> AnswerT:
        """Raises APIConnectionError, APITimeoutError, BadResponseError or APIStatusError."""
        return await self.run(ask(call))

    async def run(self, program: Program[ResultT], timeout: float | None = None) -> ResultT:  # noqa: ASYNC109
        """What the program returns, within ``timeout`` seconds for all its steps. Raises what it raises."""
        budget = Budget(self.config, timeout)
        try:
            with closing(program):
                async with asyncio.timeout(budget.remaining()):
                    step = next(program)
                    while True:
                        try:
                            outcome = await self._outcome(step, budget)
                        except Exception as error:  # noqa: BLE001 - the program's to judge
                            step = program.throw(error)
                        else:
                            step = program.send(outcome)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        except TimeoutError as error:
            raise budget.timed_out() from error

    async def _outcome(self, step: Step, budget: Budget) -> Any:
        if isinstance(step, Call):
            return await self._answer(step, budget)
        if isinstance(step, Future):
            return await _landed(step)
        return await asyncio.to_thread(step)

    async def _answer(self, call: Call[AnswerT], budget: Budget) -> AnswerT:
        attempts = Attempts(self.config, call, budget)
        await asyncio.to_thread(attempts.prepare)
        while True:
            try:
                return attempts.answer(await self._exchange(attempts))
            except AirError as error:
                wait = budget.wait_after(error)
            await asyncio.sleep(wait)

    async def _exchange(self, attempts: Attempts[AnswerT]) -> httpx.Response:
        request = self._http.build_request(**attempts.request())
        with attempts.typed_failures():
            return await self._http.send(request, auth=None, follow_redirects=False)

    async def close(self) -> None:
        if self._owns_http:
            await self._http.aclose()


async def _landed(future: Future[Any]) -> Any:
    """Its result, once another thread or task has set it. Being cancelled here is nothing to the others who wait."""
    loop, landed = asyncio.get_running_loop(), asyncio.Event()

    def wake(_: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits here any more
            loop.call_soon_threadsafe(landed.set)

    future.add_done_callback(wake)
    await landed.wait()
    return future.result()
