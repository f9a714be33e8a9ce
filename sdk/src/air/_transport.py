"""How a call becomes HTTP requests, and when it is retried.

`Attempts` decides for both kinds of client what is sent and what a response or a failure means. What takes several
calls is a `Flow`, also the same for both. `Transport` and `AsyncTransport` run flows: they only wait.
"""

import asyncio
import re
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import httpx

from ._budget import Budget
from ._config import Config
from ._encoding import Body
from ._network import LoopClients, ProcessClients, make_async_client, make_client
from ._proxy import ssl_context
from ._responses import AnswerT, read_answer
from .errors import AirError, APIConnectionError, ConfigurationError

# A running server accepts within seconds; finding out early that none does leaves time for a retry.
_CONNECT_TIMEOUT = 5.0

# What a TLS handshake with a server that speaks plain HTTP ends with, in different releases of OpenSSL.
_WITHOUT_TLS = re.compile("WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST")

# What plain HTTP to a server that expects TLS ends with: a closed connection, a reset one or a TLS alert.
_WITH_TLS = re.compile("without sending a response|ReadError|illegal status line")

_CLOSED = "the client has been closed; make a new one"


@dataclass(frozen=True)
class Call(Generic[AnswerT]):
    """One call of the API.

    Attributes:
        body: makes the body; called once, in a thread if the client is async, since it may read files.
        headers: override the client's.
    """

    method: str
    path: str
    answer: type[AnswerT]
    body: Callable[[], Body] | None = None
    headers: Mapping[str, str] | None = None


ResultT = TypeVar("ResultT")

#: What a flow yields: a call, a slow function, or a future that another thread or task completes.
Step: TypeAlias = Call[Any] | Callable[[], Any] | Future[Any]

#: As `httpx.Auth.auth_flow`: to dispatch a step, ``yield`` it. The result or the error comes back from the ``yield``.
Flow: TypeAlias = Generator[Step, Any, ResultT]


def dispatch(call: Call[AnswerT]) -> Flow[AnswerT]:
    """The flow of a single call; in another flow, ``yield from`` it."""
    answer: AnswerT = yield call
    return answer


