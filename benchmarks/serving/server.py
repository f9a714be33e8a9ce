"""A server process."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from benchmarks.serving.contenders import Start
from benchmarks.serving.processes import cpu_seconds, memory_bytes, session

_ROOT = Path(__file__).parents[2]
_READY_SECONDS = 180
_END_SECONDS = 30
_STAGE = re.compile(r'^maskery_stage_seconds_sum\{[^}]*stage="([^"]+)"[^}]*\} (\S+)$', re.MULTILINE)


class ServerFailed(Exception):  # noqa: N818 - the name states what was found
    """The server ended or did not become ready; the message ends with its last lines of output."""


class Server:
    """A running server.

    Args:
        name: for messages.
        start: how to start it.
        port: that it listens on.
        key: API key.

    Attributes:
        url: base URL.
        pid: of the process that was started.
        ready_seconds: from its start until it is ready.

    Raises:
        ServerFailed: it did not become ready.
    """

    def __init__(self, name: str, start: Start, port: int, key: str) -> None:
        self._name = name
        self._headers = {"Authorization": f"Bearer {key}"}
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self.url = f"http://127.0.0.1:{port}"
        began = time.perf_counter()
        # A session of its own identifies all processes of the server.
        self._process = subprocess.Popen(
            start.command,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=_ROOT,
            env={**os.environ, **start.environment},
            start_new_session=True,
        )
        self.pid = self._process.pid
        try:
            self._wait()
        except BaseException:
            self.end()
            raise
        self.ready_seconds = time.perf_counter() - began

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def cpu_seconds(self) -> float:
        """CPU seconds of all its processes so far."""
        return sum(map(cpu_seconds, session(self._process.pid)))

    def memory_bytes(self) -> int:
        """Memory of all its processes now."""
        return sum(map(memory_bytes, session(self._process.pid)))

    def stages(self) -> dict[str, float]:
        """Wall seconds by stage since its start, from `/metrics`; empty where there are none."""
        with contextlib.suppress(httpx.HTTPError):
            answer = httpx.get(f"{self.url}/metrics", headers=self._headers, trust_env=False)
            if answer.is_success:
                return stage_seconds(answer.text)
        return {}

    def end(self) -> None:
        """Terminate it; kill the processes that remain."""
        if self._log.closed:
            return
        left = set(session(self._process.pid)) if self._process.poll() is None else set()
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        for pid in left & set(session(self._process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        # Killed processes free their memory when they are next scheduled, which must not slow the next server.
        latest = time.monotonic() + _END_SECONDS
        while any(map(memory_bytes, session(self._process.pid))) and time.monotonic() < latest:
            time.sleep(0.01)
        self._log.close()

    def last_output(self) -> str:
        """The last lines of its output."""
        self._log.seek(0)
        return "\n".join(self._log.read().strip().splitlines()[-3:]) or "nothing"

    def _wait(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise ServerFailed(
                    f"{self._name} ended with status {self._process.returncode} and printed: {self.last_output()}"
                )
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/health/ready", trust_env=False).is_success:
                    return
            time.sleep(0.05)
        raise ServerFailed(
            f"{self._name} was not ready after {_READY_SECONDS} seconds; its last output was: {self.last_output()}"
        )


def stage_seconds(metrics: str) -> dict[str, float]:
    """Sums of the histograms `maskery_stage_seconds`, by stage, in Prometheus' text format."""
    seconds: dict[str, float] = {}
    for stage, value in _STAGE.findall(metrics):
        seconds[stage] = seconds.get(stage, 0.0) + float(value)
    return seconds


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
