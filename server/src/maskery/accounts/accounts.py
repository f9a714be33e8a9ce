"""The accounts: who keys belong to, whether they are let in, and how much they may."""

import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from sqlalchemy import ColumnElement, false, select
from sqlalchemy.engine import Connection, Row

from maskery.accounts.database import Database, insert_into
from maskery.accounts.rate_limit.limits import Limits
from maskery.accounts.schema import accounts
from maskery.errors import UserError

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._@ -]{0,126}[A-Za-z0-9._@-])?")

# What an SQL integer of four bytes can hold, and what Redis' Lua counts exactly.
_MOST = {"pixels_per_day": 2**53 - 1}
_MOST_OTHERWISE = 2**31 - 1


class NoSuchAccount(UserError, LookupError):  # noqa: N818
    """No account has that name."""


@dataclass(frozen=True)
class Account:
    """An account. Times are Unix seconds.

    Attributes:
        disabled: since when its keys are refused; None: they are not.
        limits: its own; where None, the server's defaults hold, where 0, nothing is limited.
    """

    name: str
    created: float
    disabled: float | None
    limits: Limits


class AccountRepository:
    """All accounts, in the database.

    Every method raises `DatabaseError` where that does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, limits: Limits | None = None) -> Account:
        """A new account.

        Raises:
            ValueError: there is one of that name, or it is no name, or a limit no limit.
        """
        check_account_name(name)
        values = limit_values(limits or Limits())
        with self._database.writing() as connection:
            if not open_account(connection, name):
                raise ValueError(f"there is an account {name!r} already")
            connection.execute(accounts.update().where(accounts.c.name == name).values(**values))
            return _to_account(_find(connection, name))

    def get(self, name: str) -> Account:
        """The account of that name.

        Raises:
            NoSuchAccount: there is none.
        """
        with self._database.reading() as connection:
            return _to_account(_find(connection, name))

    def list(self) -> list[Account]:
        """All of them, oldest first."""
        query = select(accounts).order_by(accounts.c.created, accounts.c.name)
        with self._database.reading() as connection:
            return [_to_account(row) for row in connection.execute(query)]

    def update(
        self, name: str, limits: Mapping[str, int | None] | None = None, disabled: bool | None = None
    ) -> Account:
        """The account after what is named of it was changed; limits by name, None for the server's default.

        Raises:
            NoSuchAccount: there is none.
            ValueError: a limit is no limit.
        """
        values: dict[str, float | None] = {}
        with self._database.writing() as connection:
            # Nobody else changes it between this and what is written.
            found = _to_account(_find(connection, name, alone=True))
            if limits:
                values |= limit_values(Limits(**{**asdict(found.limits), **limits}))
            if disabled is not None and disabled != (found.disabled is not None):
                values["disabled"] = time.time() if disabled else None
            if values:
                connection.execute(accounts.update().where(accounts.c.name == name).values(**values))
            return _to_account(_find(connection, name))


def check_account_name(name: str) -> None:
    """Raise ValueError unless an account may be called so."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is not an account's name: letters, digits, '.', '_', '@', '-' and spaces, "
            "at most 128, a letter or digit first, no space last"
        )


def open_account(connection: Connection, name: str) -> bool:
    """Make the account unless it is there; whether it was made. Two who do so at the same time do not collide."""
    made = insert_into(connection, accounts).values(name=name, created=time.time()).on_conflict_do_nothing()
    # Not every driver counts the rows of an insert.
    return connection.execute(made.returning(accounts.c.name)).first() is not None


def limit_values(limits: Limits) -> dict[str, float | None]:
    """The columns that hold limits.

    Raises:
        ValueError: one is negative, or too large to be stored.
    """
    values = asdict(limits)
    for name, value in values.items():
        most = _MOST.get(name, _MOST_OTHERWISE)
        if value is not None and not 0 <= value <= most:
            raise ValueError(f"{name} is a number from 0 (no limit) to {most}, not {value}")
    return values


def to_limits(row: Row[tuple[object, ...]], prefix: str = "") -> Limits:
    """From the columns that hold them."""
    return Limits(**{each.name: getattr(row, prefix + each.name) for each in fields(Limits)})


def called(column: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """Rows of the account of that name. Of what can be none PostgreSQL refuses some even to be asked."""
    return column == name if _NAME.fullmatch(name) else false()


def _find(connection: Connection, name: str, alone: bool = False) -> Row[tuple[object, ...]]:
    query = select(accounts).where(called(accounts.c.name, name))
    row = connection.execute(query.with_for_update() if alone else query).first()
    if row is None:
        raise NoSuchAccount(f"there is no account {name!r}; `maskery accounts list` shows those there are")
    return row


def _to_account(row: Row[tuple[object, ...]]) -> Account:
    return Account(row.name, row.created, row.disabled, to_limits(row))
