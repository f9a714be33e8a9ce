"""The server under test, in a process of its own, and the memory of it and of its encoder process."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_RESIDENT = re.compile(r"^VmRSS:\s+(\d+) kB", re.MULTILINE)


class NotStarted(Exception):  # noqa: N818
    """The server ended before it was ready. The message is its log."""


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        url: base URL.
        key: API key.
        pid: of the server process.
    """

    url: str
    key: str
    pid: int

    def resident(self) -> dict[str, int]:
        """Resident bytes of the processes "server" and "encoder"."""
        # The kernel lists children by the thread that started them.
        (encoder,) = {pid for file in Path(f"/proc/{self.pid}/task").glob("*/children") for pid in _words(file)}
        return {"server": _resident(str(self.pid)), "encoder": _resident(encoder)}


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    # The thread has ended.
    except OSError:
        return []


def _resident(pid: str) -> int:
    found = _RESIDENT.search(Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


@contextmanager
def running(home: Path, **settings: str) -> Iterator[Server]:
    """A server that runs until the end of the block.

    Args:
        home: with the model installed, and without a database.
        settings: by name; others are taken from the environment.

    Raises:
        NotStarted: the server ended before it was ready.
    """
    named = {f"MASKERY_{name.upper()}": value for name, value in {"home": str(home), "port": "0", **settings}.items()}
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "maskery", "serve"],
            env={**os.environ, "PYTHONUNBUFFERED": "1", **named},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with process:
        try:
            assert process.stdout
            address, key = process.stdout.readline(), process.stdout.readline()
            found = re.search(r"http://\S+:\d+", address)
            if not found:
                raise NotStarted((home / "server.log").read_text())
            yield Server(found[0], key.removeprefix("Key: ").strip(), process.pid)
        finally:
            process.terminate()
