"""Debian's Chromium, driven by Playwright: where it is, and how it is started."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# It speaks to no host of its own accord.
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
    """Path of the installed browser; `CHROMIUM` names another one."""
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def missing() -> str | None:
    """A sentence on what keeps the playground from being tested here; None: nothing."""
    if importlib.util.find_spec("playwright") is None:
        return "The playground is tested where Playwright is installed: pip install playwright."
    if chromium() is None:
        return "The playground is tested where Chromium is installed: apt-get install chromium."
    return None


@contextmanager
def launch() -> Iterator["Browser"]:
    """The browser, for as long as the block runs."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield browser
        browser.close()
