"""`maskery serve`: the API on an address."""

import logging
import socket
from typing import Annotated

import typer
import uvicorn
from rich.console import Console

from maskery import __version__
from maskery.accounts import KeyStore
from maskery.api import create_app
from maskery.cli.errors import CommandError
from maskery.cli.keys import open_store
from maskery.settings import Settings

# Of the key that a first start on loopback makes.
_FIRST_ACCOUNT = "local"


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 unless set.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 8484 unless set, 0 takes a free one.")] = None,
    anonymous: Annotated[
        bool | None, typer.Option("--anonymous", help="Answer without a key: whoever reaches the port may use it.")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Start the server.

    On loopback the first start prints a key, once. On any other address keys must exist before it starts.
    """
    settings = Settings.load(host=host, port=port, anonymous=anonymous, log_level=log_level)
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    keys = open_store(settings)
    needs_key = _needs_key(settings, keys)
    app = create_app(settings)
    listener = _listen(settings)
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, proxy_headers=False)
    _Server(config, settings, keys if needs_key else None).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Says where it listens once it answers there, not before; only then is the first key made.

    A key is shown once: one that was made by a start that failed would be lost, and the next start make no other.

    Args:
        keys: where a first key is to be made; None: none is.
    """

    def __init__(self, config: uvicorn.Config, settings: Settings, keys: KeyStore | None) -> None:
        super().__init__(config)
        self._settings = settings
        self._keys = keys

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
            address = f"http://{host}:{sockets[0].getsockname()[1]}"
            out = Console(soft_wrap=True, highlight=False)
            out.print(f"Maskery {__version__} answers on {address}, its API is described on {address}/docs")
            if self._keys:
                out.print(f"Key: {self._keys.create(_FIRST_ACCOUNT)[1]}", markup=False)
                out.print("It is shown only now; `maskery keys create --account NAME` makes another.")


def _needs_key(settings: Settings, keys: KeyStore) -> bool:
    """Whether there is no key yet and one may be made, because only this machine can use it."""
    if settings.anonymous or keys.has_active():
        return False
    if not settings.on_loopback:
        raise CommandError(
            f"{settings.host} can be reached by other machines and there is no key yet: make one with "
            "`maskery keys create --account NAME`, or let anybody in with --anonymous."
        )
    return True


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise CommandError(f"cannot listen on {settings.host} port {settings.port}: {error.strerror}.") from None
