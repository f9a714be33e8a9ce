"""`maskery demo`: a server on this machine, and the playground with an image in it."""

import socket
import webbrowser
from typing import Annotated

import typer
from rich.console import Console

from maskery import logs
from maskery.accounts import ApiKey
from maskery.cli.records import open_account_store
from maskery.cli.serve import playground_address
from maskery.serving.errors import ServingError
from maskery.serving.server import leave_threads, listen, run
from maskery.settings import Settings

# Of the key that lives as long as the demo.
_ACCOUNT = "demo"

# Should the demo be killed before it can revoke it.
_KEY_SECONDS = 86400.0

_SAMPLE = "coffee"


def demo(
    port: Annotated[
        int | None, typer.Option(help="Port; unless set, the usual one, or a free one if that is taken.")
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Print the page's address and open no browser.")] = False,
) -> None:
    """Open the playground in a browser, with a server that ends with Ctrl+C.

    It listens on this machine only, whatever the settings say. Its key is revoked when it ends.
    """
    settings = Settings.load(host="127.0.0.1", port=port, log_level="warning")
    logs.configure(settings.log_level, settings.log_format)
    keys = open_account_store(settings).keys
    made: list[ApiKey] = []

    def greet(address: str) -> None:
        text = None
        if not settings.anonymous:
            key, text = keys.create(_ACCOUNT, seconds=_KEY_SECONDS)
            made.append(key)
        page = playground_address(address, text, sample=_SAMPLE)
        out = Console(soft_wrap=True, highlight=False)
        out.print(f"The playground: {page}", markup=False)
        out.print("Ctrl+C ends it.")
        if not no_open:
            webbrowser.open(page)

    try:
        # In the clear: a certificate would be for another name, at which browsers stop.
        run(settings, greet, listen if port is not None else _listen_anywhere)
    finally:
        for key in made:
            keys.revoke(key.id)
    leave_threads()


def _listen_anywhere(settings: Settings) -> socket.socket:
    """The settings' port, or any that is free."""
    try:
        return listen(settings)
    except ServingError:
        return listen(settings.model_copy(update={"port": 0}))
