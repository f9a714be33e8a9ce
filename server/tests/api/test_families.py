"""Every option of the API with every family of models: one server, one table."""

import base64
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from sam_folders import write_model
from samples import b64, png, squares, values_of

from maskery.models import Store

pytestmark = pytest.mark.slow

ROUTE = "/v1/images/segmentations"
FAMILIES = ("sam", "sam_hq", "sam2", "sam2_video", "edgetam")
MODELS = ("maskery/nano", "maskery/grabcut", *(f"test/{family}" for family in FAMILIES))

MASK = base64.b64encode(png((squares()[..., 0] > 200).astype(np.uint8) * 255)).decode()

# Options by the property that they show: fields of the request, candidates, objects.
OPTIONS: dict[str, tuple[dict[str, Any], int, int]] = {
    "one point": ({"segment_prompt": [[[20, 20]]]}, 1, 1),
    "several objects": ({"segment_prompt": [[[20, 20]], [[70, 40], [75, 45]], [[5, 60]]]}, 1, 3),
    "negative points": ({"segment_prompt": [[[20, 20], [70, 40]]], "point_labels": [[1, 0]]}, 1, 1),
    "a box": ({"boxes": [[50, 20, 90, 60]]}, 1, 1),
    "a box and points": ({"segment_prompt": [[[70, 40]]], "boxes": [[50, 20, 90, 60]]}, 1, 1),
    "a mask prompt": ({"segment_prompt": [[[20, 20]]], "mask_prompts": [MASK]}, 1, 1),
    "three candidates": ({"segment_prompt": [[[20, 20]]], "n": 3}, 3, 1),
    "another size": ({"segment_prompt": [[[20, 20]]], "size": "48x32"}, 1, 1),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("families")
    for family in FAMILIES:
        folder = write_model(tmp_path_factory.mktemp(family), family, seed=1)
        Store(home / "models").install_from_folder(f"test/{family}", folder)
    return home


@pytest.fixture(scope="module")
def client(serve: Callable[..., AbstractContextManager[httpx.Client]], home: Path) -> Iterator[httpx.Client]:
    with serve(home) as client:
        yield client


def segment(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    response = client.post(ROUTE, json=fields, timeout=120)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("option", OPTIONS)
def test_every_model_has_every_option(client: httpx.Client, model: str, option: str) -> None:
    fields, candidates, objects = OPTIONS[option]
    image = b64(png(squares()))
    answer = segment(client, model=model, image_prompt=image, merge_iou=1, **fields)
    assert len(answer["data"]) == candidates
    for mask in answer["data"]:
        assert [each["prompts"] for each in mask["segments"]] == [[index] for index in range(objects)]
        assert all(0 <= each["score"] <= 1 for each in mask["segments"])
    width, height = map(int, fields.get("size", "96x64").split("x"))
    assert values_of(answer).shape == (height, width)
    # The same request is answered alike from the cache, and beside other objects.
    assert segment(client, model=model, image_prompt=image, merge_iou=1, **fields)["data"] == answer["data"]


@pytest.mark.parametrize("model", MODELS)
def test_a_prepared_image_is_answered_like_the_image(client: httpx.Client, model: str) -> None:
    image, prompt = b64(png(squares())), [[[20, 20]], [[70, 40]]]
    prepared = client.post("/v1/images", json={"model": model, "image_prompt": image}, timeout=120)
    assert prepared.status_code in (200, 201), prepared.text
    by_id = segment(client, model=model, image_prompt=f"id:{prepared.json()['id']}", segment_prompt=prompt)
    assert by_id["data"] == segment(client, model=model, image_prompt=image, segment_prompt=prompt)["data"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_that_is_replaced_is_loaded_again(
    client: httpx.Client, home: Path, family: str, tmp_path: Path
) -> None:
    image, prompt, model = b64(png(squares())), [[[20, 20]]], f"test/{family}"
    before = segment(client, model=model, image_prompt=image, segment_prompt=prompt)["data"]
    Store(home / "models").install_from_folder(model, write_model(tmp_path, family, seed=2))
    # The server notices it within a second or so.
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        after = segment(client, model=model, image_prompt=image, segment_prompt=prompt)["data"]
        if after != before:
            return
    pytest.fail("the replaced model still answers")
