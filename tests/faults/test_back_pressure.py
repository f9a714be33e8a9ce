"""Overload: too many requests, images to encode or bytes, and requests that exceed their time limit."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.running import Answer, Server, Start, body_of, expected_eighths, head_of, read_raw

BIG = 3 * 2**20


@pytest.fixture(scope="module")
def server(start_for_all: Start) -> Server:
    return start_for_all(workers=1, max_queue=2, max_encode_queue=1, max_image_bytes=100_000, max_upload_bytes=1)


def assert_busy(answer: Answer) -> None:
    assert (answer.status, answer.code) == (503, "busy")
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_request_beyond_the_queue_is_refused_with_retry_after(server: Server) -> None:
    assert server.segment(1).status == 200
    with ThreadPoolExecutor(3) as clients, server.faults.set("hold-decode-40") as hold:
        pending = [clients.submit(server.segment, 1, 40) for _ in range(3)]
        server.wait_for_metric("maskery_requests_in_flight", 3)
        assert_busy(server.segment(1))
        hold.unlink()
        assert [each.result().status for each in pending] == [200, 200, 200]
    assert server.segment(1).status == 200


def test_an_image_beyond_the_encoding_queue_is_refused_with_retry_after(server: Server) -> None:
    with ThreadPoolExecutor(2) as clients, server.faults.set("hold-encode-10") as hold:
        first = clients.submit(server.segment, 10)
        server.faults.wait_for("encode 10")
        second = clients.submit(server.segment, 11)
        server.wait_for_metric('maskery_queue_waiting{queue="encode"}', 1)
        assert_busy(server.segment(12))
        hold.unlink()
        assert [first.result().eighths, second.result().eighths] == [expected_eighths(10), expected_eighths(11)]
    assert server.segment(12).eighths == expected_eighths(12)


def test_a_body_beyond_the_limit_of_bytes_is_refused_with_retry_after(server: Server) -> None:
    body = body_of(20, nbytes=BIG)
    with server.dial() as connection:
        connection.sendall(head_of(len(body), Connection="close") + body[:-1])
        server.wait_for_metric("maskery_request_bytes_in_flight", len(body) - 1)
        assert_busy(server.segment(21, nbytes=BIG))
        assert server.segment(1).status == 200, "a small body is accepted"
        connection.sendall(body[-1:])
        assert read_raw(connection)[0] == 200
    server.wait_for_metric("maskery_request_bytes_in_flight", 0)
    assert server.segment(21, nbytes=BIG).eighths == expected_eighths(21)


def test_large_bodies_at_once_are_answered_or_refused(server: Server) -> None:
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda image: server.segment(image, nbytes=BIG), range(30, 38)))
    assert {answer.status for answer in answers} <= {200, 503}
    for answer in answers:
        if answer.status == 503:
            assert_busy(answer)
    server.wait_for_metric("maskery_request_bytes_in_flight", 0)
    server.wait_for_metric("maskery_requests_in_flight", 0)
    again = [server.segment(image, nbytes=BIG) for image in range(30, 38)]
    assert [answer.eighths for answer in again] == [expected_eighths(image) for image in range(30, 38)]


def test_an_upload_that_exceeds_its_time_limit_is_ended_and_delays_no_other_request(server: Server) -> None:
    started = time.monotonic()
    with server.dial() as connection:
        connection.sendall(head_of(100_000, X_Request_Timeout="1") + b"{")
        connection.settimeout(0.1)
        others, answer = [], b""
        while time.monotonic() < started + 20:
            others.append(server.segment(1).status)
            try:
                answer = connection.recv(65536)
                break
            except TimeoutError:
                connection.sendall(b" ")
        seconds = time.monotonic() - started
        connection.settimeout(20)
        # The response may arrive in pieces, then the connection is closed.
        status, rest = read_raw(connection)
    assert answer.startswith(b"HTTP/1.1 504 "), answer
    assert b"deadline_exceeded" in answer + rest
    assert b"connection: close" in (answer + rest).lower()
    assert not status
    assert seconds >= 1
    assert set(others) == {200}
    server.wait_for_metric("maskery_request_bytes_in_flight", 0)


def test_a_request_that_exceeds_its_time_limit_in_the_queue_is_answered_504(server: Server) -> None:
    with server.faults.set("hold-encode-50") as hold, ThreadPoolExecutor(1) as clients:
        first = clients.submit(server.segment, 50, headers={"x-request-timeout": "30"})
        server.faults.wait_for("encode 50")
        answer = server.segment(51, headers={"x-request-timeout": "0.5"})
        assert (answer.status, answer.code) == (504, "deadline_exceeded")
        hold.unlink()
        assert first.result().status == 200
    assert not server.faults.begun("encode 51")
