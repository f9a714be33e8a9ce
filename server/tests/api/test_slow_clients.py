"""Clients that send heads slowly, or endlessly, and malformed HTTP."""

import json
import socket
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from maskery.serving.protocol import Protocol

HEAD = 0.5
REST = 1.0


@pytest.fixture
def client(make_client: Callable[..., httpx.Client], monkeypatch: pytest.MonkeyPatch) -> httpx.Client:
    """A client of a server with short limits."""
    monkeypatch.setattr(Protocol, "rest_timeout", REST)
    return make_client(head_timeout=HEAD)


@pytest.fixture
def connection(client: httpx.Client) -> Iterator[socket.socket]:
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=10) as connection:
        yield connection


def trickle(connection: socket.socket, data: bytes, seconds: float = 5) -> tuple[float, bytes]:
    """Send data byte by byte until the server closes; returns the seconds and what was received."""
    started, received = time.monotonic(), b""
    connection.settimeout(0.05)
    for number in range(int(seconds / 0.05)):
        try:
            connection.sendall(data[number : number + 1] or data[-1:])
            piece = connection.recv(65536)
        except TimeoutError:
            continue
        except ConnectionError:
            return time.monotonic() - started, received
        if not piece:
            return time.monotonic() - started, received
        received += piece
    pytest.fail("the connection stays open")


@pytest.mark.parametrize(
    "data",
    [b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 1000, b"\r\n" * 500, b"GET /" + b"x" * 1000],
)
def test_a_head_sent_byte_by_byte_times_out(connection: socket.socket, data: bytes) -> None:
    took, received = trickle(connection, data)
    assert took > HEAD - 0.1
    assert b" 200 " not in received


def test_a_silent_client_times_out(connection: socket.socket) -> None:
    started = time.monotonic()
    assert connection.recv(100) == b""
    assert time.monotonic() - started > HEAD - 0.1


def test_the_limit_restarts_with_every_request(client: httpx.Client, connection: socket.socket) -> None:
    request = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    for _ in range(4):
        connection.sendall(request[:10])
        time.sleep(HEAD * 0.6)
        connection.sendall(request[10:])
        received = b""
        while not received.endswith(b'{"status":"alive"}'):
            received += connection.recv(65536)
    trickle(connection, request[:-1] + b"X" * 1000)
    assert client.get("/health/live").status_code == 200


def test_the_head_limit_does_not_cover_the_body(client: httpx.Client, connection: socket.socket) -> None:
    key = client.headers["authorization"]
    connection.sendall(
        f"POST /authentication/validate HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {key}\r\n"
        "Content-Length: 20\r\n\r\n".encode()
    )
    for _ in range(20):
        time.sleep(HEAD / 12)
        connection.sendall(b" ")
    assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_pipelined_requests_are_all_answered(connection: socket.socket) -> None:
    one = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    last = one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    connection.sendall(one * 3000 + last)
    received = b""
    while piece := connection.recv(65536):
        received += piece
    assert received.count(b"HTTP/1.1 200 ") == 3001


def test_the_rest_of_an_unread_body_has_a_limit(connection: socket.socket) -> None:
    """It is read for a while, so that a client that is still sending sees the response."""
    connection.sendall(b"POST /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000000\r\n\r\n")
    took, received = trickle(connection, b"x")
    assert took > REST - 0.1
    assert received.startswith(b"HTTP/1.1 404 ")


def test_a_client_that_finishes_an_unread_body_gets_the_response(connection: socket.socket) -> None:
    connection.sendall(b"POST /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n")
    for _ in range(10):
        time.sleep(HEAD / 8)
        connection.sendall(b"x")
    connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    received = b""
    while not received.endswith(b'{"status":"alive"}'):
        received += connection.recv(65536)
    assert received.startswith(b"HTTP/1.1 404 ")
    assert b"HTTP/1.1 200 " in received


@pytest.mark.parametrize(
    "start",
    [
        b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
        b"GET /",
        b"POST /authentication/validate HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        b"POST /authentication/validate HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n1;",
    ],
    ids=["header", "path", "trailer", "extension"],
)
def test_an_endless_head_is_not_buffered(client: httpx.Client, connection: socket.socket, start: bytes) -> None:
    sent, received = 0, b""
    connection.sendall(start)
    connection.settimeout(5)
    try:
        while sent < 50_000_000:
            connection.sendall(b"x" * 8192)
            sent += 8192
    except ConnectionError:
        pass
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionError:
        pass
    # Some of it is only in the sockets' buffers.
    assert sent < 20_000_000
    assert b" 200 " not in received
    assert client.get("/health/live").status_code == 200


def test_malformed_http_gets_an_api_error(
    make_client: Callable[..., httpx.Client],
) -> None:
    client = make_client()
    for data in (b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\nHost: " + b"x" * 200_000):
        with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=10) as connection:
            connection.sendall(data)
            head, _, content = connection.recv(65536).partition(b"\r\n\r\n")
        lines = head.decode().lower().split("\r\n")
        assert lines[0].startswith("http/1.1 400 ")
        assert json.loads(content)["error"]["code"] == "malformed_http"
        assert "content-type: application/json" in lines
        assert f"content-length: {len(content)}" in lines
        assert "connection: close" in lines
        assert "x-content-type-options: nosniff" in lines
        assert "cache-control: no-store" in lines
        assert not [line for line in lines if line.startswith("server:")]
