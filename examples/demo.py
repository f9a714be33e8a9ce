"""Start a server, run the two example programs, write a mask and an overlay to demo/: `make demo`."""

import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from air import AIRefinery

HERE = Path(__file__).parent
PHOTO = HERE / "photos" / "coffee.png"
OUT = HERE.parent / "demo"

# Three objects of the photograph: cup, saucer, bowl of the spoon. Label 0 marks points that are not on the object.
PROMPT = [
    [[285, 150], [285, 225], [270, 8]],
    [[130, 200], [420, 330], [285, 150], [365, 280], [150, 45], [95, 340]],
    [[365, 280], [352, 330], [300, 260]],
]
LABELS = [[1, 1, 0], [1, 1, 0, 0, 0, 0], [1, 1, 0]]

# Requests that are timed after the first.
WARM = 5


@contextlib.contextmanager
def server(home: str) -> Iterator[tuple[str, str]]:
    """Start a server on a free port with its own home folder, and yield its address and a key."""
    environment = {**os.environ, "MASKERY_HOME": home, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "maskery", "serve", "--port", "0", "--log-level", "warning"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            printed = ""
            for line in process.stdout or ():
                printed += line
                address, key = re.search(r"http://\S+:\d+", printed), re.search(r"mk_\S+", printed)
                if address and key:
                    yield address[0], key[0]
                    return
            sys.exit("The server did not start; see its messages above.")
        finally:
            process.terminate()


def main() -> None:
    print("Starting a server with a home folder of its own ...", flush=True)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as home, server(home) as (url, key):
        print(f"The server listens on {url}, after {time.perf_counter() - started:.1f} s")
        environment = {**os.environ, "ACCOUNT": "local", "API_KEY": key, "AIREFINERY_ADDRESS": url}
        for program in ("segment_sync.py", "segment_async.py"):
            print(f"\n$ python examples/{program}", flush=True)
            subprocess.run([sys.executable, HERE / program], env=environment, check=True)
        with AIRefinery(api_key=key, base_url=url) as client:
            seconds = []
            for moved in range(WARM, -1, -1):
                # Other points every time, as the server knows the masks of prompts that it has answered.
                prompt = [[[x + moved, y] for x, y in points] for points in PROMPT]
                started = time.perf_counter()
                response = client.images.segment(PHOTO, prompt, "maskery/nano", point_labels=LABELS)
                seconds.append(time.perf_counter() - started)
        mask = response.data[0]
        OUT.mkdir(exist_ok=True)
        mask.save(OUT / "mask.png")
        mask.overlay(PHOTO).save(OUT / "overlay.png")
        warm = statistics.median(seconds[1:])
        print(
            f"\nThree objects in one request: score {mask.score:.2f}; {warm:.2f} s, the first time {seconds[0]:.2f} s"
        )
        print(f"mask:    {OUT / 'mask.png'}  (values 1 to 3, so it looks black)")
        print(f"overlay: {OUT / 'overlay.png'}")
        print("\nNext: .venv/bin/maskery demo opens the playground in a browser.")


if __name__ == "__main__":
    main()
