"""Speed of the models in Maskery and in transformers: same weights, same cores, interleaved in one run.

    python -m benchmarks.models [--config NAME,…] [--folder DIR] [--results DIR] [--runs N]

Each engine has a process of its own. A run measures every task on every engine, one after the other, and repeats quick
tasks; every second run takes the engines in reverse order. Medians over all runs are reported, after a warm-up. At last
a server with the model answers some requests, and its memory is measured.
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

import httpx
import numpy as np
from rich.console import Console

from benchmarks.arguments import CannotMeasure, count, need
from benchmarks.machine import describe as machine
from benchmarks.models_memory import after_requests
from benchmarks.models_report import draw, markdown, summary, table
from benchmarks.peers.child import Child, ChildFailed
from benchmarks.serving.contenders import CannotInstall
from benchmarks.serving.server import ServerFailed
from maskery.models.runtime import best_precision

RESULTS = Path(__file__).parent / "results"
WEIGHTS = Path(__file__).parents[1] / ".cache" / "bench-models"

#: Networks with random weights, by label: see `benchmarks.peers.weights`.
SUBJECTS = {
    "base": "SAM-HQ ViT-B",
    "slim": "SAM, slim (168 channels, 12 heads of 14)",
    "sam2.1-tiny": "SAM 2.1 tiny",
    "sam2.1-base-plus": "SAM 2.1 base-plus",
    "edgetam": "EdgeTAM",
    "small": "SAM-HQ, small",
}
_DEFAULT = ("base", "slim", "sam2.1-tiny", "edgetam")

# By task, the method of the engine and its arguments.
TASKS: dict[str, tuple[Any, ...]] = {"encode": ("encode",), "decode 1": ("decode", 1), "decode 8": ("decode", 8)}
_NEEDED = ("config.json", "model.safetensors", "preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True)
class Contender:
    """An engine at a precision.

    Attributes:
        only: the labels of the configs that it is measured with; empty: all.
        measures_peak: whether the matrix peak is measured in its process, too.
    """

    name: str
    module: str
    precision: str
    only: tuple[str, ...] = ()
    measures_peak: bool = True

    @property
    def peak(self) -> str:
        """The precision of the matrix peak to compare with; for int8, that of the parts that are not quantized."""
        return best_precision() if self.precision == "int8" else self.precision


# Eager attention in bf16 is left out: it is slower than the other in every family, and would take a minute.
CONTENDERS = (
    Contender("transformers eager f32", "sam_transformers", "f32"),
    Contender("transformers sdpa f32", "sam_transformers_sdpa", "f32", measures_peak=False),
    Contender("transformers sdpa bf16", "sam_transformers_sdpa", "bf16"),
    Contender("maskery f32", "sam_maskery", "f32"),
    Contender("maskery bf16", "sam_maskery", "bf16"),
    Contender("maskery int8", "sam_maskery", "int8", ("base", "small"), measures_peak=False),
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
        need("make bench-models", "torch", "transformers", "timm", "nncf")
        if options.folder:
            _report(options.folder, options.folder.resolve().name, options.results, options.runs, console)
        for config in () if options.folder else options.config:
            write_missing(WEIGHTS / config, config)
            _report(WEIGHTS / config, config, options.results, options.runs, console)
    except (CannotMeasure, CannotInstall, ChildFailed, ServerFailed, httpx.HTTPError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    # Of all configs that were measured, in this run or before.
    known = [options.results / f"models-{config}" / "results.json" for config in SUBJECTS]
    reports = [json.loads(file.read_text()) for file in known if file.is_file()]
    # Results of before this benchmark measured servers are left out.
    reports = [report for report in reports if "memory_of_server" in report]
    if reports:
        (options.results / "models.md").write_text(summary(reports))
    console.print(f"Results are in {options.results}", soft_wrap=True)
    return 0


def _report(folder: Path, label: str, results: Path, runs: int, console: Console) -> None:
    """Measure one model, and write and print the results."""
    subject = SUBJECTS.get(label, label)
    busy, own, start = _busy_seconds(), _own_seconds(), time.monotonic()
    with console.status("") as status, linked(folder) as copy:
        report = measure(copy, label, runs, lambda what: status.update(f"{subject}: {what}"))
    others = _busy_seconds() - busy - (_own_seconds() - own)
    report["machine"]["other_load"] = max(0.0, others / (time.monotonic() - start) / report["machine"]["cores"])
    versions = {name: version(name) for name in ("openvino", "torch", "transformers", "numpy")}
    report = {"subject": subject, "title": f"{subject}: {runs} runs", "versions": versions, **report}
    target = results / f"models-{label}"
    target.mkdir(parents=True, exist_ok=True)
    (target / "results.json").write_text(json.dumps(report, indent=1) + "\n")
    (target / "results.md").write_text(markdown(report))
    draw(report, target / "results.png")
    console.print(table(report))


def write_missing(folder: Path, config: str) -> None:
    """Write random weights unless the folder holds weights already."""
    if (folder / "model.safetensors").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    importlib.import_module("benchmarks.peers.weights").write_weights(folder, config)


@contextmanager
def linked(folder: Path) -> Iterator[Path]:
    """A temporary folder with links to the model's files and without cached graphs."""
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=folder) as name:
        for file in _NEEDED:
            if (folder / file).is_file():
                os.link(folder / file, Path(name, file))
        yield Path(name)


