"""Where accounts live: SQLite in the home folder, or PostgreSQL; brought up to date under a lock."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import URL, Table, create_engine, event, inspect, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from maskery.errors import UserError

#: The revision that this release works with: the last of the migrations.
HEAD = "0003"

_MIGRATIONS = Path(__file__).parent / "migrations"

# Names the lock among those of other programs on the same PostgreSQL.
_LOCK = 0x6D61736B

# Seconds to wait for another server that brings the database up to date.
_PATIENCE = 60


class DatabaseError(UserError):
    """The database of accounts cannot be used; one sentence on why, without its password."""


class Database:
    """A connection pool. Safe from several threads and processes.

    Args:
        url: of a PostgreSQL, ``postgresql://USER:PASSWORD@HOST/NAME``, or the path of an SQLite file, which is made
            when missing, readable by its owner alone.

    Raises:
        DatabaseError: it is of another kind, or cannot be opened.
    """

    def __init__(self, url: str | Path) -> None:
        self._url = _sqlite(url) if isinstance(url, Path) else _parse(url)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        # A statement that fails must not show what it was given.
        options = {"hide_parameters": True}
        if self.is_sqlite:
            self.engine: Engine = create_engine(self._url, **options)
            event.listen(self.engine, "connect", _prepare)
        else:
            # A server that is gone without a word is noticed within seconds, not when TCP gives up.
            patience = {"connect_timeout": 5, "tcp_user_timeout": 5000, "keepalives_idle": 5, "keepalives_interval": 2}
            self.engine = create_engine(self._url, **options, pool_pre_ping=True, connect_args=patience, pool_timeout=5)

    def __str__(self) -> str:
        # The rest of a query may hold a password too.
        places = {name: value for name, value in self._url.query.items() if name in ("host", "port")}
        return self._url.set(query=places).render_as_string(hide_password=True)

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for a few selects.

        Raises:
            DatabaseError: the database does not answer.
        """
        with self._explained(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction. Errors as of `reading`."""
        with self._explained(), self.engine.begin() as connection:
            if self.is_sqlite:
                # At once, so that what is read before the first change cannot have been changed by another writer.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    def revision(self) -> str | None:
        """Of the tables; None where there are none, or none that migrations made."""
        with self.reading() as connection:
            return _revision(connection)

    def upgrade(self) -> bool:
        """Bring the tables up to date, or wait until another server has done it; whether there was anything to do.

        Raises:
            DatabaseError: it was made by a newer release, or does not answer.
        """
        # What every start but the first after an update finds, without loading Alembic.
        if (found := self.revision()) == HEAD:
            return False
        if found is not None and found > HEAD:
            raise DatabaseError(f"{self} was brought up to date by a newer release, to {found}: install that one")
        with self._explained(), self._alone(), self.engine.connect() as connection:
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
                connection.commit()
            else:
                # All or nothing, also where the process is killed in the middle; readers see it when it is whole.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                _migrate(connection)
            finally:
                if not self.is_sqlite:
                    connection.rollback()
                    connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _LOCK})
                    connection.commit()
        return True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process of this machine brings the same file up to date."""
        if not self.is_sqlite or not self._url.database:
            yield
            return
        try:
            with FileLock(f"{self._url.database}.lock", timeout=_PATIENCE, mode=0o600):
                yield
        except Timeout:
            raise DatabaseError(f"another program has been changing {self} for {_PATIENCE} seconds") from None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            cause = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            raise DatabaseError(f"{self} cannot be used as the database of accounts: {cause}") from None


def insert_into(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An insert that knows ON CONFLICT, which the two databases write alike and SQLAlchemy does not know in general."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def _migrate(connection: Connection) -> None:
    # What it says of itself is of no interest in a server's log; that there was something to do is said by who asked.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # Loading it takes longer than everything else here.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
    connection.commit()


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _sqlite(file: Path) -> URL:
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not file.exists():
            file.touch(mode=0o600)
    except OSError as error:
        raise DatabaseError(f"{file} cannot be made: {error.strerror}") from None
    return URL.create("sqlite", database=str(file))


def _parse(text: str) -> URL:
    # What stands behind the first one would be taken for the host, and shown.
    if text.partition("?")[0].count("@") > 1:
        raise DatabaseError("the database's URL has more than one @: that of a password is written %40")
    try:
        url = make_url(text)
        if url.get_backend_name() == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
            url.get_dialect().import_dbapi()
            return url
        if url.get_backend_name() == "sqlite" and url.database:
            return _sqlite(Path(url.database))
    except (ArgumentError, NoSuchModuleError, ValueError):
        pass
    except ImportError:
        raise DatabaseError("PostgreSQL needs psycopg: pip install 'maskery[postgres]'") from None
    raise DatabaseError("the database's URL reads postgresql://USER:PASSWORD@HOST/NAME, or sqlite:////PATH")


def _prepare(connection: DBAPIConnection, _record: object) -> None:
    """Readers do not wait for a writer, and a writer waits for another instead of failing."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA busy_timeout = 5000")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()
