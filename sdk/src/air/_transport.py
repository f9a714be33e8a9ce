"""How a call becomes HTTP requests, and when it is tried again.

`Attempts` decides everything, once, for both kinds of client: what is sent, what a response or a failure means,
whether and when to try again. `Transport` and `AsyncTransport` only do the waiting.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic

import httpx

from ._answers import AnswerT, read_answer
from ._config import Config, checked_headers, checked_timeout
from ._cutoff import Abort, Cutoff, Sockets
from ._retries import is_worth_repeating, seconds_to_wait
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
        timeout: seconds in all; None for the client's.
    """

    method: str
    path: str
    answer: type[AnswerT]
    body: Callable[[], Body] | None = None
    headers: Mapping[str, str] | None = None
    timeout: float | None = None


class Attempts(Generic[AnswerT]):
    """One call from its first attempt to its last. The clock starts here."""

    def __init__(self, config: Config, call: Call[AnswerT]) -> None:
        self._config = config
        self._call = call
        self._timeout = checked_timeout(config.timeout if call.timeout is None else call.timeout)
        self._deadline = time.monotonic() + self._timeout
        self._headers = config.headers.copy()
        self._headers.update(checked_headers(call.headers))
        self._content: bytes | None = None
        self._failures = 0

    def prepare(self) -> None:
        """Make the body. May read files and compress pictures."""
        if self._call.body is not None:
            body = self._call.body()
            self._content = body.content
            # Last, over the caller's: "application/json" as a default header must not break a multipart body.
            self._headers["Content-Type"] = body.content_type

    def remaining(self) -> float:
        """Seconds left. Raises APITimeoutError when there are none."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self.timed_out()
        return left

    def request(self) -> dict[str, Any]:
        """The arguments of ``httpx.Client.build_request`` for the next attempt."""
        left = self.remaining()
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
            self.remaining()
            raise APIConnectionError(f"{base_url} does not accept connections ({_CONNECT_TIMEOUT:g} s)") from error
        except httpx.TimeoutException as error:
            raise self.timed_out() from error
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

    def wait_after(self, error: AirError) -> float:
        """Seconds to wait before the next attempt. Raises ``error`` when there should be none."""
        self._failures += 1
        if not is_worth_repeating(error) or self._failures > self._config.max_retries:
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


class Transport:
    """Blocking HTTP on one connection pool. Safe to share between threads."""

    def __init__(self, config: Config, http_client: httpx.Client | None) -> None:
        if http_client is not None and not isinstance(http_client, httpx.Client):
            raise ConfigurationError("http_client must be an httpx.Client")
        self.config = config
        self._owns_http = http_client is None
        self._http = httpx.Client() if http_client is None else http_client
        self._sockets = Sockets()

    def send(self, call: Call[AnswerT], abort: Abort | None = None) -> AnswerT:
        """Raises APIConnectionError, APITimeoutError, BadResponseError or APIStatusError."""
        abort = abort or Abort()
        attempts = Attempts(self.config, call)
        attempts.prepare()
        while True:
            try:
                return attempts.answer(self._exchange(attempts, abort))
            except AirError as error:
                wait = attempts.wait_after(error)
            abort.sleep(wait)

    def _exchange(self, attempts: Attempts[AnswerT], abort: Abort) -> httpx.Response:
        cutoff = Cutoff(self._sockets)
        request = self._http.build_request(**attempts.request(), extensions={"trace": cutoff.trace})
        with attempts.typed_failures(), abort.covers(cutoff), cutoff.after(attempts.remaining()):
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
        attempts = Attempts(self.config, call)
        try:
            async with asyncio.timeout(attempts.remaining()):
                await asyncio.to_thread(attempts.prepare)
                while True:
                    try:
                        return attempts.answer(await self._exchange(attempts))
                    except AirError as error:
                        wait = attempts.wait_after(error)
                    await asyncio.sleep(wait)
        except TimeoutError as error:
            raise attempts.timed_out() from error

    async def _exchange(self, attempts: Attempts[AnswerT]) -> httpx.Response:
        request = self._http.build_request(**attempts.request())
        with attempts.typed_failures():
            return await self._http.send(request, auth=None, follow_redirects=False)

    async def close(self) -> None:
        if self._owns_http:
            await self._http.aclose()
