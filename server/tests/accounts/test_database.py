"""The database of accounts: connections, migrations, errors."""

import errno
import fcntl
import hashlib
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from alembic import op
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from outside import PostgresServer
from sqlalchemy import text as sql
from sqlalchemy.engine import Connection

from maskery.accounts import HEAD, AccountStore, DailyUsage, Database, DatabaseError, Limits, Usage
from maskery.accounts import database as module
from maskery.accounts.keys import verify_secret
from maskery.accounts.migrations.versions import v0003_vocabulary
from maskery.accounts.schema import metadata

SECRET = "open-sesame"

# As the first releases created it, without a migration.
TABLE_BEFORE = """
    CREATE TABLE api_keys (
        id VARCHAR(16) NOT NULL, hash {bytes} NOT NULL, account VARCHAR(128) NOT NULL, created FLOAT NOT NULL,
        revoked FLOAT, PRIMARY KEY (id)
    )
"""

# Forks when everything is loaded, so that all processes start at the same time.
MANY_UPGRADE = """
import os, sys, traceback
from pathlib import Path
import alembic.command
from maskery.accounts import AccountStore

def work(url):
    try:
        store = AccountStore.open(url)
        store.keys.create("team")
        store.close()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)

for url in sys.argv[1:]:
    begin, held = os.pipe()
    children = []
    for _ in range(8):
        child = os.fork()
        if not child:
            os.close(held)
            os.read(begin, 1)
            work(url if "://" in url else Path(url))
        children.append(child)
    os.close(held)
    os.close(begin)
    if any([os.waitpid(child, 0)[1] for child in children]):
        sys.exit(f"some failed on {url}")
"""


