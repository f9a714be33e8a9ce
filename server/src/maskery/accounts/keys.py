"""API keys in one table: shown once, kept as hashes.

A key reads ``mk_ID_SECRET``. The ID finds its row; the secret has 256 random bits, so that a plain SHA-256 of the
whole key is as hard to turn back as the key is to guess, and costs microseconds to check.
"""

import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, Column, Float, LargeBinary, MetaData, String, Table, create_engine, event, select
from sqlalchemy.engine import Connection, Row
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError

_metadata = MetaData()
_keys = Table(
    "api_keys",
    _metadata,
    Column("id", String(16), primary_key=True),
    Column("hash", LargeBinary(32), nullable=False),
    Column("account", String(128), nullable=False),
    Column("created", Float, nullable=False),
    Column("revoked", Float, nullable=True),
)

_SHAPE = re.compile(r"mk_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@ -]{0,127}")

# Compared with when no row is found, so that an unknown ID takes as long to refuse as a wrong secret.
_NOBODY = bytes(32)


class NoSuchKey(LookupError):  # noqa: N818
    """No active key has that ID."""


@dataclass(frozen=True)
class ApiKey:
    """What is kept of a key. Times are Unix seconds."""

    id: str
    account: str
    created: float
    revoked: float | None = None


class KeyStore:
    """The keys of one server, in an SQLite file. Safe from several threads and processes.

    Args:
        database: the file; it and its folder are made when missing, readable by their owner alone.

    Raises:
        OSError: the folder cannot be made or the file not opened.
    """

    def __init__(self, database: Path) -> None:
        database.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not database.exists():
            database.touch(mode=0o600)
        self._engine = create_engine(URL.create("sqlite", database=str(database)))
        event.listen(self._engine, "connect", _prepare)
        try:
            _metadata.create_all(self._engine)
        except SQLAlchemyError as error:
            raise OSError(f"{database} cannot be used as the database of keys: {error.__cause__}") from None

    def close(self) -> None:
        self._engine.dispose()

    def create(self, account: str) -> tuple[ApiKey, str]:
        """A new key of an account, and its text, which is not kept.

        Raises:
            ValueError: the account's name has characters that a name must not have.
        """
        if not _ACCOUNT.fullmatch(account):
            raise ValueError(
                f"{account!r} is not an account's name: letters, digits, '.', '_', '@', '-' and spaces, "
                "at most 128, a letter or digit first"
            )
        key = ApiKey(secrets.token_hex(6), account, time.time())
        text = f"mk_{key.id}_{secrets.token_urlsafe(32)}"
        with self._engine.begin() as connection:
            connection.execute(_keys.insert().values(id=key.id, hash=_hash(text), account=account, created=key.created))
        return key, text

    def check(self, text: str) -> ApiKey | None:
        """The key with this text if it is active. Takes as long for any wrong one."""
        shape = _SHAPE.fullmatch(text)
        with self._engine.connect() as connection:
            row = _find(connection, shape[1] if shape else "")
        same = hmac.compare_digest(_hash(text if shape else ""), row.hash if row else _NOBODY)
        return _to_key(row) if row and same and row.revoked is None else None

    def list(self) -> list[ApiKey]:
        """All keys, revoked ones too, oldest first."""
        with self._engine.connect() as connection:
            return [_to_key(row) for row in connection.execute(select(_keys).order_by(_keys.c.created))]

    def has_active(self) -> bool:
        query = select(_keys.c.id).where(_keys.c.revoked.is_(None)).limit(1)
        with self._engine.connect() as connection:
            return connection.execute(query).first() is not None

    def revoke(self, key_id: str) -> ApiKey:
        """Make a key useless from now on.

        Raises:
            NoSuchKey: no active key has that ID.
        """
        key_id = key_id.removeprefix("mk_").partition("_")[0]
        active = (_keys.c.id == key_id) & _keys.c.revoked.is_(None)
        with self._engine.begin() as connection:
            changed = connection.execute(_keys.update().where(active).values(revoked=time.time()))
            row = _find(connection, key_id)
        if not changed.rowcount or row is None:
            raise NoSuchKey(f"no active key has the ID {key_id!r}; `maskery keys list` shows those there are")
        return _to_key(row)


def _prepare(connection: DBAPIConnection, _record: object) -> None:
    """Readers do not wait for a writer, and a writer waits for another instead of failing."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA busy_timeout = 5000")
    cursor.close()


def _find(connection: Connection, key_id: str) -> Row[tuple[object, ...]] | None:
    return connection.execute(select(_keys).where(_keys.c.id == key_id)).first()


def _to_key(row: Row[tuple[object, ...]]) -> ApiKey:
    return ApiKey(row.id, row.account, row.created, row.revoked)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
