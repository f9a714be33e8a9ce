"""What commands about accounts share."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from maskery.accounts import AccountStore, Limits
from maskery.cli.errors import CommandError
from maskery.settings import Settings

# In place of a number: what the server's settings say, or for a key, none of its own; and no limit at all.
_DEFAULT, _NO_LIMIT = "default", "none"

_NAMES = tuple(each.name.replace("_", "-") for each in fields(Limits))
_HELP = f"NAME is one of {', '.join(_NAMES)}; N is a number, {_NO_LIMIT!r} or {_DEFAULT!r}."

LimitOptions = Annotated[list[str] | None, typer.Option("--limit", metavar="NAME=N", help=f"Repeatable. {_HELP}")]
LimitArguments = Annotated[list[str], typer.Argument(metavar="NAME=N...", help=_HELP)]


def open_account_store(settings: Settings | None = None) -> AccountStore:
    """The database of accounts that the settings name, brought up to date.

    Raises:
        DatabaseError: it cannot be used.
    """
    return AccountStore.open((settings or Settings.load()).database)


@contextmanager
def mendable() -> Iterator[None]:
    """What is wrong with a name, a right, a time or a limit, as a sentence for the command line.

    Raises:
        CommandError: in place of ValueError.
    """
    try:
        yield
    except ValueError as error:
        raise CommandError(f"{error}.") from None


def read_limits(named: list[str] | None) -> dict[str, int | None]:
    """Limits by name as they are stored.

    Raises:
        CommandError: one is no limit.
    """
    return dict(map(_read_limit, named or []))


def show_limits(limits: Limits) -> str:
    """Those that are set, in a few words."""
    shown = {
        "requests/min": limits.requests_per_minute,
        "images/min": limits.images_per_minute,
        "at a time": limits.concurrent_requests,
        "pixels/day": limits.pixels_per_day,
    }
    words = [f"{value or _NO_LIMIT} {name}" for name, value in shown.items() if value is not None]
    return ", ".join(words) or _DEFAULT


def show_time(seconds: float | None, otherwise: str = "-") -> str:
    """A moment given in Unix seconds."""
    return otherwise if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def print_table(table: Table) -> None:
    """As wide as the terminal, and in a file or pipe as wide as it needs to be."""
    width = None if sys.stdout.isatty() else 500
    Console(soft_wrap=True, width=width).print(table)


def new_table(*names: str, numbers: Iterable[str] = ()) -> Table:
    """A table without lines whose first column, by which people tell rows apart, is never cut.

    Args:
        numbers: names of further columns, of numbers.
    """
    table = Table(box=None, pad_edge=False)
    for index, name in enumerate(names):
        table.add_column(name, no_wrap=index == 0, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _read_limit(text: str) -> tuple[str, int | None]:
    name, _, value = text.partition("=")
    if name not in _NAMES:
        raise CommandError(f"{text!r} is no limit, which reads NAME=N with one of {', '.join(_NAMES)}.")
    name = name.replace("-", "_")
    if value in (_DEFAULT, _NO_LIMIT):
        return name, None if value == _DEFAULT else 0
    if not (value.isascii() and value.isdigit() and int(value)):
        raise CommandError(f"{text!r} is no limit: behind = stands a number above 0, {_NO_LIMIT!r} or {_DEFAULT!r}.")
    return name, int(value)