@pytest.fixture(params=["sqlite", "postgres"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    """A database without tables."""
    url: str | Path = tmp_path / "accounts.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def opened(location: str | Path) -> Iterator[Database]:
    database = Database(location)
    yield database
    database.close()


def run(database: Database, *statements: str) -> None:
    with database.writing() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def make_before(database: Database) -> dict[str, str]:
    """The tables of the first releases, with three keys. Returns their texts by ID."""
    texts = {}
    run(database, TABLE_BEFORE.format(bytes="BLOB" if database.is_sqlite else "BYTEA"))
    with database.writing() as connection:
        for number, (account, revoked) in enumerate((("team", None), ("team", 1800.5), ("b", None))):
            key_id = f"{number:012x}"
            text = f"mk_{key_id}_{'s' * 43}"
            values = {
                "id": key_id,
                "hash": hashlib.sha256(text.encode()).digest(),
                "account": account,
                "created": 1700.25 + number,
                "revoked": revoked,
            }
            connection.execute(sql("INSERT INTO api_keys VALUES (:id, :hash, :account, :created, :revoked)"), values)
            texts[key_id] = text
    return texts


def test_upgrade_an_empty_database_once(opened: Database) -> None:
    assert opened.revision() is None
    assert opened.upgrade()
    assert opened.revision() == HEAD
    assert not opened.upgrade()


def test_head_is_the_last_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def differences(connection: Connection) -> list[object]:
    # Alembic takes SQLite's empty text for no default.
    options = {"compare_type": True, "compare_server_default": connection.dialect.name != "sqlite"}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


@pytest.mark.parametrize("is_empty", [True, False])
def test_the_migrations_create_the_tables_of_the_schema(opened: Database, is_empty: bool) -> None:
    if not is_empty:
        make_before(opened)
    opened.upgrade()
    with opened.reading() as connection:
        assert differences(connection) == []
    run(opened, "ALTER TABLE accounts ADD COLUMN another INTEGER", "DROP INDEX api_keys_by_account")
    with opened.reading() as connection:
        assert len(differences(connection)) == 2, "the comparison finds differences"


def test_keys_of_the_first_releases_are_still_valid(opened: Database, location: str | Path) -> None:
    texts = make_before(opened)
    assert opened.revision() is None
    store = AccountStore.open(location)
    assert opened.revision() == HEAD
    for key_id, record in store.keys.find_records(list(texts)).items():
        assert verify_secret(record, texts[key_id])
        assert (record.account_limits, record.disabled) == (Limits(), False)
    keys = store.keys.list()
    assert [(key.account, key.state) for key in keys] == [("team", "active"), ("team", "revoked"), ("b", "active")]
    assert {(key.name, key.scopes, key.expires, key.last_used) for key in keys} == {
        ("", ("segment", "metrics"), None, None)
    }
    assert [key.created for key in keys] == [1700.25, 1701.25, 1702.25]
    assert [(account.name, account.created) for account in store.accounts.list()] == [("team", 1700.25), ("b", 1702.25)]
    store.keys.rotate(keys[0].id, 60)
    store.close()


def test_the_renamed_columns_keep_their_values(opened: Database, location: str | Path) -> None:
    old = {(table, new): name for table, name, new in v0003_vocabulary._RENAMED}
    upgrade_to(opened, "0002")
    run(
        opened,
        f"INSERT INTO accounts (name, created, {old['accounts', 'images_per_minute']}) VALUES ('team', 1, 5)",
        "INSERT INTO usage VALUES ('team', '2026-03-02', 1, 2, 3, 4, 0.5)",
    )
    with opened.writing() as connection:
        connection.execute(
            sql(
                "INSERT INTO api_keys (id, hash, account, created, "
                f"{old['api_keys', 'scopes']}, {old['api_keys', 'images_per_minute']}) "
                "VALUES ('0123456789ab', :hash, 'team', 1, 'segment,admin', 7)"
            ),
            {"hash": bytes(32)},
        )
    store = AccountStore.open(location)
    assert store.accounts.get("team").limits == Limits(images_per_minute=5)
    key = store.keys.get("0123456789ab")
    assert (key.scopes, key.limits) == (("segment", "admin"), Limits(images_per_minute=7))
    assert store.usage.list() == [DailyUsage("team", date(2026, 3, 2), Usage(1, 2, 3, 4, 0.5))]
    assert store.keys.create("other")[0].scopes == ("segment", "metrics"), "the default of the column is kept"
    store.close()


def upgrade_to(database: Database, revision: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "HEAD", revision)
        database.upgrade()
    assert database.revision() == revision


def test_every_key_belongs_to_an_account(opened: Database) -> None:
    opened.upgrade()
    with pytest.raises(DatabaseError, match=r"(?i)foreign key"):
        run(opened, "INSERT INTO api_keys (id, hash, account, created) VALUES ('a', '', 'missing', 1)")


@pytest.mark.parametrize("start", ["empty", "before"])
def test_eight_processes_upgrade_a_database_at_the_same_time(location: str | Path, tmp_path: Path, start: str) -> None:
    # Several files, because collisions are rare.
    targets = [tmp_path / f"{number}.db" for number in range(2)] if isinstance(location, Path) else [location]
    if start == "before":
        for target in targets:
            database = Database(target)
            make_before(database)
            database.close()
    done = subprocess.run(
        [sys.executable, "-c", MANY_UPGRADE, *map(str, targets)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    for target in targets:
        store = AccountStore.open(target)
        assert len(store.keys.list()) == 8 + 3 * (start == "before")
        store.close()


def test_an_interrupted_upgrade_changes_nothing(
    opened: Database, location: str | Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = make_before(opened)

    def fail(name: str, *columns: Any) -> Any:
        if name == "usage":
            raise KeyboardInterrupt
        return create_table(name, *columns)

    create_table = op.create_table
    monkeypatch.setattr(op, "create_table", fail)
    with pytest.raises(KeyboardInterrupt):
        opened.upgrade()
    opened.close()
    assert opened.revision() is None
    with opened.reading() as connection:
        assert len(connection.execute(sql("SELECT account, hash FROM api_keys")).all()) == 3
    monkeypatch.undo()
    store = AccountStore.open(location)
    assert set(store.keys.find_records(list(texts))) == set(texts)
    store.close()


def test_upgrade_waits_for_that_of_another_process(
    opened: Database, location: str | Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, go_on = threading.Event(), threading.Event()
    migrate = module._migrate
    runs = 0

    def hold(connection: Connection) -> None:
        nonlocal runs
        runs += 1
        inside.set()
        assert go_on.wait(20)
        migrate(connection)

    monkeypatch.setattr(module, "_migrate", hold)
    other = Database(location)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(opened.upgrade)
        assert inside.wait(20)
        second = pool.submit(other.upgrade)
        with pytest.raises(TimeoutError):
            second.result(0.5)
        assert runs == 1
        go_on.set()
        assert first.result(20)
        second.result(20)
    other.close()


def test_an_sqlite_file_is_read_while_another_connection_writes(tmp_path: Path) -> None:
    """A connection that switched the journal mode would fail at once with "database is locked"."""
    database = Database(tmp_path / "a.db")
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert database.revision() is None
        other.execute("ROLLBACK")
    database.close()


def test_an_sqlite_file_without_write_ahead_log_gets_one(tmp_path: Path) -> None:
    def mode() -> str:
        with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
            return str(connection.execute("PRAGMA journal_mode").fetchone()[0])

    AccountStore.open(tmp_path / "a.db").close()
    assert mode() == "wal"
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        # As a copy made by VACUUM INTO.
        connection.execute("PRAGMA journal_mode = DELETE")
    AccountStore.open(tmp_path / "a.db").close()
    assert mode() == "wal"


@pytest.mark.parametrize("function", ["flock", "lockf"])
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, code: int) -> None:
    def fail(*_: object) -> None:
        raise OSError(code, "not available")

    monkeypatch.setattr(fcntl, function, fail)
    message = error_of(tmp_path / "a.db")
    assert message.startswith(f"{tmp_path / 'a.db'} is on a file system without file locks: set MASKERY_HOME")


def test_a_file_that_another_process_is_upgrading_can_be_opened(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db")
    with database._file_lock():
        Database(tmp_path / "a.db").close()
    database.close()


def test_upgrade_waits_for_a_limited_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOCK_TIMEOUT", 0.1)
    one, other = Database(tmp_path / "a.db"), Database(tmp_path / "a.db")
    with (
        one._file_lock(),
        pytest.raises(DatabaseError, match=r"a\.db has been locked by another process for 0\.1 seconds"),
    ):
        other.upgrade()
    other.upgrade()
    one.close()
    other.close()


def test_a_database_of_a_newer_release_is_refused(opened: Database, location: str | Path) -> None:
    opened.upgrade()
    run(opened, "UPDATE alembic_version SET version_num = '0999'")
    for open_it in (opened.upgrade, lambda: AccountStore.open(location)):
        with pytest.raises(DatabaseError, match=r"migrated to 0999 by a newer release"):
            open_it()
    assert opened.revision() == "0999"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "accounts.db",
        f"mysql://me:{SECRET}@host/accounts",
        f"postgres://me:{SECRET}@host/accounts",
        f"postgresql//me:{SECRET}@host/accounts",
        f"postgresql://me:{SECRET}@host:port/accounts",
        f"nothing+at-all://me:{SECRET}@host/accounts",
        "sqlite://",
        "sqlite:///",
    ],
)
def test_invalid_urls(url: str) -> None:
    with pytest.raises(DatabaseError, match=r"must be postgresql://USER:PASSWORD@HOST/NAME or sqlite") as refused:
        Database(url)
    assert SECRET not in str(refused.value)


def test_an_unescaped_at_sign_in_a_password_is_refused() -> None:
    with pytest.raises(DatabaseError, match="%40") as refused:
        Database(f"postgresql://me:open@{SECRET}@host/accounts")
    assert SECRET not in str(refused.value)
    database = Database(f"postgresql://me:a%40{SECRET}@host/accounts")
    assert str(database) == "postgresql+psycopg://me:***@host/accounts"


def test_postgresql_without_psycopg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DatabaseError, match=r"pip install 'maskery\[postgres\]'"):
        Database(f"postgresql://me:{SECRET}@host/accounts")


def error_of(url: str | Path) -> str:
    """The message if a database cannot be opened: one sentence, without the password in it or in its causes."""
    with pytest.raises(DatabaseError) as refused:
        AccountStore.open(url)
    message = str(refused.value)
    assert "\n" not in message
    assert SECRET not in "".join(map(str, (message, refused.value.__cause__, refused.value.args)))
    assert refused.value.__suppress_context__
    return message


@pytest.mark.parametrize("query", ["", f"?password={SECRET}"])
@pytest.mark.parametrize("user", ["me", f"me:{SECRET}"])
def test_an_unreachable_server(user: str, query: str) -> None:
    message = error_of(f"postgresql://{user}@127.0.0.1:1/accounts{query}")
    assert "127.0.0.1:1/accounts cannot be used as the database of accounts: " in message
    assert "refused" in message


def test_an_unknown_option() -> None:
    assert "cannot be used" in error_of(f"postgresql://me:{SECRET}@127.0.0.1:1/accounts?colour=red")


def test_a_wrong_password_and_a_missing_database(postgres_server: PostgresServer, postgres_url: str) -> None:
    rules = postgres_server.folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all stranger scram-sha-256\n{before}")
    try:
        postgres_server.execute("CREATE ROLE stranger LOGIN PASSWORD 'another'")
        postgres_server.execute("SELECT pg_reload_conf()")
        message = error_of(postgres_url.replace("maskery@", f"stranger:{SECRET}@"))
        assert "password authentication failed" in message
    finally:
        rules.write_text(before)
        postgres_server.execute("SELECT pg_reload_conf()")
        postgres_server.execute("DROP ROLE stranger")
    assert "does not exist" in error_of(postgres_server.url("nowhere"))


@pytest.mark.parametrize("database", [Path("name"), "url"])
def test_the_error_names_a_file_that_cannot_be_used(tmp_path: Path, database: Path | str) -> None:
    def located(path: Path) -> Path | str:
        return path if isinstance(database, Path) else f"sqlite:///{path}"

    (tmp_path / "file").write_text("")
    assert "file" in error_of(located(tmp_path / "file" / "accounts.db"))
    (tmp_path / "text.db").write_text("this is not a database, it is a text long enough to be read as one" * 20)
    assert "text.db cannot be used as the database of accounts: file is not a database" in error_of(
        located(tmp_path / "text.db")
    )
    (tmp_path / "folder.db").mkdir()
    assert "folder.db" in error_of(located(tmp_path / "folder.db"))
    (tmp_path / "a.db.lock").mkdir()
    assert error_of(located(tmp_path / "a.db")) == f"{tmp_path / 'a.db.lock'} cannot be opened: Is a directory"


@pytest.mark.parametrize("name", ["what?", "a?mode=memory&b=c", "50%", "%41", "a#b", "ä b"])
def test_folder_names_with_special_characters(tmp_path: Path, name: str) -> None:
    file = tmp_path / name / "accounts.db"
    store = AccountStore.open(file)
    store.keys.create("team")
    store.close()
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT account FROM api_keys").fetchall() == [("team",)]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_ping_reads_a_table(opened: Database) -> None:
    with pytest.raises(DatabaseError):
        opened.ping()
    opened.upgrade()
    opened.ping()


def test_error_messages_contain_no_parameters(opened: Database, location: str | Path) -> None:
    store = AccountStore.open(location)
    run(opened, "DROP TABLE usage", "DROP TABLE api_keys", "DROP TABLE accounts")
    for ask in (lambda: store.keys.create("team", "my name"), lambda: store.keys.find_records(["0" * 12])):
        with pytest.raises(DatabaseError) as refused:
            ask()
        message = str(refused.value)
        assert "cannot be used as the database of accounts" in message
        assert "my name" not in message
        assert "\n" not in message
        assert refused.value.__suppress_context__
    store.close()


def test_a_failed_transaction_changes_nothing(opened: Database) -> None:
    opened.upgrade()
    with pytest.raises(DatabaseError, match="nothing_here"):
        run(opened, "INSERT INTO accounts (name, created) VALUES ('a', 1)", "DROP TABLE nothing_here")
    with opened.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM accounts").scalar() == 0


def test_connections_that_the_server_closed_are_replaced(postgres_server: PostgresServer, postgres_url: str) -> None:
    store = AccountStore.open(postgres_url)
    key, _ = store.keys.create("team")
    postgres_server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'test_%'")
    assert store.keys.get(key.id) == key
    store.close()
