"""Fixtures of the account tests: both databases, empty, and the server's event loop."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from outside import PostgresServer

from maskery.accounts import AccountRepository, AccountStore, Database, KeyRepository, UsageRepository


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def shared_postgres(postgres_server: PostgresServer) -> Iterator[str]:
    """URL of a database with its tables, for the whole session: migrations take longer than most tests."""
    name = postgres_server.new_database()
    url = postgres_server.url(name)
    AccountStore.open(url).close()
    yield url
    postgres_server.drop_database(name)


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with its tables, to be copied."""
    file = tmp_path_factory.mktemp("accounts") / "accounts.db"
    AccountStore.open(file).close()
    return file


@pytest.fixture
def sqlite_file(tmp_path: Path, migrated_file: Path) -> Path:
    """An empty database with its tables."""
    return Path(shutil.copy(migrated_file, tmp_path / "accounts.db"))


@pytest.fixture(params=["sqlite", "postgres"])
def location(request: pytest.FixtureRequest) -> str | Path:
    """An empty database with its tables: the path of an SQLite file, or a PostgreSQL URL."""
    if request.param == "sqlite":
        file: Path = request.getfixturevalue("sqlite_file")
        return file
    url: str = request.getfixturevalue("shared_postgres")
    database = Database(url)
    with database.writing() as connection:
        connection.exec_driver_sql("TRUNCATE accounts, api_keys, usage")
    database.close()
    return url


@pytest.fixture
def store(location: str | Path) -> Iterator[AccountStore]:
    store = AccountStore.open(location)
    yield store
    store.close()


@pytest.fixture
def database(store: AccountStore) -> Database:
    return store.database


@pytest.fixture
def accounts(store: AccountStore) -> AccountRepository:
    return store.accounts


@pytest.fixture
def keys(store: AccountStore) -> KeyRepository:
    return store.keys


@pytest.fixture
def usage(store: AccountStore) -> UsageRepository:
    return store.usage
