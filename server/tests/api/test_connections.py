"""Connections: disconnects, time limits, host names, and what the access log shows of them."""

import json
import logging
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import httpx
import pytest
import waiting
from samples import b64

ROUTE = "/v1/images/segmentations"
TOKEN = "/realms/airefinery-realm/protocol/openid-connect/token"

until = partial(waiting.until, seconds=5)


class Gate:
    """Blocks encoding until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.count = 0


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    from maskery.models.builtin.grabcut import GrabCut

    gate, encode = Gate(), GrabCut.encode

    def held(self: GrabCut, image: Any) -> Any:
        gate.count += 1
        gate.entered.release()
        assert gate.open.wait(30)
        return encode(self, image)

    monkeypatch.setattr(GrabCut, "encode", held)
    yield gate
    gate.open.set()


def connect(client: httpx.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=20)


def head(client: httpx.Client, path: str = ROUTE, length: int = 0, **headers: str) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: {client.headers['authorization']}",
        f"Content-Length: {length}",
        *(
            f"{name.replace('_', '-')}: {value}"
            for name, value in {"Content_Type": "application/json", **headers}.items()
        ),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def read_to_the_end(connection: socket.socket) -> bytes:
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def test_a_client_that_disconnects_in_the_queue_frees_its_slot(
    make_client: Callable[..., httpx.Client], body: dict[str, Any], gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "maskery.access")
    client = make_client(workers=1, max_queue=1)
    content = json.dumps(body).encode()

    def is_full() -> bool:
        status = client.post(ROUTE, content=content, headers={"x-request-timeout": "0.05"}).status_code
        assert status in (503, 504)
        return status == 503

    with connect(client) as first:
        first.sendall(head(client, length=len(content)) + content)
        assert gate.entered.acquire(timeout=20)
        with connect(client) as second:
            second.sendall(head(client, length=len(content), x_request_id="the-one-that-left") + content)
            until(is_full)
        until(lambda: not is_full())
        gate.open.set()
        assert first.recv(100).startswith(b"HTTP/1.1 200 ")
    until(lambda: "the-one-that-left" in caplog.text)
    (line,) = [line for line in caplog.messages if "the-one-that-left" in line]
    assert " 499 " in line
    assert client.post(ROUTE, content=content).status_code == 200
    assert gate.count == 1
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_running_encoding_serves_the_next_client_after_a_disconnect(
    make_client: Callable[..., httpx.Client], body: dict[str, Any], gate: Gate
) -> None:
    client = make_client(workers=1)
    content = json.dumps(body).encode()
    with connect(client) as first:
        first.sendall(head(client, length=len(content)) + content)
        assert gate.entered.acquire(timeout=20)
    time.sleep(0.1)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(client.post, ROUTE, content=content)
        time.sleep(0.1)
        gate.open.set()
        assert second.result().status_code == 200
    assert gate.count == 1


def test_a_disconnect_within_the_body_is_not_a_server_error(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "maskery.access")
    with connect(client) as connection:
        connection.sendall(head(client, length=1000, x_request_id="half") + b"{")
        time.sleep(0.1)
    until(lambda: "request=half" in caplog.text)
    assert " 499 " in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        ("application/json", b'{"model": "'),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="request"\r\n\r\n'),
    ],
)
def test_the_time_limit_covers_receiving_the_body(client: httpx.Client, kind: str, start: bytes) -> None:
    with connect(client) as connection:
        connection.sendall(head(client, length=10_000, Content_Type=kind, x_request_timeout="0.4") + start)
        started = time.monotonic()
        connection.settimeout(0.05)
        received = b""
        while not received and time.monotonic() - started < 10:
            connection.sendall(b"x")
            try:
                received = connection.recv(65536)
            except TimeoutError:
                continue
        assert time.monotonic() - started > 0.3
        connection.settimeout(5)
        received += read_to_the_end(connection)
    answer, _, content = received.partition(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert b"connection: close" in answer.lower()
    error = json.loads(content)["error"]
    assert error["code"] == "deadline_exceeded"
    assert "0.4 seconds" in error["message"]


@pytest.mark.parametrize("path", ["/authentication/validate", TOKEN])
def test_the_default_time_limit_covers_authentication_routes(
    make_client: Callable[..., httpx.Client], path: str
) -> None:
    client = make_client(default_timeout=0.3)
    kind = "application/x-www-form-urlencoded" if path == TOKEN else "application/json"
    with connect(client) as connection:
        connection.sendall(head(client, path, 1000, Content_Type=kind) + b"{")
        assert read_to_the_end(connection).startswith(b"HTTP/1.1 504 ")


def test_the_body_and_the_work_share_one_time_limit(
    make_client: Callable[..., httpx.Client], body: dict[str, Any], gate: Gate
) -> None:
    client = make_client(workers=1)
    content = json.dumps(body).encode()
    with connect(client) as connection:
        connection.sendall(head(client, length=len(content), x_request_timeout="1", Connection="close") + content[:-1])
        time.sleep(0.7)
        started = time.monotonic()
        connection.sendall(content[-1:])
        received = read_to_the_end(connection)
        # A limit for the work alone would be a second.
        assert time.monotonic() - started < 0.9
    assert received.startswith(b"HTTP/1.1 504 ")
    assert b"within its 1 seconds" in received


def test_a_request_writes_one_log_line_whatever_its_path(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "maskery.access")
    client.get("/a%0a2026-01-01%20INFO%20maskery.access%20GET%20/v1/models%20200%1b[31m%ff%ed%a0%80")
    until(lambda: bool(caplog.messages))
    (line,) = caplog.messages
    assert "\n" not in line
    assert line.isprintable()
    assert line.startswith("GET /a%0A2026-01-01%20INFO")


@pytest.mark.parametrize("host", ["127.0.0.2", "127.0.0.1", "localhost"])
def test_a_server_on_loopback_accepts_loopback_host_names(make_client: Callable[..., httpx.Client], host: str) -> None:
    client = make_client(host=host)
    for name in {host, "localhost", "127.0.0.1", "[::1]"}:
        assert client.get("/v1/models", headers={"Host": f"{name}:8484"}).status_code == 200
    assert client.get("/v1/models", headers={"Host": "evil.example"}).status_code == 403


def test_an_ipv6_address_is_allowed_in_its_brackets(make_client: Callable[..., httpx.Client]) -> None:
    client = make_client(host="0:0:0:0:0:0:0:1")
    assert client.get("/v1/models", headers={"Host": "[0:0:0:0:0:0:0:1]:8484"}).status_code == 200


def test_a_key_in_the_wrong_place_is_not_logged(
    client: httpx.Client, body: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "maskery.access")
    key = client.headers["authorization"].removeprefix("Bearer ")
    client.post(ROUTE, json={**body, "model": key})
    client.post(ROUTE, json={**body, "user": key})
    client.get(f"/{key}")
    until(lambda: len(caplog.records) == 3)
    for record in caplog.records:
        # The key's id is kept, so that the key can be revoked.
        assert key[16:26] not in str(vars(record))
        assert f"{key[:15]}_..." in str(vars(record))


def test_every_address_includes_ipv4(
    make_client: Callable[..., httpx.Client], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "maskery.access")
    client = make_client(host="::")
    port = client.base_url.port
    for host in ("127.0.0.1", "[::1]"):
        assert client.get(f"http://{host}:{port}/health/live").status_code == 200
    until(lambda: len(caplog.records) == 2)
    assert [vars(record)["client"] for record in caplog.records] == ["127.0.0.1", "::1"], "not ::ffff:127.0.0.1"


OFFERS = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    "websocket": b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
}


def responses(connection: socket.socket, count: int) -> list[bytes]:
    """The statuses of so many responses."""
    received = b""
    while received.count(b"HTTP/1.1 ") < count or not received.endswith(b"}"):
        piece = connection.recv(65536)
        assert piece, received
        received += piece
    return [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("way", ["at once", "head first", "byte by byte", "chunked", "pipelined"])
def test_an_offer_to_upgrade_is_ignored(client: httpx.Client, body: dict[str, Any], offer: str, way: str) -> None:
    content = json.dumps(body).encode()
    sent_head = head(client, length=len(content))
    if way == "chunked":
        sent_head = sent_head.replace(b"Content-Length: %d" % len(content), b"Transfer-Encoding: chunked")
        content = b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)
    offering = sent_head.replace(b"\r\n", b"\r\n" + OFFERS[offer], 1)
    with connect(client) as connection:
        if way == "head first":
            connection.sendall(offering)
            time.sleep(0.05)
            connection.sendall(content)
        elif way == "byte by byte":
            for byte in offering:
                connection.sendall(bytes([byte]))
            connection.sendall(content)
        else:
            connection.sendall((offering + content) * (3 if way == "pipelined" else 1))
        expected = 3 if way == "pipelined" else 1
        assert responses(connection, expected) == [b"200"] * expected
        connection.sendall(sent_head + content)
        assert responses(connection, 1) == [b"200"], "the next request on the connection"


def test_an_offer_without_a_body_and_an_offer_to_close(client: httpx.Client) -> None:
    get = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: h2c\r\nConnection: upgrade"
    with connect(client) as connection:
        connection.sendall(get + b"\r\n\r\n")
        assert responses(connection, 1) == [b"200"]
        connection.sendall(get + b", close\r\n\r\n")
        assert read_to_the_end(connection).startswith(b"HTTP/1.1 200 ")


def test_connect_is_rejected(client: httpx.Client) -> None:
    with connect(client) as connection:
        connection.sendall(b"CONNECT example.com:443 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert read_to_the_end(connection).startswith(b"HTTP/1.1 400 ")


def test_requests_that_wait_take_no_more_memory_than_their_bodies(
    make_client: Callable[..., httpx.Client], body: dict[str, Any], gate: Gate, image: bytes
) -> None:
    """The ceiling in docs/operating.md: a body is freed once it is parsed, and only its image is kept."""
    count, size = 6, 3 * 2**20
    client = make_client(workers=1)
    # Bytes after the end of a PNG are ignored.
    files = (b64(image + bytes([number]) * size) for number in range(1, count + 1))
    contents = [json.dumps({**body, "image_prompt": file}).encode() for file in files]
    total = sum(map(len, contents))
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(client)) for _ in contents]
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        for connection, content in zip(connections, contents, strict=True):
            connection.sendall(head(client, length=len(content)) + content)
        assert gate.entered.acquire(timeout=20)
        until(lambda: f"maskery_requests_in_flight {float(count)}" in client.get("/metrics").text)
        until(lambda: tracemalloc.get_traced_memory()[0] < total)
        # While a body is received and parsed, there is a second copy of it: joined chunks, the decoded image.
        assert tracemalloc.get_traced_memory()[1] < total + 4 * len(contents[0])
        gate.open.set()
        for connection in connections:
            assert responses(connection, 1) == [b"200"]
