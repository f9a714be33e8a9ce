"""The playground as a person uses it."""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page, Request

MODEL = "maskery/grabcut"

# Milliseconds; the machine may be doing other things.
PATIENCE = 40_000


class Driver:
    """A page, and what it has asked its server and said on its console.

    Attributes:
        requests: bodies of the segmentations that were asked for, the oldest first.
        errors: of the console and of scripts.
        origins: that were asked for anything.
        expects_refusals: whether the browser may note on the console that requests failed.
    """

    def __init__(self, page: Page, url: str, key: str) -> None:
        self.page = page
        self.url = url
        self.key = key
        self.requests: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self.origins: set[str] = set()
        self.expects_refusals = False
        page.set_default_timeout(PATIENCE)
        page.on("request", self._note)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: message.type in ("error", "warning") and self.errors.append(message.text))

    def _note(self, request: Request) -> None:
        if not request.url.startswith(("blob:", "data:")):
            self.origins.add("/".join(request.url.split("/")[:3]))
        if request.url.endswith("/v1/images/segmentations") and request.post_data:
            self.requests.append(json.loads(request.post_data))

    @property
    def complaints(self) -> list[str]:
        """What nobody should find on the console."""
        return [
            error
            for error in self.errors
            if not (self.expects_refusals and error.startswith("Failed to load resource"))
        ]

    def visit(self, fragment: str = "") -> None:
        """The page, as its server printed the address."""
        self.page.goto(f"{self.url}/#key={self.key}{fragment}" if self.key else f"{self.url}/{fragment}")
        self.page.wait_for_selector("#model option", state="attached")
        # What is expected of clicks is what this model makes of them, whichever is chosen at first.
        self.page.select_option("#model", MODEL)

    def load(self, picture: Path | None = None, sample: str = "Coffee") -> None:
        """Open a picture, or one of the samples, and wait until it is seen."""
        if picture:
            self.page.set_input_files("#file", picture)
            self.page.wait_for_function(
                "name => document.querySelector('#picture-name').title === name", arg=picture.name
            )
        else:
            self.page.get_by_role("button", name=sample).click()
        self.page.wait_for_selector("#toolbar:visible")
        self.page.wait_for_selector("#canvas[data-view]")

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where the middle of a pixel of the picture is in the window."""
        self.page.evaluate("() => new Promise(requestAnimationFrame)")
        view = self.page.get_attribute("#canvas", "data-view") or ""
        scale, left, top = map(float, view.split())
        box = self.page.locator("#canvas").bounding_box()
        assert box
        return box["x"] + left + (x + 0.5) * scale, box["y"] + top + (y + 0.5) * scale

    @contextmanager
    def answered(self) -> Iterator[None]:
        """What is done inside is followed by a mask on the screen."""
        count = "performance.getEntriesByName('mask-painted').length"
        before = self.page.evaluate(count)
        yield
        self.page.wait_for_function(f"before => {count} > before", arg=before)

    def click(self, x: float, y: float, *, shift: bool = False, button: Any = "left", wait: bool = True) -> None:
        if not wait:
            self._click(x, y, shift, button)
            return
        with self.answered():
            self._click(x, y, shift, button)

    def _click(self, x: float, y: float, shift: bool, button: Any) -> None:
        if shift:
            self.page.keyboard.down("Shift")
        self.page.mouse.click(*self.place(x, y), button=button)
        if shift:
            self.page.keyboard.up("Shift")

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """From the middle of one pixel to that of another."""
        self.page.mouse.move(*self.place(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.place(*(sum(pair) / 2 for pair in zip(start, end, strict=True))))
        self.page.mouse.move(*self.place(*end))
        self.page.mouse.up()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def rows(self) -> list[tuple[str, str]]:
        """Name and what is said of every object in the list."""
        return [
            (row.locator(".name").input_value(), row.locator(".said").inner_text())
            for row in self.page.locator("#objects > li").all()
        ]

    def scores(self) -> list[float]:
        return [float(re.split(r"\s", said)[0]) for _, said in self.rows()]

    def take(self, button: str, folder: Path) -> Path:
        """The file that a button gives."""
        with self.page.expect_download() as download:
            self.page.click(f"#{button}")
        path = folder / download.value.suggested_filename
        download.value.save_as(path)
        return path

    def pixel(self, x: float, y: float) -> tuple[int, int, int]:
        """What is seen at a pixel of the picture."""
        import io

        from PIL import Image

        left, top = self.place(x, y)
        shot = self.page.screenshot(clip={"x": round(left), "y": round(top), "width": 1, "height": 1})
        red, green, blue = Image.open(io.BytesIO(shot)).convert("RGB").getpixel((0, 0))  # type: ignore[misc]
        return int(red), int(green), int(blue)

    def api(self, picture: bytes, **options: Any) -> dict[str, Any]:
        """The API's own answer to what the page has asked last."""
        fields = {name: value for name, value in self.requests[-1].items() if name not in ("size", "response_format")}
        fields["image_prompt"] = base64.b64encode(picture).decode()
        answer = httpx.post(
            f"{self.url}/v1/images/segmentations",
            json={**fields, **options},
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        mask: dict[str, Any] = answer.json()["data"][0]
        return mask
