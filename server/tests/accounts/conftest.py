"""Both databases, each empty for a test, and the event loop that the server has."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from outside import PostgresServer

from maskery.accounts import AccountRepository, Database, KeyRepository, Records, UsageRepository


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def shared_postgres(postgres_server: PostgresServer) -> Iterator[str]:
    """A database with its tables: to make one takes longer than most tests."""
    name = postgres_server.new_database()
    url = postgres_server.url(name)
    Records.open(url).close()
    yield url
    postgres_server.drop_database(name)


@pytest.fixture(params=["sqlite", "postgres"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    """Of a database in which there is nobody: the path of a file that is not there yet, or a URL."""
    if request.param == "sqlite":
        return tmp_path / "new" / "accounts.db"
    url: str = request.getfixturevalue("shared_postgres")
    database = Database(url)
    with database.writing() as connection:
        connection.exec_driver_sql("TRUNCATE accounts, api_keys, usage")
    database.close()
    return url


@pytest.fixture
def records(location: str | Path) -> Iterator[Records]:
    records = Records.open(location)
    yield records
    records.close()


@pytest.fixture
def database(records: Records) -> Database:
    return records.database


@pytest.fixture
def book(records: Records) -> AccountRepository:
    return records.book


@pytest.fixture
def keys(records: Records) -> KeyRepository:
    return records.keys


@pytest.fixture
def usage(records: Records) -> UsageRepository:
    return records.usage
