"""`maskery demo`: a server on this machine, and the playground with a sample image."""

import socket
import webbrowser
from typing import Annotated

import typer

from maskery import logs
from maskery.accounts import ApiKey
from maskery.cli.account_store import open_account_store
from maskery.cli.serve import playground_address
from maskery.serving import ServingError
from maskery.serving.addresses import Addresses
from maskery.serving.server import leave_threads, listen, run
from maskery.settings import Settings

app = typer.Typer(add_completion=False)

_ACCOUNT = "demo"

# The key's lifetime, in case the process is killed before it can revoke the key.
_KEY_SECONDS = 86400.0

_SAMPLE = "coffee"


@app.command()
def demo(
    port: Annotated[
        int | None, typer.Option(help="Port to listen on. Default: 8484, or a free one if it is taken.")
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Print the address and do not open a browser.")] = False,
) -> None:
    """Start a server and open the playground in a browser. Ctrl+C stops it, and so does closing the terminal.

    The server listens on loopback only, whatever the settings say.
    Its key is revoked when it stops.
    """
    settings = Settings.load(host="127.0.0.1", port=port, log_level="warning")
    logs.configure(settings.log_level, settings.log_format)
    with open_account_store(settings) as store:
        created: list[ApiKey] = []

        def greet(addresses: Addresses) -> None:
            text = None
            if not settings.anonymous:
                key, text = store.keys.create(_ACCOUNT, lifetime=_KEY_SECONDS)
                created.append(key)
            page = playground_address(addresses.local, text, sample=_SAMPLE)
            typer.echo(f"The playground: {page}")
            typer.echo("Ctrl+C stops it.")
            if not no_open:
                webbrowser.open(page)

        try:
            # Without TLS: the certificate is for another name, which browsers refuse.
            run(settings, greet, listen if port is not None else _listen_anywhere, stop_on_hangup=True)
        finally:
            for key in created:
                store.keys.revoke(key.id)
    leave_threads()


def _listen_anywhere(settings: Settings) -> socket.socket:
    """Listen on the port of the settings, or on a free one."""
    try:
        return listen(settings)
    except ServingError:
        return listen(settings.model_copy(update={"port": 0}))
