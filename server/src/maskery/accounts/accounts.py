"""Accounts: the owners of API keys."""

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

# What Redis's Lua counts exactly, and what a four-byte SQL integer holds.
_MAX_PIXELS_PER_DAY = 2**53 - 1
_MAX_LIMIT = 2**31 - 1


class NoSuchAccount(UserError, LookupError):  # noqa: N818
    """No account has this name."""


@dataclass(frozen=True)
class Account:
    """An account. Times are Unix seconds.

    Attributes:
        disabled: when it was disabled, so that its keys are refused; None if it is enabled.
        limits: where None, the server's defaults apply; where 0, unlimited.
    """

    name: str
    created: float
    disabled: float | None
    limits: Limits


class AccountRepository:
    """Stores accounts in the database. Every method raises `DatabaseError` if the database does not respond."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, limits: Limits | None = None) -> Account:
        """Create an account.

        Raises:
            ValueError: the name is taken or invalid, or a limit is invalid.
        """
        check_account_name(name)
        values = limit_values(limits or Limits())
        with self._database.writing() as connection:
            if not ensure_account(connection, name):
                raise ValueError(f"the account {name!r} already exists")
            connection.execute(accounts.update().where(accounts.c.name == name).values(**values))
            return _to_account(_find(connection, name))

    def get(self, name: str) -> Account:
        """Return the account of this name.

        Raises:
            NoSuchAccount: it does not exist.
        """
        with self._database.reading() as connection:
            return _to_account(_find(connection, name))

    def list(self) -> list[Account]:
        """Return all accounts, oldest first."""
        query = select(accounts).order_by(accounts.c.created, accounts.c.name)
        with self._database.reading() as connection:
            return [_to_account(row) for row in connection.execute(query)]

    def update(
        self, name: str, limits: Mapping[str, int | None] | None = None, disabled: bool | None = None
    ) -> Account:
        """Change an account and return it.

        Args:
            limits: new values by name, None for the server's default; the other limits keep their values.
            disabled: None keeps it as it is.

        Raises:
            NoSuchAccount: it does not exist.
            ValueError: a limit is invalid.
        """
        values: dict[str, float | None] = {}
        with self._database.writing() as connection:
            found = _to_account(_find(connection, name, for_update=True))
            if limits:
                values |= limit_values(Limits(**{**asdict(found.limits), **limits}))
            if disabled is not None and disabled != (found.disabled is not None):
                values["disabled"] = time.time() if disabled else None
            if values:
                connection.execute(accounts.update().where(accounts.c.name == name).values(**values))
            return _to_account(_find(connection, name))


def check_account_name(name: str) -> None:
    """Raise ValueError if an account cannot have this name."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a valid account name: use at most 128 letters, digits, '.', '_', '@', '-' and spaces, "
            "a letter or digit first, no space last"
        )


def ensure_account(connection: Connection, name: str) -> bool:
    """Create the account unless it exists. Return whether it was created. Safe in concurrent transactions."""
    insert = insert_into(connection, accounts).values(name=name, created=time.time()).on_conflict_do_nothing()
    # Not every driver counts the rows of an insert.
    return connection.execute(insert.returning(accounts.c.name)).first() is not None


def limit_values(limits: Limits) -> dict[str, float | None]:
    """Values of the columns that store limits.

    Raises:
        ValueError: a limit is too large to be stored.
    """
    values = asdict(limits)
    for name, value in values.items():
        largest = _MAX_PIXELS_PER_DAY if name == "pixels_per_day" else _MAX_LIMIT
        if value is not None and value > largest:
            raise ValueError(f"{name} must be between 0 (unlimited) and {largest}, not {value}")
    return values


def to_limits(row: Row[tuple[object, ...]], prefix: str = "") -> Limits:
    """The limits in a row."""
    return Limits(**{each.name: getattr(row, prefix + each.name) for each in fields(Limits)})


def has_account(column: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """Filter for rows of an account. An invalid name matches none; PostgreSQL would refuse some, such as NUL bytes."""
    return column == name if _NAME.fullmatch(name) else false()


def _find(connection: Connection, name: str, for_update: bool = False) -> Row[tuple[object, ...]]:
    query = select(accounts).where(has_account(accounts.c.name, name))
    row = connection.execute(query.with_for_update() if for_update else query).first()
    if row is None:
        raise NoSuchAccount(f"the account {name!r} does not exist; `maskery accounts list` shows all")
    return row


def _to_account(row: Row[tuple[object, ...]]) -> Account:
    return Account(row.name, row.created, row.disabled, to_limits(row))
