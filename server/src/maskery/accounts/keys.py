"""API keys: shown once, kept as hashes.

A key reads ``mk_ID_SECRET``. The ID finds its row; the secret has 256 random bits, so that a plain SHA-256 of the
whole key is as hard to turn back as the key is to guess, and costs microseconds to check.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from sqlalchemy import ColumnElement, Select, bindparam, false, or_, select
from sqlalchemy.engine import Connection, Row

from maskery.accounts.accounts import called, check_account_name, limit_values, open_account, to_limits
from maskery.accounts.database import Database
from maskery.accounts.rate_limit.limits import Limits
from maskery.accounts.schema import accounts, api_keys
from maskery.accounts.scopes import DEFAULT_SCOPES, Scope, parse_scopes
from maskery.errors import UserError

_SHAPE = re.compile(r"mk_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_LONGEST_NAME = 128

# Seconds; three hundred years.
_LONGEST = 1e10

# Compared with when no row is found, so that an unknown ID takes as long to refuse as a wrong secret.
_NOBODY = bytes(32)

_NONE = Limits()

State = Literal["active", "expired", "revoked"]


class NoSuchKey(UserError, LookupError):  # noqa: N818
    """No key has that ID, or none that is still good for it."""


@dataclass(frozen=True)
class ApiKey:
    """What is kept of a key. Times are Unix seconds.

    Attributes:
        id: the part of the key by which people tell keys apart.
        expires: when it stops being good; None: never.
        last_used: about; written now and then.
        replaced_by: ID of the key that took its place; it stays good until it expires.
        limits: its own, beside those of its account; where None or 0 it has none.
    """

    id: str
    account: str
    name: str
    scopes: tuple[Scope, ...]
    created: float
    expires: float | None = None
    revoked: float | None = None
    last_used: float | None = None
    limits: Limits = _NONE
    replaced_by: str | None = None

    @property
    def state(self) -> State:
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= time.time() else "active"


@dataclass(frozen=True)
class KeyRecord:
    """What a key is checked against.

    Attributes:
        hash: SHA-256 of its text.
        account_limits: of its account, as of `Account.limits`.
        disabled: its account is.
    """

    key: ApiKey
    hash: bytes
    account_limits: Limits
    disabled: bool


class KeyRepository:
    """All keys, in the database. Every method raises `DatabaseError` where that does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        account: str,
        name: str = "",
        scopes: Iterable[str] = DEFAULT_SCOPES,
        seconds: float | None = None,
        limits: Limits | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key, and its text, which is not kept. The account is made when there is none of that name.

        Args:
            name: what it is for.
            seconds: that it is good for; None: for ever.

        Raises:
            ValueError: a name, a right, a time or a limit is none.
        """
        check_account_name(account)
        check_key_name(name)
        if seconds is not None and not 0 < seconds < _LONGEST:
            raise ValueError("a key is good for a time above 0")
        now = time.time()
        key = ApiKey(
            secrets.token_hex(6),
            account,
            name,
            parse_scopes(scopes),
            now,
            None if seconds is None else now + seconds,
            limits=limits or _NONE,
        )
        with self._database.writing() as connection:
            open_account(connection, account)
            return key, _add(connection, key)

    def rotate(self, key_id: str, overlap: float, seconds: float | None = None) -> tuple[ApiKey, str]:
        """A new key like an old one, which stays good for the overlap, so that its users can be moved.

        Args:
            overlap: seconds.
            seconds: that the new one is good for; None: as many as the old one was.

        Raises:
            NoSuchKey: no active key has that ID, or it was replaced before: what is left of its time says nothing
                about its span any more.
            ValueError: a time is negative.
        """
        if not 0 <= overlap < _LONGEST or (seconds is not None and not 0 < seconds < _LONGEST):
            raise ValueError("a key is good for a time above 0, and the old one for 0 or more after it")
        now = time.time()
        with self._database.writing() as connection:
            old = _active(connection, key_id)
            if old.replaced_by:
                raise NoSuchKey(f"the key {old.id!r} was replaced by {old.replaced_by!r}: replace that one")
            if seconds is None and old.expires is not None:
                seconds = old.expires - old.created
            key = replace(
                old,
                id=secrets.token_hex(6),
                created=now,
                expires=None if seconds is None else now + seconds,
                last_used=None,
            )
            ends = now + overlap if old.expires is None else min(now + overlap, old.expires)
            replaced = {"expires": ends, "replaced_by": key.id}
            connection.execute(api_keys.update().where(api_keys.c.id == old.id).values(**replaced))
            return key, _add(connection, key)

    def revoke(self, key_id: str) -> ApiKey:
        """Make a key useless from now on.

        Raises:
            NoSuchKey: no key that is not revoked yet has that ID.
        """
        key_id = strip_secret(key_id)
        active = _of(key_id) & api_keys.c.revoked.is_(None)
        with self._database.writing() as connection:
            changed = connection.execute(api_keys.update().where(active).values(revoked=time.time()))
            row = connection.execute(select(api_keys).where(_of(key_id))).first()
        if not changed.rowcount or row is None:
            raise _none_active(key_id)
        return _to_key(row)

    def get(self, key_id: str) -> ApiKey:
        """The key of that ID, whatever its state.

        Raises:
            NoSuchKey: there is none.
        """
        with self._database.reading() as connection:
            row = connection.execute(select(api_keys).where(_of(key_id))).first()
        if row is None:
            raise NoSuchKey(f"no key has the ID {strip_secret(key_id)!r}; `maskery keys list` shows those there are")
        return _to_key(row)

    def list(self, account: str | None = None, after: str | None = None, limit: int | None = None) -> list[ApiKey]:
        """Keys, oldest first, those that are good no more too.

        Args:
            account: whose; None: everybody's.
            after: ID of the key that ended the page before.
            limit: of how many.

        Raises:
            NoSuchKey: no key has the ID `after`.
        """
        query = select(api_keys).order_by(api_keys.c.created, api_keys.c.id).limit(limit)
        if account is not None:
            query = query.where(called(api_keys.c.account, account))
        if after is not None:
            last = self.get(after)
            later = (api_keys.c.created == last.created) & (api_keys.c.id > last.id)
            query = query.where((api_keys.c.created > last.created) | later)
        with self._database.reading() as connection:
            return [_to_key(row) for row in connection.execute(query)]

    def update(self, key_id: str, limits: Mapping[str, int | None]) -> ApiKey:
        """The key after the limits that are named were changed, None for none of its own.

        Raises:
            NoSuchKey: no active key has that ID.
            ValueError: a limit is no limit.
        """
        with self._database.writing() as connection:
            key = _active(connection, key_id)
            key = replace(key, limits=Limits(**{**asdict(key.limits), **limits}))
            connection.execute(api_keys.update().where(api_keys.c.id == key.id).values(**limit_values(key.limits)))
        return key

    def has_active(self) -> bool:
        """Whether anybody can be let in."""
        good = or_(api_keys.c.expires.is_(None), api_keys.c.expires > time.time())
        query = (
            select(api_keys.c.id)
            .join(accounts, accounts.c.name == api_keys.c.account)
            .where(api_keys.c.revoked.is_(None), good, accounts.c.disabled.is_(None))
            .limit(1)
        )
        with self._database.reading() as connection:
            return connection.execute(query).first() is not None

    def find_records(self, ids: Sequence[str]) -> dict[str, KeyRecord]:
        """What keys of these IDs are checked against, those that there are, in one query."""
        with self._database.reading() as connection:
            return {row.id: _to_entry(row) for row in connection.execute(_ENTRIES, {"ids": list(ids)})}

    def record_uses(self, last: Mapping[str, float]) -> None:
        """Write down when keys were last used, by ID."""
        if not last:
            return
        statement = api_keys.update().where(api_keys.c.id == bindparam("key_id")).values(last_used=bindparam("moment"))
        with self._database.writing() as connection:
            connection.execute(statement, [{"key_id": key_id, "moment": moment} for key_id, moment in last.items()])


def check_key_name(name: str) -> None:
    """Raise ValueError unless a key may be called so."""
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise ValueError(f"the name of a key has at most {_LONGEST_NAME} characters, all of them printable")


def parse_key_id(text: str) -> str | None:
    """The ID in a key's text; None where that is no key's."""
    shape = _SHAPE.fullmatch(text)
    return shape[1] if shape else None


def verify_secret(entry: KeyRecord | None, text: str) -> bool:
    """Whether this is the text of the key. Takes as long whether it is, is not, or there is no key."""
    hashed = hashlib.sha256(text.encode(errors="replace")).digest()
    return hmac.compare_digest(hashed, entry.hash if entry else _NOBODY) and entry is not None


def strip_secret(text: str) -> str:
    """The ID, from itself or from the whole key, which people paste."""
    return text.removeprefix("mk_").partition("_")[0]


_LIMIT_COLUMNS = tuple(limit_values(_NONE))

# Made once: building it takes longer than SQLite takes to answer it.
_ENTRIES: Select[tuple[object, ...]] = (
    select(
        api_keys,
        accounts.c.disabled.label("account_disabled"),
        *(accounts.c[name].label(f"account_{name}") for name in _LIMIT_COLUMNS),
    )
    .join(accounts, accounts.c.name == api_keys.c.account)
    .where(api_keys.c.id.in_(bindparam("ids", expanding=True)))
)


def _add(connection: Connection, key: ApiKey) -> str:
    text = f"mk_{key.id}_{secrets.token_urlsafe(32)}"
    values = {
        "id": key.id,
        "hash": hashlib.sha256(text.encode()).digest(),
        "account": key.account,
        "name": key.name,
        "scopes": ",".join(key.scopes),
        "created": key.created,
        "expires": key.expires,
        **limit_values(key.limits),
    }
    connection.execute(api_keys.insert().values(**values))
    return text


def _active(connection: Connection, key_id: str) -> ApiKey:
    row = connection.execute(select(api_keys).where(_of(key_id)).with_for_update()).first()
    key = _to_key(row) if row else None
    if key is None or key.state != "active":
        raise _none_active(strip_secret(key_id))
    return key


def _of(key_id: str) -> ColumnElement[bool]:
    """The key has this ID. Of texts that are none PostgreSQL refuses some even to be asked."""
    key_id = strip_secret(key_id)
    return api_keys.c.id == key_id if key_id.isascii() and key_id.isalnum() else false()


def _none_active(key_id: str) -> NoSuchKey:
    return NoSuchKey(f"no active key has the ID {key_id!r}; `maskery keys list` shows those there are")


def _to_entry(row: Row[tuple[object, ...]]) -> KeyRecord:
    return KeyRecord(_to_key(row), row.hash, to_limits(row, "account_"), row.account_disabled is not None)


def _to_key(row: Row[tuple[object, ...]]) -> ApiKey:
    return ApiKey(
        row.id,
        row.account,
        row.name,
        parse_scopes(row.scopes.split(",")),
        row.created,
        row.expires,
        row.revoked,
        row.last_used,
        to_limits(row),
        row.replaced_by,
    )
