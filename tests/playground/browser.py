"""Finds and starts Debian's Chromium for Playwright."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# No requests of the browser's own.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str | None:
    """Path of the installed browser. The variable `CHROMIUM` takes precedence."""
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def missing() -> str | None:
    """Say what is missing to test the playground; None if nothing is."""
    if importlib.util.find_spec("playwright") is None:
        return "The playground's tests need Playwright: pip install playwright."
    if chromium() is None:
        return "The playground's tests need Chromium: apt-get install chromium."
    return None


@contextmanager
def launch() -> Iterator["Browser"]:
    """Run the browser during the block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield browser
        browser.close()
