"""Stopping under load: accepted requests are answered, others refused, and no process is left."""

import http.client
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.running import (
    PATIENCE,
    QUICK,
    SLOW,
    WARMING,
    Server,
    Start,
    body_of,
    children,
    eventually,
    expected_eighths,
    head_of,
    is_alive,
    read,
    read_raw,
)

SIGNALS = [signal.SIGTERM, signal.SIGINT]

# Seconds for the exit itself, on a busy machine.
SLACK = 20


class Loop:
    """A client that sends requests until a connection is refused.

    Attributes:
        outcomes: number of requests by outcome: "answered"; "refused": the connection was refused; "closed": the server
            closed a kept connection between two requests, as it may at any time; "lost": it closed the connection of a
            request, which it must not.
    """

    def __init__(self, server: Server, reuse: bool) -> None:
        self.server = server
        self.reuse = reuse
        self.body = body_of(1)
        self.outcomes: Counter[str] = Counter()

    def run(self) -> None:
        connection, used = self.server.connect(), False
        latest = time.monotonic() + 2 * PATIENCE
        try:
            while not self.outcomes["refused"] and time.monotonic() < latest:
                if not self.reuse or connection.sock is None:
                    connection.close()
                    connection, used = self.server.connect(), False
                self._ask(connection, used)
                used = True
        finally:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection, used: bool) -> None:
        if connection.sock is None:
            try:
                connection.connect()
            except ConnectionError:
                self.outcomes["refused"] += 1
                return
        try:
            connection.request("POST", "/v1/images/segmentations", self.body, {"Content-Type": "application/json"})
            answer = read(connection)
        except (http.client.RemoteDisconnected, ConnectionError):
            connection.close()
            self.outcomes["closed" if used else "lost"] += 1
        except http.client.HTTPException:
            connection.close()
            self.outcomes["lost"] += 1
        else:
            right = answer.status == 200 and answer.eighths == expected_eighths(1)
            self.outcomes["answered" if right else f"answered {answer.status}"] += 1


@pytest.mark.parametrize("number", SIGNALS)
def test_every_request_that_was_accepted_is_answered_before_the_server_ends(start: Start, number: int) -> None:
    server = start(workers=2, preload=f"{QUICK},{SLOW}")
    assert server.segment(1).status == 200
    family = children(server.pid)
    assert family
    loops = [Loop(server, reuse) for reuse in (False, True) * 4]
    body = body_of(4)
    with (
        ThreadPoolExecutor(16) as clients,
        server.dial() as upload,
        server.faults.set("hold-decode-50") as decode,
        server.faults.set("hold-encode-2") as encode,
    ):
        upload.sendall(head_of(len(body)) + body[:50])
        slow = [clients.submit(server.segment, 1, 50), clients.submit(server.segment, 2)]
        server.faults.wait_for("decode 50")
        server.faults.wait_for("encode 2")
        slow.append(clients.submit(server.segment, 3))
        server.wait_for_metric('maskery_queue_waiting{queue="encode"}', 1)
        server.wait_for_metric("maskery_request_bytes_in_flight", 50 + sum(map(len, map(body_of, (1, 2, 3)))))
        running = [clients.submit(loop.run) for loop in loops]
        eventually(lambda: all(loop.outcomes["answered"] for loop in loops), "all clients to be answered")
        server.process.send_signal(number)
        for each in running:
            each.result(60)
        time.sleep(0.3)
        assert server.process.poll() is None, "it waits for accepted requests"
        upload.sendall(body[50:])
        encode.unlink()
        decode.unlink()
        assert read_raw(upload)[0] == 200
        answers = [each.result(60) for each in slow]
    assert server.process.wait(SLACK) == 0
    assert [answer.status for answer in answers] == [200] * 3
    assert [answer.eighths for answer in answers] == [expected_eighths(image) for image in (1, 2, 3)]
    assert {answer.headers["Connection"] for answer in answers} == {"close"}
    outcomes = sum((loop.outcomes for loop in loops), Counter())
    print(dict(outcomes))
    # The server may close a connection between two requests; each client has only one.
    assert set(outcomes) <= {"answered", "refused", "closed"}, outcomes
    assert outcomes["closed"] <= 4, outcomes
    assert outcomes["refused"] == len(loops)
    eventually(lambda: not any(map(is_alive, family)), "its processes to end")
    assert "Traceback" not in server.log


