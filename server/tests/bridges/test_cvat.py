"""CVAT: its lambda gateway lists and invokes functions over HTTP, and its page reads the answer."""

import json
import logging
import re
import socket
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from bridges.conftest import api_mask
from samples import MODEL, b64

from maskery.accounts import AccountStore
from maskery.api.app import create_app
from maskery.serving import ServingError
from maskery.serving.server import listen_bridge
from maskery.settings import Settings, SettingsError

FUNCTION = "maskery.grabcut"
CLIENTS = ("127.0.0.1",)


@pytest.fixture(scope="module")
def client(serve_bridges: Callable[..., httpx.Client]) -> httpx.Client:
    return serve_bridges(cvat=True, bridges=["cvat"], cvat_clients=CLIENTS)


def gateway(client: httpx.Client, method: str, path: str, **more: Any) -> httpx.Response:
    """A request as `LambdaGateway._http` sends it: without a credential."""
    headers = {
        "x-nuclio-project-name": "cvat",
        "x-nuclio-function-namespace": "nuclio",
        "x-nuclio-invoke-via": "domain-name",
        "X-Nuclio-Invoke-Timeout": "120s",
        **more.pop("headers", {}),
    }
    request = client.build_request(method, path, headers=headers, **more)
    del request.headers["authorization"]
    return client.send(request)


def invoke(
    client: httpx.Client, frame: bytes, function: str = FUNCTION, headers: dict[str, str] | None = None, **more: Any
) -> httpx.Response:
    """As `LambdaFunction.invoke` builds the payload of an interactor."""
    payload = {"image": b64(frame), "pos_points": [], "neg_points": [], "obj_bbox": None, **more}
    named = {"x-nuclio-function-name": function, "x-nuclio-path": "/", **(headers or {})}
    return gateway(client, "POST", "/api/function_invocations", json=payload, headers=named)


def whole(answer: dict[str, Any], shape: tuple[int, int]) -> np.ndarray:
    """The mask, as CVAT's page makes it of a crop and its bounds."""
    left, top, right, bottom = answer["bounds"]
    crop = np.array(answer["mask"])
    assert crop.shape == (bottom - top + 1, right - left + 1)
    assert set(np.unique(crop)) <= {0, 255}
    mask = np.zeros(shape, np.bool_)
    mask[top : bottom + 1, left : right + 1] = crop > 0
    return mask


def read_function(data: dict[str, Any]) -> dict[str, Any]:
    """What CVAT reads of a function, as `LambdaFunction.__init__` does."""
    annotations = data["metadata"]["annotations"]
    assert re.fullmatch(r"[a-zA-Z0-9_.-]+", data["metadata"]["name"])
    assert json.loads(annotations.get("spec") or "[]") == []
    assert data["spec"]["description"]
    return {
        "id": data["metadata"]["name"],
        "kind": annotations["type"],
        "name": annotations["name"],
        "version": int(annotations["version"]),
        "min_pos_points": int(annotations["min_pos_points"]),
        "min_neg_points": int(annotations["min_neg_points"]),
        "startswith_box": bool(annotations.get("startswith_box", False)),
        "startswith_box_optional": bool(annotations.get("startswith_box_optional", False)),
        "port": data["status"].get("httpPort"),
    }


def test_installed_models_are_interactors(client: httpx.Client) -> None:
    listed = gateway(client, "GET", "/api/functions").json()
    functions = {name: read_function(each) for name, each in listed.items()}
    assert set(functions) >= {FUNCTION, "maskery.nano"}
    function = functions[FUNCTION]
    assert (function["id"], function["name"], function["kind"]) == (FUNCTION, MODEL, "interactor")
    # Clicks, a box or both; a box is not demanded.
    assert (function["version"], function["min_pos_points"], function["min_neg_points"]) == (2, 0, 0)
    assert (function["startswith_box"], function["startswith_box_optional"]) == (False, True)
    assert gateway(client, "GET", f"/api/functions/{FUNCTION}").json() == listed[FUNCTION]
    missing = gateway(client, "GET", "/api/functions/other")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


