"""Clients that disconnect during the upload, and while they wait."""

import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.running import SLOW, Server, Start, body_of, eventually, expected_eighths, head_of

# A third of it is several times the size of the kernel's socket buffers.
UPLOAD = 24 * 2**20


@pytest.fixture(scope="module")
def server(start_for_all: Start) -> Server:
    return start_for_all()


def close(connection: socket.socket) -> None:
    connection.close()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("leave", [close, reset])
@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=b"])
def test_an_upload_that_is_cut_off_releases_its_bytes(
    server: Server, leave: Callable[[socket.socket], None], kind: str
) -> None:
    before = server.log.count(" 499 ")
    connection = server.dial()
    start = b"{" if kind == "application/json" else b'--b\r\nContent-Disposition: form-data; name="request"\r\n\r\n{'
    connection.sendall(head_of(UPLOAD, kind) + start.ljust(UPLOAD // 3))
    eventually(lambda: server.metric("maskery_request_bytes_in_flight") == UPLOAD // 3, "a third to arrive")
    leave(connection)
    server.wait_for_metric("maskery_request_bytes_in_flight", 0)
    eventually(lambda: server.log.count(" 499 ") == before + 1, "a line of the log")
    assert server.segment(1).eighths == expected_eighths(1)
    assert "Traceback" not in server.log


def test_a_client_that_disconnects_in_the_queue_is_not_encoded(server: Server) -> None:
    waiting = 'maskery_queue_waiting{queue="encode"}'
    with ThreadPoolExecutor(4) as clients, server.faults.set("hold-encode-10") as hold:
        first = clients.submit(server.segment, 10)
        server.faults.wait_for("encode 10")
        connection = server.dial()
        body = body_of(11)
        connection.sendall(head_of(len(body)) + body)
        server.wait_for_metric(waiting, 1)
        third = clients.submit(server.segment, 12)
        server.wait_for_metric(waiting, 2)
        connection.close()
        server.wait_for_metric(waiting, 1)
        server.wait_for_metric("maskery_requests_in_flight", 2)
        hold.unlink()
        assert [first.result().eighths, third.result().eighths] == [expected_eighths(10), expected_eighths(12)]
    assert not server.faults.begun("encode 11")


def test_a_request_for_the_image_of_a_client_that_disconnects_is_answered(server: Server) -> None:
    with ThreadPoolExecutor(1) as clients, server.faults.set("hold-encode-20") as hold:
        connection = server.dial()
        body = body_of(20)
        connection.sendall(head_of(len(body)) + body)
        server.faults.wait_for("encode 20")
        second = clients.submit(server.segment, 20)
        server.wait_for_metric("maskery_requests_in_flight", 2)
        connection.close()
        server.wait_for_metric("maskery_requests_in_flight", 1)
        hold.unlink()
        assert second.result().eighths == expected_eighths(20)
    assert server.faults.begun("encode 20") == 1


def test_an_encoding_whose_clients_have_disconnected_is_kept_for_a_retry(server: Server) -> None:
    with server.faults.set("hold-encode-30") as hold:
        connection = server.dial()
        body = body_of(30)
        connection.sendall(head_of(len(body)) + body)
        server.faults.wait_for("encode 30")
        connection.close()
        server.wait_for_metric("maskery_requests_in_flight", 0)
        hold.unlink()
        server.wait_for_metric('maskery_queue_running{queue="encode"}', 0)
    assert server.segment(30, model=SLOW).eighths == expected_eighths(30)
    assert server.faults.begun("encode 30") == 1
