"""What the commands about accounts share: the store, and options for limits."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Annotated

import typer

from maskery.accounts import AccountStore, Limits
from maskery.errors import UserError
from maskery.settings import Settings

# Written in place of a number. "default": the limit of the server's settings, or for a key none of its own.
_DEFAULT, _NO_LIMIT = "default", "none"

_NAMES = tuple(each.name.replace("_", "-") for each in fields(Limits))
_HELP = f"NAME is one of {', '.join(_NAMES)}; N is a number, {_NO_LIMIT!r} or {_DEFAULT!r}."

LimitOptions = Annotated[
    list[str] | None, typer.Option("--limit", metavar="NAME=N", help=f"A limit; may be repeated. {_HELP}")
]
LimitArguments = Annotated[list[str], typer.Argument(metavar="NAME=N...", help=_HELP)]


@contextmanager
def open_account_store(settings: Settings | None = None) -> Iterator[AccountStore]:
    """The accounts database of the settings, migrated to this release; closed on exit.

    Raises:
        DatabaseError: the database cannot be used.
    """
    store = AccountStore.open((settings or Settings.load()).database)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def checking_values() -> Iterator[None]:
    """Turn the ValueError of an invalid name, scope, lifetime or limit into a `UserError`."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"{error}.") from None


def read_limits(named: list[str] | None) -> dict[str, int | None]:
    """Limits by field of `Limits`; None is the default, 0 no limit.

    Raises:
        UserError: an entry is not NAME=N.
    """
    return dict(map(_read_limit, named or []))


def show_limits(limits: Limits) -> str:
    """The limits that are set, such as ``60 requests/min, none pixels/day``."""
    shown = {
        "requests/min": limits.requests_per_minute,
        "images/min": limits.images_per_minute,
        "at a time": limits.concurrent_requests,
        "pixels/day": limits.pixels_per_day,
    }
    words = [f"{value or _NO_LIMIT} {name}" for name, value in shown.items() if value is not None]
    return ", ".join(words) or _DEFAULT


def _read_limit(text: str) -> tuple[str, int | None]:
    name, _, value = text.partition("=")
    if name not in _NAMES:
        raise UserError(f"{text!r} is not a limit: write NAME=N, where NAME is one of {', '.join(_NAMES)}.")
    name = name.replace("-", "_")
    if value in (_DEFAULT, _NO_LIMIT):
        return name, None if value == _DEFAULT else 0
    if not (value.isascii() and value.isdigit() and int(value)):
        raise UserError(f"{text!r} is not a limit: N is a number above 0, {_NO_LIMIT!r} or {_DEFAULT!r}.")
    return name, int(value)
