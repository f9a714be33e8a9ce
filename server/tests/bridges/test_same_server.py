"""All bridges have the embeddings, limits, usage, log and metrics of the API: one account clicks in three tools."""

import json
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from bridges.conftest import Origin, bearer
from bridges.test_cvat import CLIENTS, invoke
from bridges.test_label_studio import PATH, keypoint
from bridges.test_label_studio import predict as predict_label_studio
from bridges.test_x_anylabeling import POINT
from bridges.test_x_anylabeling import predict as predict_x_anylabeling
from samples import png, squares
from waiting import until

from maskery.accounts import Limits

Click = Callable[[httpx.Client], httpx.Response]

IMAGE = png(squares(101, 66))

CLICKS: dict[str, Click] = {
    "/api/function_invocations": lambda client: invoke(client, IMAGE, pos_points=[[20, 20]]),
    "/label-studio{model:path}/predict": lambda client: predict_label_studio(client, [keypoint(20, 20)]),
    "/x-anylabeling/v1/predict": lambda client: predict_x_anylabeling(client, IMAGE, [POINT]),
}


@pytest.fixture
def connect(
    make_client: Callable[..., httpx.Client], make_key: Callable[..., str], origin: Origin
) -> Callable[..., httpx.Client]:
    """A client of a server with all bridges, whose key is that of the bridge to CVAT, too."""
    origin.files[PATH] = IMAGE

    def start(limits: Limits | None = None) -> httpx.Client:
        key = make_key("labellers", limits=limits or Limits())
        client = make_client(
            bridges="cvat,label-studio,x-anylabeling",
            cvat_key=key,
            cvat_clients=CLIENTS,
            label_studio_url=origin.url,
        )
        client.headers["authorization"] = f"Bearer {key}"
        return client

    return start


def test_an_image_is_encoded_once_for_all_tools(
    connect: Callable[..., httpx.Client], make_key: Callable[..., str], encodings: list[Any]
) -> None:
    client = connect()
    for click in CLICKS.values():
        assert click(client).status_code == 200
    assert len(encodings) == 1
    admin = {"Authorization": f"Bearer {make_key('admins', scopes=['admin'])}"}
    (usage,) = client.get("/v1/admin/usage", params={"account": "labellers"}, headers=admin).json()["data"]
    assert [usage[name] for name in ("requests", "images", "objects", "pixels")] == [3, 1, 3, 101 * 66]
    metrics = client.get("/metrics").text
    for route in CLICKS:
        assert f'route="{route}"' in metrics


def access_records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "maskery.access"]


def test_the_log_names_the_account_the_model_and_the_stages(
    connect: Callable[..., httpx.Client], caplog: pytest.LogCaptureFixture
) -> None:
    client = connect()
    with caplog.at_level(logging.INFO, "maskery.access"):
        for click in CLICKS.values():
            assert click(client).headers["x-session-id"]
        # A line is written after its response has been sent.
        until(lambda: len(access_records(caplog)) == len(CLICKS))
    lines = [record.__dict__ for record in access_records(caplog)]
    assert [line["account"] for line in lines] == ["labellers"] * 3
    assert [line["model"] for line in lines] == ["maskery/grabcut"] * 3
    assert [line["embedding"] for line in lines] == ["new", "known", "known"]
    assert bearer(client) not in json.dumps(caplog.text)


@pytest.mark.parametrize("route", CLICKS)
def test_rate_limits_hold(connect: Callable[..., httpx.Client], caplog: pytest.LogCaptureFixture, route: str) -> None:
    client = connect(Limits(requests_per_minute=1))
    assert CLICKS[route](client).status_code == 200
    with caplog.at_level(logging.WARNING, "maskery.bridges"):
        second = CLICKS[route](client)
    assert (second.status_code, second.json()["error"]["code"]) == (429, "rate_limited")
    assert int(second.headers["retry-after"]) > 0
    assert "per minute" in caplog.text


@pytest.mark.parametrize("route", CLICKS)
def test_quotas_hold(connect: Callable[..., httpx.Client], encodings: list[Any], route: str) -> None:
    response = CLICKS[route](connect(Limits(pixels_per_day=100)))
    assert (response.status_code, response.json()["error"]["code"]) == (413, "image_beyond_limit")
    assert encodings == []


@pytest.mark.parametrize("route", CLICKS)
def test_a_key_needs_the_scope(
    make_client: Callable[..., httpx.Client], make_key: Callable[..., str], origin: Origin, route: str
) -> None:
    key = make_key("labellers", scopes=["metrics"])
    client = make_client(
        bridges="cvat,label-studio,x-anylabeling", cvat_key=key, cvat_clients=CLIENTS, label_studio_url=origin.url
    )
    client.headers["authorization"] = f"Bearer {key}"
    response = CLICKS[route](client)
    assert (response.status_code, response.json()["error"]["code"]) == (403, "missing_scope")
