"""End-to-end tests: real servers in processes of their own, real clients on the other side of a socket."""

import io
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import trustme
from PIL import Image
from waiting import until

from tests.playground import browser as chromium

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "tests" / "api_page"
PHOTO_HOST = "huggingface.co"


@dataclass(frozen=True)
class Server:
    """A running `maskery serve`."""

    url: str
    key: str
    process: subprocess.Popen[str]
    home: Path


@pytest.fixture(scope="module")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Starts servers on free ports with home folders of their own; settings as keyword arguments.

    They preload `maskery/grabcut`, which needs no compiling; tests of another model say so.
    """
    servers: list[Server] = []

    def start(**settings: str) -> Server:
        home = tmp_path_factory.mktemp("home")
        settings = {"preload": "maskery/grabcut", **settings}
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
        found = re.search(r"https?://\S+:\d+", address)
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


@contextmanager
def restarted(stopped: Server) -> Iterator[None]:
    """Run a server again during the block, on the port and in the home folder of one that has ended."""
    port = stopped.url.rpartition(":")[2]
    command = [sys.executable, "-m", "maskery", "serve", "--port", port]
    environment = {**os.environ, "MASKERY_HOME": str(stopped.home), "MASKERY_PRELOAD": "maskery/grabcut"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: _is_ready(stopped.url), 60)
            yield
        finally:
            process.terminate()


def _is_ready(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/health/ready").status_code == 200
    return False


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, driven by Playwright."""
    reason = chromium.missing()
    if reason:
        pytest.fail(reason)
    with chromium.launch() as launched:
        yield launched


def car() -> bytes:
    """A photograph large enough for the page's point (450, 600), which lies on its car."""
    pixels = np.full((1200, 1800, 3), (150, 170, 190), np.uint8)
    pixels[450:800, 250:1400] = (180, 30, 40)
    pixels = (pixels + np.random.default_rng(0).integers(-8, 9, pixels.shape)).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@dataclass(frozen=True)
class PhotoHost:
    """A proxy that answers requests for the host from which the page's programs download their photograph."""

    proxy: str
    certificates: Path


@pytest.fixture(scope="module")
def photo_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PhotoHost]:
    authority = trustme.CA()
    certificates = tmp_path_factory.mktemp("certificates") / "authority.pem"
    authority.cert_pem.write_to_path(certificates)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(PHOTO_HOST).configure_cert(context)
    photo = car()
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection:
            request = connection.recv(65536)
            if not request.startswith(f"CONNECT {PHOTO_HOST}:443 ".encode()):
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                return
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(65536)
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(photo)}\r\nConnection: close\r\n\r\n"
                secure.sendall(head.encode() + photo)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    yield PhotoHost(f"http://127.0.0.1:{listener.getsockname()[1]}", certificates)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.fixture(scope="module")
def run_page(photo_host: PhotoHost) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs one of the API page's programs against a server, configured by environment variables alone."""

    def run(program: str, server: Server) -> subprocess.CompletedProcess[str]:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            "ACCOUNT": "local",
            "API_KEY": server.key,
            "AIREFINERY_ADDRESS": server.url,
            "HTTPS_PROXY": photo_host.proxy,
            "NO_PROXY": "127.0.0.1",
            "REQUESTS_CA_BUNDLE": str(photo_host.certificates),
        }
        return subprocess.run(
            [sys.executable, PAGE / program], env=environment, capture_output=True, text=True, timeout=120
        )

    return run
