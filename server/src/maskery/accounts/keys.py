"""API keys: shown once, stored as hashes.

A key reads ``mk_ID_SECRET``. The ID finds its row. The secret has 256 random bits, so a plain SHA-256 of the whole key
is as hard to invert as the key is to guess, and takes microseconds to check.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, bindparam, false, func, or_, select
from sqlalchemy.engine import Connection, Row

from maskery.accounts.accounts import check_account_name, ensure_account, has_account, limit_values, to_limits
from maskery.accounts.database import Database
from maskery.accounts.rate_limit.limits import Limits
from maskery.accounts.schema import accounts, api_keys
from maskery.accounts.scopes import DEFAULT_SCOPES, Scope, parse_scopes
from maskery.errors import UserError

_PATTERN = re.compile(r"mk_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_MAX_NAME = 128

# Seconds; about three hundred years.
_MAX_LIFETIME = 1e10

# Compared with if the ID is unknown, so that it takes as long to refuse as a wrong secret.
_NO_HASH = bytes(32)

_NO_LIMITS = Limits()

State = Literal["active", "expired", "revoked"]


class NoSuchKey(UserError, LookupError):  # noqa: N818
    """No key has this ID, or the key cannot be changed any more."""


@dataclass(frozen=True)
class ApiKey:
    """An API key without its secret. Times are Unix seconds.

    Attributes:
        id: the part of the key that identifies it in lists and logs.
        expires: when it expires; None: never.
        last_used: accurate to about a minute.
        limits: of the key itself, beside those of its account; where None or 0, unlimited.
        replaced_by: ID of the key that `rotate` created in its place.
    """

    id: str
    account: str
    name: str
    scopes: tuple[Scope, ...]
    created: float
    expires: float | None = None
    revoked: float | None = None
    last_used: float | None = None
    limits: Limits = _NO_LIMITS
    replaced_by: str | None = None

    @property
    def state(self) -> State:
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= time.time() else "active"


@dataclass(frozen=True)
class KeyRecord:
    """What is needed to authenticate a key.

    Attributes:
        hash: SHA-256 of the whole key.
        account_limits: `Account.limits` of its account.
        disabled: whether its account is disabled.
    """

    key: ApiKey
    hash: bytes
    account_limits: Limits
    disabled: bool


class KeyRepository:
    """Stores keys in the database. Every method raises `DatabaseError` if the database does not respond."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        account: str,
        name: str = "",
        scopes: Iterable[str] = DEFAULT_SCOPES,
        lifetime: float | None = None,
        limits: Limits | None = None,
    ) -> tuple[ApiKey, str]:
        """Create a key, and its account if that does not exist.

        Args:
            name: what the key is for.
            lifetime: seconds until it expires; None: never.

        Returns:
            The key, and its text, which is not stored.

        Raises:
            ValueError: a name, scope, lifetime or limit is invalid.
        """
        key = _new_key(account, name, scopes, lifetime, limits or _NO_LIMITS)
        with self._database.writing() as connection:
            return key, _insert(connection, key)

    def create_first(self, account: str, lifetime: float | None = None) -> tuple[ApiKey, str] | None:
        """Create a key as `create` does, unless there is an active key. Of concurrent callers, one creates it."""
        key = _new_key(account, "", DEFAULT_SCOPES, lifetime, _NO_LIMITS)
        with self._database.writing(exclusive=True) as connection:
            return None if _has_active(connection) else (key, _insert(connection, key))

    def rotate(self, key_id: str, overlap: float, lifetime: float | None = None) -> tuple[ApiKey, str]:
        """Create a key like an existing one, which expires after the overlap, so that its users can switch.

        Args:
            overlap: seconds.
            lifetime: seconds until the new key expires; None: the lifetime of the old one.

        Returns:
            The new key, and its text, which is not stored.

        Raises:
            NoSuchKey: no active key has this ID, or it was rotated before: what is left of its lifetime says nothing
                about the lifetime that a new one should have.
            ValueError: the overlap or the lifetime is invalid.
        """
        if not 0 <= overlap < _MAX_LIFETIME:
            raise ValueError("the overlap of two keys must be 0 seconds or more")
        _check_lifetime(lifetime)
        now = time.time()
        with self._database.writing() as connection:
            old = _find_active(connection, key_id)
            if old.replaced_by:
                raise NoSuchKey(f"the key {old.id!r} was replaced by {old.replaced_by!r}; rotate that one")
            if lifetime is None and old.expires is not None:
                lifetime = old.expires - old.created
            key = replace(
                old,
                id=secrets.token_hex(6),
                created=now,
                expires=None if lifetime is None else now + lifetime,
                last_used=None,
            )
            expires = now + overlap if old.expires is None else min(now + overlap, old.expires)
            changed = {"expires": expires, "replaced_by": key.id}
            connection.execute(api_keys.update().where(api_keys.c.id == old.id).values(**changed))
            return key, _insert(connection, key)

    def revoke(self, key_id: str) -> ApiKey:
        """Revoke a key, given its ID or its text, and return it.

        Raises:
            NoSuchKey: no key has this ID, or it was revoked before.
        """
        not_revoked = _has_id(key_id) & api_keys.c.revoked.is_(None)
        with self._database.writing() as connection:
            changed = connection.execute(api_keys.update().where(not_revoked).values(revoked=time.time()))
            row = connection.execute(select(api_keys).where(_has_id(key_id))).first()
        if not changed.rowcount or row is None:
            raise _not_active(key_id)
        return _to_key(row)

    def get(self, key_id: str) -> ApiKey:
        """Return the key of this ID in any state.

        Raises:
            NoSuchKey: it does not exist.
        """
        with self._database.reading() as connection:
            row = connection.execute(select(api_keys).where(_has_id(key_id))).first()
        if row is None:
            raise NoSuchKey(f"no key has the ID {strip_secret(key_id)!r}; `maskery keys list` shows all")
        return _to_key(row)

    def list(self, account: str | None = None, after: str | None = None, limit: int | None = None) -> list[ApiKey]:
        """Return keys in any state, oldest first.

        Args:
            account: None: of all accounts.
            after: ID of the last key of the previous page.
            limit: largest number of keys.

        Raises:
            NoSuchKey: no key has the ID `after`.
        """
        query = select(api_keys).order_by(api_keys.c.created, api_keys.c.id).limit(limit)
        if account is not None:
            query = query.where(has_account(api_keys.c.account, account))
        if after is not None:
            last = self.get(after)
            later = (api_keys.c.created == last.created) & (api_keys.c.id > last.id)
            query = query.where((api_keys.c.created > last.created) | later)
        with self._database.reading() as connection:
            return [_to_key(row) for row in connection.execute(query)]

    def update(self, key_id: str, limits: Mapping[str, int | None]) -> ApiKey:
        """Change limits of a key and return it.

        Args:
            limits: new values by name, None for unlimited; the other limits keep their values.

        Raises:
            NoSuchKey: no active key has this ID.
            ValueError: a limit is invalid.
        """
        with self._database.writing() as connection:
            key = _find_active(connection, key_id)
            key = replace(key, limits=Limits(**{**asdict(key.limits), **limits}))
            connection.execute(api_keys.update().where(api_keys.c.id == key.id).values(**limit_values(key.limits)))
        return key

    def has_active(self) -> bool:
        """Whether an active key of an enabled account exists."""
        with self._database.reading() as connection:
            return _has_active(connection)

    def count_active(self) -> dict[str, int]:
        """The number of active keys of each enabled account that has one, the largest number first."""
        number = func.count()
        query = (
            _active(api_keys.c.account, number).group_by(api_keys.c.account).order_by(number.desc(), api_keys.c.account)
        )
        with self._database.reading() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def find_records(self, ids: Sequence[str]) -> dict[str, KeyRecord]:
        """Return the records of the keys that exist, by ID, in one query."""
        with self._database.reading() as connection:
            return {row.id: _to_record(row) for row in connection.execute(_RECORDS, {"ids": list(ids)})}

    def record_uses(self, times: Mapping[str, float]) -> None:
        """Store when keys were last used, by ID."""
        if not times:
            return
        statement = api_keys.update().where(api_keys.c.id == bindparam("key_id")).values(last_used=bindparam("time"))
        with self._database.writing() as connection:
            connection.execute(statement, [{"key_id": key_id, "time": time} for key_id, time in times.items()])


