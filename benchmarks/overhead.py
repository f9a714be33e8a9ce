"""CPU time of each step around the model, compared with other implementations in the same run.

    python -m benchmarks.overhead [--runs N] [--results DIR]

The image has 2 megapixels and its embedding is cached, as for every click but the first. The model is replaced by fixed
logits: smooth objects with slightly rough edges on SAM's grid. All numbers are CPU time of all
threads, which depends little on the load of the machine; medians over all runs.
"""

import argparse
import base64
import importlib.util
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from benchmarks.arguments import count
from benchmarks.machine import describe as machine
from benchmarks.overhead_report import markdown, table
from benchmarks.overhead_server import MODEL, OverheadServer
from maskery.api.requests.image_field import take_image
from maskery.api.requests.json_object import parse_json_object
from maskery.api.schemas.rendering import render
from maskery.segmentation import Segmentation, Size, Usage, open_image, to_png
from maskery.segmentation.compose import ObjectLogits, compose
from maskery.segmentation.image import digest
from maskery.segmentation.mask import Values

RESULTS = Path(__file__).parent / "results"
PHOTO = Path(__file__).parents[1] / "examples" / "photos" / "coffee.png"

SIZE = Size(1632, 1224)
COUNTS = (1, 8)

# The grid's rows that the image covers, of 256.
_ROWS = 192.0

# Duration of one measurement of a variant, and the number of requests to a server.
_SECONDS = 0.2
_REQUESTS = 8

_PACKAGES = ("zlib-ng", "pybase64", "pillow", "pydantic", "uvicorn", "h11", "httptools")


@dataclass
class Variant:
    """One implementation of a step; the first of each step is Maskery's.

    Attributes:
        name: of the implementation.
        measure: given the number of objects, CPU seconds of each of several calls.
        bytes: of the output, by number of objects, where it matters.
        spent: CPU seconds, by number of objects.
    """

    name: str
    measure: Callable[[int], list[float]]
    bytes: dict[int, int] = field(default_factory=dict)
    spent: dict[int, list[float]] = field(default_factory=lambda: {count: [] for count in COUNTS})

    def numbers(self) -> dict[str, Any]:
        spent = {count: {"median": median(each), "calls": len(each)} for count, each in self.spent.items()}
        return {"name": self.name, "spent": spent, "bytes": self.bytes}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    console = Console()
    with console.status("") as status:
        report = measure(options.runs, status.update)
    models = options.results / "models-base" / "results.json"
    report["model"] = _model(json.loads(models.read_text())) if models.is_file() else {}
    target = options.results / "around"
    target.mkdir(parents=True, exist_ok=True)
    (target / "results.json").write_text(json.dumps(report, indent=1) + "\n")
    (target / "results.md").write_text(markdown(report))
    console.print(table(report))
    console.print(f"Results are in {target}", soft_wrap=True)
    return 0


def measure(runs: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """The report, without the model's own times."""
    where = machine()
    image, logits = photo(), objects()
    bodies = {count: request(image, count) for count in COUNTS}
    with ExitStack() as stack:
        steps = dict(_steps(image, bodies, logits))
        steps |= _served(stack, bodies, logits)
        # The first run is the warm-up.
        for run in range(runs + 1):
            for what, variants in steps.items():
                for variant in variants:
                    progress(f"run {run} of {runs}: {what}, {variant.name}")
                    for count in COUNTS:
                        spent = variant.measure(count)
                        variant.spent[count] += spent if run else []
    installed = (name for name in _PACKAGES if importlib.util.find_spec(_MODULES.get(name, name)))
    return {
        "title": f"overhead around the model: a {SIZE} JPEG of {len(image):,} bytes, {runs} runs",
        "machine": where,
        "versions": {name: version(name) for name in installed},
        "steps": {what: [variant.numbers() for variant in variants] for what, variants in steps.items()},
    }


_MODULES = {"zlib-ng": "zlib_ng", "pillow": "PIL"}


def photo() -> bytes:
    """A JPEG with the noise of a camera."""
    with Image.open(PHOTO) as file:
        smooth = np.asarray(file.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC), np.float32)
    noise = np.random.default_rng(0).normal(0, 6, smooth.shape)
    written = io.BytesIO()
    Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8)).save(written, "JPEG", quality=90)
    return written.getvalue()


def request(image: bytes, count: int) -> bytes:
    clicks = [[[SIZE.width * (index + 0.5) / count, SIZE.height / 2]] for index in range(count)]
    text = base64.b64encode(image).decode()
    return json.dumps({"model": MODEL, "image_prompt": text, "segment_prompt": clicks}).encode()


