"""For every folder of tests: services outside of Python as fixtures, Hypothesis' profiles, which tests are slow."""

import os
from pathlib import Path

import hypothesis
import pytest

pytest_plugins = ["outside"]

ROOT = Path(__file__).parent

# Folders and files of which every test is slow: they start servers, browsers and crowds of clients.
SLOW = (ROOT / "benchmarks", ROOT / "tests")
# Of these, what a newcomer's run has: the programs of the API's own page, and the code blocks of the guides.
QUICK = {ROOT / "tests" / "test_api_page.py", ROOT / "tests" / "test_docs.py"}

# Networks that an earlier test has compiled are read from there. It may be deleted at any time.
os.environ.setdefault("MASKERY_COMPILE_CACHE", str(ROOT / ".cache" / "compiled"))

hypothesis.settings.register_profile("dev", max_examples=25, deadline=None)
hypothesis.settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path not in QUICK and any(item.path.is_relative_to(folder) for folder in SLOW):
            item.add_marker(pytest.mark.slow)
