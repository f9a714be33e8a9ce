"""Clients that do not complete the head of a request."""

import time
from contextlib import ExitStack
from pathlib import Path

from tests.faults.running import Start, eventually

CLIENTS = 100

HEAD_TIMEOUT = 2.0


def test_slow_clients_are_disconnected_and_delay_no_other(start: Start) -> None:
    server = start(head_timeout=HEAD_TIMEOUT)
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
            assert server.get("/health/live").status == 200
            time.sleep(0.1)
            return len(gone) == CLIENTS

        assert not all_gone()
        eventually(all_gone, "slow clients to be disconnected")
        assert time.monotonic() - started > HEAD_TIMEOUT - 0.5
    # Left are the listener and what the process itself opens.
    eventually(lambda: _sockets(server.pid) < 20, "their sockets to be closed")


def _sockets(pid: int) -> int:
    links = (link for link in (Path("/proc") / str(pid) / "fd").iterdir())
    return sum(str(link.readlink()).startswith("socket:") for link in links if link.exists() or link.is_symlink())
