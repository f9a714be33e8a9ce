"""A real server on a real socket that does what a test tells it, and the two clients as one fixture."""

import asyncio
import base64
import io
import json
import random
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import trustme
from PIL import Image

from air import AIRefinery, AsyncAIRefinery

KEY = "sk-test-0123456789"

Behaviour = Callable[["Connection"], bool]  # answers one request; False closes the connection


@dataclass
class Received:
    """One request as it stood on the wire; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    at: float = field(default_factory=time.monotonic)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Connection(socketserver.StreamRequestHandler):
    """Reads requests off one connection and lets the stub answer them."""

    server: "StubServer"
    received: Received

    def handle(self) -> None:
        try:
            while self._one():
                pass
        except OSError:  # the client went away, as some tests have it
            pass

    def _one(self) -> bool:
        line = self.rfile.readline().decode()
        if not line.strip():
            return False
        method, path, _ = line.split()
        headers = {}
        while (line := self.rfile.readline().decode().strip()) != "":
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        length = int(headers.get("content-length", 0))
        body = self.rfile.read(length)
        if len(body) < length:  # the client has given up
            return False
        stub = self.server.stub
        self.received = Received(method, path, headers, body, id(self))
        stub.requests.append(self.received)
        return stub.next_behaviour()(self)


class StubServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128
    stub: "Stub"
    tls: ssl.SSLContext | None = None

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        return (self.tls.wrap_socket(connection, server_side=True) if self.tls else connection), address


class Stub:
    """Plays the given behaviours, one per request, and the last one for all further requests."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[Received] = []
        self.stopped = threading.Event()
        self._script: list[Behaviour] = [self.segmented()]
        self._lock = threading.Lock()

    def plays(self, *behaviours: Behaviour) -> None:
        self._script = list(behaviours)

    def next_behaviour(self) -> Behaviour:
        with self._lock:
            return self._script.pop(0) if len(self._script) > 1 else self._script[0]

    @property
    def request(self) -> Received:
        """The only one."""
        (request,) = self.requests
        return request

    # Behaviours

    def reply(
        self, status: int = 200, body: Any = None, headers: dict[str, str] | None = None, delay: float = 0
    ) -> Behaviour:
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        content = text.encode() if isinstance(text, str) else text

        def behave(connection: Connection) -> bool:
            self.stopped.wait(delay)
            connection.wfile.write(_head(status, len(content), headers or {}) + content)
            return True

        return behave

    def segmented(self, delay: float = 0, **mask: Any) -> Behaviour:
        return self.reply(200, answer(**mask), {"x-request-id": "req_1"}, delay)

    def numbered(self, longest_delay: float = 0) -> Behaviour:
        """An answer whose ``created`` is the first coordinate of the prompt, to tell answers from each other."""

        def behave(connection: Connection) -> bool:
            number = connection.received.json["segment_prompt"][0][0][0]
            body = answer(label=str(number)) | {"created": number}
            return self.reply(200, body, delay=random.uniform(0, longest_delay))(connection)

        return behave

    def error(self, status: int, headers: dict[str, str] | None = None, **error: Any) -> Behaviour:
        error = {"message": "no luck", "type": "some_error", "param": None, "code": None} | error
        return self.reply(status, {"error": error}, headers)

    def hangs_up(self) -> Behaviour:
        return lambda _: False

    def breaks_off(self) -> Behaviour:
        """Within the body."""

        def behave(connection: Connection) -> bool:
            connection.wfile.write(_head(200, 1000, {}) + b'{"created"')
            return False

        return behave

    def drips(self, part: str, length: bool = True) -> Behaviour:
        """Sends one byte now and then: each in time, the whole never."""

        def behave(connection: Connection) -> bool:
            if part == "body":
                connection.wfile.write(_head(200, 10_000 if length else None, {}) + b"[")
            else:
                connection.wfile.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
            while not self.stopped.wait(0.05):
                connection.wfile.write(b" ")
            return False

        return behave

    def silent(self) -> Behaviour:
        def behave(_: Connection) -> bool:
            self.stopped.wait()
            return False

        return behave


def _head(status: int, length: int | None, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def answer(**mask: Any) -> dict[str, Any]:
    """A whole answer with one mask of 4 by 3 pixels in it."""
    values = np.array([[0, 1, 1, 0], [0, 1, 2, 0], [0, 0, 2, 0]], np.uint8)
    plain = {"b64_json": png64(values), "label": None, "score": 0.9}
    return {"created": 1_700_000_000, "data": [plain | mask], "usage": None}


def png64(array: Any) -> str:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def unpng(text: str | bytes) -> Image.Image:
    data = base64.b64decode(text) if isinstance(text, str) else text
    return Image.open(io.BytesIO(data), formats=["PNG"])


class Twin:
    """One of the two clients; both are called alike."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind = kind
        self.url = url

    def run(self, action: Callable[[Any], Any], **arguments: Any) -> Any:
        """``action(client)``, awaited where the client is async; further arguments are the client's."""
        arguments = {"api_key": KEY, "base_url": self.url} | arguments
        if self.kind == "sync":
            with AIRefinery(**arguments) as client:
                return action(client)

        async def main() -> Any:
            async with AsyncAIRefinery(**arguments) as async_client:
                return await action(async_client)

        return asyncio.run(main())

    def segment(self, image: Any = "aW1hZ2U=", prompt: Any = (((1, 2),),), client: Any = None, **arguments: Any) -> Any:
        return self.run(lambda c: c.images.segment(image, prompt, "some/model", **arguments), **(client or {}))


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture(params=["http"])
def stub(request: pytest.FixtureRequest, authority: trustme.CA) -> Iterator[Stub]:
    """Plain HTTP; ``@pytest.mark.parametrize("stub", ["http", "https"], indirect=True)`` for both."""
    with serving(request.param, authority) as stub:
        yield stub


@pytest.fixture
def other_stub(authority: trustme.CA) -> Iterator[Stub]:
    """A second server."""
    with serving("http", authority) as stub:
        yield stub


@contextmanager
def serving(scheme: str, authority: trustme.CA) -> Iterator[Stub]:
    with StubServer(("127.0.0.1", 0), Connection) as server:
        server.stub = Stub(f"{scheme}://127.0.0.1:{server.server_address[1]}")
        if scheme == "https":
            server.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            authority.issue_cert("127.0.0.1").configure_cert(server.tls)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.002})
        thread.start()
        yield server.stub
        server.stub.stopped.set()
        server.shutdown()
        thread.join()


@pytest.fixture(params=["sync", "async"])
def twin(request: pytest.FixtureRequest, stub: Stub) -> Twin:
    return Twin(request.param, stub.url)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AIR_API_KEY", "AIR_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="session")
def authority_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(autouse=True)
def one_authority(authority_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients trust the tests' own authority alone: it loads in no time, the public ones take longer than a test."""
    monkeypatch.setenv("SSL_CERT_FILE", authority_file)


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("air._budget._FIRST_WAIT", 0.01)


@pytest.fixture
def key() -> str:
    return KEY


@pytest.fixture
def make_answer() -> Callable[..., dict[str, Any]]:
    return answer


@pytest.fixture
def to_png64() -> Callable[[Any], str]:
    return png64


@pytest.fixture
def from_png() -> Callable[[str | bytes], Image.Image]:
    return unpng
