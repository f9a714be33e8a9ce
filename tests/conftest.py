"""End-to-end tests: real servers in processes of their own, real clients on the other side of a socket."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Server:
    """A running `maskery serve`."""

    url: str
    key: str
    process: subprocess.Popen[str]
    home: Path


@pytest.fixture(scope="module")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Starts servers on free ports with home folders of their own; settings as keyword arguments."""
    servers: list[Server] = []

    def start(**settings: str) -> Server:
        home = tmp_path_factory.mktemp("home")
        named = {f"MASKERY_{name.upper()}": value for name, value in settings.items()}
        environment = {**os.environ, "MASKERY_HOME": str(home), "PYTHONUNBUFFERED": "1", **named}
        with (home / "server.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "maskery", "serve", "--port", "0"],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert process.stdout is not None
        address, key = process.stdout.readline(), process.stdout.readline()
        found = re.search(r"http://\S+:\d+", address)
        if not found:
            process.wait(10)
            pytest.fail(f"the server did not start: {(home / 'server.log').read_text()}")
        servers.append(Server(found[0], key.removeprefix("Key: ").strip(), process, home))
        return servers[-1]

    yield start
    for server in servers:
        server.process.terminate()
        assert server.process.wait(20) in (0, -15)
        if server.process.stdout:
            server.process.stdout.close()


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server]) -> Server:
    return start_server()
