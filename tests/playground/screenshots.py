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
            ("dark", {**DESK, "color_scheme": "dark"}, _polygon),
            ("start", {**DESK, "color_scheme": "light"}, lambda _: None),
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
    _prompts(page)


def _prompts(page: Driver) -> None:
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
    """A project of several images, one of them done."""
    _cat(page)
    page.press("d")
    page.page.evaluate("location.hash = 'sample=coffee'")
    page.page.wait_for_function("() => document.querySelector('#image-name').title === 'coffee.jpg'")
    page.press("n")
    _prompts(page)
    for photo in sorted((IMAGES.parents[1] / "examples" / "photos").glob("*.png")):
        page.page.set_input_files("#file", photo)
        page.page.wait_for_function("name => document.querySelector('#image-name').title === name", arg=photo.name)
    page.page.locator("#frames button").nth(1).click()
    page.page.wait_for_function("() => document.querySelector('#image-name').title === 'coffee.jpg'")
    page.page.mouse.move(5, 5)


def _polygon(page: Driver) -> None:
    """The outline of an object, with its corners."""
    _objects(page)
    page.page.locator("#objects > li").first.click(position={"x": 12, "y": 12})
    page.page.locator("input[name=tool][value=polygon]").check(force=True)
    page.page.mouse.move(5, 5)


def _cat(page: Driver) -> None:
    page.load(sample="Chelsea")
    for eye in ((120, 82, 184, 142), (298, 108, 344, 168)):
        with page.painted():
            page.drag(eye[:2], eye[2:])
        _name(page, "Eye")
        page.page.locator("#add").click()
    page.click(225, 190)
    _name(page, "Face")


def _name(page: Driver, name: str) -> None:
    field = page.page.locator(".is-selected .name")
    field.fill(name)
    field.press("Enter")


if __name__ == "__main__":
    main()
