"""Prepared images, which are sent once and segmented by id."""

import hashlib
import io
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from samples import MODEL, b64, png, squares, values_of

ROUTE = "/v1/images"
SEGMENT = "/v1/images/segmentations"

MakeClient = Callable[..., httpx.Client]


@pytest.fixture
def fields(image: bytes) -> dict[str, Any]:
    return {"model": MODEL, "image_prompt": b64(image)}


@pytest.fixture
def client(shared_client: httpx.Client) -> httpx.Client:
    return shared_client


@pytest.fixture
def stranger(client: httpx.Client, make_key: Callable[..., str], shared_home: Path) -> httpx.Headers:
    """Headers with another account's key."""
    return httpx.Headers({"Authorization": f"Bearer {make_key('stranger', shared_home / 'maskery.db')}"})


def prepare(client: httpx.Client, fields: dict[str, Any]) -> str:
    response = client.post(ROUTE, json=fields)
    assert response.status_code == 201, response.text
    image_id: str = response.json()["id"]
    return image_id


def click(client: httpx.Client, image_id: str, headers: httpx.Headers | None = None, **more: Any) -> httpx.Response:
    body = {"model": MODEL, "image_prompt": f"id:{image_id}", "segment_prompt": [[[20, 20]]], **more}
    return client.post(SEGMENT, json=body, headers=headers)


def assert_gone(response: httpx.Response, param: str) -> str:
    assert response.status_code == 404, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["type"], error["param"]) == ("image_not_prepared", "not_found_error", param)
    message: str = error["message"]
    assert message[0].isupper()
    assert message.endswith(".")
    return message


def test_preparing_an_image_returns_its_description(client: httpx.Client, fields: dict[str, Any]) -> None:
    response = client.post(ROUTE, json=fields)
    assert response.status_code == 201
    prepared = response.json()
    assert set(prepared) == {"id", "object", "created", "model", "width", "height", "expires_in"}
    assert re.fullmatch(r"img_[0-9a-f]{32}_[A-Za-z0-9_-]{24}", prepared["id"])
    assert prepared["object"] == "image"
    assert abs(prepared["created"] - time.time()) < 60
    assert prepared["model"] == MODEL
    assert (prepared["width"], prepared["height"]) == (96, 64)
    assert prepared["expires_in"] == 3600
    assert response.headers["location"] == f"/v1/images/{prepared['id']}"
    assert client.get(response.headers["location"]).json() == prepared


def test_answers_about_a_file_name_it_in_a_header(client: httpx.Client, fields: dict[str, Any], image: bytes) -> None:
    expected = hashlib.sha256(image).hexdigest()[:32]
    assert client.post(ROUTE, json=fields).headers["x-session-id"] == expected
    segmented = client.post(SEGMENT, json={**fields, "segment_prompt": [[[20, 20]]], "exif": "ignore"})
    assert segmented.headers["x-session-id"] == expected
    assert "x-session-id" not in client.get("/v1/models").headers


def test_a_form_carries_the_file_without_base64(client: httpx.Client, image: bytes) -> None:
    response = client.post(
        ROUTE, files={"image": ("p.png", image)}, data={"request": json.dumps({"model": MODEL, "user": "ann"})}
    )
    assert response.status_code == 201, response.text
    assert click(client, response.json()["id"]).status_code == 200


def test_segmenting_by_id_equals_sending_the_image(client: httpx.Client, fields: dict[str, Any]) -> None:
    image_id = prepare(client, fields)
    for prompt in ([[[20, 20]]], [[[70, 40]], [[20, 20]]]):
        sent = client.post(SEGMENT, json={**fields, "segment_prompt": prompt}).json()
        by_id = click(client, image_id, segment_prompt=prompt).json()
        assert by_id["data"] == sent["data"]
        assert by_id["usage"] == sent["usage"]
    assert values_of(by_id)[40, 70] == 1


def test_an_id_is_sent_as_json_not_as_a_form(client: httpx.Client, fields: dict[str, Any]) -> None:
    image_id = prepare(client, fields)
    request = json.dumps({"model": MODEL, "image_prompt": f"id:{image_id}", "segment_prompt": [[[20, 20]]]})
    response = client.post(SEGMENT, files={"request": ("r.json", request.encode())})
    assert response.status_code == 422
    assert response.json()["error"]["param"] == "image"
    headers = {"content-type": "application/json"}
    assert client.post(SEGMENT, content=request, headers=headers).status_code == 200


