"""`maskery serve`: start the server."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Annotated
from urllib.parse import urlencode

import typer

from maskery import __version__, logs
from maskery.accounts import ApiKey, KeyRepository
from maskery.cli.account_store import open_account_store
from maskery.errors import UserError
from maskery.serving.addresses import Addresses
from maskery.serving.server import leave_threads, run
from maskery.serving.tls import read_tls
from maskery.settings import Settings, misspelled

app = typer.Typer(add_completion=False)

_log = logging.getLogger(__name__)

# The account of the key that the first start on loopback creates.
_FIRST_ACCOUNT = "local"

_ANOTHER = "`maskery keys create --account NAME` creates another."

# Accounts that are named at start.
_MAX_ACCOUNTS = 5


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one. Default: 8484.")] = None,
    anonymous: Annotated[
        bool | None,
        typer.Option("--anonymous", help="Accept requests without a key, from anyone who can connect."),
    ] = None,
    proxy_headers: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS,…",
            help="Addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted.",
        ),
    ] = None,
    bridge: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TOOL",
            help="A labelling tool that may use the server: cvat, label-studio or x-anylabeling. Can be repeated.",
        ),
    ] = None,
    bridge_listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="A further address, for CVAT only, which sends no key.")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Start the server.

    On loopback the first start creates a key and prints it once.
    On any other address a key must exist already.
    """
    settings = Settings.load(
        host=host,
        port=port,
        anonymous=anonymous,
        trusted_proxies=proxy_headers,
        bridges=bridge or None,
        bridge_listen=bridge_listen,
        log_level=log_level,
    )
    logs.configure(settings.log_level, settings.log_format)
    for mistake in misspelled():
        _log.warning(mistake)
    tls = read_tls(settings)
    with open_account_store(settings) as store:
        run(settings, greeter(settings, store.keys), tls=tls)
    leave_threads()


def greeter(settings: Settings, keys: KeyRepository) -> Callable[[Addresses], None]:
    """What announces the server when it is ready; the first time on loopback with a new key.

    Raises:
        UserError: the server can be reached by other machines, and no key exists.
    """
    needs_key = _needs_key(settings, keys)
    if not (settings.on_loopback or settings.tls_certificate or settings.trusted_proxies):
        _log.warning(
            "keys and images from other machines travel unencrypted: set MASKERY_TLS_CERTIFICATE and "
            "MASKERY_TLS_KEY, or list the proxy that terminates TLS in MASKERY_TRUSTED_PROXIES"
        )

    def greet(addresses: Addresses) -> None:
        address = addresses.local
        typer.echo(f"Maskery {__version__} answers on {address}, its API is described on {address}/docs")
        if addresses.remote:
            typer.echo(f"On other machines its address is {addresses.remote}")
        # Another server on the same database may have created the first key meanwhile.
        created = keys.create_first(_FIRST_ACCOUNT, settings.key_seconds) if needs_key else None
        key = created[1] if created else None
        if created:
            typer.echo(f"Key: {key}")
            typer.echo(f"It is shown only once, and {_expiry(created[0])}; {_ANOTHER}")
        elif not settings.anonymous:
            typer.echo(f"API keys: {_owners(keys.count_active())}; {_ANOTHER}")
        typer.echo(f"Playground: {playground_address(address, key)}")
        for line in _bridges(settings, addresses.remote or address):
            typer.echo(line)

    return greet


def _expiry(key: ApiKey) -> str:
    if key.expires is None:
        return "does not expire"
    return f"expires on {time.strftime('%d %B %Y', time.localtime(key.expires)).removeprefix('0')}"


def _owners(counts: Mapping[str, int]) -> str:
    """How many active keys there are, and of which accounts."""
    named = [f"{account} ({count:,})" for account, count in list(counts.items())[:_MAX_ACCOUNTS]]
    more = [f"{len(counts) - _MAX_ACCOUNTS:,} other accounts"] if len(counts) > _MAX_ACCOUNTS else []
    return f"{sum(counts.values()):,} active, of {', '.join([*named, *more])}"


def _bridges(settings: Settings, address: str) -> list[str]:
    """What to enter in the settings of labelling tools."""
    scheme = address.partition("://")[0]
    own_address = f"{scheme}://{settings.bridge_listen}" if settings.bridge_listen else address
    lines = {
        "cvat": f"Nuclio for CVAT: {own_address}",
        "label-studio": f"Backend URL for Label Studio: {address}/label-studio",
        "x-anylabeling": f"Remote server for X-AnyLabeling: {address}/x-anylabeling",
    }
    return [lines[bridge] for bridge in settings.bridges]


def playground_address(address: str, key: str | None, **more: str) -> str:
    """The playground's URL. Its parameters are in the fragment, which browsers do not send to any server."""
    fragment = urlencode({name: value for name, value in {"key": key, **more}.items() if value})
    return f"{address}/#{fragment}" if fragment else f"{address}/"


def _needs_key(settings: Settings, keys: KeyRepository) -> bool:
    """Whether the first key must be created, which is done only where no other machine can use it."""
    if settings.anonymous or keys.has_active():
        return False
    if not settings.on_loopback:
        raise UserError(
            f"{settings.host} can be reached by other machines, and no key exists yet: create one with "
            "`maskery keys create --account NAME`, or accept requests without a key with --anonymous."
        )
    return True
