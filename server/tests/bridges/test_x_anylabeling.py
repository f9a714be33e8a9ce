"""X-AnyLabeling: requests as its `remote_server.py` builds them, answers as it reads them."""

import logging
from collections.abc import Callable
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from bridges.conftest import api_mask, bearer
from samples import MODEL, b64, png, squares

URL = "/x-anylabeling"


@pytest.fixture(scope="module")
def client(serve_bridges: Callable[..., httpx.Client]) -> httpx.Client:
    return serve_bridges(bridges=["x-anylabeling"])


def predict(client: httpx.Client, image: bytes, marks: list[dict[str, Any]], **more: Any) -> httpx.Response:
    """The application's request; it sends its initial thresholds with every one."""
    params: dict[str, Any] = {"conf_threshold": 0.0, "iou_threshold": 0.0, "epsilon_factor": 0.001, **more}
    if marks:
        params["marks"] = marks
    payload = {"model": MODEL, "image": f"data:image/png;base64,{b64(image)}", "params": params}
    headers = {"Token": bearer(client), "Content-Type": "application/json", "Authorization": ""}
    return client.post(f"{URL}/v1/predict", json=payload, headers=headers)


def filled(shapes: list[dict[str, Any]], shape: tuple[int, int]) -> np.ndarray:
    canvas = np.zeros((shape[0] * 16, shape[1] * 16), np.uint8)
    for each in shapes:
        cv2.fillPoly(canvas, [np.rint(np.array(each["points"]) * 16).astype(np.int32)], 1)
    return canvas[8::16, 8::16] > 0


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


POINT = {"type": "point", "data": [20, 20], "label": 1}
RECTANGLE = {"type": "rectangle", "data": [56, 26, 84, 54], "label": 1}


def test_models_are_listed_with_the_tools_of_the_application(client: httpx.Client) -> None:
    answer = client.get(f"{URL}/v1/models", headers={"Token": bearer(client), "Authorization": ""}).json()
    assert answer["success"] is True
    assert set(answer["data"]) >= {MODEL, "maskery/nano"}
    model = answer["data"][MODEL]
    # The application hides models with capabilities, and shows the widgets by name.
    assert model["display_name"] == MODEL
    assert model["capabilities"] == {}
    names = [widget["name"] for widget in model["widgets"]]
    assert {"button_add_point", "button_remove_point", "button_add_rect", "button_finish_object"} <= set(names)


def test_points_become_a_closed_polygon(client: httpx.Client, image: bytes) -> None:
    marks = [POINT, {"type": "point", "data": [70, 40], "label": 0}]
    answer = predict(client, image, marks).json()
    assert answer["success"] is True
    assert answer["data"]["replace"] is False
    (shape,) = answer["data"]["shapes"]
    assert (shape["label"], shape["shape_type"]) == ("AUTOLABEL_OBJECT", "polygon")
    assert shape["points"][0] == shape["points"][-1]
    assert 0 <= shape["score"] <= 1
    expected = api_mask(client, image, segment_prompt=[[[20, 20], [70, 40]]], point_labels=[[1, 0]])
    assert iou(filled([shape], expected.shape), expected) > 0.95


def test_every_rectangle_is_an_object(client: httpx.Client, image: bytes) -> None:
    # The application sends corners in the order in which they were drawn.
    marks = [{**RECTANGLE, "data": [84, 54, 56, 26]}, {**RECTANGLE, "data": [8, 8, 32, 32]}]
    shapes = predict(client, image, marks).json()["data"]["shapes"]
    assert len(shapes) == 2
    for shape, box in zip(shapes, [[56, 26, 84, 54], [8, 8, 32, 32]], strict=True):
        expected = api_mask(client, image, boxes=[box])
        assert iou(filled([shape], expected.shape), expected) > 0.95


def test_the_slider_of_the_application_leaves_fewer_corners(client: httpx.Client, image: bytes) -> None:
    fine = predict(client, image, [POINT]).json()["data"]["shapes"][0]["points"]
    coarse = predict(client, image, [POINT], epsilon_factor=0.1).json()["data"]["shapes"][0]["points"]
    assert len(coarse) <= len(fine)


def test_without_marks_there_are_no_shapes(client: httpx.Client, image: bytes, encodings: list[Any]) -> None:
    answer = predict(client, image, [])
    assert answer.json() == {"success": True, "data": {"shapes": [], "description": "", "replace": False}}
    assert encodings == []


@pytest.mark.parametrize(
    ("marks", "more", "status", "code"),
    [
        ([], {"text_prompt": "car"}, 422, "invalid_prompt"),
        ([{**POINT, "label": 0}], {}, 422, "invalid_prompt"),
        ([{**RECTANGLE, "label": 0}], {}, 422, "invalid_prompt"),
        ([{**POINT, "data": [500, 20]}], {}, 422, "invalid_prompt"),
        ([{**POINT, "data": [1]}], {}, 422, "invalid_prompt"),
        ([{**RECTANGLE, "data": [1, 2, 3]}], {}, 422, "invalid_prompt"),
        ([{**POINT, "type": "circle"}], {}, 422, "invalid_field"),
        ([POINT], {"epsilon_factor": -1}, 422, "invalid_field"),
    ],
)
def test_errors_have_a_status_and_are_logged(
    client: httpx.Client,
    image: bytes,
    caplog: pytest.LogCaptureFixture,
    marks: list[Any],
    more: dict[str, Any],
    status: int,
    code: str,
) -> None:
    """The application shows the status only."""
    with caplog.at_level(logging.WARNING, "maskery.bridges"):
        response = predict(client, image, marks, **more)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert response.json()["error"]["message"].rstrip(".") in caplog.text


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 400, "malformed_json"),
        (b"[1]", 400, "malformed_json"),
        (b'{"model": "a/b"}', 422, "invalid_field"),
        (b'{"model": "a/b", "image": "%"}', 400, "invalid_base64"),
        (b'{"model": "a/b", "image": "YQ==", "params": {"marks": [{"type": "point", "data": [1, 1]}]}}', 404,
         "model_not_found"),
        (b'{"x": [' + b"1," * 1_000_000 + b"1]}", 400, "malformed_json"),
    ],
)  # fmt: skip
def test_other_bodies_are_refused(client: httpx.Client, content: bytes, status: int, code: str) -> None:
    headers = {"Token": bearer(client), "Content-Type": "application/json"}
    response = client.post(f"{URL}/v1/predict", content=content, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


def test_the_image_of_the_api_is_not_encoded_again(client: httpx.Client, encodings: list[Any]) -> None:
    image = png(squares(97))
    api_mask(client, image, segment_prompt=[[[20, 20]]])
    assert predict(client, image, [POINT]).status_code == 200
    assert len(encodings) == 1


def test_bridges_are_off_unless_they_are_named(make_client: Callable[..., httpx.Client]) -> None:
    client = make_client()
    for path in ("/x-anylabeling/v1/models", "/api/functions", "/label-studio/health"):
        assert client.get(path).status_code == 404
