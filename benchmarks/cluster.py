"""What Ray Serve costs a request: `make bench-cluster`.

A server, and a cluster of one replica, answer the same click on the same image, whose candidates are known: the time is
that of HTTP, JSON and PNG, and of Ray's proxy.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from air import AIRefinery

PHOTO = Path(__file__).parents[1] / "examples" / "photos" / "coffee.png"
CLICKS = 300
WARMING = 30


@contextmanager
def running(*command: str) -> Iterator[tuple[str, str, float]]:
    """A server's address, its key, and the seconds that it took to be ready."""
    with tempfile.TemporaryDirectory(prefix="ray-") as home:
        environment = {
            **os.environ,
            "MASKERY_HOME": home,
            "MASKERY_PRELOAD": "maskery/grabcut",
            "MASKERY_MAX_UPLOAD_BYTES": str(100 * 2**20),
            "RAY_TMPDIR": home,
            "PYTHONUNBUFFERED": "1",
        }
        started = time.monotonic()
        with subprocess.Popen(
            [sys.executable, "-m", "maskery", *command, "--port", "0"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            address, key = process.stdout.readline(), process.stdout.readline()
            seconds = time.monotonic() - started
            try:
                yield re.findall(r"http://\S+:\d+", address)[0], key.split()[1], seconds
            finally:
                process.terminate()
                process.wait(60)


def measure(url: str, key: str) -> list[float]:
    """Milliseconds of each click, one after the other."""
    image = PHOTO.read_bytes()
    times = []
    with AIRefinery(key, url) as client:
        for _ in range(WARMING + CLICKS):
            started = time.perf_counter()
            client.images.segment(image, [[[285, 150]]], "maskery/grabcut")
            times.append((time.perf_counter() - started) * 1e3)
    return times[WARMING:]


def main() -> None:
    print("                      ready      p50      p95")
    for command in (("serve",), ("cluster", "--replicas", "1")):
        with running(*command) as (url, key, ready):
            times = measure(url, key)
        name = f"maskery {command[0]}"
        print(f"{name:18s}  {ready:5.1f} s  {statistics.median(times):5.1f} ms  {sorted(times)[284]:5.1f} ms")


if __name__ == "__main__":
    main()
