"""Time to segment everything in an image, in Maskery and by the pipeline `mask-generation` of transformers.

    python -m benchmarks.automatic [--points 16] [--runs N]

SAM ViT-B with random weights whose masks are smooth (`parity/smooth.py`), an image of 640 x 480, the same thresholds,
the same cores. Each engine has a process of its own, one after the other; the best of its runs counts. Encoding is
included.
"""

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.arguments import CannotMeasure, count, need
from benchmarks.machine import describe
from maskery.models.runtime import best_precision
from maskery.models.sam.model import load
from maskery.segmentation import AutomaticOptions, Image, segment_everything

_PREDICTED_IOU, _STABILITY = 0.5, 0.8


def image() -> Image:
    """Cubic interpolation of a few random colours."""
    coarse = np.random.default_rng(5).integers(0, 255, (6, 8, 3), np.uint8)
    return Image(cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC).astype(np.uint8))


def measure(engine: str, folder: Path, points: int, runs: int) -> dict[str, float]:
    """Seconds of the quickest run after a warm-up, and the number of objects."""
    call = _transformers(folder) if engine == "transformers" else _maskery(folder, engine)
    call(2)
    found, seconds = 0, []
    for _ in range(runs):
        started = time.perf_counter()
        found = call(points)
        seconds.append(time.perf_counter() - started)
    return {"seconds": min(seconds), "objects": found}


def _transformers(folder: Path) -> Callable[[int], int]:
    # Needs PyTorch.
    oracle = importlib.import_module("parity.oracle").Oracle(folder)
    return lambda points: len(oracle.everything(image(), points, _PREDICTED_IOU, _STABILITY, 0.7))


def _maskery(folder: Path, precision: str) -> Callable[[int], int]:
    model = load("benchmark/sam", folder, "r", precision)

    def call(points: int) -> int:
        options = AutomaticOptions(points, _PREDICTED_IOU, _STABILITY).resolve(model)
        return len(segment_everything(model, model.encode(image()), options).masks[0].segments)

    return call


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.automatic", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--points", type=count, default=16, help="points along each side of the image")
    parser.add_argument("--runs", type=count, default=2)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.engine:
        print(json.dumps(measure(options.engine, options.folder, options.points, options.runs)))
        return 0
    try:
        need("make bench-automatic", "torch", "transformers")
    except CannotMeasure as error:
        print(error, file=sys.stderr)
        return 1
    best = best_precision()
    engines = {"transformers f32": "transformers", "maskery f32": "f32", f"maskery {best}": best}
    with tempfile.TemporaryDirectory() as name:
        importlib.import_module("parity.smooth").write_smooth_model(
            Path(name), {"model_type": "sam", "vision_config": {}}
        )
        results = {label: _run(engine, name, options) for label, engine in engines.items()}
    machine = describe()
    title = f"SAM ViT-B, {options.points} x {options.points} points; {machine['processor']}, {machine['cores']} cores"
    table = Table("engine", "seconds", "objects", "times as fast", title=title)
    for label, result in results.items():
        ratio = results["transformers f32"]["seconds"] / result["seconds"]
        table.add_row(label, f"{result['seconds']:.1f}", f"{result['objects']:.0f}", f"{ratio:.1f}")
    Console().print(table)
    return 0


def _run(engine: str, folder: str, options: argparse.Namespace) -> dict[str, float]:
    arguments = ["--engine", engine, "--folder", folder, "--points", str(options.points), "--runs", str(options.runs)]
    command = [sys.executable, "-m", "benchmarks.automatic", *arguments]
    result: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return result


if __name__ == "__main__":
    sys.exit(main())
