"""Tables on the terminal."""

import sys
from collections.abc import Iterable
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table


def show_time(seconds: float | None) -> str:
    """Unix time as text in UTC."""
    return "-" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def print_table(table: Table) -> None:
    """Print a table, fitted to a terminal; in a file or a pipe no cell is cut."""
    width = None if sys.stdout.isatty() else 500
    Console(soft_wrap=True, width=width, highlight=False, markup=False).print(table)


def new_table(*names: str, numbers: Iterable[str] = ()) -> Table:
    """A table without lines. Its first column, which identifies the rows, is never cut.

    Args:
        numbers: names of further columns, aligned to the right.
    """
    table = Table(box=None, pad_edge=False)
    for index, name in enumerate(names):
        table.add_column(name, no_wrap=index == 0, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table
