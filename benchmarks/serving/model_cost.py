"""Cost of the model without a server.

    python -m benchmarks.serving.model_cost ENGINE FOLDER PRECISION SECONDS

ENGINE is a module of `benchmarks.peers` with an `Engine`. Prints JSON: for each task (encode, decode 1, decode 8) the
CPU seconds of a call on all cores together, its wall seconds, and the number of calls.
"""

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_MIN_CALLS = 2
_LIMIT_SECONDS = 300


class ModelFailed(Exception):  # noqa: N818 - the name states what was found
    """The model failed; the message ends with its last line of output."""


@dataclass(frozen=True)
class Cost:
    """Mean cost of a call."""

    cpu: float
    wall: float
    calls: int


def measure(engine: str, precision: str, folder: Path, cores: int, seconds: float) -> dict[str, Cost]:
    """Measure each task in a process of its own.

    Args:
        engine: module of `benchmarks.peers`.
        precision: f32 or bf16.
        folder: of the model.
        cores: number of threads.
        seconds: for which each task is repeated.

    Raises:
        ModelFailed: the process failed or took too long.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.serving.model_cost", engine, str(folder), precision, str(seconds)],
            cwd=_ROOT,
            env={**os.environ, "OMP_NUM_THREADS": str(cores), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            timeout=_LIMIT_SECONDS,
            check=True,
        )
    except subprocess.TimeoutExpired:
        raise ModelFailed(f"{engine} {precision} took more than {_LIMIT_SECONDS} seconds") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip().splitlines() or ["nothing"])[-1]
        raise ModelFailed(
            f"{engine} {precision} ended with status {error.returncode} and its last output was: {said}"
        ) from None
    return {task: Cost(**cost) for task, cost in json.loads(done.stdout.splitlines()[-1]).items()}


def _cost(call: Callable[[], object], seconds: float) -> Cost:
    call()
    calls = 0
    wall, cpu = time.perf_counter(), time.process_time()
    while calls < _MIN_CALLS or time.perf_counter() - wall < seconds:
        call()
        calls += 1
    return Cost((time.process_time() - cpu) / calls, (time.perf_counter() - wall) / calls, calls)


def _main(engine: str, folder: str, precision: str, seconds: str) -> None:
    subject = importlib.import_module(f"benchmarks.peers.{engine}").Engine(Path(folder), precision)
    costs = {"encode": _cost(subject.encode, float(seconds))}
    for objects in (1, 8):
        costs[f"decode {objects}"] = _cost(lambda count=objects: subject.decode(count), float(seconds))  # type: ignore[misc]
    print(json.dumps({task: vars(cost) for task, cost in costs.items()}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
