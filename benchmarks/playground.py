"""Latency from click to painted mask: what the page adds to the server's time.

    python -m benchmarks.playground [--clicks 40] [--size 1800x1200] [--objects 12]

A real server, Chromium and a prepared image; one click at a time, each on an object of its own. The time from the
click event to the frame with the mask is compared with the time of the request, by the browser's clock; the difference
is the page's. Then a click on an object among others is compared with the same click on an image where it is alone, in
turns: the time from click to frame. Needs Playwright and Chromium.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from tests.playground.browser import launch, missing

# Records the click, and the first moment after the frame with its mask.
_PROBE = """
window.clicked = 0;
window.painted = [];
addEventListener('pointerup', (event) => (window.clicked = event.timeStamp), true);
new PerformanceObserver((list) => {
  for (const mark of list.getEntriesByName('mask-painted')) {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => window.painted.push([window.clicked, mark.startTime, performance.now()]);
    channel.port2.postMessage(0);
  }
}).observe({ type: 'mark' });
"""

_LAST_REQUEST = """() => {
  const entry = performance.getEntriesByType('resource').filter((each) => each.name.endsWith('/segmentations')).at(-1);
  return [entry.requestStart, entry.responseEnd];
}"""


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """The address of the page, including the key."""
    environment = {**os.environ, "MASKERY_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "maskery", "serve", "--port", "0", "--log-level", "warning"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield next(line.split()[1] for line in process.stdout if line.startswith("Playground:"))
        finally:
            process.terminate()


def _image(path: Path, width: int, height: int) -> None:
    """Discs of many colours in rows."""
    y, x = np.mgrid[:height, :width]
    pixels = np.full((height, width, 3), 200, np.uint8)
    for row in range(4):
        for column in range(6):
            middle = ((column + 0.5) * width / 6, (row + 0.5) * height / 4)
            disc = np.hypot(x - middle[0], y - middle[1]) < 0.35 * min(width / 6, height / 4)
            pixels[disc] = (40 + 35 * column, 30 + 50 * row, 220 - 30 * column)
    Image.fromarray(pixels).save(path, quality=92)


def _place(page: Any, x: float, y: float) -> tuple[float, float]:
    page.evaluate("() => new Promise(requestAnimationFrame)")
    scale, left, top = map(float, page.get_attribute("#canvas", "data-view").split())
    box = page.locator("#canvas").bounding_box()
    return box["x"] + left + x * scale, box["y"] + top + y * scale


def _open(browser: Any, address: str, image: Path) -> Any:
    """A page with the image, in a context of its own: it shares no project with others."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(60_000)
    page.add_init_script(_PROBE)
    page.goto(address)
    page.wait_for_selector("#model option", state="attached")
    page.set_input_files("#file", image)
    page.wait_for_selector("#canvas[data-view]")
    return page


def measure(address: str, image: Path, size: tuple[int, int], clicks: int) -> list[tuple[float, float]]:
    """For each click, milliseconds of the request and of the page before and after it."""
    width, height = size
    times = []
    with launch() as browser:
        page = _open(browser, address, image)
        # The first two prepare the image and warm up.
        for number in range(clicks + 2):
            spot = (number % 6 + 0.5) * width / 6, (number // 6 % 4 + 0.5) * height / 4
            page.mouse.click(*_place(page, *spot))
            page.wait_for_function("count => window.painted.length > count", arg=2 * number)
            clicked, _, painted = page.evaluate("window.painted.at(-1)")
            sent, answered = page.evaluate(_LAST_REQUEST)
            if number >= 2:
                times.append((answered - sent, painted - clicked - (answered - sent)))
            # Delete the object, so that every click segments one object.
            page.keyboard.press("Delete")
            page.wait_for_function("count => window.painted.length > count", arg=2 * number + 1)
    return times


def measure_among_others(
    address: str, image: Path, size: tuple[int, int], clicks: int, objects: int
) -> list[list[float]]:
    """Milliseconds from a click to its mask, for an object that is alone and for one among others, in turns.

    Every click adds a point at another place, so that no mask is known, and is undone.
    """
    width, height = size
    spots = [((each % 6 + 0.5) * width / 6, (each // 6 % 4 + 0.5) * height / 4) for each in range(objects)]
    x, y = spots[-1]
    times: list[list[float]] = [[], []]
    with launch() as browser:
        pages = []
        for wanted in (spots[-1:], spots):
            page = _open(browser, address, image)
            for number, spot in enumerate(wanted):
                page.keyboard.press("n")
                page.mouse.click(*_place(page, *spot))
                page.wait_for_function("count => window.painted.length > count", arg=number)
            pages.append(page)
        for number in range(clicks + 2):
            for index, page in enumerate(pages):
                before = page.evaluate("window.painted.length")
                # Different places for the two, because the server knows what either has asked.
                place = x + 6 + 2 * (number % 20), y + 4 + 30 * index + 2 * (number // 20)
                page.mouse.click(*_place(page, *place))
                page.wait_for_function("count => window.painted.length > count", arg=before)
                clicked, _, painted = page.evaluate("window.painted.at(-1)")
                if number >= 2:
                    times[index].append(painted - clicked)
                before = page.evaluate("window.painted.length")
                page.keyboard.press("Control+z")
                page.wait_for_function("count => window.painted.length > count", arg=before)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--clicks", type=int, default=40, help="clicks to measure (default: 40)")
    parser.add_argument("--size", default="1800x1200", help="of the image, WIDTHxHEIGHT (default: 1800x1200)")
    parser.add_argument("--objects", type=int, default=12, help="objects on the second image (default: 12)")
    options = parser.parse_args()
    if reason := missing():
        sys.exit(reason)
    match = re.fullmatch(r"(\d+)x(\d+)", options.size)
    if not match:
        sys.exit("--size is WIDTHxHEIGHT, such as 1800x1200.")
    size = int(match[1]), int(match[2])
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as address:
        image = Path(folder) / "discs.jpg"
        _image(image, *size)
        times = measure(address, image, size, options.clicks)
        alone, among = measure_among_others(address, image, size, options.clicks, options.objects)
    print(f"{len(times)} clicks on a prepared image of {size[0]} × {size[1]}, milliseconds:")
    for name, values in (("the request", [t[0] for t in times]), ("the page adds", [t[1] for t in times])):
        print(f"  {name:14} median {median(values):6.1f}   p95 {np.percentile(values, 95):6.1f}")
    print(f"from a click to its mask: alone {median(alone):.1f}, one of {options.objects} {median(among):.1f}", end=" ")
    print(f"({median(among) / median(alone):.2f} times)")


if __name__ == "__main__":
    main()
