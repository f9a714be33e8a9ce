"""The process of the clients, controlled by the benchmark."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.serving.workload import Outcome, Workload

_ROOT = Path(__file__).parents[2]


class ClientsFailed(Exception):  # noqa: N818 - the name states what was found
    """The clients' process ended before it answered."""


class ClientProcess:
    """Clients of one server; see `clients.Clients` for the methods.

    Args:
        url: of the server.
        key: API key.
        model: its name.
        images: folder of JPEG files to send.

    Raises:
        ClientsFailed: the process ended; raised by every method.
    """

    def __init__(self, url: str, key: str, model: str, images: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.serving.clients", url, key, model, str(images)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            self._process.kill()
        self._process.communicate()

    def check(self, objects: int) -> str | None:
        wrong = self._ask("check", objects)
        return None if wrong is None else str(wrong)

    def prepare(self, images: int) -> str | None:
        wrong = self._ask("prepare", images)
        return None if wrong is None else str(wrong)

    def run(self, workload: Workload, background: Workload | None = None) -> tuple[Outcome, Outcome | None]:
        mine, others = self._ask("run", asdict(workload), background and asdict(background))
        return Outcome(**mine), Outcome(**others) if others else None

    def _ask(self, *words: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps(words), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise ClientsFailed("the clients' process has ended") from None
        line = self._process.stdout.readline()
        if not line:
            raise ClientsFailed(f"the clients' process ended with status {self._process.wait()}")
        return json.loads(line)
