"""The server process: listening, startup, signals and graceful shutdown."""

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

from maskery.api.app import create_app
from maskery.api.container import State
from maskery.serving import ServingError
from maskery.serving.addresses import Addresses, addresses
from maskery.serving.protocol import Protocol
from maskery.serving.tls import Tls
from maskery.settings import Settings

# Seconds to read the next requests on kept connections, and the first ones on new connections.
_LAST_READ, _FIRST_READ = 0.25, 1.0

# Seconds for the TLS handshakes of those connections.
_LAST_HANDSHAKE = 1.0

# Seconds for model calls that are still running after their requests have ended.
_LAST_CALLS = 0.5

_log = logging.getLogger(__name__)


def listen(settings: Settings) -> socket.socket:
    """Open a listening socket on the settings' host and port.

    Raises:
        ServingError: the address cannot be used.
    """
    return _open(settings.host, settings.port, "--host and --port choose another address, --port 0 a free port")


def listen_bridge(settings: Settings) -> socket.socket | None:
    """Open the listening socket of the bridge; None if it has none of its own.

    Raises:
        ServingError: the address cannot be used.
    """
    host, port = settings.bridge_host, settings.bridge_port
    return _open(host, port, "--bridge-listen chooses another address") if host and port else None


def _open(host: str, port: int, hint: str) -> socket.socket:
    address = host, port
    try:
        if ":" in host:
            # `::` accepts IPv4 as well.
            dual = host == "::" and socket.has_dualstack_ipv6()
            listener = socket.create_server(address, family=socket.AF_INET6, dualstack_ipv6=dual)
        else:
            listener = socket.create_server(address)
    # UnicodeError: no host can have such a name.
    except (OSError, UnicodeError) as error:
        raise ServingError(f"cannot listen on {host} port {port}: {_reason(error)}; {hint}.") from None
    # Accepted connections inherit this. Without it, Nagle's algorithm delays response bodies by up to 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def configure(app: FastAPI, settings: Settings, tls: Tls | None = None) -> uvicorn.Config:
    """uvicorn's configuration for the application."""

    class ConfiguredProtocol(Protocol):
        head_timeout = settings.head_timeout

    return uvicorn.Config(
        app,
        http=ConfiguredProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        # The application has its own middleware for the setting trusted_proxies; uvicorn would trust all of loopback.
        proxy_headers=False,
        ssl_context_factory=(lambda *_: tls.context) if tls else None,
        timeout_graceful_shutdown=max(1, round(settings.grace_period)),
    )


def run(
    settings: Settings,
    greet: Callable[[Addresses], None],
    listen: Callable[[Settings], socket.socket] = listen,
    tls: Tls | None = None,
    *,
    stop_on_hangup: bool = False,
) -> None:
    """Serve until a signal stops the process.

    Args:
        greet: called with the server's addresses once it is ready.
        listen: opens the listening socket.
        tls: None: plain HTTP.
        stop_on_hangup: SIGHUP, which closing the terminal sends, stops the server. Otherwise it reloads the
            certificate.

    Raises:
        ServingError: the server did not start.
    """
    app = create_app(settings)
    listeners = [listener for listener in (listen(settings), listen_bridge(settings)) if listener]
    config = configure(app, settings, tls)
    state: State = app.state.container.state
    _Server(config, settings, state, greet, tls, stop_on_hangup).run(sockets=listeners)
    if state.failure:
        raise ServingError(f"the server did not start: {state.failure}")


def leave_threads() -> None:
    """Exit the process if a model call is still running; Python would otherwise wait for its thread."""
    deadline = time.monotonic() + _LAST_CALLS
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                # Not a warning: no request waits for the call any more.
                _log.info("exiting while a model call is running in thread %s", thread.name)
                logging.shutdown()
                os._exit(0)


class _Server(uvicorn.Server):
    """uvicorn's server, which announces its address only when the application is ready.

    `greet` may create the first API key, which is shown only once: if a failed start created it, it would be lost.

    Args:
        state: the application's state.
        greet: called with the addresses.
        tls: reloaded on SIGHUP.
        stop_on_hangup: stop on SIGHUP instead.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        settings: Settings,
        state: State,
        greet: Callable[[Addresses], None],
        tls: Tls | None,
        stop_on_hangup: bool,
    ) -> None:
        super().__init__(config)
        self._settings = settings
        self._state = state
        self._greet = greet
        self._tls = tls
        self._stop_on_hangup = stop_on_hangup

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._handle_hangup)
        await super().startup(sockets)
        # From here on requests are served; /health/ready reports progress.
        while self.started and not self.should_exit and self._state.phase == "starting":
            if self._state.failure:
                self.should_exit = True
            await asyncio.sleep(0.01)
        if self.started and not self.should_exit and sockets:
            self._greet(addresses(sockets[0], self._settings.host, "https" if self._tls else "http"))

    def _handle_hangup(self) -> None:
        if self._stop_on_hangup:
            self.handle_exit(signal.SIGHUP, None)
        elif self._tls:
            asyncio.get_running_loop().run_in_executor(None, self._tls.reload)
        else:
            _log.info("SIGHUP ignored: it reloads the TLS certificate, and TLS is not configured")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop with exit status 0. uvicorn would raise the signal again at the end and die from it."""
        del frame
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self._state.phase = "stopping"
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting connections and finish the requests in progress."""
        if not self.force_exit:
            await self._accept_last(sockets or [])
            # uvicorn closes connections without a request; one may be about to arrive.
            latest = time.monotonic() + _FIRST_READ
            await asyncio.sleep(_LAST_READ)
            while time.monotonic() < latest and any(  # noqa: ASYNC110 - uvicorn has no event for it
                isinstance(each, Protocol) and each.cycle is None for each in self.server_state.connections
            ):
                await asyncio.sleep(0.02)
        await super().shutdown(sockets)

    async def _accept_last(self, listeners: list[socket.socket]) -> None:
        """Accept the connections in the listeners' backlogs, then close the listeners.

        Closing a listener resets the connections in its backlog, along with the requests sent on them.
        """
        loop = asyncio.get_running_loop()
        for listener in listeners:
            loop.remove_reader(listener)
        # asyncio sets up connections it has just accepted in the next iteration, and needs its server for that.
        await asyncio.sleep(0)
        connections = [connection for listener in listeners for connection in _accept_all(listener)]
        for server in self.servers:
            server.close()
        tls: dict[str, Any] = {"ssl": self._tls.context, "ssl_handshake_timeout": _LAST_HANDSHAKE} if self._tls else {}
        setups = (loop.connect_accepted_socket(self._make_protocol, each, **tls) for each in connections)
        await asyncio.gather(*setups, return_exceptions=True)

    def _make_protocol(self) -> asyncio.Protocol:
        protocol_class: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = protocol_class(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol


def _reason(error: OSError | UnicodeError) -> str:
    text = getattr(error, "strerror", None) or str(error)
    # socket.create_server adds the address as a tuple.
    return text.partition(" (while attempting")[0]


def _accept_all(listener: socket.socket) -> list[socket.socket]:
    """Accept all connections in a listener's backlog."""
    connections: list[socket.socket] = []
    while True:
        try:
            connections.append(listener.accept()[0])
        except ConnectionAbortedError:
            continue
        # The backlog is empty, or the listener cannot accept any more.
        except OSError:
            return connections