def check_key_name(name: str) -> None:
    """Raise ValueError if a key cannot have this name."""
    if len(name) > _MAX_NAME or not name.isprintable():
        raise ValueError(f"the name of a key may have at most {_MAX_NAME} characters, all of them printable")


def parse_key_id(text: str) -> str | None:
    """The ID in the text of a key; None if the text does not have the form of a key."""
    match = _PATTERN.fullmatch(text)
    return match[1] if match else None


def verify_secret(record: KeyRecord | None, text: str) -> bool:
    """Whether this is the text of the key, in constant time, also without a record."""
    hashed = hashlib.sha256(text.encode(errors="replace")).digest()
    return hmac.compare_digest(hashed, record.hash if record else _NO_HASH) and record is not None


def strip_secret(text: str) -> str:
    """The ID, given the ID or the whole key, which people paste."""
    return text.removeprefix("mk_").partition("_")[0]


# Built once: to build it takes longer than SQLite takes to execute it.
_RECORDS: Select[tuple[object, ...]] = (
    select(
        api_keys,
        accounts.c.disabled.label("account_disabled"),
        *(accounts.c[name].label(f"account_{name}") for name in limit_values(_NO_LIMITS)),
    )
    .join(accounts, accounts.c.name == api_keys.c.account)
    .where(api_keys.c.id.in_(bindparam("ids", expanding=True)))
)


