"""Memory of a server with the built-in model, after a few requests.

    python -m benchmarks.memory [--requests 20]

A server is started with its defaults. It segments small images, known ones again, and one of 11 megapixels. Reported
are the resident and the proportional memory (RSS and PSS, where shared pages count once) of the server's process and of
its encoder process, from /proc.
"""

import argparse
import io
import tempfile
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from benchmarks.playground import serving

_SIZES = [(600, 400), (1280, 960), (4000, 2750)]


def _image(size: tuple[int, int], seed: int) -> bytes:
    """A photograph-like image: smooth noise of several scales."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 255, (12, 16, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def memory(process: int) -> dict[str, float]:
    """RSS and PSS of a process, in MB."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    fields = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines[1:])}
    return {name: fields[name] * 1024 / 1e6 for name in ("Rss", "Pss")}


def children(process: int) -> list[int]:
    own = [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return [each for child in own for each in (child, *children(child))]


def server_processes(url: str) -> list[int]:
    """The process that listens on the port, and its descendants."""
    port = f":{int(url.rpartition(':')[2]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {row[9] for row in rows if row[1].endswith(port) and row[3] == "0A"}
    sockets = {f"socket:[{inode}]" for inode in inodes}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in sockets for link in (folder / "fd").iterdir()):
                return [int(folder.name), *children(int(folder.name))]
        except OSError:
            continue
    raise SystemExit("the server's process was not found")


def measure(requests: int) -> list[tuple[str, dict[str, float]]]:
    """The memory of the server's process, and of its encoder process if it has one."""
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as address:
        url, _, key = address.partition("/#key=")
        images = [_image(_SIZES[0], 1), _image(_SIZES[1], 2), _image(_SIZES[2], 3)]
        with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=120) as client:
            for number in range(requests):
                # The large image once, in the middle.
                index = 2 if number == requests // 2 else number % 2
                width, height = _SIZES[index]
                point = [width * (0.2 + 0.03 * number), height / 2]
                fields = f'{{"model": "maskery/nano", "segment_prompt": [[{point}], [[{width / 2}, {height / 3}]]]}}'
                response = client.post(
                    f"{url}/v1/images/segmentations", files={"image": images[index]}, data={"request": fields}
                )
                response.raise_for_status()
        processes = server_processes(url)
        return [("encoder" if index else "server", memory(each)) for index, each in enumerate(processes)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=20, help="requests before the measurement (default: 20)")
    options = parser.parse_args()
    found = measure(options.requests)
    print(f"after {options.requests} requests, one of them with 11 megapixels:")
    for name, values in found:
        print(f"  {name:8} RSS {values['Rss']:5.0f} MB   PSS {values['Pss']:5.0f} MB")


if __name__ == "__main__":
    main()
