"""A real Label Studio with Maskery as its ML backend: an annotator's click gives the mask of the API."""

import base64
import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT, Server
from tests.tools.conftest import LabelStudio, decode

pytestmark = pytest.mark.services

MODEL = "maskery/grabcut"
PHOTO = (ROOT / "examples" / "photos" / "coffee.png").read_bytes()
WIDTH, HEIGHT = Image.open(io.BytesIO(PHOTO)).size
# Of the pages that documentation shows.
CONFIGURATION = re.findall(r"```xml\n(.*?)```", (ROOT / "docs" / "label-studio.md").read_text(), re.S)[0]


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server], label_studio: LabelStudio) -> Server:
    return start_server(
        bridges="label-studio", label_studio_url=label_studio.url, label_studio_token=label_studio.token
    )


@pytest.fixture(scope="module")
def project(label_studio: LabelStudio) -> int:
    return label_studio.make_project(CONFIGURATION)


@pytest.fixture(scope="module")
def task(label_studio: LabelStudio, project: int) -> dict[str, Any]:
    return label_studio.import_image(project, PHOTO)


@pytest.fixture(scope="module")
def backend(label_studio: LabelStudio, project: int, server: Server) -> dict[str, Any]:
    answer = label_studio.connect(project, f"{server.url}/label-studio/{MODEL}", server.key)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def keypoint(x: float, y: float, is_positive: bool = True) -> dict[str, Any]:
    place = {"x": 100 * x / WIDTH, "y": 100 * y / HEIGHT, "width": 0.3}
    return {
        "id": f"k{x:g}-{y:g}",
        "type": "keypointlabels",
        "from_name": "point",
        "to_name": "image",
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "is_positive": is_positive,
        "origin": "manual",
        "value": {**place, "labels": ["Cat"], "keypointlabels": ["Cat"]},
    }


def api_mask(server: Server, points: list[list[float]], labels: list[int]) -> np.ndarray:
    body = {
        "model": MODEL,
        "image_prompt": base64.b64encode(PHOTO).decode(),
        "segment_prompt": [points],
        "point_labels": [labels],
    }
    headers = {"Authorization": f"Bearer {server.key}"}
    answer = httpx.post(f"{server.url}/v1/images/segmentations", json=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(answer.json()["data"][0]["b64_json"])))) == 1


def log_of(server: Server) -> str:
    return Path(server.home / "server.log").read_text()


def wait_for(text: str, read: Callable[[], str]) -> None:
    deadline = time.monotonic() + 10
    while text not in read():
        assert time.monotonic() < deadline, read()[-3000:]
        time.sleep(0.1)


def test_the_backend_is_connected_with_its_model_as_version(label_studio: LabelStudio, backend: dict[str, Any]) -> None:
    state = label_studio.get(f"/api/ml/{backend['id']}")
    assert (state["state"], state["model_version"]) == ("CO", MODEL)


def test_a_click_on_an_uploaded_image_gives_the_mask_of_the_api(
    label_studio: LabelStudio, backend: dict[str, Any], task: dict[str, Any], server: Server
) -> None:
    assert task["data"]["image"].startswith("/data/upload/")
    points = [[285.0, 150.0], [430.0, 220.0]]
    answer = label_studio.annotate(backend["id"], task["id"], [keypoint(*points[0]), keypoint(*points[1], False)])
    assert "errors" not in answer
    (region,) = answer["data"]["result"]
    assert (region["from_name"], region["value"]["brushlabels"]) == ("mask", ["Cat"])
    values = np.frombuffer(decode(region["value"]["rle"]), np.uint8).reshape(HEIGHT, WIDTH, 4)
    expected = api_mask(server, points, [1, 0])
    assert ((values[..., 3] > 0) == expected).all()
    # The API's request has found the embedding of the click.
    assert log_of(server).count("embedding=new") == 1
    # Label Studio accepts the region as an annotation, and gives it back.
    saved = label_studio.post(f"/api/tasks/{task['id']}/annotations/", {"result": [region]})
    assert saved["result"][0]["value"]["rle"] == region["value"]["rle"]


def test_predictions_of_whole_tasks_are_none(
    label_studio: LabelStudio, backend: dict[str, Any], task: dict[str, Any]
) -> None:
    del backend
    before = len(label_studio.log)
    predictions = label_studio.get(f"/api/tasks/{task['id']}")["predictions"]
    assert predictions == []
    assert "incorrect response" not in label_studio.log[before:]


def test_a_wrong_key_is_named_when_the_backend_is_connected(
    label_studio: LabelStudio, project: int, server: Server
) -> None:
    answer = label_studio.connect(project, f"{server.url}/label-studio", "mk_wrong")
    assert answer.status_code == 400
    assert "authentication parameters" in answer.text
    wait_for("The API key is unknown", lambda: log_of(server))


def test_a_project_without_brushes_cannot_be_connected(label_studio: LabelStudio, server: Server) -> None:
    project = label_studio.make_project(
        '<View><Image name="image" value="$image"/><KeyPointLabels name="point" toName="image">'
        '<Label value="Cat"/></KeyPointLabels></View>'
    )
    answer = label_studio.connect(project, f"{server.url}/label-studio", server.key)
    assert answer.status_code == 400
    assert "422 Client Error" in answer.text
    assert "current labeling configuration" in answer.text
    wait_for("has no BrushLabels or PolygonLabels", lambda: log_of(server))


def test_an_image_that_is_gone_is_named_in_both_logs(
    label_studio: LabelStudio, backend: dict[str, Any], project: int, server: Server
) -> None:
    gone = label_studio.post("/api/tasks", {"project": project, "data": {"image": "/data/upload/1/gone.png"}})
    answer = label_studio.annotate(backend["id"], gone["id"], [keypoint(10, 10)])
    (error,) = answer["errors"]
    assert "424 Client Error" in error
    wait_for("for the image '/data/upload/1/gone.png'", lambda: log_of(server))
    wait_for("Prediction not created", lambda: label_studio.log)


def test_an_image_elsewhere_is_not_fetched(
    label_studio: LabelStudio, backend: dict[str, Any], project: int, server: Server
) -> None:
    task = label_studio.post("/api/tasks", {"project": project, "data": {"image": "http://127.0.0.1:9/a.png"}})
    answer = label_studio.annotate(backend["id"], task["id"], [keypoint(10, 10)])
    assert "422 Client Error" in answer["errors"][0]
    wait_for("is not on http://127.0.0.1", lambda: log_of(server))