def objects() -> dict[int, NDArray[np.float32]]:
    """By count, logits float32 [count, 256, 256]: one on a quarter of the image; eight, of which some touch."""
    one = [_object(0, (128, 96), (75, 55))]
    eight = [_object(index, (32 + 64 * (index % 4), 48 + 96 * (index // 4)), (27, 37)) for index in range(8)]
    return {1: np.stack(one), 8: np.stack(eight)}


def _object(seed: int, centre: tuple[float, float], radii: tuple[float, float]) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:256, :256].astype(np.float64)
    y, x = (y - centre[1]) / radii[1], (x - centre[0]) / radii[0]
    angle, distance = np.arctan2(y, x), np.hypot(y, x)
    waves = sum(rng.normal(0, 0.2 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(2, 12))
    rough = cv2.GaussianBlur(rng.standard_normal((256, 256)), (0, 0), 1.5)
    return np.asarray((1 + waves - distance) * 12 + rough, np.float32)


def _steps(
    image: bytes, bodies: dict[int, bytes], logits: dict[int, NDArray[np.float32]]
) -> Iterator[tuple[str, list[Variant]]]:
    """The steps of a request that run in threads, in order."""
    layers = {count: [ObjectLogits(each, (256.0, _ROWS), 0.9) for each in stack] for count, stack in logits.items()}
    masks = {count: compose(each, SIZE) for count, each in layers.items()}
    values = {count: mask.values for count, mask in masks.items() if mask.values is not None}
    answers = {count: Segmentation((mask,), Usage(4096, count, count)) for count, mask in masks.items()}

    yield (
        "JSON and base64 to a file",
        [
            _variant("maskery", lambda count: take_image(bodies[count])),
            _variant("json, binascii", lambda count: _decode(json.loads(bodies[count]))),
            _variant("json and every check, binascii", lambda count: _decode(parse_json_object(bodies[count]))),
        ],
    )
    yield "digest of the file", [_variant("maskery, SHA-256", lambda _: digest(image))]
    yield (
        "logits to a mask",
        [
            _variant("maskery", lambda count: compose(layers[count], SIZE)),
            _variant("OpenCV, every pixel", lambda count: _every_pixel(logits[count])),
        ],
    )
    yield (
        "mask to PNG",
        [
            _variant("maskery", lambda count: to_png(values[count]), measured=True),
            _variant("OpenCV, run lengths", lambda count: _opencv(values[count]), measured=True),
            _variant("Pillow, level 1", lambda count: _pillow(values[count], 1), measured=True),
            _variant("Pillow, level 6", lambda count: _pillow(values[count], 6), measured=True),
        ],
    )
    yield (
        "mask to PNG, base64 and JSON",
        [
            _variant("maskery", lambda count: render(answers[count], "b64_json"), measured=True),
            _variant("OpenCV, binascii, json", lambda count: _plain_answer(values[count]), measured=True),
        ],
    )
    yield (
        "(a new image) file to pixels",
        [
            _variant("maskery, Pillow", lambda _: open_image(image)),
            _variant("OpenCV", lambda _: cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)),
        ],
    )


def _served(
    stack: ExitStack, bodies: dict[int, bytes], logits: dict[int, NDArray[np.float32]]
) -> Iterator[tuple[str, list[Variant]]]:
    """The whole server without the model, and the share of HTTP."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="overhead-")))
    np.savez(folder / "logits.npz", *logits.values())
    parsers = [name for name in ("h11", "httptools") if importlib.util.find_spec(name)]
    ours = {http: stack.enter_context(OverheadServer("maskery", http, folder / "logits.npz")) for http in parsers}
    (folder / "answer.json").write_bytes(ours["h11"].post(bodies[1]))
    bare = {http: stack.enter_context(OverheadServer("bare", http, folder / "answer.json")) for http in parsers}

    def measure(server: OverheadServer, count: int) -> list[float]:
        return [server.seconds(bodies[count], _REQUESTS)]

    for what, servers in (("HTTP alone: body in, answer out", bare), ("the whole server", ours)):
        yield what, [Variant(f"uvicorn, {http}", partial(measure, server)) for http, server in servers.items()]


def _variant(name: str, do: Callable[[int], Any], measured: bool = False) -> Variant:
    def measure(count: int) -> list[float]:
        spent: list[float] = []
        end = time.perf_counter() + _SECONDS
        while not spent or time.perf_counter() < end:
            start = time.process_time()
            do(count)
            spent.append(time.process_time() - start)
        return spent

    return Variant(name, measure, {count: len(do(count)) for count in COUNTS} if measured else {})


def _decode(fields: dict[str, Any]) -> bytes:
    return base64.b64decode(fields["image_prompt"], validate=True)


def _every_pixel(logits: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Upscale the logits of every object to the whole image and take the highest; no merging, no ordering."""
    rows = logits[:, : int(_ROWS)]
    stretched = np.stack([cv2.resize(each, SIZE, interpolation=cv2.INTER_LINEAR) for each in rows])
    values: NDArray[np.uint8] = np.where(stretched.max(0) > 0, stretched.argmax(0) + 1, 0).astype(np.uint8)
    return values


def _opencv(values: Values) -> bytes:
    # The fastest options for masks: the default filter takes four times as long.
    options = [
        *(cv2.IMWRITE_PNG_COMPRESSION, 1),
        *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
        *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE),
    ]
    return cv2.imencode(".png", values, options)[1].tobytes()


def _pillow(values: Values, level: int) -> bytes:
    written = io.BytesIO()
    Image.fromarray(values).save(written, "PNG", compress_level=level)
    return written.getvalue()


def _plain_answer(values: Values) -> bytes:
    text = base64.b64encode(_opencv(values)).decode()
    return json.dumps({"created": 0, "data": [{"b64_json": text}], "usage": None}).encode()


def _model(report: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Medians of Maskery's engines from `benchmarks.models`, in seconds, by engine and task."""
    return {
        name: {task: numbers["median"] for task, numbers in engine["tasks"].items()}
        for name, engine in report["engines"].items()
        if name.startswith("maskery")
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overhead", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="folder for the results")
    parser.add_argument("--runs", type=count, default=7, metavar="N", help="number of runs (default: 7)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
