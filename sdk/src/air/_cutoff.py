"""Ending a blocking request on time, or from another thread.

httpx limits each operation on a socket, not their sum: a server that sends one byte now and then would hold a
blocking caller for ever. A `Cutoff` shuts down the socket beneath a request, so that the blocked read returns.
(An async request needs none of this: its task is cancelled.)
"""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakSet

import httpx

# A silent server is found out by httpx's own read timeout. The cutoff leaves it this long before it acts on a
# connection that it has to guess (see Sockets).
_GRACE = 0.1


class Sockets:
    """The network streams that one client has opened, and which request holds which.

    httpx tells a request its stream when it opens one, and again with the response's headers. Between the two, a
    request on a reused connection does not know its own: it is one of those that nobody else holds.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: WeakSet[Any] = WeakSet()
        self._held: dict[Cutoff, Any] = {}

    def hold(self, cutoff: "Cutoff", stream: Any) -> None:
        with self._lock:
            self._open.add(stream)
            self._held[cutoff] = stream

    def release(self, cutoff: "Cutoff") -> None:
        with self._lock:
            self._held.pop(cutoff, None)

    def held_by(self, cutoff: "Cutoff") -> Any | None:
        with self._lock:
            return self._held.get(cutoff)

    def held_by_nobody(self) -> list[Any]:
        with self._lock:
            held = list(self._held.values())
            return [stream for stream in self._open if stream not in held]


class Cutoff:
    """The handle by which one request is ended early."""

    def __init__(self, sockets: Sockets) -> None:
        self._sockets = sockets
        self._done = threading.Event()
        self._fired = False

    def trace(self, _event: str, info: dict[str, Any]) -> None:
        """For httpx's extension "trace": sees each stream as it is opened."""
        self._hold(info.get("return_value"))

    def saw(self, response: httpx.Response) -> None:
        """The response's headers are here, and with them the stream."""
        self._hold(response.extensions.get("network_stream"))

    def _hold(self, stream: Any) -> None:
        if hasattr(stream, "get_extra_info"):
            self._sockets.hold(self, stream)
            if self._fired:
                _shut_down(stream)

    def fire(self) -> None:
        """End the request, from any thread. Nothing happens once it is done."""
        if self._done.is_set():
            return
        self._fired = True
        stream = self._sockets.held_by(self)
        if stream is not None:
            _shut_down(stream)
        elif not self._done.wait(_GRACE):
            # Requests of other threads that wait on a reused connection are cut with it, and retried.
            for candidate in self._sockets.held_by_nobody():
                _shut_down(candidate)

    @contextmanager
    def after(self, seconds: float) -> Iterator[None]:
        """Runs the request in its body, and ends it when the time is over.

        Raises:
            httpx.ReadTimeout: it was ended, whatever the request made of that.
        """
        watch = threading.Thread(target=self._watch, args=(seconds,), name="air-deadline", daemon=True)
        watch.start()
        try:
            yield
        except httpx.TransportError as error:
            if self._fired:
                raise httpx.ReadTimeout("cut off") from error
            raise
        finally:
            self._done.set()
            watch.join()
            self._sockets.release(self)
        if self._fired:  # a body without a length looks whole when its connection ends
            raise httpx.ReadTimeout("cut off")

    def _watch(self, seconds: float) -> None:
        if not self._done.wait(seconds):
            self.fire()


def _shut_down(stream: Any) -> None:
    connection = stream.get_extra_info("socket")
    if isinstance(connection, socket.socket):
        with suppress(OSError):
            # Not the method of ssl.SSLSocket, which would also drop the state that the blocked read is using.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)


class Abort:
    """Ends all requests that were started with it, and keeps further ones from starting."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: Future[None] = Future()
        self._running: set[Cutoff] = set()

    def ask(self) -> None:
        with self._lock:
            if not self._asked.done():
                self._asked.set_result(None)
            running = list(self._running)
        for cutoff in running:
            cutoff.fire()

    def sleep(self, seconds: float) -> None:
        """Wait, but not past `ask`."""
        wait([self._asked], seconds)

    def wait_for(self, future: Future[Any], seconds: float) -> None:
        """Wait until the future is done, but not past `ask`."""
        wait([self._asked, future], seconds, FIRST_COMPLETED)

    @contextmanager
    def covers(self, cutoff: Cutoff) -> Iterator[None]:
        """While in the body, `ask` ends the request of this cutoff.

        Raises:
            httpx.ReadTimeout: `ask` came first.
        """
        with self._lock:
            self._running.add(cutoff)
        try:
            if self._asked.done():
                raise httpx.ReadTimeout("not started")
            yield
        finally:
            with self._lock:
                self._running.discard(cutoff)
