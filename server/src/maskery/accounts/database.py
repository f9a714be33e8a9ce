"""The database of accounts: an SQLite file in the home folder, or PostgreSQL. Migrations run under a lock."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import URL, Table, create_engine, event, inspect, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from maskery.errors import UserError

if sys.platform != "win32":
    import fcntl

#: The revision of the last migration, which this release needs.
HEAD = "0003"

_MIGRATIONS = Path(__file__).parent / "migrations"

# PostgreSQL advisory lock of exclusive transactions, among the locks of other programs.
_LOCK = 0x6D61736B

# Seconds to wait for another process that migrates the database.
_LOCK_TIMEOUT = 60


class DatabaseError(UserError):
    """The database of accounts cannot be used. The message is one sentence, without the password."""


class Database:
    """A connection pool. Safe to use from several threads and processes.

    Args:
        url: ``postgresql://USER:PASSWORD@HOST/NAME``, or the path of an SQLite file, which is created if it does not
            exist, readable by its owner only.

    Raises:
        DatabaseError: the URL is invalid or of another database, or the file cannot be created.
    """

    def __init__(self, url: str | Path) -> None:
        self._url = _sqlite(url) if isinstance(url, Path) else _parse(url)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        # Error messages must not show a statement's parameters.
        options = {"hide_parameters": True}
        if self.is_sqlite:
            self.engine: Engine = create_engine(self._url, **options)
            event.listen(self.engine, "connect", _configure)
        else:
            # A server that vanishes is noticed within seconds, not when TCP gives up.
            timeouts = {"connect_timeout": 5, "tcp_user_timeout": 5000, "keepalives_idle": 5, "keepalives_interval": 2}
            self.engine = create_engine(self._url, **options, pool_pre_ping=True, connect_args=timeouts, pool_timeout=5)

    def __str__(self) -> str:
        # Other parameters of the query may contain a password.
        shown = {name: value for name, value in self._url.query.items() if name in ("host", "port")}
        return self._url.set(query=shown).render_as_string(hide_password=True)

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read with.

        Raises:
            DatabaseError: the database does not respond.
        """
        with self._translated_errors(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self, exclusive: bool = False) -> Iterator[Connection]:
        """A transaction. On SQLite it locks out other writers from its start.

        Args:
            exclusive: no other exclusive transaction runs at the same time, on PostgreSQL either.

        Raises:
            DatabaseError: the database does not respond.
        """
        with self._translated_errors(), self.engine.begin() as connection:
            if self.is_sqlite:
                # Lock at once: SQLite refuses to turn a read lock into a write lock if another process has written.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            elif exclusive:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            yield connection

    def ping(self) -> None:
        """Check that the tables can be read.

        Raises:
            DatabaseError: they cannot.
        """
        with self.reading() as connection:
            connection.exec_driver_sql("SELECT 1 FROM accounts LIMIT 1")

    def revision(self) -> str | None:
        """Revision of the last migration that was applied; None before the first one."""
        with self.reading() as connection:
            return _revision(connection)

    def upgrade(self) -> bool:
        """Apply the missing migrations, or wait while another process does. Return whether any were missing.

        Raises:
            DatabaseError: a newer release has migrated the database, or it does not respond.
        """
        # Every start but the first after an update ends here, without loading Alembic.
        with self.reading() as connection:
            found = _revision(connection)
            if found == HEAD and _journal_mode(connection) in (None, "wal"):
                return False
        if found is not None and found > HEAD:
            raise DatabaseError(f"{self} was migrated to {found} by a newer release; install that release")
        with self._file_lock():
            if self.is_sqlite:
                # Readers do not block writers. The mode is stored in the file. Two connections that change it at once
                # fail with "database is locked" without waiting, hence the lock.
                with self.reading() as connection:
                    connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            # In one transaction: all or nothing, even if the process is killed.
            with self.writing(exclusive=True) as connection:
                _migrate(connection)
        return found != HEAD

    @contextmanager
    def _file_lock(self) -> Iterator[None]:
        """No other process on this machine migrates the same file."""
        if not self.is_sqlite or not self._url.database:
            yield
            return
        try:
            with FileLock(_lock_file(self._url.database), timeout=_LOCK_TIMEOUT, mode=0o600):
                yield
        except Timeout:
            raise DatabaseError(f"{self} has been locked by another process for {_LOCK_TIMEOUT} seconds") from None

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            cause = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            raise DatabaseError(f"{self} cannot be used as the database of accounts: {cause}") from None


def insert_into(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An insert with ON CONFLICT, which SQLAlchemy offers for each of the two databases but not in general."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def _migrate(connection: Connection) -> None:
    # The caller logs that there was a migration; Alembic's own lines do not belong into a server's log.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # Loading Alembic takes longer than everything else here.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _journal_mode(connection: Connection) -> str | None:
    """Of an SQLite file; None for PostgreSQL."""
    if connection.dialect.name != "sqlite":
        return None
    return str(connection.exec_driver_sql("PRAGMA journal_mode").scalar())


def _sqlite(file: Path) -> URL:
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not file.exists():
            file.touch(mode=0o600)
    except OSError as error:
        raise DatabaseError(f"{file} cannot be created: {error.strerror}") from None
    _check_locks(file)
    return URL.create("sqlite", database=str(file))


def _check_locks(file: Path) -> None:
    """Raise DatabaseError where files cannot be locked: SQLite would wait, and then report a locked database."""
    if sys.platform == "win32":
        return
    try:
        descriptor = os.open(_lock_file(file), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise DatabaseError(f"{_lock_file(file)} cannot be opened: {error.strerror}") from None
    try:
        for lock in (fcntl.flock, fcntl.lockf):
            with suppress(BlockingIOError, PermissionError):
                lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise DatabaseError(
            f"{file} is on a file system without file locks: set MASKERY_HOME to a folder on a local disk, or "
            "MASKERY_DATABASE_URL to a PostgreSQL"
        ) from None
    finally:
        os.close(descriptor)


def _lock_file(file: str | Path) -> str:
    return f"{file}.lock"


def _parse(text: str) -> URL:
    # The text after the first @ would be taken for the host, and be shown.
    if text.partition("?")[0].count("@") > 1:
        raise DatabaseError("the database's URL has more than one @; write an @ in a password as %40")
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
    raise DatabaseError("the database's URL must be postgresql://USER:PASSWORD@HOST/NAME or sqlite:////PATH")


def _configure(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    # A writer waits for another one instead of failing.
    cursor.execute("PRAGMA busy_timeout = 5000")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()