def test_exif_orientation_is_applied_by_default(client: httpx.Client) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(squares()).save(file, "PNG", exif=exif.tobytes())
    sizes = []
    for choice in ({}, {"exif": "apply"}, {"exif": "ignore"}, {"extra_body": {"exif": "ignore"}}):
        answer = client.post(ROUTE, json={"model": MODEL, "image_prompt": b64(file.getvalue()), **choice}).json()
        sizes.append((answer["width"], answer["height"]))
    assert sizes == [(64, 96), (64, 96), (96, 64), (96, 64)]


def test_exif_cannot_be_set_with_an_id(client: httpx.Client, fields: dict[str, Any]) -> None:
    image_id = prepare(client, fields)
    for more in ({"exif": "apply"}, {"extra_body": {"exif": "ignore"}}):
        response = click(client, image_id, **more)
        assert response.status_code == 422
        error = response.json()["error"]
        assert (error["code"], error["param"]) == ("invalid_field", "exif")
        assert "prepared" in error["message"]


def test_another_accounts_id_is_404(client: httpx.Client, fields: dict[str, Any], stranger: httpx.Headers) -> None:
    image_id = prepare(client, fields)
    path = f"{ROUTE}/{image_id}"
    assert_gone(click(client, image_id, stranger), "image_prompt")
    assert_gone(client.get(path, headers=stranger), "id")
    assert_gone(client.delete(path, headers=stranger), "id")
    assert client.get(path).status_code == 200
    assert click(client, image_id).status_code == 200


def test_ids_require_a_key(client: httpx.Client, fields: dict[str, Any]) -> None:
    path = f"{ROUTE}/{prepare(client, fields)}"
    wrong = {"Authorization": "Bearer wrong"}
    for response in (
        client.post(ROUTE, json=fields, headers=wrong),
        client.get(path, headers=wrong),
        client.delete(path, headers=wrong),
        client.delete(f"{ROUTE}/img_none", headers=wrong),
    ):
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"


def test_a_deleted_image_is_404(client: httpx.Client, fields: dict[str, Any]) -> None:
    image_id = prepare(client, fields)
    path = f"{ROUTE}/{image_id}"
    response = client.delete(path)
    assert response.status_code == 204
    assert response.content == b""
    assert "send the image again" in assert_gone(click(client, image_id), "image_prompt")
    assert_gone(client.get(path), "id")
    assert_gone(client.delete(path), "id")


def test_preparing_an_image_again_returns_the_same_id(client: httpx.Client, fields: dict[str, Any]) -> None:
    image_id = prepare(client, fields)
    assert prepare(client, fields) == image_id
    client.delete(f"{ROUTE}/{image_id}")
    assert_gone(click(client, image_id), "image_prompt")
    assert prepare(client, fields) != image_id


@pytest.mark.parametrize("image_id", ["img_none", "", "id:img_none", "../../etc/passwd", "x" * 5000, "%00"])
def test_unknown_ids_are_404(client: httpx.Client, image_id: str) -> None:
    content = json.dumps({"model": MODEL, "image_prompt": f"id:{image_id}", "segment_prompt": [[[20, 20]]]})
    response = client.post(SEGMENT, content=content, headers={"content-type": "application/json"})
    assert len(assert_gone(response, "image_prompt")) < 300


def test_an_id_belongs_to_one_model(client: httpx.Client, fields: dict[str, Any]) -> None:
    image_id = prepare(client, fields)
    response = click(client, image_id, model="syscv-community/sam-hq-vit-base")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_installed"


def test_an_alias_prepares_for_its_model(make_client: MakeClient, fields: dict[str, Any]) -> None:
    client = make_client(aliases={"team/alias": MODEL})
    answer = client.post(ROUTE, json={**fields, "model": "team/alias"}).json()
    assert answer["model"] == MODEL
    for name in (MODEL, "team/alias"):
        assert click(client, answer["id"], model=name).status_code == 200


