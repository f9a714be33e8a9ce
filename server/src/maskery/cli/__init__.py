"""The command line: `maskery`."""

import sys
from typing import Annotated

import typer
from rich.console import Console

from maskery import __version__
from maskery.accounts import DatabaseError, NoSuchAccount, NoSuchKey
from maskery.cli import accounts, database, keys, models
from maskery.cli.demo import demo
from maskery.cli.errors import CommandError
from maskery.cli.segment import segment
from maskery.cli.serve import serve
from maskery.cli.usage import usage
from maskery.models import ModelNotInstalled, StoreError
from maskery.segmentation import SegmentationError
from maskery.serving.errors import ServingError
from maskery.settings import SettingsError

# What a user can mend: one sentence on standard error, exit code 2.
_MENDABLE = (
    CommandError,
    DatabaseError,
    ModelNotInstalled,
    NoSuchAccount,
    NoSuchKey,
    SegmentationError,
    ServingError,
    SettingsError,
    StoreError,
)

app = typer.Typer(
    name="maskery",
    help="Promptable image segmentation on your own machine: points in, one categorical mask out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command()(serve)
app.command()(demo)
app.command()(segment)
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")
app.add_typer(accounts.app, name="accounts")
app.command()(usage)
app.add_typer(database.app, name="db")


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
    del context


def main() -> None:
    """Run a command; what a user can mend is one sentence on standard error, exit code 2."""
    try:
        app()
    except _MENDABLE as error:
        Console(stderr=True, soft_wrap=True).print(f"maskery: {error}", markup=False, highlight=False)
        sys.exit(2)
