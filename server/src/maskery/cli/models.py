"""`maskery models`: what can be asked for."""

import typer
from rich.console import Console
from rich.table import Column, Table

from maskery.models import CATALOG, Registry

app = typer.Typer(help="Show the models that can be asked for.", no_args_is_help=True)


@app.command("list")
def list_models() -> None:
    """Show the models of this machine, and those that are known."""
    installed = Registry().installed()
    table = Table(Column("model", no_wrap=True), "state", "licence", "about", box=None, pad_edge=False)
    for name in sorted({*installed, *CATALOG}, key=lambda name: (name not in installed, name)):
        entry = CATALOG[name]
        state = "built in" if entry.built_in else "installed" if name in installed else "not installed"
        table.add_row(name, state, entry.licence, entry.summary)
    Console(soft_wrap=True).print(table)