def test_the_mask_of_clicks_is_that_of_the_api(client: httpx.Client, image: bytes) -> None:
    answer = invoke(client, image, pos_points=[[20.4, 20.1]], neg_points=[[70, 40]])
    assert answer.status_code == 200, answer.text
    expected = api_mask(client, image, segment_prompt=[[[20.4, 20.1], [70, 40]]], point_labels=[[1, 0]])
    assert (whole(answer.json(), expected.shape) == expected).all()
    # The page draws the outline.
    points = np.array(answer.json()["points"])
    assert points.shape[0] >= 4
    assert (points.min(axis=0) >= answer.json()["bounds"][:2]).all()


@pytest.mark.parametrize("box", [[[56, 26], [84, 54]], [[84, 54], [56, 26]]])
def test_a_box_may_come_alone(client: httpx.Client, image: bytes, box: list[list[int]]) -> None:
    expected = api_mask(client, image, boxes=[[56, 26, 84, 54]])
    assert (whole(invoke(client, image, obj_bbox=box).json(), expected.shape) == expected).all()


def test_without_a_box_the_page_sends_an_empty_list(client: httpx.Client, image: bytes) -> None:
    assert invoke(client, image, pos_points=[[20, 20]], obj_bbox=[], threshold=0.5).status_code == 200


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({}, 422, "invalid_prompt"),
        ({"neg_points": [[20, 20]]}, 422, "invalid_prompt"),
        ({"obj_bbox": [[1, 2]]}, 422, "invalid_prompt"),
        ({"obj_bbox": [[1, 2], [3]]}, 422, "invalid_prompt"),
        ({"pos_points": [[200, 20]]}, 422, "invalid_prompt"),
        ({"pos_points": "no"}, 422, "invalid_field"),
        ({"pos_points": [[20, 20]], "function": "other"}, 404, "model_not_found"),
        ({"pos_points": [[20, 20]], "image": "%"}, 400, "invalid_base64"),
        ({"pos_points": [[20, 20]], "image": "YWJj"}, 415, "unsupported_image"),
    ],
)
def test_errors_have_a_status_and_are_logged(
    client: httpx.Client, image: bytes, caplog: pytest.LogCaptureFixture, more: dict[str, Any], status: int, code: str
) -> None:
    with caplog.at_level(logging.WARNING, "maskery.bridges"):
        response = invoke(client, image, **more)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert response.json()["error"]["message"].rstrip(".").lower() in caplog.text.lower()


def test_a_revoked_key_ends_the_bridge(
    make_client: Callable[..., httpx.Client], make_key: Callable[..., str], store: AccountStore, image: bytes
) -> None:
    key = make_key("labellers")
    client = make_client(bridges=["cvat"], cvat_key=key, cvat_clients=CLIENTS)
    assert gateway(client, "GET", "/api/functions").status_code == 200
    store.keys.revoke(key)
    # For up to two seconds this server remembers that the key was valid.
    other = make_client(bridges=["cvat"], cvat_key=key, cvat_clients=CLIENTS)
    response = invoke(other, image, pos_points=[[20, 20]])
    assert (response.status_code, response.json()["error"]["code"]) == (401, "revoked_key")


def test_only_named_clients_are_answered(
    make_client: Callable[..., httpx.Client], make_key: Callable[..., str], image: bytes
) -> None:
    client = make_client(bridges=["cvat"], cvat_key=make_key("labellers"), cvat_clients=["10.1.0.0/16", "::1"])
    for response in (gateway(client, "GET", "/api/functions"), invoke(client, image, pos_points=[[20, 20]])):
        assert (response.status_code, response.json()["error"]["code"]) == (403, "client_not_allowed")
    # A key of one's own does not help: the bridge acts for one account.
    assert client.get("/api/functions").status_code == 403


def test_a_trusted_proxy_names_the_client(
    make_client: Callable[..., httpx.Client], make_key: Callable[..., str]
) -> None:
    client = make_client(
        bridges=["cvat"], cvat_key=make_key("labellers"), cvat_clients=["10.1.0.0/16"], trusted_proxies=["127.0.0.1"]
    )
    for address, status in (("10.1.2.3", 200), ("10.2.2.3", 403)):
        found = gateway(client, "GET", "/api/functions", headers={"X-Forwarded-For": address})
        assert found.status_code == status


