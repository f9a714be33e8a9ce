"""Runs the unit tests of the page's modules with Node."""

import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parent / "units"


def test_the_modules_pass_their_unit_tests() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.fail("The unit tests of the page's modules need Node: apt-get install nodejs.")
    files = sorted(str(path) for path in UNITS.glob("*.test.js"))
    result = subprocess.run([node, "--test", *files], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
