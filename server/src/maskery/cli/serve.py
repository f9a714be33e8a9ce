"""`maskery serve`: the API on an address."""

import logging
from typing import Annotated
from urllib.parse import urlencode

import typer
from rich.console import Console

from maskery import __version__, logs
from maskery.accounts import KeyRepository
from maskery.cli.errors import CommandError
from maskery.cli.records import open_account_store
from maskery.serving.server import leave_threads, run
from maskery.serving.tls import read_tls
from maskery.settings import Settings, misspelled

_log = logging.getLogger(__name__)

# Of the key that a first start on loopback makes.
_FIRST_ACCOUNT = "local"


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 unless set.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 8484 unless set, 0 takes a free one.")] = None,
    anonymous: Annotated[
        bool | None, typer.Option("--anonymous", help="Answer without a key: whoever reaches the port may use it.")
    ] = None,
    proxy_headers: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS,…",
            help="Proxies, by address or network, whose X-Forwarded-For and X-Forwarded-Proto are believed.",
        ),
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Start the server.

    On loopback the first start prints a key, once. On any other address keys must exist before it starts.
    """
    settings = Settings.load(
        host=host, port=port, anonymous=anonymous, trusted_proxies=proxy_headers, log_level=log_level
    )
    logs.configure(settings.log_level, settings.log_format)
    for mistake in misspelled():
        _log.warning(mistake)
    tls = read_tls(settings)
    keys = open_account_store(settings).keys
    needs_key = _needs_key(settings, keys)
    if not (settings.on_loopback or tls or settings.trusted_proxies):
        _log.warning(
            "keys and images travel in the clear to %s: set MASKERY_TLS_CERTIFICATE and MASKERY_TLS_KEY, or name the "
            "proxy that speaks TLS in MASKERY_TRUSTED_PROXIES",
            settings.host,
        )

    def greet(address: str) -> None:
        out = Console(soft_wrap=True, highlight=False)
        out.print(f"Maskery {__version__} answers on {address}, its API is described on {address}/docs", markup=False)
        key = keys.create(_FIRST_ACCOUNT, seconds=settings.key_seconds)[1] if needs_key else None
        if key:
            out.print(f"Key: {key}", markup=False)
            out.print("It is shown only now; `maskery keys create --account NAME` makes another.")
        out.print(f"Playground: {playground_address(address, key)}", markup=False)

    run(settings, greet, tls=tls)
    leave_threads()


def playground_address(address: str, key: str | None, **more: str) -> str:
    """Of the page, with what it is told in the fragment, which no browser sends to anybody."""
    fragment = urlencode({name: value for name, value in {"key": key, **more}.items() if value})
    return f"{address}/#{fragment}" if fragment else f"{address}/"


def _needs_key(settings: Settings, keys: KeyRepository) -> bool:
    """Whether there is no key yet and one may be made, because only this machine can use it."""
    if settings.anonymous or keys.has_active():
        return False
    if not settings.on_loopback:
        raise CommandError(
            f"{settings.host} can be reached by other machines and there is no key yet: make one with "
            "`maskery keys create --account NAME`, or let anybody in with --anonymous."
        )
    return True
