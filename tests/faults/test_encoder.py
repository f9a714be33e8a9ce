"""The encoder process crashes or hangs, and it ends with its server."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.faults.running import Answer, Server, Start, eventually, expected_eighths, is_alive

RESTARTS = "maskery_encoder_restarts_total"


@pytest.fixture(scope="module")
def server(start_for_all: Start) -> Server:
    return start_for_all()


@contextmanager
def clicking(server: Server, image: int) -> Iterator[list[Answer]]:
    """Two clients that send prompts for a known image without a pause; yields their responses."""
    assert server.segment(image).status == 200
    answers: list[Answer] = []
    enough = threading.Event()

    def click() -> None:
        while not enough.is_set():
            answers.append(server.segment(image))

    with ThreadPoolExecutor(2) as clients:
        done = [clients.submit(click) for _ in range(2)]
        try:
            yield answers
        finally:
            enough.set()
        for each in done:
            each.result()


def kill_encoder(server: Server) -> None:
    encoder = server.encoder()
    assert encoder
    os.kill(encoder, signal.SIGKILL)
    eventually(lambda: not is_alive(encoder), "the encoder process to end")


def assert_lost(answer: Answer) -> None:
    assert (answer.status, answer.code) == (503, "encoder_lost")
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_crash_of_the_encoder_process_affects_only_the_image_that_it_encodes(server: Server) -> None:
    restarts = server.metric(RESTARTS)
    with ThreadPoolExecutor(2) as clients, clicking(server, 10) as clicks:
        with server.faults.set("hold-encode-11"):
            lost = clients.submit(server.segment, 11)
            server.faults.wait_for("encode 11")
            waiting = clients.submit(server.segment, 12)
            server.wait_for_metric('maskery_queue_waiting{queue="encode"}', 1)
            before = len(clicks)
            kill_encoder(server)
            assert_lost(lost.result())
        assert waiting.result().eighths == expected_eighths(12)
        assert server.segment(11).eighths == expected_eighths(11)
        eventually(lambda: len(clicks) > before + 4, "clicks to be answered")
    assert {answer.status for answer in clicks} == {200}
    assert {answer.eighths for answer in clicks} == {expected_eighths(10)}
    assert server.metric(RESTARTS) == restarts + 1


def test_a_crash_while_idle_affects_no_request(server: Server) -> None:
    assert server.segment(20).status == 200
    restarts = server.metric(RESTARTS)
    kill_encoder(server)
    assert server.segment(21).eighths == expected_eighths(21)
    assert server.metric(RESTARTS) == restarts + 1


def test_a_crash_before_the_image_is_read_affects_no_request(server: Server) -> None:
    assert server.segment(20).status == 200
    restarts = server.metric(RESTARTS)
    encoder = server.encoder()
    assert encoder
    # It does not read any more, like a process that is being killed.
    os.kill(encoder, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as clients:
        answer = clients.submit(server.segment, 22)
        server.wait_for_metric('maskery_queue_running{queue="encode"}', 1)
        time.sleep(0.3)
        os.kill(encoder, signal.SIGKILL)
        assert answer.result().eighths == expected_eighths(22)
    assert server.metric(RESTARTS) == restarts + 1


def test_an_image_that_crashes_the_encoder_process_each_time_fails_alone(server: Server) -> None:
    # Four new images and two requests for the one that crashes the process wait at the same time.
    with (
        ThreadPoolExecutor(8) as clients,
        server.faults.set("kill-encode-30"),
        server.faults.set("hold-encode-31") as hold,
    ):
        first = clients.submit(server.segment, 31)
        server.faults.wait_for("encode 31")
        crashing = [clients.submit(server.segment, 30) for _ in range(2)]
        server.wait_for_metric("maskery_requests_in_flight", 3)
        others = [clients.submit(server.segment, image) for image in (32, 33, 34)]
        server.wait_for_metric("maskery_requests_in_flight", 6)
        hold.unlink()
        for crashed in crashing:
            assert_lost(crashed.result())
        assert [each.result().eighths for each in (first, *others)] == [expected_eighths(31 + i) for i in range(4)]
        assert_lost(server.segment(30))
        assert server.segment(31).status == 200
    assert server.segment(30).eighths == expected_eighths(30)


def test_an_encoder_process_that_exceeds_its_time_limit_is_replaced(start: Start) -> None:
    server = start(encode_timeout=0.5)
    assert server.segment(1).status == 200
    encoder = server.encoder()
    assert encoder
    with server.faults.set("hold-encode-2"):
        answer = server.segment(2)
        assert_lost(answer)
        assert "MASKERY_ENCODE_TIMEOUT" in answer.json["error"]["message"]
        eventually(lambda: not is_alive(encoder), "the encoder process to end")
    assert server.segment(2).status == 200


@pytest.mark.parametrize("busy", [False, True])
def test_the_encoder_process_ends_with_its_server(start: Start, busy: bool) -> None:
    server = start()
    assert server.segment(1).status == 200
    encoder = server.encoder()
    assert encoder
    with ThreadPoolExecutor(1) as clients, server.faults.set("hold-encode-2"):
        if busy:
            pending = clients.submit(server.segment, 2)
            server.faults.wait_for("encode 2")
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        eventually(lambda: not is_alive(encoder), "the encoder process to end", 10)
        if busy:
            assert isinstance(pending.exception(), ConnectionError)
