"""The HTTP clients beneath a client of this package: one per process or event loop, with a deadline for blocking reads.

A connection shared by two processes delivers the answer of one to the other, so a child process connects anew. An
event loop cannot use the connections of another, so each has its own.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import suppress
from ssl import SSLContext
from typing import Any

import httpcore
import httpx

from ._budget import current_budget
from ._config import Config

# Forks between the process that imported this module and the running one.
_generation = 0


def _count_fork() -> None:
    global _generation  # noqa: PLW0603 - a fact about the process
    _generation += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


def process_generation() -> int:
    """A number that no ancestor of the running process has."""
    return _generation


def make_client(config: Config, context: SSLContext) -> httpx.Client:
    transport = httpx.HTTPTransport(verify=context, proxy=_proxy(config))
    # httpx has no argument for this; test_network.py fails if the attributes are renamed.
    transport._pool._network_backend = DeadlineBackend()
    return httpx.Client(transport=transport, trust_env=False)


def make_async_client(config: Config, context: SSLContext) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(verify=context, proxy=_proxy(config))
    transport._pool._network_backend = ClosingBackend()  # as above
    return httpx.AsyncClient(transport=transport, trust_env=False)


def _proxy(config: Config) -> httpx.Proxy | None:
    return httpx.Proxy(config.proxy.url) if config.proxy else None


class ProcessClients:
    """An `httpx.Client` per process, made at its first request.

    A child process keeps the inherited client unused and open: its connections belong to the parent.
    """

    def __init__(self, make: Callable[[], httpx.Client]) -> None:
        self._make = make
        self._clients: dict[int, httpx.Client] = {}

    def get(self) -> httpx.Client:
        # Without a lock, which a fork might leave locked.
        client = self._clients.get(_generation)
        if client is None:
            made = self._make()
            client = self._clients.setdefault(_generation, made)
            if client is not made:
                made.close()
        return client

    def close(self) -> None:
        if client := self._clients.get(_generation):
            client.close()


class LoopClients:
    """An `httpx.AsyncClient` per event loop and process, made at its first request.

    Each is closed with its loop: by `asyncio.run`, or whatever else calls ``loop.shutdown_asyncgens()``.
    """

    def __init__(self, make: Callable[[], httpx.AsyncClient]) -> None:
        self._make = make
        self._clients: dict[int, dict[asyncio.AbstractEventLoop, _Entry]] = {}

    async def get(self) -> httpx.AsyncClient:
        clients = self._clients.setdefault(_generation, {})
        for loop in list(clients):
            if loop.is_closed():
                clients.pop(loop, None)
        loop = asyncio.get_running_loop()
        entry = clients.get(loop)
        if entry is None or entry.client.is_closed:
            entry = clients[loop] = _Entry(self._make())
            await anext(entry.closing)
        return entry.client

    async def close(self) -> None:
        clients = self._clients.pop(_generation, {})
        entry = clients.pop(asyncio.get_running_loop(), None)
        if entry is not None:
            await entry.closing.aclose()
        # The generators of other loops are dropped here, upon which asyncio closes each in its own loop.


class _Entry:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.closing = _close_with_loop(client)


async def _close_with_loop(client: httpx.AsyncClient) -> AsyncGenerator[None, None]:
    """A suspended generator: asyncio resumes it, to end it, when the loop shuts down or nothing refers to it."""
    try:
        yield
    finally:
        await client.aclose()


class DeadlineBackend(httpcore.NetworkBackend):
    """Opens connections whose every read and write ends at the deadline of the request that they carry.

    httpx limits each operation, not their sum: a server that sends a byte now and then could hold a thread for any
    time.
    """

    def __init__(self) -> None:
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        return DeadlineStream(self._backend.connect_tcp(host, port, timeout, local_address, socket_options))


class DeadlineStream(httpcore.NetworkStream):
    """See `DeadlineBackend`. A connection carries one request at a time, and one thread sends it."""

    # A slow reader takes this many bytes within one time limit, or the request ends.
    _PIECE = 65_536

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        budget = current_budget.get()
        if budget is None:
            return self._stream.read(max_bytes, timeout)
        while (seconds := budget.block_time()) > 0:
            with suppress(httpcore.ReadTimeout):
                return self._stream.read(max_bytes, seconds)
        raise httpcore.ReadTimeout("the deadline has passed")

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        budget = current_budget.get()
        for start in range(0, len(buffer), self._PIECE):
            seconds = timeout if budget is None else budget.left()
            if seconds is not None and seconds <= 0:
                raise httpcore.WriteTimeout("the deadline has passed")
            self._stream.write(buffer[start : start + self._PIECE], seconds)

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class ClosingBackend(httpcore.AsyncNetworkBackend):
    """Closes connections whose TLS handshake is cancelled: httpcore leaves their sockets to the garbage collector."""

    def __init__(self) -> None:
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own argument
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return ClosingStream(await self._backend.connect_tcp(host, port, timeout, local_address, socket_options))


class ClosingStream(httpcore.AsyncNetworkStream):
    """See `ClosingBackend`."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await self._stream.write(buffer, timeout)

    async def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own argument
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            await self._stream.aclose()
            raise

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
