"""SAM-HQ installed from a folder under its own name: the API page's programs need no alias."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sam_folders import write_model

from maskery.models import Store

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
MODEL = "syscv-community/sam-hq-vit-base"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with a small network of random weights installed under the API page's name."""
    folder, home = tmp_path_factory.mktemp("folder"), tmp_path_factory.mktemp("home")
    write_model(folder, "sam_hq", seed=0)
    Store(home / "models").install_from_folder(MODEL, folder)
    return home


@pytest.fixture(scope="module")
def sam_server(start_server: Callable[..., Any], home: Path) -> Any:
    return start_server(home=str(home))


@pytest.mark.parametrize("program", ["segment_sync.py", "segment_async.py"])
def test_the_pages_programs_run_unchanged_without_an_alias(
    sam_server: Any, run_page: Callable[..., Any], program: str
) -> None:
    result = run_page(program, sam_server)
    assert result.returncode == 0, result.stderr
    assert "b64_json='iVBORw0KGgoAAAANSUhEUgAABwgAAASwCAAAA" in result.stdout


def test_segmenting_with_it_is_silent(home: Path, tmp_path: Path) -> None:
    """No socket, no process, no telemetry: an audit hook sees what the libraries do in Python."""
    program = f"""
import sys
seen = []
watched = ("socket.connect", "socket.getaddrinfo", "socket.sendto", "os.fork", "os.forkpty", "subprocess.Popen")
sys.addaudithook(lambda event, arguments: seen.append((event, str(arguments))) if event in watched else None)
sys.argv = ["maskery", "segment", {str(ROOT / "examples" / "photos" / "coffee.png")!r}, "--point", "285,150",
            "--model", {MODEL!r}, "-o", {str(tmp_path / "mask.png")!r}]
from maskery.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
assert "openvino" in sys.modules
assert not seen, seen
"""
    environment = {**os.environ, "MASKERY_HOME": str(home), "HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "intel").exists(), "telemetry has written its file"
