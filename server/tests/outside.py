"""Fixtures of real services: Redis and PostgreSQL from the system's packages, started when a test needs them.

Each has its own folder and its own port or socket, keeps no data, and ends with the tests.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_FIXTURES = {"redis_server", "redis_url", "own_redis", "postgres_server", "postgres_url", "own_postgres"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that need a service: they use a fixture of this module, or have a parameter "redis" or "postgres"."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        values = [each for each in callspec.params.values() if isinstance(each, str)] if callspec else []
        if not _FIXTURES.isdisjoint(getattr(item, "fixturenames", ())) or "redis" in values or "postgres" in values:
            item.add_marker(pytest.mark.services)


class Service:
    """A program in a folder of its own, as an unprivileged user if tests run as root: PostgreSQL insists."""

    user = "nobody" if os.geteuid() == 0 else None

    def __init__(self) -> None:
        # Not in pytest's folder, which other users cannot enter; and short, because paths of sockets must be.
        self.folder = Path(tempfile.mkdtemp(prefix="maskery-"))
        if self.user:
            shutil.chown(self.folder, self.user)
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, *command: str | Path) -> None:
        """Run a command as the same user, and wait for it."""
        done = subprocess.run(command, user=self.user, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def begin(self, command: list[str | Path], ready: Callable[[], bool]) -> None:
        log = self.folder / "log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command, user=self.user, cwd=self.folder, stdout=output, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + 30
        while not ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"{Path(command[0]).name} did not start: {log.read_text()}")
            time.sleep(0.01)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)


class RedisServer(Service):
    """A Redis or Valkey. It can be stopped, and started again at the same address without its data."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self, *options: str) -> None:
        usual = f"--bind 127.0.0.1 --port {self.port} --appendonly no --databases 4"
        # Any response will do, also an error that a password is needed.
        self.begin([self._program, *usual.split(), "--save", "", *options], lambda: bool(self._ask("PING")))

    def freeze(self) -> None:
        """It accepts connections and does not respond until it is thawed."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self.process is not None:
            self.thaw()
        super().stop()

    def empty(self) -> None:
        assert self._ask("FLUSHALL") == "+OK"

    def _ask(self, command: str) -> str:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                connection.sendall(f"{command}\r\n".encode())
                return connection.recv(1024).decode().strip()
        except ConnectionRefusedError:
            return ""


class PostgresServer(Service):
    """A PostgreSQL with a socket in its folder. It can be stopped and started again."""

    def __init__(self, programs: Path) -> None:
        super().__init__()
        self._programs = programs
        self._databases = 0

    def start(self) -> None:
        data = self.folder / "data"
        if not data.exists():
            self.run(self._programs / "initdb", "-D", data, "-U", "maskery", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = {
            "listen_addresses": "",
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
        }
        flags = [f"--{name}={value}" for name, value in options.items()]
        self.begin([self._programs / "postgres", "-D", data, *flags], self._is_ready)

    def stop(self) -> None:
        # A "fast" shutdown, which does not wait for clients.
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
        super().stop()

    def new_database(self) -> str:
        """Create a database and return its name."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def drop_database(self, name: str) -> None:
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def url(self, database: str) -> str:
        """For SQLAlchemy with psycopg 3."""
        return f"postgresql+psycopg://maskery@/{database}?host={self.folder}"

    def execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(host=str(self.folder), user="maskery", dbname="postgres", autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def _is_ready(self) -> bool:
        return subprocess.run([self._programs / "pg_isready", "-q", "-h", self.folder]).returncode == 0


def _redis_program() -> str:
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if not found:
        pytest.fail("these tests need Redis: apt-get install redis-server")
    return found


def _postgres_programs() -> Path:
    # Debian installs each release outside of the PATH.
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    on_path = shutil.which("postgres")
    if folders:
        return max(folders, key=lambda folder: int(folder.parent.name))
    if on_path:
        return Path(on_path).parent
    pytest.fail("these tests need PostgreSQL: apt-get install postgresql")


def _running_redis() -> Iterator[RedisServer]:
    server = RedisServer(_redis_program())
    try:
        server.start()
        yield server
    finally:
        server.remove()


#: One for the session, and one for a single test, which may stop it.
redis_server = pytest.fixture(scope="session", name="redis_server")(_running_redis)
own_redis = pytest.fixture(name="own_redis")(_running_redis)


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Address of an empty Redis."""
    redis_server.empty()
    return redis_server.url


def _running_postgres() -> Iterator[PostgresServer]:
    server = PostgresServer(_postgres_programs())
    try:
        server.start()
        yield server
    finally:
        server.remove()


postgres_server = pytest.fixture(scope="session", name="postgres_server")(_running_postgres)
own_postgres = pytest.fixture(name="own_postgres")(_running_postgres)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Address of an empty database, dropped after the test."""
    name = postgres_server.new_database()
    yield postgres_server.url(name)
    postgres_server.drop_database(name)
