"""One engine in a process of its own, so that memory and threads are separate.

`Child` starts this file as a program. Each line on standard input is a JSON list of a method and its arguments; each
line on standard output is its result as JSON.
"""

import contextlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

# Duration of one measurement, and the most calls in it.
_SECONDS = 1.5
_MAX_CALLS = 10

_ROOT = Path(__file__).parents[2]


class Engine(Protocol):
    """The interface of `Engine` in the modules of this folder."""

    def __init__(self, folder: Path, precision: str) -> None: ...

    def encode(self) -> None:
        """Encode the image of `subject.image`."""

    def decode(self, objects: int) -> None:
        """Decode that many single clicks of `subject.clicks` on the encoded image."""

    def embedding(self, file: Path) -> None:
        """Save the image's embedding: float32 [grid², channels]."""

    def arithmetic(self, objects: int) -> float:
        """Floating-point operations of the matrix products and convolutions of `decode`, or for 0 objects of `encode`;
        a multiplication and an addition are two.
        """

    def peak(self) -> float:
        """Floating-point operations per second of this library's plain matrix products."""


class ChildFailed(Exception):  # noqa: N818 - the name states what was found
    """The process ended before it answered; the message ends with its last line of output."""


class Child:
    """The process of an engine.

    Args:
        module: name of a module of this folder.
        folder: of the model.
        precision: f32, bf16 or, for Maskery, int8.
        cores: number of threads.

    Attributes:
        load_seconds: time to create the engine, without imports.

    Raises:
        ChildFailed: the process failed; raised by every method.
    """

    def __init__(self, module: str, folder: Path, precision: str, cores: int) -> None:
        self._name = f"{module} {precision}"
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers.child", module, str(folder), precision],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=_ROOT,
            env={**os.environ, "OMP_NUM_THREADS": str(cores), "HF_HUB_OFFLINE": "1"},
        )
        self.load_seconds = float(self._answer())

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            self._process.kill()
        self._close()

    def seconds(self, method: str, *arguments: object, once: bool = False) -> list[float]:
        """Seconds of each call of one measurement: several where they are quick."""
        return [float(each) for each in self._ask("_once" if once else "_measure", method, *arguments)]

    def memory(self) -> int:
        """Peak resident memory of the process, in bytes."""
        return int(self._ask("_memory"))

    def ask(self, method: str, *arguments: object) -> Any:
        """Call a method of the engine."""
        return self._ask(method, *arguments)

    def _ask(self, *words: object) -> Any:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(words), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._log.seek(0)
            said = self._log.read().strip().splitlines() or ["nothing"]
            self._close()
            raise ChildFailed(
                f"{self._name} ended with status {self._process.returncode} and its last output was: {said[-1]}"
            )
        return json.loads(line)

    def _close(self) -> None:
        """End the process: it stops at the end of its input."""
        if not self._log.closed:
            self._process.communicate()
            self._log.close()


def _times(engine: Engine, limit: float, method: str, *arguments: Any) -> list[float]:
    spent: list[float] = []
    call = getattr(engine, method)
    # Call again while another call is likely to fit.
    while not spent or (len(spent) < _MAX_CALLS and sum(spent) + spent[-1] <= limit):
        start = time.perf_counter()
        call(*arguments)
        spent.append(time.perf_counter() - start)
    return spent


def _memory() -> int:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def _serve(arguments: Sequence[str]) -> None:
    module, folder, precision = arguments
    # Libraries may print; only answers go to the pipe that the parent reads.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    kind: type[Engine] = importlib.import_module(f"benchmarks.peers.{module}").Engine
    start = time.perf_counter()
    engine = kind(Path(folder), precision)
    answer: Any = time.perf_counter() - start
    while True:
        print(json.dumps(answer), file=answers, flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        method, *rest = json.loads(line)
        if method in ("_measure", "_once"):
            answer = _times(engine, _SECONDS if method == "_measure" else 0, *rest)
        elif method == "_memory":
            answer = _memory()
        else:
            answer = getattr(engine, method)(*rest)


if __name__ == "__main__":
    _serve(sys.argv[1:])
