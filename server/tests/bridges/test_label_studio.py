"""Label Studio: requests as its `api_connector.py` builds them, with the regions that its page sends."""

import base64
import logging
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from bridges.conftest import Origin, api_mask, bearer
from samples import MODEL, b64, png, squares

from maskery.bridges.label_studio import brush

URL = f"/label-studio/{MODEL}"
CONFIGURATION = """<View>
  <!-- The masks -->
  <Image name="image" value="$photo" zoom="true"/>
  <BrushLabels name="mask" toName="image"><Label value="Red"/><Label value="Blue" alias="blue"/></BrushLabels>
  <KeyPointLabels name="points" toName="image" smart="true"><Label value="Red"/><Label value="Blue"/></KeyPointLabels>
  <RectangleLabels name="boxes" toName="image" smart="true"><Label value="Red"/></RectangleLabels>
</View>"""
POLYGONS = CONFIGURATION.replace("BrushLabels", "PolygonLabels")
PATH = "/data/upload/1/a.png"


@pytest.fixture
def connect(make_client: Callable[..., httpx.Client], origin: Origin, image: bytes) -> Callable[..., httpx.Client]:
    """Starts a server that is connected to `origin`, which has the image."""
    origin.files[PATH] = image

    def start(**settings: Any) -> httpx.Client:
        return make_client(bridges=["label-studio"], label_studio_url=origin.url, **settings)

    return start


@pytest.fixture
def client(connect: Callable[..., httpx.Client]) -> httpx.Client:
    return connect()


def basic(key: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'any:{key}'.encode()).decode()}"}


def percent(x: float, y: float, width: int = 96, height: int = 64) -> dict[str, float]:
    return {"x": 100 * x / width, "y": 100 * y / height}


def keypoint(x: float, y: float, label: str = "Red", is_positive: bool | None = True) -> dict[str, Any]:
    """As `KeyPointRegion.serialize` writes a smart keypoint."""
    value = {**percent(x, y), "width": 0.32, "labels": [label], "keypointlabels": [label]}
    return region("keypointlabels", "points", value, is_positive=is_positive)


def rectangle(x: float, y: float, width: float, height: float, rotation: float = 0) -> dict[str, Any]:
    size = percent(width, height)
    value = {**percent(x, y), "width": size["x"], "height": size["y"], "rotation": rotation, "rectanglelabels": ["Red"]}
    return region("rectanglelabels", "boxes", value)


def region(kind: str, name: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "original_width": 96,
        "original_height": 64,
        "image_rotation": 0,
        "value": value,
        "id": "k1",
        "from_name": name,
        "to_name": "image",
        "type": kind,
        "origin": "manual",
        **more,
    }


def predict(
    client: httpx.Client,
    regions: list[dict[str, Any]] | None,
    source: Any = PATH,
    configuration: str = CONFIGURATION,
    url: str = URL,
    tasks: list[dict[str, Any]] | None = None,
) -> httpx.Response:
    body = {
        "tasks": [{"id": 7, "data": {"photo": source}, "annotations": [{"result": [1, 2]}]}]
        if tasks is None
        else tasks,
        "project": "1.1700000000",
        "label_config": configuration,
        "params": {"login": None, "password": None, "context": None if regions is None else {"result": regions}},
    }
    return client.post(f"{url}/predict", json=body, headers=basic(bearer(client)))


