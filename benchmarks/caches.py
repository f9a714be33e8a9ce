"""What the caches save: twelve objects of which one changes, and the first click after a restart.

Twelve discs lie on each photograph, and every object is one of them: objects that people prompt on one image are mostly
apart. Both measurements concern images that have been encoded, so a slow encoder would change nothing.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np

from benchmarks.machine import describe
from benchmarks.serving import images
from benchmarks.soak.server import Server, running

_COLUMNS, _ROWS, _RADIUS = 4, 3, 110
_OBJECTS = _COLUMNS * _ROWS

# Each image is the first of a restarted server once.
_RESTARTS = 5
_DISK_BYTES = 2**30
_LARGEST_RATIO = 1.5

CHANGED = f"{_OBJECTS} objects, one changed"
UNCACHED = f"{CHANGED}, no candidate cache"
RESTARTED = "first click after a restart"

Objects = list[list[list[int]]]


class Client:
    """Segments files; `seconds` is from sending a request to its complete answer. Waits until the server is ready."""

    def __init__(self, server: Server, name: str) -> None:
        self._name = name
        self._http = httpx.Client(
            base_url=server.url, headers={"Authorization": f"Bearer {server.key}"}, timeout=300, trust_env=False
        )
        while self._http.get("/health/ready").status_code != httpx.codes.OK:
            time.sleep(0.02)

    def seconds(self, file: bytes, objects: Objects | None, **options: Any) -> float:
        """Seconds of a request with these prompts and other options of the API."""
        fields = {"model": self._name, "segment_prompt": objects, "merge_iou": 1, **options}
        request = self._http.build_request(
            "POST", "/v1/images/segmentations", data={"request": json.dumps(fields)}, files={"image": file}
        )
        request.read()
        started = time.perf_counter()
        self._http.send(request).raise_for_status()
        return time.perf_counter() - started


def scene(file: bytes, seed: int) -> bytes:
    """The photograph with a disc in each cell of a grid, as PNG, of which a model sees the outlines as they are."""
    pixels = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError("the file is not an image")
    random = np.random.default_rng(seed)
    for index in range(_OBJECTS):
        cv2.circle(pixels, centre(index), _RADIUS, random.integers(0, 256, 3).tolist(), -1, cv2.LINE_AA)
    return cv2.imencode(".png", pixels)[1].tobytes()


def centre(index: int) -> tuple[int, int]:
    """The middle (x, y) of a disc."""
    row, column = divmod(index, _COLUMNS)
    return int((column + 0.5) * images.WIDTH / _COLUMNS), int((row + 0.5) * images.HEIGHT / _ROWS)


def points(index: int, seed: int) -> Iterator[list[int]]:
    """Different points on one disc."""
    random = np.random.default_rng((seed, index))
    while True:
        yield (np.array(centre(index)) + random.integers(-_RADIUS // 2, _RADIUS // 2, 2)).tolist()


def one_of_several(client: Client, file: bytes, count: int, requests: int) -> list[float]:
    """Seconds of requests of so many objects, of which one gets another point each time."""
    clicks = [points(index, count) for index in range(count)]
    objects = [[next(each)] for each in clicks]
    client.seconds(file, objects)
    seconds = []
    for number in range(requests):
        objects[number % count] = [next(clicks[number % count])]
        seconds.append(client.seconds(file, objects))
    return seconds


def measure(home: Path, name: str, requests: int, files: list[bytes]) -> dict[str, list[float]]:
    """Seconds by what was measured.

    Args:
        home: with the model installed.
    """
    settings = {"preload": name, "disk_cache_bytes": str(_DISK_BYTES)}
    found: dict[str, list[float]] = {}
    with running(home, **settings) as server:
        client = Client(server, name)
        found["one object"] = one_of_several(client, files[0], 1, requests)
        found[CHANGED] = one_of_several(client, files[0], _OBJECTS, requests)
        for file in files:
            client.seconds(file, [[list(centre(0))]])
        clicks = zip(itertools.cycle(files), points(0, 7), strict=False)
        found["click"] = [client.seconds(file, [[click]]) for file, click in itertools.islice(clicks, requests)]
    with running(_without_accounts(home), **settings, candidate_cache_bytes="0") as server:
        found[UNCACHED] = one_of_several(Client(server, name), files[0], _OBJECTS, max(3, requests // 4))
    found[RESTARTED] = []
    for file in files:
        with running(_without_accounts(home), **settings) as server:
            found[RESTARTED].append(Client(server, name).seconds(file, [[list(centre(1))]]))
    return found


def _without_accounts(home: Path) -> Path:
    """The home folder as before its first start, at which the server makes a key for the same account."""
    for path in home.glob("maskery.db*"):
        path.unlink()
    return home


def main() -> int:
    """Measure and print. Returns 1 if a ratio exceeds the largest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=40, help="of each kind")
    parser.add_argument("--model", default="maskery/nano", help="a built-in model")
    parser.add_argument("--out", type=Path, help="folder for results.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home, photos = Path(folder) / "home", Path(folder) / "photos"
        for each in (home, photos):
            each.mkdir()
        photographs = images.write(photos, _RESTARTS)
        files = [scene(path.read_bytes(), seed) for seed, path in enumerate(photographs)]
        found = measure(home, options.model, options.requests, files)
    milliseconds = {what: statistics.median(each) * 1e3 for what, each in found.items()}
    ratios = {
        CHANGED: milliseconds[CHANGED] / milliseconds["one object"],
        RESTARTED: milliseconds[RESTARTED] / milliseconds["click"],
    }
    for what, median in milliseconds.items():
        ratio = f", {ratios[what]:.2f} times" if what in ratios else ""
        print(f"{what}: {median:.1f} ms (median of {len(found[what])}){ratio}")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        kept = {"machine": describe(), "milliseconds": milliseconds, "ratios": ratios}
        (options.out / "results.json").write_text(json.dumps(kept, indent=2) + "\n")
    return int(max(ratios.values()) > _LARGEST_RATIO)


if __name__ == "__main__":
    sys.exit(main())
