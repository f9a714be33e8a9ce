"""Servers for these tests. They are killed at the end of the test or module."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults.running import Server, Start, eventually, is_alive, launch, wait_until_ready


@contextmanager
def _starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    servers: list[Server] = []

    def start(ready: bool = True, folder: Path | None = None, **settings: Any) -> Server:
        server = launch(folder or tmp_path_factory.mktemp("server"), **settings)
        servers.append(server)
        return wait_until_ready(server) if ready else server

    try:
        yield start
    finally:
        encoders = [server.encoder() for server in servers]
        for server in servers:
            server.process.kill()
            server.process.wait()
            if server.process.stdout:
                server.process.stdout.close()
        for encoder in encoders:
            if encoder:
                eventually(lambda pid=encoder: not is_alive(pid), "an encoder process to end after its server")


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts servers that run until the end of the test."""
    with _starter(tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="module")
def start_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts servers that run until the end of the module."""
    with _starter(tmp_path_factory) as start:
        yield start
