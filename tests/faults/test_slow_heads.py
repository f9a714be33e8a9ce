"""Clients that never get to the end of a request's head, at the server's own limit."""

import time
from contextlib import ExitStack
from pathlib import Path

from maskery.serving.protocol import _HEAD
from tests.faults.running import Start, eventually

CLIENTS = 100


def test_clients_that_trickle_are_gone_after_a_while_and_nobody_waits_for_them(start: Start) -> None:
    server = start()
    with ExitStack() as stack:
        slow = [stack.enter_context(server.dial()) for _ in range(CLIENTS)]
        started = time.monotonic()
        for connection in slow:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
            connection.setblocking(False)
        gone: set[int] = set()

        def all_gone() -> bool:
            for number, connection in enumerate(slow):
                if number not in gone:
                    try:
                        connection.send(b"x")
                        if connection.recv(100) == b"":
                            gone.add(number)
                    except BlockingIOError:
                        pass
                    except ConnectionError:
                        gone.add(number)
            # The others are served all the while.
            assert server.get("/health/live").status == 200
            time.sleep(0.5)
            return len(gone) == CLIENTS

        assert not all_gone()
        eventually(all_gone, "slow clients to be sent away", 2 * _HEAD)
        assert _HEAD - 1 < time.monotonic() - started < _HEAD + 10
    # Its listener and what the process itself holds; none of theirs.
    eventually(lambda: _sockets(server.pid) < 20, "their sockets to be closed")


def _sockets(pid: int) -> int:
    links = (link for link in (Path("/proc") / str(pid) / "fd").iterdir())
    return sum(str(link.readlink()).startswith("socket:") for link in links if link.exists() or link.is_symlink())
