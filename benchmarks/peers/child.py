"""One engine in a process of its own, so that memory and threads do not mix.

`Child` starts this file as a program and asks it: a JSON list, method and arguments, a line; JSON a line back.
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

# What one visit to an engine may take, and how often it repeats what is quick.
_VISIT_SECONDS = 6.0
_MOST_REPEATS = 10

_ROOT = Path(__file__).parents[2]


class Engine(Protocol):
    """What a module of this folder offers as its `Engine`."""

    def __init__(self, folder: Path, precision: str) -> None: ...

    def encode(self) -> None:
        """The image, as `subject.image` has it."""

    def decode(self, objects: int) -> None:
        """As many single clicks, as `subject.clicks` has them, on the image encoded last."""

    def embedding(self, file: Path) -> None:
        """Keep what `encode` made of the image: float32 [grid², channels]."""

    def arithmetic(self, objects: int) -> float:
        """Floating-point operations of the matrix products and convolutions of `decode`, or of `encode` where there
        are no objects; a multiplication and an addition are two.
        """

    def peak(self) -> float:
        """Floating-point operations a second that this library's plain matrix products reach."""


class ChildFailed(Exception):  # noqa: N818 - the name states what was found
    """The process ended before it answered; the message ends with what it said last."""


class Child:
    """An engine that is started, asked and ended.

    Args:
        module: of this folder, whose `Engine` is meant.
        folder: of the model.
        precision: f32, bf16 or, of ours, int8.
        cores: threads it may use.

    Attributes:
        load_seconds: that making the engine took, imports apart.

    Raises:
        ChildFailed: there is no engine to be had; of every method.
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
        """How long each call of one visit took: several where they are quick."""
        return [float(each) for each in self._ask("_once" if once else "_visit", method, *arguments)]

    def memory(self) -> int:
        """Bytes that stood in memory at most, of this process, until now."""
        return int(self._ask("_memory"))

    def ask(self, method: str, *arguments: object) -> Any:
        """What a method of the engine answers."""
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
            raise ChildFailed(f"{self._name} ended with status {self._process.returncode} and said: {said[-1]}")
        return json.loads(line)

    def _close(self) -> None:
        """End of its input is what the process ends at."""
        if not self._log.closed:
            self._process.communicate()
            self._log.close()


def _times(engine: Engine, ticket: float, method: str, *arguments: Any) -> list[float]:
    spent: list[float] = []
    call = getattr(engine, method)
    # Another call is made while it is likely to fit.
    while not spent or (len(spent) < _MOST_REPEATS and sum(spent) + spent[-1] <= ticket):
        start = time.perf_counter()
        call(*arguments)
        spent.append(time.perf_counter() - start)
    return spent


def _memory() -> int:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def _serve(arguments: Sequence[str]) -> None:
    module, folder, precision = arguments
    # Libraries may print; only answers go where the parent reads.
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
        if method in ("_visit", "_once"):
            answer = _times(engine, _VISIT_SECONDS if method == "_visit" else 0, *rest)
        elif method == "_memory":
            answer = _memory()
        else:
            answer = getattr(engine, method)(*rest)


if __name__ == "__main__":
    _serve(sys.argv[1:])
