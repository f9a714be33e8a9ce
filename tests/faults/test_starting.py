"""Starting: the server reports when it is ready, and exits when it cannot be."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.running import PATIENCE, SLOW, WARMING, Start, eventually, expected_eighths, wait_until_ready

# Exit status of errors that a user can fix.
FAILED = 2

NAME = "syscv-community/sam-hq-vit-base"


def test_a_server_is_alive_but_not_ready_while_a_model_is_loaded(start: Start) -> None:
    server = start(ready=False, preload=SLOW)
    with server.faults.set(f"hold-encode-{WARMING}"):
        server.faults.wait_for(f"encode {WARMING}")
        assert server.get("/health/live").json == {"status": "alive"}
        health = server.get("/health/ready")
        assert (health.status, health.json) == (503, {"status": "starting"})
        assert int(health.headers["Retry-After"]) >= 1
    eventually(lambda: server.get("/health/ready").status == 200, "the server to be ready")
    wait_until_ready(server)
    assert server.segment(1).eighths == expected_eighths(1)


def test_a_model_that_raises_during_the_start_ends_the_server(start: Start, tmp_path: Path) -> None:
    (tmp_path / f"raise-encode-{WARMING}").touch()
    server = start(ready=False, folder=tmp_path, preload=SLOW)
    assert server.process.wait(PATIENCE) == FAILED
    assert f"the server did not start: the model cannot encode {WARMING}" in server.log
    assert "Traceback" in server.log, "an unexpected error"


def test_a_crash_of_the_encoder_process_during_the_start_ends_the_server(start: Start, tmp_path: Path) -> None:
    (tmp_path / f"kill-encode-{WARMING}").touch()
    server = start(ready=False, folder=tmp_path, preload=SLOW)
    assert server.process.wait(PATIENCE) == FAILED
    assert "the server did not start: the encoder process ended during this image" in server.log
    assert "Traceback" not in server.log


@pytest.mark.parametrize("name", [NAME, "team/unknown"])
def test_a_model_that_is_not_installed_cannot_be_preloaded(start: Start, name: str) -> None:
    server = start(ready=False, preload=f"maskery/grabcut,{name}")
    assert server.process.wait(PATIENCE) == FAILED
    assert name in server.log
    assert "maskery/grabcut" in server.log, "the message lists what is installed"
    assert "Traceback" not in server.log


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with an installed model."""
    from sam_folders import write_model

    home = tmp_path_factory.mktemp("home")
    subprocess.run(
        [sys.executable, "-m", "maskery", "models", "install", NAME, "--from", write_model(home / "source")],
        env={**os.environ, "MASKERY_HOME": str(home)},
        check=True,
        timeout=60,
    )
    return home


@pytest.mark.parametrize("damage", ["weights", "config"])
def test_a_model_with_damaged_files_ends_the_server_without_a_traceback(
    start: Start, installed: Path, tmp_path: Path, damage: str
) -> None:
    home = tmp_path / "home"
    shutil.copytree(installed, home)
    names = {"weights": "model.safetensors", "config": "config.json"}
    (file,) = (home / "models").rglob(names[damage])
    data = file.read_bytes()
    file.write_bytes(json.dumps([]).encode() if damage != "weights" else data[: len(data) // 2])
    server = start(ready=False, folder=tmp_path, home=home, preload=NAME)
    assert server.process.wait(PATIENCE) == FAILED
    assert NAME in server.log
    assert "Traceback" not in server.log
