"""The encoder's process ends, or hangs; and it does not outlive its server."""

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
    """Two clients that click on a known image without a pause; their answers."""
    assert server.ask(image).status == 200
    answers: list[Answer] = []
    enough = threading.Event()

    def click() -> None:
        while not enough.is_set():
            answers.append(server.ask(image))

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
    eventually(lambda: not is_alive(encoder), "the encoder to end")


def assert_lost(answer: Answer) -> None:
    assert (answer.status, answer.code) == (503, "encoder_lost")
    assert int(answer.headers["Retry-After"]) >= 1


def test_only_the_image_that_was_being_encoded_notices_that_the_encoder_was_killed(server: Server) -> None:
    restarts = server.metric(RESTARTS)
    with ThreadPoolExecutor(2) as clients, clicking(server, 10) as clicks:
        with server.faults.told("hold-encode-11"):
            lost = clients.submit(server.ask, 11)
            server.faults.wait_for("encode 11")
            waiting = clients.submit(server.ask, 12)
            server.wait_for_metric('maskery_queue_waiting{queue="encode"}', 1)
            before = len(clicks)
            kill_encoder(server)
            assert_lost(lost.result())
        assert waiting.result().eighths == expected_eighths(12)
        assert server.ask(11).eighths == expected_eighths(11)
        eventually(lambda: len(clicks) > before + 4, "clicks to be answered")
    assert {answer.status for answer in clicks} == {200}
    assert {answer.eighths for answer in clicks} == {expected_eighths(10)}
    assert server.metric(RESTARTS) == restarts + 1


def test_an_encoder_that_ended_while_it_had_nothing_to_do_is_not_missed(server: Server) -> None:
    assert server.ask(20).status == 200
    restarts = server.metric(RESTARTS)
    kill_encoder(server)
    assert server.ask(21).eighths == expected_eighths(21)
    assert server.metric(RESTARTS) == restarts + 1


def test_an_encoder_that_is_ending_when_an_image_comes_is_not_missed(server: Server) -> None:
    assert server.ask(20).status == 200
    restarts = server.metric(RESTARTS)
    encoder = server.encoder()
    assert encoder
    # It reads nothing any more, as one that is being ended.
    os.kill(encoder, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as clients:
        answer = clients.submit(server.ask, 22)
        server.wait_for_metric('maskery_queue_running{queue="encode"}', 1)
        time.sleep(0.3)
        os.kill(encoder, signal.SIGKILL)
        assert answer.result().eighths == expected_eighths(22)
    assert server.metric(RESTARTS) == restarts + 1


def test_an_image_that_kills_the_encoder_each_time_harms_nobody_else(server: Server) -> None:
    # Four new images and one that is known, waiting at the same time; the killer comes twice and is waited for twice.
    with (
        ThreadPoolExecutor(8) as clients,
        server.faults.told("kill-encode-30"),
        server.faults.told("hold-encode-31") as hold,
    ):
        first = clients.submit(server.ask, 31)
        server.faults.wait_for("encode 31")
        killers = [clients.submit(server.ask, 30) for _ in range(2)]
        server.wait_for_metric("maskery_requests_in_flight", 3)
        others = [clients.submit(server.ask, image) for image in (32, 33, 34)]
        server.wait_for_metric("maskery_requests_in_flight", 6)
        hold.unlink()
        for killer in killers:
            assert_lost(killer.result())
        assert [each.result().eighths for each in (first, *others)] == [expected_eighths(31 + i) for i in range(4)]
        assert_lost(server.ask(30))
        assert server.ask(31).status == 200
    assert server.ask(30).eighths == expected_eighths(30)


def test_an_encoder_that_hangs_is_replaced(start: Start) -> None:
    # The limit holds for a process that comes up, too: on a busy machine it may take more than one.
    server = start(encode_timeout=3)
    eventually(lambda: server.ask(1).status == 200, "an encoder to come up")
    encoder = server.encoder()
    assert encoder
    with server.faults.told("hold-encode-2"):
        assert_lost(server.ask(2))
        eventually(lambda: not is_alive(encoder), "the encoder that hung to end")
    eventually(lambda: server.ask(2).status == 200, "another encoder to come up")


@pytest.mark.parametrize("busy", [False, True])
def test_an_encoder_ends_with_its_server_however_that_ends(start: Start, busy: bool) -> None:
    server = start()
    assert server.ask(1).status == 200
    encoder = server.encoder()
    assert encoder
    with ThreadPoolExecutor(1) as clients, server.faults.told("hold-encode-2"):
        if busy:
            asked = clients.submit(server.ask, 2)
            server.faults.wait_for("encode 2")
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        eventually(lambda: not is_alive(encoder), "the encoder to end", 10)
        if busy:
            assert isinstance(asked.exception(), ConnectionError)