def test_connections_that_are_not_accepted_yet_are_answered(start: Start) -> None:
    # The kernel completes connections while the event loop is busy.
    server = start()
    assert server.get("/health/ready").status == 200
    body = body_of(1, model=QUICK)
    with server.faults.set("hold-stop-0") as stop:
        server.process.send_signal(signal.SIGTERM)
        server.faults.wait_for("stop 0")
        connections = [server.dial() for _ in range(20)]
        for connection in connections:
            connection.sendall(head_of(len(body)) + body)
        stop.unlink()
        answers = [read_raw(connection) for connection in connections]
        for connection in connections:
            connection.close()
    assert [status for status, _ in answers] == [200] * 20
    assert server.process.wait(SLACK) == 0


def test_requests_on_open_connections_are_answered_while_the_server_stops(start: Start) -> None:
    server = start()
    with server.faults.set("hold-stop-0") as stop:
        connections = [server.connect() for _ in range(2)]
        for connection in connections:
            connection.request("GET", "/health/ready")
            assert read(connection).json == {"status": "ready"}
        server.process.send_signal(signal.SIGTERM)
        server.faults.wait_for("stop 0")
        connections[0].request("GET", "/health/ready")
        connections[1].request(
            "POST", "/v1/images/segmentations", body_of(1, model=QUICK), {"Content-Type": "application/json"}
        )
        stop.unlink()
        health, answer = [read(connection) for connection in connections]
        for connection in connections:
            connection.close()
    assert (health.status, health.json) == (503, {"status": "stopping"})
    assert (answer.status, answer.eighths) == (200, expected_eighths(1))
    assert health.headers["Connection"] == answer.headers["Connection"] == "close"
    assert server.process.wait(SLACK) == 0


def test_requests_that_exceed_the_grace_period_are_answered_503(start: Start) -> None:
    server = start(grace_period=1)
    assert server.segment(1).status == 200
    family = children(server.pid)
    with (
        ThreadPoolExecutor(3) as clients,
        server.dial() as upload,
        server.faults.set("hold-decode-50"),
        server.faults.set("hold-encode-2"),
    ):
        upload.sendall(head_of(1000) + b"{")
        # One in a thread, which cannot be stopped; one in the encoder process; one in its queue.
        pending = [clients.submit(server.segment, 1, 50), clients.submit(server.segment, 2)]
        server.faults.wait_for("decode 50")
        server.faults.wait_for("encode 2")
        pending.append(clients.submit(server.segment, 3))
        server.wait_for_metric('maskery_queue_waiting{queue="encode"}', 1)
        started = time.monotonic()
        status = server.stop()
        seconds = time.monotonic() - started
        answers = [each.result() for each in pending]
        assert read_raw(upload)[0] == 503
    assert status == 0
    assert 1 <= seconds < 1 + SLACK
    assert [(answer.status, answer.code) for answer in answers] == [(503, "stopping")] * 3
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)
    assert all(answer.headers["x-request-id"] in server.log for answer in answers)
    eventually(lambda: not any(map(is_alive, family)), "its processes to end")
    assert "Traceback" not in server.log


def test_a_second_interrupt_stops_the_server_at_once(start: Start) -> None:
    server = start()
    with ThreadPoolExecutor(1) as clients, server.faults.set("hold-decode-50"):
        pending = clients.submit(server.segment, 1, 50, QUICK)
        server.faults.wait_for("decode 50")
        server.process.send_signal(signal.SIGINT)
        eventually(lambda: "Shutting down" in server.log, "the first interrupt to be handled")
        assert server.process.poll() is None
        assert server.stop(signal.SIGINT, SLACK) == 0
        assert pending.exception() or pending.result().status == 503


@pytest.mark.parametrize("model", [QUICK, SLOW])
def test_a_server_that_is_starting_stops_at_once(start: Start, model: str) -> None:
    server = start(ready=False, preload=model)
    with server.faults.set(f"hold-encode-{WARMING}"):
        server.faults.wait_for(f"encode {WARMING}")
        family = children(server.pid)
        assert server.get("/health/live").json == {"status": "alive"}
        assert server.stop(seconds=SLACK) == 0
        eventually(lambda: not any(map(is_alive, family)), "its processes to end")
    assert "Traceback" not in server.log
    assert server.process.stdout
    assert not server.process.stdout.read(), "it printed its address"