def measure(folder: Path, label: str, runs: int, progress: Any) -> dict[str, Any]:
    """Run the benchmark on one model.

    Args:
        label: of its config, or the folder's name.

    Returns:
        The report.

    Raises:
        ChildFailed: an engine failed.
        CannotInstall, ServerFailed, HTTPError: the server failed.
    """
    where = machine()
    cores = int(where["cores"] or 1)
    contenders = [
        each
        for each in CONTENDERS
        if each.precision in ("f32", "int8", best_precision()) and label in (each.only or (label,))
    ]
    progress("writing graphs")
    with Child("sam_maskery", folder, "f32", cores) as writer:
        graphs = {"seconds": writer.load_seconds, "memory_bytes": writer.memory()}
        agreement = None
        if any(each.precision == "int8" for each in contenders):
            progress("quantizing")
            agreement = writer.ask("quantize")
    measured = {each.name: Measurement() for each in contenders}
    with ExitStack() as stack:
        children: dict[str, Child] = {}
        for each in contenders:
            progress(f"{each.name}, first answer")
            child = stack.enter_context(Child(each.module, folder, each.precision, cores))
            children[each.name] = child
            _first(child, measured[each.name], folder / f"{each.name}.npy")
        for run in range(runs):
            order = contenders[::-1] if run % 2 else contenders
            for task, call in TASKS.items():
                for each in order:
                    progress(f"run {run + 1} of {runs}, {each.name}, {task}")
                    measured[each.name].spent[task] += children[each.name].seconds(*call)
            for each in order:
                if each.measures_peak:
                    progress(f"run {run + 1} of {runs}, {each.name}, matrix peak")
                    found = children[each.name].ask("peak")
                    measured[each.name].peak = max(measured[each.name].peak, found)
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
    progress("memory of a server")
    return {
        "machine": where,
        "peak": peaks,
        "graphs": graphs,
        "int8_iou": agreement,
        "memory_of_server": after_requests(folder, best_precision()),
        "engines": {each.name: _numbers(measured[each.name], peaks[each.peak]) for each in contenders},
    }


def _first(child: Child, measurement: Measurement, embedding: Path) -> None:
    """Warm up: run every task."""
    measurement.load_seconds = child.load_seconds
    first = {task: child.seconds(*call, once=True)[0] for task, call in TASKS.items()}
    measurement.first_answer_seconds = child.load_seconds + first["encode"] + first["decode 1"]
    child.ask("embedding", str(embedding))
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
        "--config",
        type=_configs,
        default=_DEFAULT,
        metavar="NAME,…",
        help=f"networks with random weights: {', '.join(SUBJECTS)} (default: {','.join(_DEFAULT)})",
    )
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="folder of a model; random weights are written to an empty one"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="folder for the results")
    parser.add_argument("--runs", type=count, default=3, metavar="N", help="number of runs (default: 3)")
    return parser.parse_args(arguments)


def _configs(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in SUBJECTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(SUBJECTS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
