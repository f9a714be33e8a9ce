"""How fast the models are: SAM-HQ here and in transformers, same weights, same cores, taking turns in one run.

    python -m benchmarks.models [--config base|small] [--folder DIR] [--results DIR] [--runs N]

Each engine works in a process of its own. A run visits every one of them in turn for every task, and repeats what is
quick within the visit; what is reported are the medians over all visits, after a warm-up.
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

# What an engine is asked for, as the method and its arguments.
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
        """The precision whose matrix peak it is held against; int8 against that of what is not quantised."""
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
class Seen:
    """What was measured of a contender; seconds, bytes, operations."""

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
    results["machine"]["others"] = max(0.0, others / (time.monotonic() - start) / results["machine"]["cores"])
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
    console.print(f"Kept in {target}", soft_wrap=True)
    return 0


def write_missing(folder: Path, config: str) -> None:
    """Random weights, where there are none yet."""
    if (folder / "model.safetensors").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    importlib.import_module("benchmarks.peers.sam_transformers").write_weights(folder, config)


@contextmanager
def linked(folder: Path) -> Iterator[Path]:
    """The same model in a folder that holds no graphs yet, for as long as needed."""
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=folder) as name:
        for file in _NEEDED:
            if (folder / file).is_file():
                os.link(folder / file, Path(name, file))
        yield Path(name)


def measure(folder: Path, runs: int, say: Any) -> dict[str, Any]:
    """Everything, as the report has it.

    Raises:
        ChildFailed: an engine cannot do it.
    """
    where = machine()
    cores = int(where["cores"] or 1)
    say("writing graphs")
    with Child("sam_maskery", folder, "f32", cores) as writer:
        graphs = {"seconds": writer.load_seconds, "memory_bytes": writer.memory()}
        say("quantising")
        agreement = writer.ask("quantise")
    contenders = [each for each in CONTENDERS if each.precision in ("f32", "int8", best_precision())]
    seen = {each.name: Seen() for each in contenders}
    with ExitStack() as stack:
        children: dict[str, Child] = {}
        for each in contenders:
            say(f"{each.name}, first answer")
            child = stack.enter_context(Child(each.module, folder, each.precision, cores))
            children[each.name] = child
            _first(child, seen[each.name], folder / f"{each.name}.npy")
        for run in range(runs):
            for task, call in TASKS.items():
                for name, child in children.items():
                    say(f"run {run + 1} of {runs}, {name}, {task}")
                    seen[name].spent[task] += child.seconds(*call)
            for name, child in children.items():
                say(f"run {run + 1} of {runs}, {name}, matrix peak")
                seen[name].peak = max(seen[name].peak, child.ask("peak"))
        for each in contenders:
            say(f"{each.name}, counting")
            _last(children[each.name], each, seen[each.name])
    known = np.load(folder / f"{contenders[0].name}.npy")
    for name, mine in seen.items():
        mine.difference = float(np.linalg.norm(np.load(folder / f"{name}.npy") - known) / np.linalg.norm(known))
    peaks = {
        precision: max(seen[each.name].peak for each in contenders if each.peak == precision)
        for precision in {each.peak for each in contenders}
    }
    return {
        "machine": where,
        "peak": peaks,
        "graphs": graphs,
        "int8_iou": agreement,
        "engines": {each.name: _numbers(seen[each.name], peaks[each.peak]) for each in contenders},
    }


def _first(child: Child, seen: Seen, embedding: Path) -> None:
    """The warm-up: everything once, and once more."""
    seen.load_seconds = child.load_seconds
    first = {task: child.seconds(*call, once=True)[0] for task, call in TASKS.items()}
    seen.first_answer_seconds = child.load_seconds + first["encode"] + first["decode 1"]
    child.ask("embedding", str(embedding))
    for call in TASKS.values():
        child.seconds(*call, once=True)
    seen.memory_bytes = child.memory()


def _last(child: Child, contender: Contender, seen: Seen) -> None:
    """What needs no clock, or spoils the memory's measure."""
    objects = {"encode": 0, "decode 1": 1, "decode 8": 8}
    seen.operations = {task: child.ask("arithmetic", count) for task, count in objects.items()}
    if contender.module == "sam_maskery":
        seen.work = {graph: child.ask("profile", graph) for graph in ("encode", "decode")}


def _numbers(seen: Seen, peak: float) -> dict[str, Any]:
    tasks = {}
    for task, spent in seen.spent.items():
        operations = seen.operations[task]
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
        "load_seconds": seen.load_seconds,
        "first_answer_seconds": seen.first_answer_seconds,
        "memory_bytes": seen.memory_bytes,
        "peak": seen.peak,
        "embedding_difference": seen.difference,
        "work": seen.work,
    }


def _busy_seconds() -> float:
    """That all processors together have worked since the machine started, for whomever."""
    user, nice, system, _, _, interrupts, soft = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """That of this process and those of its children that have ended."""
    return sum(os.times()[:4])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--config", choices=("base", "small"), default="base", help="of random weights (default: base)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="of a model, or where to write one")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="where to keep the results")
    parser.add_argument("--runs", type=count, default=5, metavar="N", help="visits to each engine (default: 5)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
