"""Invalid requests: status, code, path and message, and a server that still works afterwards."""

import base64
import gzip
import json
import socket
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from sam_folders import write_model
from samples import MODEL, b64, jpeg, png, squares

from maskery.api.errors import ApiError
from maskery.api.requests.json_object import parse_json_object
from maskery.models import Store

ROUTE = "/v1/images/segmentations"
TOKEN = "/realms/airefinery-realm/protocol/openid-connect/token"


@pytest.fixture
def client(shared_client: httpx.Client, body: dict[str, Any]) -> Iterator[httpx.Client]:
    """A client of the shared server; after each test, the server must answer a valid request."""
    yield shared_client
    assert shared_client.post(ROUTE, json=body).status_code == 200


def check(response: httpx.Response, status: int, code: str, param: str | None = None) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (code, param)
    assert error["message"][0].isupper() or param
    message: str = error["message"]
    return message


def png_claiming(width: int, height: int) -> bytes:
    """A PNG whose header claims a size that its data does not have."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100)))


@pytest.mark.parametrize(
    ("image_prompt", "status", "code"),
    [
        ("%%%", 400, "invalid_base64"),
        ("YWJj=YWJj", 400, "invalid_base64"),
        ("", 422, "invalid_field"),
        ("https://example.com/cat.png", 400, "invalid_base64"),
        ("data:image/png,AAAA", 400, "invalid_base64"),
        ("ä" * 8, 400, "invalid_base64"),
        (b64(b"just some text, no image"), 415, "unsupported_image"),
        (b64(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), 415, "unsupported_image"),
        (b64(jpeg(squares())[:900]), 415, "unsupported_image"),
        (b64(png(squares())[:900]), 415, "unsupported_image"),
        (b64(png_claiming(50_000, 50_000)), 413, "image_too_large"),
        (b64(png(np.zeros((8, 9_000_000), np.uint8))), 413, "image_too_large"),
    ],
)
def test_an_invalid_image(
    client: httpx.Client, body: dict[str, Any], image_prompt: str, status: int, code: str
) -> None:
    check(client.post(ROUTE, json={**body, "image_prompt": image_prompt}), status, code, "image_prompt")


def test_urls_are_never_fetched(client: httpx.Client, body: dict[str, Any]) -> None:
    response = client.post(ROUTE, json={**body, "image_prompt": "http://127.0.0.1:8484/health/live"})
    assert "not fetched" in check(response, 400, "invalid_base64", "image_prompt")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"segment_prompt": []}, "segment_prompt"),
        ({"segment_prompt": None}, "segment_prompt"),
        ({"segment_prompt": [[]]}, "segment_prompt[0]"),
        ({"segment_prompt": [[20, 20]]}, "segment_prompt[0][0]"),
        ({"segment_prompt": [[[[20, 20]]]]}, "segment_prompt[0][0]"),
        ({"segment_prompt": [[["20", 20]]]}, "segment_prompt[0][0][0]"),
        ({"segment_prompt": [[[96, 20]]]}, "segment_prompt[0][0]"),
        ({"segment_prompt": [[[1e300, 20]]]}, "segment_prompt[0][0]"),
        ({"segment_prompt": [[[20, 20]] * 10_000]}, "segment_prompt"),
        ({"segment_prompt": [[[20, 20]]] * 1000}, "segment_prompt"),
        ({"segment_prompt": "[[[20, 20]"}, "segment_prompt"),
        ({"point_labels": [[3]]}, "point_labels[0][0]"),
        ({"boxes": [[0, 0, 500, 10]]}, "boxes[0]"),
        ({"mask_prompts": [b64(png(np.zeros((3, 3), np.uint8)))]}, "mask_prompts[0]"),
        ({"mask_prompts": [b64(png(squares()))]}, "mask_prompts[0]"),
        ({"mask_prompts": [b64(png(np.zeros((64, 96), np.uint8))[:60])]}, "mask_prompts[0]"),
    ],
)
def test_an_invalid_prompt(client: httpx.Client, body: dict[str, Any], change: dict[str, Any], param: str) -> None:
    check(client.post(ROUTE, json={**body, **change}), 422, "invalid_prompt", param)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_does_not_have(client: httpx.Client, body: dict[str, Any], number: str) -> None:
    text = json.dumps(body).replace("[[[20, 20]]]", f"[[[{number}, 20]]]")
    response = client.post(ROUTE, content=text, headers={"Content-Type": "application/json"})
    check(response, 422, "invalid_prompt", "segment_prompt[0][0][0]")


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"n": 4}, "invalid_field", "n"),
        ({"n": 0}, "invalid_field", "n"),
        ({"n": "1"}, "invalid_field", "n"),
        ({"n": True}, "invalid_field", "n"),
        ({"size": "big"}, "invalid_field", "size"),
        ({"size": "0x10"}, "invalid_field", "size"),
        ({"size": "99999x99999"}, "invalid_field", "size"),
        ({"exif": "maybe"}, "invalid_field", "exif"),
        ({"response_format": "url"}, "invalid_field", "response_format"),
        ({"polygon_tolerance": 1}, "invalid_field", "polygon_tolerance"),
        ({"polygon_tolerance": -1, "response_format": "polygons"}, "invalid_field", "polygon_tolerance"),
        ({"compose": "no"}, "invalid_field", "compose"),
        ({"compose": False}, "invalid_field", "compose"),
        ({"merge_iou": 0}, "invalid_field", "merge_iou"),
        ({"merge_iou": 1.1}, "invalid_field", "merge_iou"),
        ({"automatic": "yes"}, "invalid_field", "automatic"),
        ({"automatic": True}, "invalid_field", "segment_prompt"),
        ({"automatic": True, "segment_prompt": None}, "invalid_prompt", "automatic"),
        ({"automatic": True, "segment_prompt": None, "boxes": [[1, 1, 9, 9]]}, "invalid_field", "boxes"),
        ({"automatic": True, "segment_prompt": None, "n": 2}, "invalid_field", "n"),
        ({"automatic": {"points_per_side": 65}}, "invalid_field", "automatic.points_per_side"),
        ({"automatic": {"nms_iuo": 0.5}}, "unknown_field", "automatic.nms_iuo"),
        ({"extra_body": {"automatic": {"nms_iou": 0}}}, "invalid_field", "extra_body.automatic.nms_iou"),
        ({"user": 7}, "invalid_field", "user"),
        ({"user": "u" * 300}, "invalid_field", "user"),
        ({"model": None}, "invalid_field", "model"),
        ({"image_prompt": 5}, "invalid_field", "image_prompt"),
        ({"extra_body": 5}, "invalid_field", "extra_body"),
        ({"extra_body": {"n": 9}}, "invalid_field", "extra_body.n"),
        ({"n": 1, "extra_body": {"n": 1}}, "given_twice", "extra_body.n"),
        ({"extra_body": {"sise": "1x1"}}, "unknown_field", "extra_body.sise"),
        ({"extra_body": {"model": "x"}}, "unknown_field", "extra_body.model"),
        ({"segment_promt": []}, "unknown_field", "segment_promt"),
        ({"x" * 5000: 1}, "unknown_field", "x" * 120),
    ],
)
def test_an_invalid_option(
    client: httpx.Client, body: dict[str, Any], change: dict[str, Any], code: str, param: str
) -> None:
    check(client.post(ROUTE, json={**body, **change}), 422, code, param)


def test_null_selects_the_default_wherever_an_option_is_sent(client: httpx.Client, body: dict[str, Any]) -> None:
    for change, count in (
        ({"n": 2, "extra_body": {"n": None}}, 2),
        ({"n": None, "extra_body": {"n": 2}}, 2),
        ({"n": None, "extra_body": {"n": None, "size": None}}, 1),
    ):
        response = client.post(ROUTE, json={**body, **change})
        assert response.status_code == 200, response.text
        assert len(response.json()["data"]) == count


def test_a_misspelt_option_gets_a_suggestion(client: httpx.Client, body: dict[str, Any]) -> None:
    response = client.post(ROUTE, json={**body, "point_label": [[1]]})
    assert "Did you mean point_labels?" in check(response, 422, "unknown_field", "point_label")
    response = client.post(ROUTE, json={**body, "bogus": 1})
    assert "Known fields: model, image_prompt, segment_prompt, point_labels" in check(
        response, 422, "unknown_field", "bogus"
    )


def test_an_invalid_size_gets_an_example(client: httpx.Client, body: dict[str, Any]) -> None:
    message = check(client.post(ROUTE, json={**body, "size": "640*480"}), 422, "invalid_field", "size")
    assert message == "size: write WIDTHxHEIGHT in pixels, such as 640x480."


@pytest.mark.parametrize("size", ["100000x100000", "100000x1", "9" * 5000 + "x1"])
def test_a_size_beyond_any_limit_is_rejected(client: httpx.Client, body: dict[str, Any], size: str) -> None:
    message = check(client.post(ROUTE, json={**body, "size": size}), 422, "invalid_field", "size")
    assert message == "size: a side has at most 99,999 pixels."


@pytest.mark.parametrize("name", ["model", "image_prompt"])
def test_a_missing_field(client: httpx.Client, body: dict[str, Any], name: str) -> None:
    short = {key: value for key, value in body.items() if key != name}
    check(client.post(ROUTE, json=short), 422, "missing_field", name)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"not json",
        b"[]",
        b"null",
        b'"text"',
        b'{"model": "\xff\xfe"}',
        b"[" * 100_000,
        b'{"a":' * 20 + b"1" + b"}" * 20,
        b'{"extra_body": ' + b"[" * 40 + b"]" * 40 + b"}",
        b'{"segment_prompt": [' + b"1," * 1_000_001 + b"1]}",
        b'{"n": ' + b"9" * 10_000 + b"}",
    ],
    ids=[
        "empty",
        "cut",
        "text",
        "list",
        "null",
        "string",
        "utf8",
        "deep",
        "deep-objects",
        "deep-lists",
        "many",
        "digits",
    ],
)
def test_a_body_that_is_not_a_json_object(client: httpx.Client, content: bytes) -> None:
    response = client.post(ROUTE, content=content, headers={"Content-Type": "application/json"})
    check(response, 400, "malformed_json")


@pytest.mark.parametrize(
    "content",
    [
        rb'{"model": "\ud800"}',
        rb'{"\udfff": 1}',
        rb'{"model": "m", "extra_body": {"user": "a\uDC00b"}}',
        rb'{"extra_body": {"\ud83d": 1}}',
        rb'{"point_labels": [["\ud800"]]}',
        rb'{"user": "\ude00\ud83d"}',
    ],
)
def test_lone_surrogates_are_rejected(client: httpx.Client, content: bytes) -> None:
    response = client.post(ROUTE, content=content, headers={"Content-Type": "application/json"})
    assert "surrogate" in check(response, 400, "malformed_json")


@pytest.mark.parametrize(
    ("content", "code", "param"),
    [
        (rb'{"\ud800": 1, "\ud800": 2}', "malformed_json", "?"),
        (b'{"model": "\xed\xa0\x80"}', "malformed_json", None),
        ('{"model": "m"}'.encode("utf-16"), "malformed_json", None),
    ],
)
def test_text_that_is_not_utf_8(client: httpx.Client, content: bytes, code: str, param: str | None) -> None:
    check(client.post(ROUTE, content=content, headers={"Content-Type": "application/json"}), 400, code, param)


def test_lone_surrogates_in_a_prompt_as_text_are_rejected(client: httpx.Client, body: dict[str, Any]) -> None:
    response = client.post(ROUTE, json={**body, "segment_prompt": r'[[["\ud800", 1]]]'})
    check(response, 422, "invalid_prompt", "segment_prompt[0][0][0]")


def test_surrogate_pairs_are_accepted(client: httpx.Client, body: dict[str, Any]) -> None:
    content = json.dumps({**body, "user": "\U0001f600 ä"})
    assert r"\ud83d\ude00" in content
    assert client.post(ROUTE, content=content, headers={"Content-Type": "application/json"}).status_code == 200


def test_a_duplicate_among_many_keys_is_found(client: httpx.Client) -> None:
    text = "{" + ",".join(f'"{number}":0' for number in range(100_000)) + ',"99999":0}'
    response = client.post(ROUTE, content=text, headers={"Content-Type": "application/json"})
    check(response, 400, "malformed_json", "99999")


@pytest.mark.parametrize(
    "content",
    [
        "{" + ",".join(f'"{number}":0' for number in range(1700)) + ',"1699":0}',
        '{"api_key":' * 1400,
        "[" * 16_000,
        '{"api_key": "' + "\\ud800" * 2500 + '"}',
    ],
    ids=["keys", "deep", "lists", "surrogates"],
)
def test_hostile_authentication_bodies_are_rejected(content: str) -> None:
    assert len(content) < 16 * 1024
    with pytest.raises(ApiError):
        parse_json_object(content.encode())


def test_a_key_given_twice(client: httpx.Client, body: dict[str, Any]) -> None:
    text = json.dumps(body)[:-1] + ', "model": "other"}'
    response = client.post(ROUTE, content=text, headers={"Content-Type": "application/json"})
    check(response, 400, "malformed_json", "model")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "image/png", "x"])
def test_a_body_of_another_kind(client: httpx.Client, body: dict[str, Any], kind: str) -> None:
    response = client.post(ROUTE, content=json.dumps(body), headers={"Content-Type": kind})
    assert "application/json" in check(response, 415, "unsupported_media_type", "content-type")


@pytest.mark.parametrize("encoding", ["gzip", "Deflate", "gzip, br"])
def test_a_compressed_body(client: httpx.Client, body: dict[str, Any], encoding: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    for route in (ROUTE, "/v1/images", "/authentication/validate", TOKEN):
        response = client.post(route, content=gzip.compress(json.dumps(body).encode()), headers=headers)
        message = check(response, 415, "unsupported_media_type", "content-encoding")
        assert repr(encoding.lower()) in message
        assert "send it without the header Content-Encoding" in message
        assert response.headers["accept-encoding"] == "identity"
    headers["Content-Encoding"] = "identity"
    assert client.post(ROUTE, content=json.dumps(body), headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("files", "data", "status", "code", "param"),
    [
        ({}, {"request": "{}"}, 422, "missing_field", "image"),
        ({"image": b"x"}, {}, 422, "missing_field", "request"),
        ({"image": b"x"}, {"request": "{"}, 400, "malformed_json", None),
        ({"image": b"x"}, {"request": "{}", "more": "x"}, 400, "malformed_form", None),
        (
            {"image": b"x"},
            {"request": json.dumps({"model": MODEL, "image_prompt": "x"})},
            422,
            "given_twice",
            "image_prompt",
        ),
        ({"image": b"x"}, {"request": json.dumps({"model": MODEL})}, 415, "unsupported_image", "image_prompt"),
    ],
)
def test_an_invalid_form(
    client: httpx.Client, files: dict[str, bytes], data: dict[str, str], status: int, code: str, param: str | None
) -> None:
    parts = {name: (None, text.encode()) for name, text in data.items()}
    response = client.post(ROUTE, files={**{name: ("file", content) for name, content in files.items()}, **parts})
    check(response, status, code, param)


@pytest.mark.parametrize("boundary", ["", "; boundary=", "; boundary=ä", "; boundary*=zlib''x", '; boundary="a\\"b"'])
def test_a_form_without_a_boundary(client: httpx.Client, boundary: str) -> None:
    kind = f"multipart/form-data{boundary}".encode()
    response = client.post(ROUTE, content=b"--x", headers=[(b"Content-Type", kind)])
    check(response, 400, "malformed_form")


def form(request: bytes, image: bytes = b"x") -> bytes:
    disposition = b"--b\r\nContent-Disposition: form-data; name="
    return (
        (disposition + b'"request"\r\n\r\n' + request + b"\r\n")
        + (disposition + b'"image"; filename="p"\r\n\r\n' + image + b"\r\n")
        + b"--b--\r\n"
    )


@pytest.mark.parametrize("charset", ["unicode_escape", "utf-7", "utf-16", "zlib_codec", "punycode", "none", "latin-1"])
def test_a_form_is_read_as_utf_8_whatever_its_charset(client: httpx.Client, image: bytes, charset: str) -> None:
    headers = {"Content-Type": f"multipart/form-data; charset={charset}; boundary=b"}
    request = json.dumps({"model": MODEL, "segment_prompt": [[[20, 20]]], "user": "ü"}, ensure_ascii=False)
    assert client.post(ROUTE, content=form(request.encode(), image), headers=headers).status_code == 200
    check(client.post(ROUTE, content=form(rb'{"model": "\ud800"}'), headers=headers), 400, "malformed_json")
    check(client.post(ROUTE, content=form(b'{"model": "\xff"}'), headers=headers), 400, "malformed_json")


def test_an_invalid_form_gets_a_hint(client: httpx.Client, image: bytes) -> None:
    for files in (
        {"image": ("p", image), "model": (None, "m"), "segment_prompt": (None, "[[[1, 1]]]")},
        {"image": ("p", image), "model": (None, "m")},
        {"photo": ("p", image), "request": (None, "{}")},
        {"image": (None, "text"), "request": (None, "{}")},
        {"image": ("p", image), "request": (None, "{}"), "b": ("p", b""), "c": ("p", b"")},
    ):
        message = client.post(ROUTE, files=files).json()["error"]["message"]
        assert "the file `image` and the rest as JSON in one field `request`" in message
        assert ".." not in message
        assert "Maximum number of fields" not in message


def test_the_request_field_of_a_form_has_its_own_limit(client: httpx.Client) -> None:
    limit = client.get("/v1/limits").json()["max_form_request_bytes"]
    for name in (None, "r.json"):
        files = {"image": ("p", b"x"), "request": (name, b" " * (limit + 1))}
        check(client.post(ROUTE, files=files), 413, "body_too_large", "request")
        files = {"image": ("p", b"x"), "request": (name, b" " * (limit - 2) + b"{}")}
        check(client.post(ROUTE, files=files), 422, "missing_field", "model")


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b"])
def test_the_token_route_limits_its_body(client: httpx.Client, kind: str) -> None:
    content = b"grant_type=client_credentials&client_secret=" + b"x" * 16 * 1024
    headers = {"Content-Type": kind}
    # With a declared size, and chunked.
    for body in (content, iter([content])):
        response = client.post(TOKEN, content=body, headers=headers)
        if "multipart" in kind:
            check(response, 415, "unsupported_media_type", "content-type")
        else:
            check(response, 413, "body_too_large")
    many = "&".join(f"f{number}=" for number in range(100))
    response = client.post(TOKEN, content=many, headers={"Content-Type": "application/x-www-form-urlencoded"})
    check(response, 400, "malformed_form")
    check(client.post(TOKEN), 400, "invalid_grant")


def test_mask_prompts_have_a_total_limit(make_client: Callable[..., httpx.Client], body: dict[str, Any]) -> None:
    client = make_client(max_image_pixels=96 * 64)
    assert client.get("/v1/limits").json()["max_mask_prompt_pixels"] == 4 * 96 * 64
    mask = b64(png((squares()[..., 0] > 200).astype(np.uint8)))
    prompt = {**body, "segment_prompt": None}
    assert client.post(ROUTE, json={**prompt, "mask_prompts": [mask] * 4}).status_code == 200
    check(client.post(ROUTE, json={**prompt, "mask_prompts": [mask] * 5}), 422, "invalid_prompt", "mask_prompts")


def test_a_declared_size_over_the_limit_is_rejected_before_the_body(client: httpx.Client) -> None:
    limit = client.get("/v1/limits").json()["max_body_bytes"]
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=10) as connection:
        head = [
            f"POST {ROUTE} HTTP/1.1",
            "Host: 127.0.0.1",
            f"Authorization: {client.headers['authorization']}",
            "Content-Type: application/json",
            f"Content-Length: {limit + 1}",
        ]
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_bytes_of_an_image_over_the_limit(make_client: Callable[..., httpx.Client], body: dict[str, Any]) -> None:
    client = make_client(max_image_bytes=1000)
    check(client.post(ROUTE, json=body), 413, "image_too_large", "image_prompt")


def test_an_unknown_model_gets_a_suggestion(client: httpx.Client, body: dict[str, Any]) -> None:
    message = check(client.post(ROUTE, json={**body, "model": "maskery/grabcat"}), 404, "model_not_found", "model")
    assert "Did you mean 'maskery/grabcut'?" in message
    message = check(client.post(ROUTE, json={**body, "model": "nano"}), 404, "model_not_found", "model")
    assert "Did you mean 'maskery/nano'?" in message


def test_a_known_model_gets_installation_instructions(client: httpx.Client, body: dict[str, Any]) -> None:
    name = "syscv-community/sam-hq-vit-base"
    message = check(client.post(ROUTE, json={**body, "model": name}), 404, "model_not_installed", "model")
    assert f"maskery models install {name}" in message
    assert f'MASKERY_ALIASES=\'{{"{name}": "maskery/nano"}}\'' in message
    assert MODEL in message


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "inf"])
def test_an_invalid_time_limit(client: httpx.Client, body: dict[str, Any], value: str) -> None:
    response = client.post(ROUTE, json=body, headers={"x-request-timeout": value})
    check(response, 422, "invalid_header", "x-request-timeout")


def test_a_deadline_that_passes(client: httpx.Client, body: dict[str, Any]) -> None:
    check(client.post(ROUTE, json=body, headers={"x-request-timeout": "0.0001"}), 504, "deadline_exceeded")


def test_an_unknown_path_and_method(client: httpx.Client) -> None:
    check(client.get("/v1/photos"), 404, "not_found")
    check(client.get(ROUTE), 405, "method_not_allowed")


def test_an_internal_error(client: httpx.Client, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    with monkeypatch.context() as patch:
        patch.setattr("maskery.models.builtin.grabcut.GrabCut.decode", fail)
        # Another point than that of other tests, whose candidates are cached.
        response = client.post(ROUTE, json={**body, "segment_prompt": [[[21, 19]]]})
    message = check(response, 500, "internal_error")
    assert response.headers["x-request-id"] in message
    assert "secret detail" not in response.text


def test_a_body_over_the_limit_is_rejected(make_client: Callable[..., httpx.Client], body: dict[str, Any]) -> None:
    client = make_client(max_image_bytes=2**20)
    image = base64.b64encode(bytes(5 * 2**20)).decode()
    check(client.post(ROUTE, json={**body, "image_prompt": image}), 413, "body_too_large")


def test_a_damaged_model_reveals_no_paths(
    make_client: Callable[..., httpx.Client],
    own_home: Path,
    tmp_path: Path,
    body: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Store(own_home / "models")
    store.install_from_folder("team/damaged", write_model(tmp_path / "folder"))
    for file in store.get("team/damaged").rglob("*.safetensors"):
        file.unlink()
    response = make_client().post(ROUTE, json={**body, "model": "team/damaged"})
    message = check(response, 500, "model_unusable", "model")
    assert response.headers["x-request-id"] in message
    assert str(own_home) not in response.text
    assert str(own_home) in caplog.text
