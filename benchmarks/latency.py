"""Latency of the built-in model over HTTP: clicks on new and known images, further clicks, a box, eight objects.

    python -m benchmarks.latency [--requests 40]

Images are photographs as JPEG, all different. A known image is one that the server has encoded; a further click is the
second point of a prompt whose first point it has answered. Points differ from request to request, so that nothing is
answered from the candidate cache but what a client's second point finds there.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.arguments import count
from benchmarks.caches import Client
from benchmarks.machine import describe
from benchmarks.serving import images
from benchmarks.soak.server import running

SIZES = ((640, 480), (1600, 1200))
_OBJECTS = 8

NEW, KNOWN, FURTHER, BOX, EIGHT = (
    "click, new image",
    "click, known image",
    "further click",
    "box, known image",
    "eight objects, known image",
)


def resized(photographs: list[Path], size: tuple[int, int]) -> list[bytes]:
    """JPEG files of these photographs with this width and height."""
    files = []
    for path in photographs:
        pixels = cv2.imread(str(path))
        if pixels is None:
            raise OSError(f"{path} cannot be read")
        files.append(cv2.imencode(".jpg", cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))[1].tobytes())
    return files


def points(size: tuple[int, int], seed: int) -> Iterator[list[int]]:
    """Points in the middle nine tenths of an image, each different from the last."""
    random = np.random.default_rng(seed)
    while True:
        yield [int(side * random.uniform(0.05, 0.95)) for side in size]


def measure(client: Client, files: list[bytes], size: tuple[int, int]) -> dict[str, list[float]]:
    """Seconds of a request of each kind for each file."""
    width, height = size
    clicks = points(size, 0)
    found: dict[str, list[float]] = {name: [] for name in (NEW, KNOWN, FURTHER, BOX, EIGHT)}
    for file in files:
        found[NEW].append(client.seconds(file, [[next(clicks)]]))
        first = next(clicks)
        found[KNOWN].append(client.seconds(file, [[first]]))
        found[FURTHER].append(client.seconds(file, [[first, next(clicks)]]))
        x, y = next(clicks)
        left, top, right, bottom = x - width // 5, y - height // 5, x + width // 5, y + height // 5
        box = [max(0, left), max(0, top), min(width, right), min(height, bottom)]
        found[BOX].append(client.seconds(file, None, boxes=[box]))
        found[EIGHT].append(client.seconds(file, [[next(clicks)] for _ in range(_OBJECTS)]))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=count, default=40, help="of each kind and size")
    parser.add_argument("--model", default="maskery/nano", help="a built-in model")
    parser.add_argument("--precision", default="auto", help="of the server's arithmetic: auto, f32 or bf16")
    parser.add_argument("--out", type=Path, help="folder for results.json")
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": describe(), "milliseconds": {}}
    with tempfile.TemporaryDirectory() as folder:
        home, photos = Path(folder) / "home", Path(folder) / "photos"
        for each in (home, photos):
            each.mkdir()
        with running(home, preload=options.model, precision=options.precision) as server:
            client = Client(server, options.model)
            # The first request of each kind finds no buffers yet, and does not count.
            photographs = images.write(photos, options.requests + 1)
            for size in SIZES:
                name = f"{size[0]}x{size[1]}"
                found = measure(client, resized(photographs, size), size)
                medians = {what: statistics.median(each[1:]) * 1e3 for what, each in found.items()}
                results["milliseconds"][name] = medians
                print(
                    f"{name}, medians of {options.requests}: "
                    + ", ".join(f"{what} {median:.0f} ms" for what, median in medians.items())
                    + f" ({medians[EIGHT] / medians[KNOWN]:.1f} times one)"
                )
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "results.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