def regions_of(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    (prediction,) = response.json()["results"]
    assert prediction["model_version"] == MODEL
    assert 0 < prediction["score"] <= 1
    found: list[dict[str, Any]] = prediction["result"]
    return found


def mask_of(found: dict[str, Any], size: tuple[int, int] = (64, 96)) -> np.ndarray:
    assert (found["original_height"], found["original_width"]) == size
    assert found["value"]["format"] == "rle"
    return brush.decode(bytes(found["value"]["rle"]), size[0] * size[1]).reshape(size)


def test_the_backend_is_connected_by_health_and_setup(client: httpx.Client) -> None:
    headers = basic(bearer(client))
    for url, model in ((URL, MODEL), (f"{URL}/", MODEL), ("/label-studio", "maskery/nano")):
        answer = client.get(f"{url.rstrip('/')}/health", headers=headers)
        assert answer.json() == {"status": "UP", "model_class": model}
        body = {"project": "1.1700000000", "schema": CONFIGURATION, "hostname": "http://x", "access_token": "x"}
        assert client.post(f"{url.rstrip('/')}/setup", json=body, headers=headers).json() == {"model_version": model}


def test_events_are_acknowledged(client: httpx.Client) -> None:
    body = {"action": "ANNOTATION_CREATED", "project": {"id": 1}, "annotation": {"result": []}}
    # Label Studio sends them without the backend's user and password.
    answer = client.post(f"{URL}/webhook", json=body, headers={"Authorization": ""})
    assert (answer.status_code, answer.json()) == (201, {"status": "ok"})


def test_keypoints_become_a_brush_that_is_the_mask_of_the_api(client: httpx.Client, image: bytes) -> None:
    (found,) = regions_of(predict(client, [keypoint(20, 20), keypoint(70, 40, is_positive=False)]))
    assert (found["from_name"], found["to_name"], found["type"]) == ("mask", "image", "brushlabels")
    assert found["value"]["brushlabels"] == ["Red"]
    assert found["image_rotation"] == 0
    expected = api_mask(client, image, segment_prompt=[[[20, 20], [70, 40]]], point_labels=[[1, 0]])
    assert (mask_of(found) == expected).all()


def test_every_label_and_every_rectangle_has_a_mask_of_its_own(client: httpx.Client, image: bytes) -> None:
    drawn = [keypoint(70, 40, "blue"), rectangle(8, 8, 24, 24), rectangle(56, 26, 28, 28)]
    found = regions_of(predict(client, drawn))
    assert [each["value"]["brushlabels"] for each in found] == [["blue"], ["Red"], ["Red"]]
    prompts: list[dict[str, Any]] = [
        {"segment_prompt": [[[70, 40]]]},
        {"boxes": [[8, 8, 32, 32]]},
        {"boxes": [[56, 26, 84, 54]]},
    ]
    for each, prompt in zip(found, prompts, strict=True):
        assert (mask_of(each) == api_mask(client, image, **prompt)).all()
    assert len({each["id"] for each in found}) == 3


def test_a_turned_rectangle_is_the_box_around_it(client: httpx.Client, image: bytes) -> None:
    # By 90 degrees around its top left corner, it lies to the left of it.
    (found,) = regions_of(predict(client, [rectangle(32, 8, 24, 24, rotation=90)]))
    assert (mask_of(found) == api_mask(client, image, boxes=[[8, 8, 32, 32]])).all()


def test_a_brush_is_a_mask_prompt(client: httpx.Client, image: bytes) -> None:
    drawn = np.zeros((64, 96), np.bool_)
    drawn[12:28, 12:28] = True
    value = {"format": "rle", "rle": list(brush.encode(drawn)), "brushlabels": ["Red"]}
    (found,) = regions_of(predict(client, [region("brushlabels", "mask", value)]))
    mask = base64.b64encode(png(np.where(drawn, 255, 0).astype(np.uint8))).decode()
    assert (mask_of(found) == api_mask(client, image, mask_prompts=[mask])).all()


def test_polygons_are_written_where_the_configuration_asks_for_them(client: httpx.Client) -> None:
    (found,) = regions_of(predict(client, [keypoint(20, 20)], configuration=POLYGONS))
    assert (found["type"], found["value"]["polygonlabels"], found["value"]["closed"]) == (
        "polygonlabels",
        ["Red"],
        True,
    )
    corners = np.array(found["value"]["points"]) * (0.96, 0.64)
    assert len(corners) >= 4
    assert np.abs([corners.min(axis=0) - 10, corners.max(axis=0) - 30]).max() <= 2


def test_a_keypoint_at_the_end_of_the_image_is_inside(client: httpx.Client) -> None:
    assert predict(client, [keypoint(96, 64)]).status_code == 200


def test_predictions_for_whole_tasks_are_none(client: httpx.Client, encodings: list[Any]) -> None:
    tasks = [{"id": each, "data": {"photo": PATH}} for each in range(3)]
    assert predict(client, None, tasks=tasks).json() == {"results": [[], [], []]}
    assert predict(client, [], tasks=tasks[:1]).json() == {"results": [[]]}
    assert encodings == []


def test_images_may_be_in_the_task_itself(client: httpx.Client, origin: Origin, image: bytes) -> None:
    assert len(regions_of(predict(client, [keypoint(20, 20)], f"data:image/png;base64,{b64(image)}"))) == 1
    assert len(regions_of(predict(client, [keypoint(20, 20)], f"{origin.url}{PATH}"))) == 1
    assert [path for path, _ in origin.seen] == [PATH]


@pytest.mark.parametrize(("token", "sent"), [(None, None), ("legacy", "Token legacy"), ("eyJ.a.b", "Bearer access-0")])
def test_label_studio_is_asked_with_the_operators_token(
    connect: Callable[..., httpx.Client], origin: Origin, token: str | None, sent: str | None
) -> None:
    client = connect(label_studio_token=token)
    origin.token = sent
    for _ in range(2):
        assert predict(client, [keypoint(20, 20)]).status_code == 200
    assert origin.seen == [(PATH, sent)] * 2


def test_an_expired_access_token_is_renewed(connect: Callable[..., httpx.Client], origin: Origin) -> None:
    client = connect(label_studio_token="eyJ.a.b")
    assert predict(client, [keypoint(20, 20)]).status_code == 200
    origin.token = "Bearer another"
    assert predict(client, [keypoint(20, 20)]).status_code == 200
    assert origin.access == ["access-0", "access-1"]


def test_files_in_a_storage_are_read_through_label_studio(client: httpx.Client, origin: Origin, image: bytes) -> None:
    uri = base64.urlsafe_b64encode(b"s3://bucket/a b.png").decode()
    path = f"/tasks/7/resolve/?fileuri={uri.replace('=', '%3D')}"
    origin.files[path] = image
    assert predict(client, [keypoint(20, 20)], "s3://bucket/a b.png").status_code == 200
    assert [seen for seen, _ in origin.seen] == [path]


@pytest.mark.parametrize(
    "source",
    [
        "http://elsewhere.example/a.png",
        "https://127.0.0.1/a.png",
        "http://169.254.169.254/latest/meta-data",
        "//elsewhere.example/a.png",
        "file:///etc/passwd",
        "ORIGIN.elsewhere.example/a.png",
        "ORIGIN@elsewhere.example/a.png",
        "a.png",
    ],
)
def test_images_elsewhere_are_not_fetched(client: httpx.Client, origin: Origin, source: str) -> None:
    response = predict(client, [keypoint(20, 20)], source.replace("ORIGIN", origin.url))
    if source.startswith("file:"):
        # Label Studio is asked for it, as for every URI of a storage, and has no such storage.
        assert response.status_code == 424
        assert [path.partition("?")[0] for path, _ in origin.seen] == ["/tasks/7/resolve/"]
        return
    assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_prompt")
    assert "MASKERY_LABEL_STUDIO_URL" in response.json()["error"]["message"]
    assert origin.seen == []


def test_redirects_are_not_followed(client: httpx.Client, origin: Origin) -> None:
    origin.files[PATH] = "http://elsewhere.example/signed"
    response = predict(client, [keypoint(20, 20)])
    assert (response.status_code, response.json()["error"]["code"]) == (424, "image_unavailable")
    assert "elsewhere.example" in response.json()["error"]["message"]


def test_large_files_are_not_read_to_their_end(
    connect: Callable[..., httpx.Client], origin: Origin, image: bytes
) -> None:
    client = connect(max_image_bytes=len(image) - 1)
    response = predict(client, [keypoint(20, 20)])
    assert (response.status_code, response.json()["error"]["code"]) == (413, "image_too_large")


def test_a_server_that_is_down_is_named(make_client: Callable[..., httpx.Client]) -> None:
    down = make_client(bridges=["label-studio"], label_studio_url="http://127.0.0.1:9")
    response = predict(down, [keypoint(20, 20)])
    assert (response.status_code, response.json()["error"]["code"]) == (424, "image_unavailable")
    assert "http://127.0.0.1:9 does not respond" in response.json()["error"]["message"]


NO_BRUSHES = '<View><Image name="image" value="$photo"/><KeyPointLabels name="k" toName="image"/></View>'


@pytest.mark.parametrize(
    ("regions", "more", "status", "says"),
    [
        ([keypoint(20, 20)], {"source": "/data/upload/1/gone.png"}, 424, "answers 404 for the image"),
        ([keypoint(20, 20)], {"configuration": NO_BRUSHES}, 422, "no BrushLabels or PolygonLabels"),
        ([keypoint(20, 20)], {"configuration": "<View>"}, 422, "not XML"),
        ([keypoint(20, 20)], {"configuration": "<!DOCTYPE a><View/>"}, 422, "document type"),
        ([keypoint(20, 20)], {"configuration": CONFIGURATION.replace('value="$photo"', 'valueList="$p"')}, 422, "list"),
        ([keypoint(20, 20, "Green")], {}, 422, "'Green', which 'mask' in the configuration lacks"),
        ([keypoint(20, 20, is_positive=False)], {}, 422, "all 0"),
        ([keypoint(-1, 20)], {}, 422, "outside the image"),
        ([region("polygonlabels", "p", {"points": []})], {}, 422, "keypoints, rectangles and brushes are used"),
        ([region("keypointlabels", "p", {"x": True, "y": 1})], {}, 422, "has no number 'x'"),
        ([region("keypointlabels", "p", {"x": 1e300, "y": 1})], {}, 422, "has no number 'x'"),
        ([region("rectanglelabels", "p", {"x": 1, "y": 1, "width": 5})], {}, 422, "has no number 'height'"),
        ([region("brushlabels", "p", {"rle": [1, 2, 3]})], {}, 422, "brush ends in the middle"),
        ([region("brushlabels", "p", {"rle": [1, 2, 300]})], {}, 422, "bytes must be in range"),
        ([region("brushlabels", "p", {})], {}, 422, "no list of bytes"),
        ([keypoint(20, 20)], {"source": None}, 422, "no image in the field 'photo'"),
        ([keypoint(20, 20)], {"tasks": []}, 422, "tasks is empty"),
        ([keypoint(20, 20)], {"source": "data:image/png,abc"}, 422, "data:image/"),
        ([keypoint(20, 20)], {"url": "/label-studio/no/model"}, 404, "no/model"),
    ],
)
def test_errors_are_logged_in_full(
    client: httpx.Client,
    caplog: pytest.LogCaptureFixture,
    regions: list[Any],
    more: dict[str, Any],
    status: int,
    says: str,
) -> None:
    """Label Studio shows the status only."""
    with caplog.at_level(logging.WARNING, "maskery.bridges"):
        response = predict(client, regions, **more)
    assert response.status_code == status, response.text
    assert says in response.json()["error"]["message"]
    assert says in caplog.text


def test_a_project_without_brushes_cannot_be_connected(client: httpx.Client) -> None:
    body = {"project": "1.1700000000", "schema": NO_BRUSHES}
    response = client.post(f"{URL}/setup", json=body, headers=basic(bearer(client)))
    assert response.status_code == 422
    assert "add <BrushLabels" in response.json()["error"]["message"]


def test_a_task_with_very_many_numbers_is_still_read(client: httpx.Client) -> None:
    """Label Studio sends all brushes of a task with it, more numbers than the API accepts."""
    brushes = [{"result": [{"value": {"rle": [0] * 1_200_000}}]}]
    tasks = [{"id": 7, "data": {"photo": PATH}, "annotations": brushes}]
    assert predict(client, [keypoint(20, 20)], tasks=tasks).status_code == 200


def test_the_image_of_the_api_is_not_encoded_again(client: httpx.Client, origin: Origin, encodings: list[Any]) -> None:
    image = origin.files[PATH] = png(squares(98))
    api_mask(client, image, segment_prompt=[[[20, 20]]])
    assert predict(client, [keypoint(20, 20)]).status_code == 200
    assert len(encodings) == 1