@pytest.fixture
def own_address(make_client: Callable[..., httpx.Client], make_key: Callable[..., str]) -> Callable[..., Any]:
    """Starts a server with an address of its own for the bridge; clients of its usual address and of that one."""

    def start(**settings: Any) -> tuple[httpx.Client, httpx.Client]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        usual = make_client(bridges=["cvat"], cvat_key=make_key("labellers"), bridge_listen=address, **settings)
        return usual, httpx.Client(base_url=f"http://{address}", headers=usual.headers, timeout=60)

    return start


def test_the_bridge_alone_answers_on_its_own_address(own_address: Callable[..., Any], image: bytes) -> None:
    usual, client = own_address()
    with client:
        assert invoke(client, image, pos_points=[[20, 20]]).status_code == 200
        for path in ("/", "/docs", "/v1/models", "/health/live", "/metrics", "/api/other"):
            response = client.get(path)
            assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found"), path
        # The usual address has all but the bridge.
        assert usual.get("/v1/models").status_code == 200
        assert gateway(usual, "GET", "/api/functions").json()["error"]["code"] == "client_not_allowed"


def test_cvat_may_call_the_bridge_by_any_name(own_address: Callable[..., Any]) -> None:
    """On loopback the server accepts loopback names only; from a container it is host.docker.internal."""
    usual, client = own_address()
    named = {"Host": "host.docker.internal:8485"}
    with client:
        assert gateway(client, "GET", "/api/functions", headers=named).status_code == 200
        assert usual.get("/v1/models", headers=named).json()["error"]["code"] == "host_not_allowed"


def test_clients_of_the_own_address_may_be_named_as_well(own_address: Callable[..., Any]) -> None:
    _, client = own_address(cvat_clients=["10.1.0.0/16"])
    with client:
        assert gateway(client, "GET", "/api/functions").json()["error"]["code"] == "client_not_allowed"


def test_an_address_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings.load(bridges="cvat", cvat_key="mk_x", bridge_listen=f"127.0.0.1:{port}")
        with pytest.raises(ServingError, match=f"cannot listen on 127.0.0.1 port {port}.*--bridge-listen"):
            listen_bridge(settings)


def test_pages_may_not_call_functions(client: httpx.Client, image: bytes) -> None:
    response = invoke(client, image, pos_points=[[20, 20]], headers={"Origin": str(client.base_url).rstrip("/")})
    assert (response.status_code, response.json()["error"]["code"]) == (403, "origin_not_allowed")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"cvat_clients": "10.0.0.1"}, "MASKERY_CVAT_KEY"),
        ({"cvat_key": "mk_x"}, "MASKERY_BRIDGE_LISTEN"),
        ({"cvat_key": "mk_x", "bridge_listen": "127.0.0.1:8484"}, "different ports"),
        ({"bridges": "label-studio"}, "MASKERY_LABEL_STUDIO_URL"),
        ({"bridges": "x-anylabeling", "bridge_listen": "127.0.0.1:8485"}, "is the address of the bridge cvat"),
    ],
)
def test_a_server_with_an_incomplete_bridge_does_not_start(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        create_app(Settings.load(**{"bridges": "cvat", **settings}))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"cvat_clients": "0.0.0.0/0"}, "CVAT sends no key"),
        ({"cvat_clients": "cvat.example"}, "is not a client"),
        ({"bridge_listen": "8485"}, "is not an address such as"),
        ({"bridge_listen": "127.0.0.1:0"}, "is not an address such as"),
        ({"bridge_listen": "127.0.0.1:70000"}, "is not an address such as"),
        ({"label_studio_url": "http://localhost:8080/a"}, "is not an origin"),
        ({"label_studio_url": "localhost:8080"}, "is not an origin"),
        ({"bridges": "labelme"}, "MASKERY_BRIDGES"),
    ],
)
def test_invalid_settings_of_bridges_are_explained(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        Settings.load(**settings)


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [("127.0.0.1:8485", "127.0.0.1", 8485), ("[::1]:9000", "::1", 9000), ("labels.internal:80", "labels.internal", 80)],
)
def test_the_address_of_the_bridge_has_a_host_and_a_port(listen: str, host: str, port: int) -> None:
    settings = Settings.load(bridges="cvat", cvat_key="mk_x", bridge_listen=listen)
    assert (settings.bridge_host, settings.bridge_port) == (host, port)
