"""The command line: `maskery`."""

import errno
import io
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from maskery import __version__
from maskery.errors import UserError

# The commands and their one-line help. The module `maskery.cli.NAME` is imported when its command runs, so that
# `maskery --help` and `maskery --version` load no model runtime and no database.
_COMMANDS = {
    "serve": "Start the server.",
    "cluster": "Start several replicas of the server on this machine.",
    "demo": "Start a server and open the playground in a browser.",
    "segment": "Segment an image, or every image in a folder.",
    "prepare": "Have a server encode the images in a folder in advance.",
    "mcp": "Offer segmentation to assistants, by the Model Context Protocol.",
    "models": "List, install and remove models.",
    "keys": "Create, list, limit, rotate and revoke API keys.",
    "accounts": "Create, list, limit and disable accounts.",
    "usage": "Show usage by day and account.",
    "db": "Upgrade the accounts database.",
}


class _LazyCommand(TyperCommand):
    """A command that is imported when it runs."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        command = get_command(import_module(f"maskery.cli.{self.name}").app)
        command.help = command.help or self.help
        return command.make_context(*arguments, **options)


class _LazyGroup(TyperGroup):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {name: _LazyCommand(name, help=text, callback=None) for name, text in _COMMANDS.items()}


app = typer.Typer(
    name="maskery",
    cls=_LazyGroup,
    help="Promptable image segmentation on your own machine: points in, one categorical mask out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run a command. A `UserError` is printed as one sentence on standard error, with exit status 2."""
    # A file's name may hold characters that the terminal's encoding lacks.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except UserError as error:
        typer.echo(f"maskery: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        # Standard output names no file. It is replaced, because Python writes what is left of it at exit.
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        sys.stdout = io.TextIOWrapper(io.BytesIO())
        typer.echo(f"maskery: cannot write to standard output: {error.strerror}.", err=True)
        sys.exit(2)
