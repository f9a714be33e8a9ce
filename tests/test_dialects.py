"""The HTTP requests of the reference SDK's releases."""

import base64
import http.client
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import pytest

PHOTO = (Path(__file__).parents[1] / "examples" / "photos" / "coffee.png").read_bytes()


def send(
    server: Any, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, dict[str, Any], http.client.HTTPMessage]:
    """Send one request without a client library that could change its path or headers."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    text = body if isinstance(body, str) or body is None else json.dumps(body)
    connection.request(method, path, text, {name.replace("__", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    assert response.headers.get_content_type() == "application/json"
    return response.status, answer, response.headers


def segmentation(**more: Any) -> dict[str, Any]:
    return {
        "model": "maskery/grabcut",
        "image_prompt": base64.b64encode(PHOTO).decode(),
        "segment_prompt": [[[285, 150]]],
        "extra_body": None,
        **more,
    }


def check_strictly(answer: dict[str, Any]) -> None:
    """Check what the reference SDK's pydantic models require."""
    assert type(answer["created"]) is int
    assert isinstance(answer["data"], list)
    for mask in answer["data"]:
        assert isinstance(mask["b64_json"], str)
        assert base64.b64decode(mask["b64_json"], validate=True).startswith(b"\x89PNG")
        assert mask["label"] is None
        assert type(mask["score"]) is float
    usage = answer["usage"]
    assert all(type(usage[name]) is int for name in ("input_tokens", "output_tokens", "total_tokens"))
    assert all(type(count) is int for count in usage["input_tokens_details"].values())


def check_models(answer: dict[str, Any]) -> None:
    assert answer["object"] == "list"
    assert (answer["first_id"], answer["last_id"]) == (answer["data"][0]["id"], answer["data"][-1]["id"])
    assert answer["has_more"] is False
    for model in answer["data"]:
        assert set(model) == {"id", "created", "object", "owned_by", "root", "parent", "permission"}
        (permission,) = model["permission"]
        assert "group" in permission
        assert permission["object"] == "model_permission"
        assert len(permission) == 12


# A base URL with a trailing slash gives paths that begin with two slashes.
@pytest.mark.parametrize("slash", ["", "/"])
def test_sdk_1_10_to_1_12_signs_in_with_oauth(server: Any, slash: str) -> None:
    form = urlencode({"client_id": "local", "client_secret": server.key, "grant_type": "client_credentials"})
    status, token, _ = send(
        server,
        "POST",
        f"{slash}/realms/airefinery-realm/protocol/openid-connect/token",
        form,
        Content__Type="application/x-www-form-urlencoded",
    )
    assert status == 200
    bearer = f"Bearer {token['access_token']}"
    headers = {"Authorization": bearer, "Content__Type": "application/json", "airefinery_account": "local"}
    status, answer, _ = send(server, "POST", f"{slash}/inference/images/segmentations", segmentation(), **headers)
    assert status == 200
    check_strictly(answer)
    status, answer, _ = send(server, "GET", f"{slash}/inference/models", {}, **headers)
    assert status == 200
    check_models(answer)


@pytest.mark.parametrize("slash", ["", "/"])
def test_sdk_1_11_to_1_15_validates_a_key_in_the_body(server: Any, slash: str) -> None:
    headers = {"Authorization": f"Bearer {server.key}", "Content__Type": "application/json", "sdk_version": "1.15.0"}
    # Releases from 1.13 on send the header as well.
    for sent in ({"Content__Type": "application/json"}, headers):
        status, answer, _ = send(server, "POST", f"{slash}/authentication/validate", {"api_key": server.key}, **sent)
        assert status == 200
        assert answer["organization_id"]
        assert answer["message"]
    for path in ("/inference/images/segmentations", "/images/segmentations"):
        status, answer, _ = send(server, "POST", slash + path, segmentation(n=1, user="u"), **headers)
        assert status == 200
        check_strictly(answer)
    check_models(send(server, "GET", f"{slash}/inference/models", {}, **headers)[1])