@pytest.mark.parametrize(
    ("change", "status", "code", "param"),
    [
        ({"model": "syscv-community/sam-hq-vit-base"}, 404, "model_not_installed", "model"),
        ({"model": "unknown/unknown"}, 404, "model_not_found", "model"),
        ({"model": None}, 422, "invalid_field", "model"),
        ({"image_prompt": "%%%"}, 400, "invalid_base64", "image_prompt"),
        ({"image_prompt": "id:img_another"}, 422, "invalid_field", "image_prompt"),
        ({"image_prompt": b64(b"no image")}, 415, "unsupported_image", "image_prompt"),
        ({"image_prompt": b64(png(squares())[:900])}, 415, "unsupported_image", "image_prompt"),
        ({"image_prompt": b64(png(squares(400, 300)))}, 413, "image_too_large", "image_prompt"),
        ({"exif": "turn"}, 422, "invalid_field", "exif"),
        ({"segment_prompt": [[[1, 1]]]}, 422, "unknown_field", "segment_prompt"),
        ({"extra_body": {"n": 2}}, 422, "unknown_field", "extra_body.n"),
    ],
)
def test_invalid_preparation_requests_are_rejected(
    make_client: MakeClient, fields: dict[str, Any], change: dict[str, Any], status: int, code: str, param: str
) -> None:
    client = make_client(max_image_pixels=100_000)
    response = client.post(ROUTE, json={**fields, **change})
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert "location" not in response.headers


@pytest.mark.parametrize("missing", ["model", "image_prompt"])
def test_both_fields_are_required(client: httpx.Client, fields: dict[str, Any], missing: str) -> None:
    del fields[missing]
    response = client.post(ROUTE, json=fields)
    assert response.status_code == 422
    assert response.json()["error"]["param"] == missing


def test_a_body_that_is_neither_json_nor_a_form_is_rejected(client: httpx.Client) -> None:
    assert client.post(ROUTE, content=b"x", headers={"content-type": "image/png"}).status_code == 415
    assert client.post(ROUTE, content=b"{", headers={"content-type": "application/json"}).status_code == 400


def test_segmentations_is_not_an_image_id(client: httpx.Client) -> None:
    for method, allowed in (("GET", "POST"), ("DELETE", "POST")):
        response = client.request(method, SEGMENT)
        assert response.status_code == 405
        assert response.headers["allow"] == allowed
        assert response.json()["error"]["code"] == "method_not_allowed"
    assert client.get(f"{ROUTE}/segmentations2").status_code == 404


def test_unsupported_methods_list_the_supported_ones(client: httpx.Client) -> None:
    response = client.put(f"{ROUTE}/img_none")
    assert response.status_code == 405
    assert response.headers["allow"] == "DELETE, GET, HEAD"
    assert client.get(ROUTE).headers["allow"] == "POST"


def test_an_unused_image_expires(make_client: MakeClient, fields: dict[str, Any]) -> None:
    client = make_client(prepared_seconds=0.4)
    response = client.post(ROUTE, json=fields)
    assert response.json()["expires_in"] == 0.4
    path = response.headers["location"]
    used_until = time.monotonic() + 0.8
    while time.monotonic() < used_until:
        assert client.get(path).status_code == 200
        time.sleep(0.02)
    time.sleep(0.45)
    assert_gone(client.get(path), "id")
    assert_gone(click(client, response.json()["id"]), "image_prompt")


def test_an_evicted_image_is_404(make_client: MakeClient, fields: dict[str, Any]) -> None:
    room_for_one = 96 * 64 * 3
    client = make_client(cache_bytes=room_for_one + 100)
    first = prepare(client, fields)
    assert click(client, first).status_code == 200
    other = prepare(client, {**fields, "image_prompt": b64(png(squares(96, 60)))})
    assert_gone(click(client, first), "image_prompt")
    assert_gone(client.get(f"{ROUTE}/{first}"), "id")
    assert click(client, other).status_code == 200


def test_a_cache_too_small_for_one_image_names_the_setting(make_client: MakeClient, fields: dict[str, Any]) -> None:
    client = make_client(cache_bytes=1000)
    refusal = client.post(ROUTE, json=fields)
    assert refusal.status_code == 501
    assert "MASKERY_CACHE_BYTES" in refusal.json()["error"]["message"]
    assert client.post(SEGMENT, json={**fields, "segment_prompt": [[[20, 20]]]}).status_code == 200


def test_preparing_and_sending_the_same_image_encodes_it_once(
    make_client: MakeClient, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from maskery.models.builtin.grabcut import GrabCut

    client, encoded, encode = make_client(), [], GrabCut.encode

    def count(self: GrabCut, image: Any) -> Any:
        encoded.append(image.size)
        return encode(self, image)

    monkeypatch.setattr(GrabCut, "encode", count)
    assert client.post(SEGMENT, json={**fields, "segment_prompt": [[[20, 20]]]}).status_code == 200
    image_id = prepare(client, fields)
    for _ in range(3):
        assert click(client, image_id).status_code == 200
    assert encoded == [(96, 64)]
    client.delete(f"{ROUTE}/{image_id}")
    assert click(client, prepare(client, fields)).status_code == 200
    assert encoded == [(96, 64)] * 2