def _new_key(account: str, name: str, scopes: Iterable[str], lifetime: float | None, limits: Limits) -> ApiKey:
    check_account_name(account)
    check_key_name(name)
    _check_lifetime(lifetime)
    now = time.time()
    expires = None if lifetime is None else now + lifetime
    return ApiKey(secrets.token_hex(6), account, name, parse_scopes(scopes), now, expires, limits=limits)


def _check_lifetime(lifetime: float | None) -> None:
    if lifetime is not None and not 0 < lifetime < _MAX_LIFETIME:
        raise ValueError("the lifetime of a key must be above 0 seconds")


def _insert(connection: Connection, key: ApiKey) -> str:
    """Store the key, and its account if that does not exist. Return the text of the key."""
    ensure_account(connection, key.account)
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


def _has_active(connection: Connection) -> bool:
    return connection.execute(_active(api_keys.c.id).limit(1)).first() is not None


def _active(*columns: ColumnElement[Any]) -> Select[Any]:
    """Active keys of enabled accounts."""
    not_expired = or_(api_keys.c.expires.is_(None), api_keys.c.expires > time.time())
    joined = select(*columns).join_from(api_keys, accounts, accounts.c.name == api_keys.c.account)
    return joined.where(api_keys.c.revoked.is_(None), not_expired, accounts.c.disabled.is_(None))


def _find_active(connection: Connection, key_id: str) -> ApiKey:
    row = connection.execute(select(api_keys).where(_has_id(key_id)).with_for_update()).first()
    key = _to_key(row) if row else None
    if key is None or key.state != "active":
        raise _not_active(key_id)
    return key


def _has_id(key_id: str) -> ColumnElement[bool]:
    """Filter for the key. An invalid ID matches none; PostgreSQL would refuse some, such as NUL bytes."""
    key_id = strip_secret(key_id)
    return api_keys.c.id == key_id if key_id.isascii() and key_id.isalnum() else false()


def _not_active(key_id: str) -> NoSuchKey:
    return NoSuchKey(f"no active key has the ID {strip_secret(key_id)!r}; `maskery keys list` shows all")


def _to_record(row: Row[tuple[object, ...]]) -> KeyRecord:
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
