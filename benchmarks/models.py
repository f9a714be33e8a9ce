"""Speed of the models: SAM-HQ in Maskery and in transformers, same weights, same cores, interleaved in one run.

    python -m benchmarks.models [--config base|small] [--folder DIR] [--results DIR] [--runs N]

Each engine has a process of its own. A run measures every task on every engine, one after the other, and repeats quick
tasks. Medians over all runs are reported, after a warm-up.
"""

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.arguments import CannotMeasure, count, need
from benchmarks.machine import describe as machine
from benchmarks.models_report import draw, markdown, table
from benchmarks.peers.child import Child, ChildFailed
from maskery.models.runtime import best_precision

RESULTS = Path(__file__).parent / "results"
WEIGHTS = Path(__file__).parents[1] / ".cache" / "bench-models"

# By task, the method of the engine and its arguments.
TASKS: dict[str, tuple[Any, ...]] = {"encode": ("encode",), "decode 1": ("decode", 1), "decode 8": ("decode", 8)}
_NEEDED = ("config.json", "model.safetensors", "preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True)
class Contender:
    """An engine at a precision."""

    name: str
    module: str
    precision: str

    @property
    def peak(self) -> str:
        """The precision of the matrix peak to compare with; for int8, that of the parts that are not quantized."""
        return best_precision() if self.precision == "int8" else self.precision


CONTENDERS = (
    Contender("transformers eager f32", "sam_transformers", "f32"),
    Contender("transformers eager bf16", "sam_transformers", "bf16"),
    Contender("transformers sdpa f32", "sam_transformers_sdpa", "f32"),
    Contender("transformers sdpa bf16", "sam_transformers_sdpa", "bf16"),
    Contender("maskery f32", "sam_maskery", "f32"),
    Contender("maskery bf16", "sam_maskery", "bf16"),
    Contender("maskery int8", "sam_maskery", "int8"),
)


@dataclass
class Measurement:
    """The measurements of a contender, in seconds, bytes and operations."""

    load_seconds: float = 0
    first_answer_seconds: float = 0
    memory_bytes: int = 0
    peak: float = 0
    difference: float = 0
    spent: dict[str, list[float]] = field(default_factory=lambda: {task: [] for task in TASKS})
    operations: dict[str, float] = field(default_factory=dict)
    work: dict[str, dict[str, float]] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    console = Console()
    try:
        need("make bench-models", "torch", "transformers", "nncf")
        folder = options.folder or WEIGHTS / options.config
        write_missing(folder, options.config)
        busy, own, start = _busy_seconds(), _own_seconds(), time.monotonic()
        with console.status("") as status, linked(folder) as copy:
            results = measure(copy, options.runs, lambda what: status.update(f"{folder.name}: {what}"))
    except (CannotMeasure, ChildFailed, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    others = _busy_seconds() - busy - (_own_seconds() - own)
    results["machine"]["other_load"] = max(0.0, others / (time.monotonic() - start) / results["machine"]["cores"])
    label = options.folder.resolve().name if options.folder else options.config
    versions = {name: version(name) for name in ("openvino", "torch", "transformers", "numpy")}
    subject = label if options.folder else f"SAM-HQ, {label}"
    report = {"title": f"{subject}: {options.runs} runs", "versions": versions, **results}
    target = options.results / f"models-{label}"
    target.mkdir(parents=True, exist_ok=True)
    (target / "results.json").write_text(json.dumps(report, indent=1) + "\n")
    (target / "results.md").write_text(markdown(report))
    draw(report, target / "results.png")
    console.print(table(report))
    console.print(f"Results are in {target}", soft_wrap=True)
    return 0


def write_missing(folder: Path, config: str) -> None:
    """Write random weights unless the folder holds weights already."""
    if (folder / "model.safetensors").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    importlib.import_module("benchmarks.peers.sam_transformers").write_weights(folder, config)


@contextmanager
def linked(folder: Path) -> Iterator[Path]:
    """A temporary folder with links to the model's files and without cached graphs."""
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=folder) as name:
        for file in _NEEDED:
            if (folder / file).is_file():
                os.link(folder / file, Path(name, file))
        yield Path(name)


def measure(folder: Path, runs: int, progress: Any) -> dict[str, Any]:
    """Run the benchmark.

    Returns:
        The report.

    Raises:
        ChildFailed: an engine failed.
    """
    where = machine()
    cores = int(where["cores"] or 1)
    progress("writing graphs")
    with Child("sam_maskery", folder, "f32", cores) as writer:
        graphs = {"seconds": writer.load_seconds, "memory_bytes": writer.memory()}
        progress("quantizing")
        agreement = writer.ask("quantize")
    contenders = [each for each in CONTENDERS if each.precision in ("f32", "int8", best_precision())]
    measured = {each.name: Measurement() for each in contenders}
    with ExitStack() as stack:
        children: dict[str, Child] = {}
        for each in contenders:
            progress(f"{each.name}, first answer")
            child = stack.enter_context(Child(each.module, folder, each.precision, cores))
            children[each.name] = child
            _first(child, measured[each.name], folder / f"{each.name}.npy")
        for run in range(runs):
            for task, call in TASKS.items():
                for name, child in children.items():
                    progress(f"run {run + 1} of {runs}, {name}, {task}")
                    measured[name].spent[task] += child.seconds(*call)
            for name, child in children.items():
                progress(f"run {run + 1} of {runs}, {name}, matrix peak")
                measured[name].peak = max(measured[name].peak, child.ask("peak"))
        for each in contenders:
            progress(f"{each.name}, counting")
            _last(children[each.name], each, measured[each.name])
    known = np.load(folder / f"{contenders[0].name}.npy")
    for name, mine in measured.items():
        mine.difference = float(np.linalg.norm(np.load(folder / f"{name}.npy") - known) / np.linalg.norm(known))
    peaks = {
        precision: max(measured[each.name].peak for each in contenders if each.peak == precision)
        for precision in {each.peak for each in contenders}
    }
    return {
        "machine": where,
        "peak": peaks,
        "graphs": graphs,
        "int8_iou": agreement,
        "engines": {each.name: _numbers(measured[each.name], peaks[each.peak]) for each in contenders},
    }


def _first(child: Child, measurement: Measurement, embedding: Path) -> None:
    """Warm up: run every task twice."""
    measurement.load_seconds = child.load_seconds
    first = {task: child.seconds(*call, once=True)[0] for task, call in TASKS.items()}
    measurement.first_answer_seconds = child.load_seconds + first["encode"] + first["decode 1"]
    child.ask("embedding", str(embedding))
    for call in TASKS.values():
        child.seconds(*call, once=True)
    measurement.memory_bytes = child.memory()


def _last(child: Child, contender: Contender, measurement: Measurement) -> None:
    """Count operations and profile: not timed, and done last as it needs memory."""
    objects = {"encode": 0, "decode 1": 1, "decode 8": 8}
    measurement.operations = {task: child.ask("arithmetic", count) for task, count in objects.items()}
    if contender.module == "sam_maskery":
        measurement.work = {graph: child.ask("profile", graph) for graph in ("encode", "decode")}


def _numbers(measurement: Measurement, peak: float) -> dict[str, Any]:
    tasks = {}
    for task, spent in measurement.spent.items():
        operations = measurement.operations[task]
        tasks[task] = {
            "median": median(spent),
            "min": min(spent),
            "max": max(spent),
            "calls": len(spent),
            "operations": operations,
            "share_of_peak": operations / median(spent) / peak,
        }
    return {
        "tasks": tasks,
        "load_seconds": measurement.load_seconds,
        "first_answer_seconds": measurement.first_answer_seconds,
        "memory_bytes": measurement.memory_bytes,
        "peak": measurement.peak,
        "embedding_difference": measurement.difference,
        "work": measurement.work,
    }


def _busy_seconds() -> float:
    """CPU seconds of all processes since the machine started."""
    user, nice, system, _, _, interrupts, soft = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """CPU seconds of this process and of its ended children."""
    return sum(os.times()[:4])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--config", choices=("base", "small"), default="base", help="size of the random weights (default: base)"
    )
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="folder of a model; random weights are written to an empty one"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="folder for the results")
    parser.add_argument("--runs", type=count, default=5, metavar="N", help="number of runs (default: 5)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
