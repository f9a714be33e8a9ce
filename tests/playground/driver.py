"""Drives the playground as a user does."""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page, Request

MODEL = "maskery/grabcut"

# Milliseconds. The machine may be busy.
TIMEOUT = 40_000


class Driver:
    """A page, with its requests and its console.

    Attributes:
        requests: The bodies of all segmentation requests, the oldest first.
        errors: Errors and warnings of the console and of scripts.
        origins: The origins of all requests.
        allow_failed_requests: Whether the console may report failed requests.
    """

    def __init__(self, page: Page, url: str, key: str) -> None:
        self.page = page
        self.url = url
        self.key = key
        self.requests: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self.origins: set[str] = set()
        self.allow_failed_requests = False
        page.set_default_timeout(TIMEOUT)
        page.on("request", self._note)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: message.type in ("error", "warning") and self.errors.append(message.text))

    def _note(self, request: Request) -> None:
        if not request.url.startswith(("blob:", "data:")):
            self.origins.add("/".join(request.url.split("/")[:3]))
        if request.url.endswith("/v1/images/segmentations") and request.post_data:
            self.requests.append(json.loads(request.post_data))

    @property
    def unexpected_errors(self) -> list[str]:
        """Messages on the console that a test must not cause."""
        return [
            error
            for error in self.errors
            if not (self.allow_failed_requests and error.startswith("Failed to load resource"))
        ]

    def connect(self, fragment: str = "") -> None:
        """Open the page with the URL that its server printed."""
        self.page.goto(f"{self.url}/#key={self.key}{fragment}" if self.key else f"{self.url}/{fragment}")
        self.page.wait_for_selector("#model option", state="attached")
        # Expected masks are those of this model, whatever the default is.
        self.page.select_option("#model", MODEL)

    def load(self, image: Path | None = None, sample: str = "Coffee") -> None:
        """Open an image or a sample, and wait until it is shown."""
        if image:
            self.page.set_input_files("#file", image)
            self.page.wait_for_function("name => document.querySelector('#image-name').title === name", arg=image.name)
        else:
            self.page.get_by_role("button", name=sample).click()
        self.page.wait_for_selector("#toolbar:visible")
        self.page.wait_for_selector("#canvas[data-view]")

    def settle(self) -> None:
        """Wait until pending events have been handled and the page has been drawn."""
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def view(self) -> tuple[float, float, float]:
        """The scale of the image, and the position of its upper left corner on the canvas."""
        scale, left, top = map(float, (self.page.get_attribute("#canvas", "data-view") or "").split())
        return scale, left, top

    def scale(self) -> float:
        return self.view()[0]

    def position(self, x: float, y: float) -> tuple[float, float]:
        """The position of the centre of an image's pixel in the window."""
        self.page.evaluate("() => new Promise(requestAnimationFrame)")
        scale, left, top = self.view()
        box = self.page.locator("#canvas").bounding_box()
        assert box
        return box["x"] + left + (x + 0.5) * scale, box["y"] + top + (y + 0.5) * scale

    @contextmanager
    def painted(self) -> Iterator[None]:
        """Wait until a mask has been painted after the actions of the block."""
        count = "performance.getEntriesByName('mask-painted').length"
        before = self.page.evaluate(count)
        yield
        self.page.wait_for_function(f"before => {count} > before", arg=before)

    def click(self, x: float, y: float, *, shift: bool = False, button: Any = "left", wait: bool = True) -> None:
        if not wait:
            self._click(x, y, shift, button)
            return
        with self.painted():
            self._click(x, y, shift, button)

    def _click(self, x: float, y: float, shift: bool, button: Any) -> None:
        if shift:
            self.page.keyboard.down("Shift")
        self.page.mouse.click(*self.position(x, y), button=button)
        if shift:
            self.page.keyboard.up("Shift")

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag from the centre of one pixel to that of another."""
        self.page.mouse.move(*self.position(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.position(*(sum(pair) / 2 for pair in zip(start, end, strict=True))))
        self.page.mouse.move(*self.position(*end))
        self.page.mouse.up()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def rows(self) -> list[tuple[str, str]]:
        """Label, or number, and summary of each object in the list."""
        return [
            (
                row.locator(".name").input_value() or row.locator(".name").get_attribute("placeholder") or "",
                row.locator(".summary").inner_text(),
            )
            for row in self.page.locator("#objects > li").all()
        ]

    def scores(self) -> list[float]:
        return [float(re.split(r"\s", summary)[0]) for _, summary in self.rows()]

    def export(self, name: str, folder: Path) -> Path:
        """Export a file: ``mask``, ``cutout``, ``overlay``, ``rle`` or ``polygons``."""
        with self.page.expect_download() as download:
            self.page.click(f"#export-{name}")
        path = folder / download.value.suggested_filename
        download.value.save_as(path)
        return path

    def code(self, language: str) -> str:
        """The code for the current request: ``python`` or ``curl``."""
        self.page.click("#export-code")
        self.page.locator(f"input[value={language}]").check(force=True)
        text = self.page.inner_text("#code-text")
        self.page.keyboard.press("Escape")
        return text

    def run_python(self, folder: Path) -> None:
        """Run the Python code in a folder with the image."""
        self._run(folder, sys.executable, "-W", "error", "-c", self.code("python"))

    def run_curl(self, folder: Path) -> None:
        """Run the curl command in a folder with the image."""
        self._run(folder, "bash", "-euo", "pipefail", "-c", self.code("curl"))

    def _run(self, folder: Path, *command: str) -> None:
        environment = {**os.environ, "AIR_API_KEY": self.key}
        result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stdout + result.stderr

    def pixel(self, x: float, y: float) -> tuple[int, int, int]:
        """The colour on the screen at a pixel of the image."""
        import io

        from PIL import Image

        left, top = self.position(x, y)
        shot = self.page.screenshot(clip={"x": round(left), "y": round(top), "width": 1, "height": 1})
        red, green, blue = Image.open(io.BytesIO(shot)).convert("RGB").getpixel((0, 0))  # type: ignore[misc]
        return int(red), int(green), int(blue)

    def api(self, image: bytes, **options: Any) -> dict[str, Any]:
        """The API's response to the page's last request."""
        fields = {name: value for name, value in self.requests[-1].items() if name not in ("size", "response_format")}
        fields["image_prompt"] = base64.b64encode(image).decode()
        response = httpx.post(
            f"{self.url}/v1/images/segmentations",
            json={**fields, **options},
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=60,
        )
        assert response.status_code == 200, response.text
        mask: dict[str, Any] = response.json()["data"][0]
        return mask