@pytest.mark.parametrize("slash", ["", "/", "/v1", "/inference", "/v1/"])
def test_sdk_1_16_and_later_validates_a_key_in_the_header(server: Any, slash: str) -> None:
    headers = {"Authorization": f"Bearer {server.key}", "Content__Type": "application/json", "sdk_version": "1.32.0"}
    for _ in range(2):
        status, answer, _ = send(server, "POST", f"{slash}/authentication/validate", None, **headers)
        assert status == 200
        assert isinstance(answer["organization_id"], str)
        assert answer["organization_id"]
    status, answer, received = send(server, "POST", f"{slash}/v1/images/segmentations", segmentation(), **headers)
    assert status == 200
    check_strictly(answer)
    assert received["x-request-id"]
    check_models(send(server, "GET", f"{slash}/v1/models", {}, **headers)[1])


def test_an_invalid_key_is_rejected_in_every_dialect(server: Any) -> None:
    wrong = server.key[:-1] + ("A" if server.key[-1] != "A" else "B")
    bearer = {"Authorization": f"Bearer {wrong}", "Content__Type": "application/json"}
    form = urlencode({"client_id": "local", "client_secret": wrong, "grant_type": "client_credentials"})
    requests: list[tuple[str, str, Any, dict[str, str]]] = [
        ("POST", "/v1/images/segmentations", segmentation(), bearer),
        ("POST", "/inference/images/segmentations", segmentation(), {}),
        ("GET", "/v1/models", None, bearer),
        ("GET", "/v1/limits", None, {}),
        ("POST", "/authentication/validate", None, bearer),
        ("POST", "/authentication/validate", None, {}),
        ("POST", "/authentication/validate", {"api_key": wrong}, {"Content__Type": "application/json"}),
        (
            "POST",
            "/realms/airefinery-realm/protocol/openid-connect/token",
            form,
            {"Content__Type": "application/x-www-form-urlencoded"},
        ),
    ]
    for method, path, body, headers in requests:
        status, answer, _ = send(server, method, path, body, **headers)
        assert status == 401, path
        assert answer["error"]["type"] == "authentication_error"


def test_health_requires_no_key(server: Any) -> None:
    assert send(server, "GET", "/health/live")[1] == {"status": "alive"}
    assert send(server, "GET", "/health/ready")[1] == {"status": "ready"}


def test_pages_of_other_origins_cannot_call_a_server_on_loopback(server: Any) -> None:
    headers = {"Authorization": f"Bearer {server.key}"}
    port = urlsplit(server.url).port
    assert send(server, "GET", "/v1/models", Host="evil.example", **headers)[0] == 403
    assert send(server, "GET", "/v1/models", Origin="http://evil.example", **headers)[0] == 403
    assert send(server, "GET", "/v1/models", Origin="null", **headers)[0] == 403
    assert send(server, "GET", "/v1/models", Origin=server.url, **headers)[0] == 200
    assert send(server, "GET", "/v1/models", Host=f"localhost:{port}", **headers)[0] == 200


def test_the_docs_page_is_served_with_all_assets(server: Any) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    connection.request("GET", "/docs")
    page = connection.getresponse().read().decode()
    assert "url: 'openapi.json'" in page
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(addresses) == 3
    for address in addresses:
        connection.request("GET", urljoin("/docs", address))
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.read()
    connection.close()
    status, document, _ = send(server, "GET", "/openapi.json")
    assert status == 200
    examples = document["paths"]["/v1/images/segmentations"]["post"]["requestBody"]["content"]["application/json"][
        "examples"
    ]
    headers = {"Authorization": f"Bearer {server.key}", "Content__Type": "application/json"}
    for example in examples.values():
        status, answer, _ = send(server, "POST", "/v1/images/segmentations", example["value"], **headers)
        assert status == 200
        assert answer["data"][0]["segments"][0]["area"] > 0
