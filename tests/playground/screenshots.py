"""Takes the screenshots of the documentation: `make screenshots` writes docs/images/playground-*.png."""

import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.playground import serving
from tests.playground.browser import launch, missing
from tests.playground.driver import Driver

IMAGES = Path(__file__).parents[2] / "docs" / "images"

DESK = {"viewport": {"width": 1360, "height": 850}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}


def main() -> None:
    if reason := missing():
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as address, launch() as browser:
        url, _, key = address.partition("/#key=")
        shots: tuple[tuple[str, dict[str, Any], Any], ...] = (
            ("light", {**DESK, "color_scheme": "light"}, _coffee),
            ("dark", {**DESK, "color_scheme": "dark"}, _cut_out),
            ("phone", {**PHONE, "color_scheme": "light"}, _cat),
        )
        for name, options, act in shots:
            context = browser.new_context(**options)
            page = Driver(context.new_page(), url, key)
            page.page.goto(address)
            page.page.wait_for_selector("#model option", state="attached")
            act(page)
            page.page.wait_for_timeout(400)
            page.page.screenshot(path=IMAGES / f"playground-{name}.png")
            context.close()
            print(IMAGES / f"playground-{name}.png")


def _objects(page: Driver) -> None:
    page.load()
    with page.painted():
        page.drag((170, 15), (418, 310))
    for point in ((285, 40), (235, 270), (280, 215)):
        page.click(*point)
    for point in ((410, 80), (365, 280)):
        page.click(*point, shift=True)
    _name(page, "Cup")
    page.press("n")
    with page.painted():
        page.drag((200, 92), (372, 190))
    _name(page, "Espresso")
    page.press("n")
    page.click(130, 200)
    page.click(420, 330)
    for point in ((285, 150), (365, 280), (150, 45), (95, 340)):
        page.click(*point, shift=True)
    _name(page, "Saucer")
    page.press("n")
    page.click(365, 280)
    _name(page, "Spoon")


def _coffee(page: Driver) -> None:
    _objects(page)
    page.page.click("#candidates summary")
    page.page.wait_for_selector(".candidate")
    page.page.mouse.move(5, 5)


def _cut_out(page: Driver) -> None:
    _objects(page)
    page.page.locator("input[value=cutout]").check(force=True)


def _cat(page: Driver) -> None:
    page.load(sample="Chelsea")
    page.click(150, 110)
    _name(page, "Left eye")
    page.page.locator("#add").click()
    page.click(322, 140)
    _name(page, "Right eye")
    page.page.locator("#add").click()
    page.click(225, 190)
    _name(page, "Face")


def _name(page: Driver, name: str) -> None:
    field = page.page.locator(".is-selected .name")
    field.fill(name)
    field.press("Enter")


if __name__ == "__main__":
    main()
