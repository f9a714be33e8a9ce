"""`maskery keys`: who may use the server."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from maskery.accounts import KeyStore
from maskery.cli.errors import CommandError
from maskery.settings import Settings

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)


@app.command()
def create(
    account: Annotated[str, typer.Option(help="The account that the key belongs to.")],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the key and nothing else, for scripts.")] = False,
) -> None:
    """Make a key and print it. It is shown once and kept only as a hash."""
    store = open_store(Settings.load())
    try:
        key, text = store.create(account)
    except ValueError as error:
        raise CommandError(f"{error}.") from None
    typer.echo(text)
    if not quiet:
        typer.echo(f"Key {key.id} of account {account}. Keep it now: it is not shown again.", err=True)


@app.command("list")
def list_keys() -> None:
    """Show all keys, without their secrets."""
    table = Table("id", "account", "created", "state", box=None, pad_edge=False)
    for key in open_store(Settings.load()).list():
        state = "active" if key.revoked is None else f"revoked {_date(key.revoked)}"
        table.add_row(key.id, key.account, _date(key.created), state)
    Console(soft_wrap=True).print(table)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `list` shows it.")]) -> None:
    """Make a key useless from now on."""
    key = open_store(Settings.load()).revoke(key_id)
    typer.echo(f"Key {key.id} of account {key.account} is revoked.")


def open_store(settings: Settings) -> KeyStore:
    """The keys in the home folder.

    Raises:
        CommandError: it cannot be used.
    """
    try:
        return KeyStore(settings.database)
    except OSError as error:
        raise CommandError(f"the folder {settings.home} cannot hold the keys: {error}") from None


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
