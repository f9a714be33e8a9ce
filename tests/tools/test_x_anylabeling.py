"""X-AnyLabeling's own client, without a display, against a server: a click gives the outline of the API's mask."""

import base64
import io
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT, Server

pytestmark = pytest.mark.services

PROGRAM = Path(os.environ.get("X_ANYLABELING", ROOT / ".venv-x-anylabeling")) / "bin" / "python"
CLIENT = Path(__file__).parent / "x_anylabeling_client.py"
MODEL = "maskery/grabcut"
PHOTO = ROOT / "examples" / "photos" / "coffee.png"
POINTS = [[285, 150], [430, 220]]
MARKS = [
    {"type": "point", "data": POINTS[0], "label": 1},
    {"type": "point", "data": POINTS[1], "label": 0},
]


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server]) -> Server:
    return start_server(bridges="x-anylabeling")


@pytest.fixture
def ask(server: Server, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """What the client makes of the server's answers."""

    def ask(key: str, marks: list[dict[str, Any]]) -> dict[str, Any]:
        if not PROGRAM.exists():
            pytest.fail(f"there is no {PROGRAM}: run make test-tools")
        settings = tmp_path / "settings.yaml"
        address = f"{server.url}/x-anylabeling"
        settings.write_text(f"remote_server_settings:\n  server_url: {address}\n  api_key: {key}\n")
        command = [
            PROGRAM,
            Path(__file__).parent / "x_anylabeling_client.py",
            settings,
            MODEL,
            PHOTO,
            json.dumps(marks),
        ]
        environment = {**os.environ, "HOME": str(tmp_path), "QT_QPA_PLATFORM": "offscreen"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    return ask


def test_the_client_draws_the_mask_of_the_api(server: Server, ask: Callable[..., dict[str, Any]]) -> None:
    found = ask(server.key, MARKS)
    assert {MODEL, "maskery/nano"} <= set(found["models"])
    # Nothing to run on all images of a folder, and the shapes of other objects stay.
    assert (found["batch"], found["replace"], found["messages"]) == (None, False, [])
    (shape,) = found["shapes"]
    assert (shape["label"], shape["type"]) == ("AUTOLABEL_OBJECT", "polygon")
    body = {
        "model": MODEL,
        "image_prompt": base64.b64encode(PHOTO.read_bytes()).decode(),
        "segment_prompt": [POINTS],
        "point_labels": [[1, 0]],
    }
    headers = {"Authorization": f"Bearer {server.key}"}
    answer = httpx.post(f"{server.url}/v1/images/segmentations", json=body, headers=headers, timeout=60).json()
    expected = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["data"][0]["b64_json"])))) == 1
    assert shape["score"] == pytest.approx(answer["data"][0]["segments"][0]["score"])
    drawn = np.zeros(expected.shape, np.uint8)
    cv2.fillPoly(drawn, [np.rint(shape["points"]).astype(np.int32)], 1)
    assert ((drawn > 0) & expected).sum() / ((drawn > 0) | expected).sum() > 0.97


def test_a_wrong_key_is_reported_to_the_user(ask: Callable[..., dict[str, Any]]) -> None:
    found = ask("mk_wrong", MARKS)
    assert found["models"] == {}
    assert "401 Client Error" in found["messages"][0]


def test_without_marks_nothing_is_drawn(server: Server, ask: Callable[..., dict[str, Any]]) -> None:
    assert ask(server.key, [])["shapes"] == []