class Attempts(Generic[AnswerT]):
    """One call from its first attempt to its last."""

    def __init__(self, config: Config, call: Call[AnswerT], budget: Budget) -> None:
        self._config = config
        self._call = call
        self._budget = budget
        self._headers = config.headers_with(call.headers)
        self._content: bytes | None = None
        self._connect_timeout = _CONNECT_TIMEOUT

    def prepare(self) -> None:
        """Make the body. May read files and compress images."""
        if self._call.body is not None:
            body = self._call.body()
            self._content = body.content
            # Last, so that "application/json" as a default header does not break a multipart body.
            self._headers["Content-Type"] = body.content_type
            if body.session_id is not None:
                self._headers.setdefault("x-session-id", body.session_id)

    def request(self, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """The request of the next attempt. Raises APITimeoutError if no time is left for one."""
        left = self._budget.remaining()
        self._connect_timeout = min(left, _CONNECT_TIMEOUT)
        headers = self._headers.copy()
        headers.setdefault("x-request-timeout", f"{left:.3f}")
        return http.build_request(
            self._call.method,
            self._config.base_url + self._call.path,
            headers=headers,
            content=self._content,
            timeout=httpx.Timeout(left, connect=self._connect_timeout),
        )

    @contextmanager
    def typed_failures(self, http: httpx.Client | httpx.AsyncClient) -> Iterator[None]:
        """Convert what httpx raises in the body of the ``with`` to the errors of this package."""
        server = self._config.server
        try:
            yield
        except httpx.TimeoutException as error:
            if isinstance(error, httpx.ConnectTimeout) and self._connect_timeout == _CONNECT_TIMEOUT:
                raise APIConnectionError(f"{server} does not accept connections ({_CONNECT_TIMEOUT:g} s)") from error
            raise self._budget.timed_out() from error
        except httpx.ConnectError as error:
            advice = "is the server running there? base_url and AIR_BASE_URL name another"
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                advice = "SSL_CERT_FILE names a file of certificates to trust instead"
            elif _WITHOUT_TLS.search(str(error)):
                advice = "it answers without TLS; base_url for such a server starts with http://"
            raise APIConnectionError(f"cannot connect to {server} ({error}); {advice}") from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            reason = str(error).rstrip(".") or type(error).__name__
            if self._config.base_url.startswith("http:") and _WITH_TLS.search(f"{type(error).__name__}: {reason}"):
                reason += "; if it expects TLS, base_url starts with https://"
            raise APIConnectionError(f"the connection to {server} broke: {reason}") from error
        except RuntimeError as error:
            if http.is_closed:
                raise ConfigurationError(_CLOSED) from error
            if isinstance(http, httpx.AsyncClient) and "loop" in str(error):
                raise ConfigurationError(f"http_client works in the event loop that used it first: {error}") from error
            raise

    def answer(self, response: httpx.Response, content: bytes) -> AnswerT:
        """The typed answer. Raises APIStatusError or BadResponseError."""
        return read_answer(response, content, self._call.answer, self._secret(), self._config.proxy)

    def _secret(self) -> str:
        key = self._headers.get("authorization", "").rpartition(" ")[2]
        return key if len(key) > 5 else ""  # a shorter one protects nothing, and occurs in words


class Transport:
    """Blocking HTTP on one connection pool. Safe to share between threads, and usable after a fork."""

    def __init__(self, config: Config, http_client: httpx.Client | None) -> None:
        if http_client is not None and not isinstance(http_client, httpx.Client):
            raise ConfigurationError("http_client must be an httpx.Client")
        self.config = config
        self.closed = False
        self._http_client = http_client
        if http_client is None:
            context = ssl_context(config.base_url, config.proxy)
            self._clients = ProcessClients(lambda: make_client(config, context))

    def send(self, call: Call[AnswerT]) -> AnswerT:
        """Run a single call within the client's timeout. Raises as `run` does."""
        return self.run(dispatch(call))

    def run(
        self, flow: Flow[ResultT], timeout: float | None = None, cancelled: threading.Event | None = None
    ) -> ResultT:
        """The result of the flow, within ``timeout`` seconds for all its steps.

        Args:
            cancelled: ends the time when it is set.

        Raises:
            APIConnectionError, APITimeoutError, BadResponseError, APIStatusError: see `air.errors`.
            Exception: what the flow raises.
        """
        budget = Budget(self.config, timeout, cancelled)
        with closing(flow):
            try:
                step = next(flow)
                while True:
                    try:
                        outcome = self._outcome(step, budget)
                    except Exception as error:  # noqa: BLE001 - for the flow to handle
                        step = flow.throw(error)
                    else:
                        step = flow.send(outcome)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

    def _outcome(self, step: Step, budget: Budget) -> Any:
        if isinstance(step, Call):
            return self._answer(step, budget)
        if isinstance(step, Future):
            while not step.done():
                budget.remaining()
                wait([step], budget.block_time(), FIRST_COMPLETED)
            return step.result()
        return step()

    def _answer(self, call: Call[AnswerT], budget: Budget) -> AnswerT:
        attempts = Attempts(self.config, call, budget)
        attempts.prepare()
        while True:
            try:
                return attempts.answer(*self._exchange(attempts, budget))
            except AirError as error:
                budget.sleep(budget.wait_after(error))

    def _exchange(self, attempts: Attempts[Any], budget: Budget) -> tuple[httpx.Response, bytes]:
        http = self._http()
        request = attempts.request(http)
        with attempts.typed_failures(http), budget.applied():
            response = http.send(request, stream=True, auth=None, follow_redirects=False)
            with closing(response):
                chunks = []
                for chunk in response.iter_bytes():
                    chunks.append(chunk)
                    budget.remaining()
        return response, b"".join(chunks)

    def _http(self) -> httpx.Client:
        if self.closed:
            raise ConfigurationError(_CLOSED)
        return self._clients.get() if self._http_client is None else self._http_client

    def close(self) -> None:
        self.closed = True
        if self._http_client is None:
            self._clients.close()

    def __getstate__(self) -> dict[str, Any]:
        return _state(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["config"], None)  # type: ignore[misc]
        self.closed = state["closed"]


class AsyncTransport:
    """The same for asyncio. Usable in several event loops, one after the other or at once."""

    def __init__(self, config: Config, http_client: httpx.AsyncClient | None) -> None:
        if http_client is not None and not isinstance(http_client, httpx.AsyncClient):
            raise ConfigurationError("http_client must be an httpx.AsyncClient")
        self.config = config
        self.closed = False
        self._http_client = http_client
        if http_client is None:
            context = ssl_context(config.base_url, config.proxy)
            self._clients = LoopClients(lambda: make_async_client(config, context))

    async def send(self, call: Call[AnswerT]) -> AnswerT:
        """Run a single call within the client's timeout. Raises as `run` does."""
        return await self.run(dispatch(call))

    async def run(self, flow: Flow[ResultT], timeout: float | None = None) -> ResultT:  # noqa: ASYNC109
        """The result of the flow, within ``timeout`` seconds for all its steps. Raises as `Transport.run` does."""
        budget = Budget(self.config, timeout)
        limit = asyncio.timeout(budget.left())
        try:
            with closing(flow):
                async with limit:
                    step = next(flow)
                    while True:
                        try:
                            outcome = await self._outcome(step, budget)
                        except Exception as error:  # noqa: BLE001 - for the flow to handle
                            step = flow.throw(error)
                        else:
                            step = flow.send(outcome)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        except TimeoutError as error:
            if limit.expired():
                raise budget.timed_out() from error
            raise

    async def _outcome(self, step: Step, budget: Budget) -> Any:
        if isinstance(step, Call):
            return await self._answer(step, budget)
        if isinstance(step, Future):
            return await _completed(step)
        return await asyncio.to_thread(step)

    async def _answer(self, call: Call[AnswerT], budget: Budget) -> AnswerT:
        attempts = Attempts(self.config, call, budget)
        await asyncio.to_thread(attempts.prepare)
        while True:
            try:
                return attempts.answer(*await self._exchange(attempts))
            except AirError as error:
                pause = budget.wait_after(error)
            await asyncio.sleep(pause)

    async def _exchange(self, attempts: Attempts[Any]) -> tuple[httpx.Response, bytes]:
        http = await self._http()
        request = attempts.request(http)
        with attempts.typed_failures(http):
            response = await http.send(request, auth=None, follow_redirects=False)
        return response, response.content

    async def _http(self) -> httpx.AsyncClient:
        if self.closed:
            raise ConfigurationError(_CLOSED)
        return await self._clients.get() if self._http_client is None else self._http_client

    async def close(self) -> None:
        self.closed = True
        if self._http_client is None:
            await self._clients.close()

    def __getstate__(self) -> dict[str, Any]:
        return _state(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["config"], None)  # type: ignore[misc]
        self.closed = state["closed"]


def _state(transport: Transport | AsyncTransport) -> dict[str, Any]:
    """What a pickle or a deep copy consists of: the settings, the key among them, and no connection."""
    if transport._http_client is not None:
        raise ConfigurationError("a client with its own http_client cannot be pickled or copied: make a new one")
    return {"config": transport.config, "closed": transport.closed}


async def _completed(future: Future[Any]) -> Any:
    """The result of a future that another thread or task completes. Cancelling the wait leaves the future alone."""
    loop, completed = asyncio.get_running_loop(), asyncio.Event()

    def wake(_: object) -> None:
        with suppress(RuntimeError):  # the loop has been closed since
            loop.call_soon_threadsafe(completed.set)

    future.add_done_callback(wake)
    await completed.wait()
    return future.result()
