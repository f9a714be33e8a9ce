"""The page works in Firefox, too, which is driven by WebDriver BiDi."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def test_clicks_brush_reload_and_export_work_in_firefox(server: Any, tmp_path: Path) -> None:
    firefox, node = shutil.which("firefox-esr") or shutil.which("firefox"), shutil.which("node")
    if not (firefox and node and (ROOT / "node_modules" / "puppeteer-core").exists()):
        pytest.fail("This test needs Firefox, Node and puppeteer-core: apt-get install firefox-esr, make page-tools.")
    url = f"{server.url}/#key={server.key}&sample=coffee"
    command = [node, HERE / "firefox.mjs", url, firefox, tmp_path]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150)
    assert result.returncode == 0, result.stdout + result.stderr
    found = json.loads(result.stdout)
    assert found["errors"] == []
    assert found["before"] == found["after"]
    assert "Edited" in found["after"][1]
    mask = np.asarray(Image.open(tmp_path / "coffee-mask.png"))
    assert mask.shape == (400, 600)
    assert (mask[160, 285], mask[335, 110]) == (1, 2)
