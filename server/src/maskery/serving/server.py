"""The server's process: where it listens, how it comes up, how it is told to stop and ends."""

import asyncio
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from maskery.api import State, create_app
from maskery.serving.errors import ServingError
from maskery.serving.protocol import Protocol
from maskery.serving.tls import Tls
from maskery.settings import Settings

# Seconds in which requests on connections that were accepted last can still be read.
_LAST_READING = 0.25

# Seconds in which those connections can agree on TLS.
_LAST_HANDSHAKE = 1.0

# Seconds in which calls of models that nobody waits for any more can still end.
_LAST_CALLS = 0.5

_log = logging.getLogger(__name__)


def listen(settings: Settings) -> socket.socket:
    """A socket on the settings' address.

    Raises:
        ServingError: it cannot be had.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise ServingError(f"cannot listen on {settings.host} port {settings.port}: {error.strerror}.") from None
    # Accepted connections inherit it. Without, the body of an answer waits 40 ms for the client to confirm its head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def configure(app: FastAPI, settings: Settings, tls: Tls | None = None) -> uvicorn.Config:
    """How uvicorn serves the application."""
    return uvicorn.Config(
        app,
        http=Protocol,
        log_config=None,
        access_log=False,
        server_header=False,
        # The application believes those whom the settings name; uvicorn would believe every program of this machine.
        proxy_headers=False,
        ssl_context_factory=(lambda *_: tls.context) if tls else None,
        timeout_graceful_shutdown=max(1, round(settings.grace_period)),
    )


def run(
    settings: Settings,
    greet: Callable[[str], None],
    listen: Callable[[Settings], socket.socket] = listen,
    tls: Tls | None = None,
) -> None:
    """Serve until told to stop.

    Args:
        greet: told the address once the server is ready there.
        listen: makes the socket.
        tls: None: in the clear.

    Raises:
        ServingError: it did not start.
    """
    app = create_app(settings)
    listener = listen(settings)
    config = configure(app, settings, tls)
    state: State = app.state.container.state
    _Server(config, settings, state, greet, tls).run(sockets=[listener])
    if state.failure:
        raise ServingError(f"the server did not start: {state.failure}")


def leave_threads() -> None:
    """End the process here and now if a call of a model still runs: Python would wait for it, and nobody else does."""
    latest = time.monotonic() + _LAST_CALLS
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, latest - time.monotonic()))
            if thread.is_alive():
                # No warning: whoever asked has an answer by now, and a model that is being warmed was asked by nobody.
                _log.info("a call of a model still runs in %s and is left", thread.name)
                logging.shutdown()
                os._exit(0)


class _Server(uvicorn.Server):
    """Says where it listens once it is ready there, not before; only then is the first key made.

    A key is shown once: one that was made by a start that failed would be lost, and the next start make no other.

    Args:
        state: how far the application is.
        greet: says so, told the address.
        tls: is renewed at SIGHUP.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        settings: Settings,
        state: State,
        greet: Callable[[str], None],
        tls: Tls | None,
    ) -> None:
        super().__init__(config)
        self._settings = settings
        self._state = state
        self._greet = greet
        self._tls = tls

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._tls and hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._tls.renew)
        # From here on it answers, how far it is among the rest.
        while self.started and not self.should_exit and self._state.phase == "starting":
            if self._state.failure:
                self.should_exit = True
            await asyncio.sleep(0.01)
        if self.started and not self.should_exit and sockets:
            self._greet(self._address(sockets[0].getsockname()[1]))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop as asked, with status 0: uvicorn would pass the signal on to itself in the end, and die of it."""
        del frame
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self._state.phase = "stopping"
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, answer what was accepted, then end."""
        if not self.force_exit:
            await self._accept_last(sockets or [])
            # uvicorn closes connections on which it has read no request yet; one may be on its way.
            await asyncio.sleep(_LAST_READING)
        await super().shutdown(sockets)

    async def _accept_last(self, listeners: list[socket.socket]) -> None:
        """Close the listeners without a connection left in them: the kernel makes it before anybody accepts it here.

        Closing resets those that are left, with the requests that were sent on them.
        """
        loop = asyncio.get_running_loop()
        for listener in listeners:
            loop.remove_reader(listener)
        # A connection that asyncio has accepted needs its server until its turn has come.
        await asyncio.sleep(0)
        connections = [connection for listener in listeners for connection in _accept_all(listener)]
        for server in self.servers:
            server.close()
        tls: dict[str, Any] = {"ssl": self._tls.context, "ssl_handshake_timeout": _LAST_HANDSHAKE} if self._tls else {}
        makings = (loop.connect_accepted_socket(self._make_protocol, each, **tls) for each in connections)
        await asyncio.gather(*makings, return_exceptions=True)

    def _make_protocol(self) -> asyncio.Protocol:
        kind: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = kind(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    def _address(self, port: int) -> str:
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        return f"{'https' if self._tls else 'http'}://{host}:{port}"


def _accept_all(listener: socket.socket) -> list[socket.socket]:
    """The connections that wait to be accepted."""
    connections: list[socket.socket] = []
    while True:
        try:
            connections.append(listener.accept()[0])
        except ConnectionAbortedError:
            continue
        # There is no more, or no more can be done.
        except OSError:
            return connections
