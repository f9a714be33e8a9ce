"""Usage of accounts."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from samples import MODEL, b64, png, squares
from starlette.testclient import TestClient

from maskery.accounts import AccountStore, Usage
from maskery.api.app import create_app
from maskery.settings import Settings

ROUTE = "/v1/images/segmentations"
PIXELS = 96 * 64

MakeClient = Callable[..., httpx.Client]
Used = Callable[..., tuple[int, int, int, int]]


@pytest.fixture
def used(client: httpx.Client, make_key: Callable[..., str]) -> Used:
    """Returns the requests, images, objects and pixels of an account."""
    admin = make_key("admins", scopes=["admin"])

    def ask(account: str = "team") -> tuple[int, int, int, int]:
        headers = {"Authorization": f"Bearer {admin}"}
        uses = client.get("/v1/admin/usage", params={"account": account}, headers=headers).json()["data"]
        names = ("requests", "images", "objects", "pixels")
        return tuple(sum(use[name] for use in uses) for name in names)  # type: ignore[return-value]

    return ask


def total(store: AccountStore, account: str) -> Usage:
    return sum((use.usage for use in store.usage.list(account=account)), Usage())


def test_an_image_counts_once_and_every_request_counts(client: httpx.Client, body: dict[str, Any], used: Used) -> None:
    client.post(ROUTE, json=body)
    assert used() == (1, 1, 1, PIXELS)
    for _ in range(3):
        client.post(ROUTE, json=body)
    assert used() == (4, 1, 4, PIXELS)
    client.post(ROUTE, json={**body, "image_prompt": b64(png(squares(80, 50)))})
    assert used() == (5, 2, 5, PIXELS + 80 * 50)


def test_every_object_counts(client: httpx.Client, body: dict[str, Any], used: Used) -> None:
    client.post(ROUTE, json={**body, "segment_prompt": [[[20, 20]], [[70, 40]], [[5, 5]]]})
    assert used() == (1, 1, 3, PIXELS)


def test_a_prepared_image_counts_as_an_image(client: httpx.Client, body: dict[str, Any], used: Used) -> None:
    image = {"model": MODEL, "image_prompt": body["image_prompt"]}
    prepared = client.post("/v1/images", json=image).json()["id"]
    assert used() == (1, 1, 0, PIXELS)
    client.post("/v1/images", json=image)
    assert used() == (2, 1, 0, PIXELS)
    client.post(ROUTE, json={**body, "image_prompt": f"id:{prepared}"})
    assert used() == (3, 1, 1, PIXELS)
    client.get(f"/v1/images/{prepared}")
    client.delete(f"/v1/images/{prepared}")
    client.get("/v1/models")
    assert used() == (3, 1, 1, PIXELS), "other routes do not count"


def test_rejected_requests_count_only_after_authentication(
    client: httpx.Client, body: dict[str, Any], used: Used
) -> None:
    for header in ("", "Bearer wrong"):
        client.post(ROUTE, json=body, headers={"Authorization": header})
    assert used() == (0, 0, 0, 0)
    for change in ({"segment_prompt": []}, {"model": "none"}, {"image_prompt": "%"}, {"segment_prompt": [[[999, 9]]]}):
        assert client.post(ROUTE, json={**body, **change}).status_code in (400, 404, 422)
    assert used() == (4, 0, 0, 0)


def test_rate_limited_requests_do_not_count(make_client: MakeClient, store: AccountStore, body: dict[str, Any]) -> None:
    with TestClient(app := create_app(Settings.load(preload=())), base_url="http://127.0.0.1") as client:
        text = store.keys.create("team")[1]
        store.accounts.update("team", {"requests_per_minute": 3, "images_per_minute": 1})
        client.headers["authorization"] = f"Bearer {text}"
        other = {**body, "image_prompt": b64(png(squares(80, 50)))}
        assert [client.post(ROUTE, json=each).status_code for each in (body, other, body, body)] == [200, 429, 200, 429]
        assert app.state.container.account_service.usage_recorder.failures == 0
    amount = total(store, "team")
    assert (amount.requests, amount.images, amount.objects, amount.pixels) == (3, 1, 2, PIXELS)
    assert 0 < amount.seconds < 60


def test_usage_survives_a_restart(store: AccountStore, body: dict[str, Any]) -> None:
    key, text = store.keys.create("team")
    for starts in range(1, 3):
        # The server stops before its first periodic flush.
        with TestClient(create_app(Settings.load(preload=())), base_url="http://127.0.0.1") as client:
            headers = {"Authorization": f"Bearer {text}"}
            assert client.post(ROUTE, json=body, headers=headers).status_code == 200
        amount = total(store, "team")
        assert (amount.requests, amount.images, amount.pixels) == (starts, starts, starts * PIXELS)
    assert store.keys.get(key.id).last_used is not None


def test_accounts_are_counted_separately(client: httpx.Client, make_key: Any, body: dict[str, Any], used: Used) -> None:
    client.post(ROUTE, json=body)
    client.post(ROUTE, json=body, headers={"Authorization": f"Bearer {make_key('other')}"})
    client.post(ROUTE, json=body, headers={"Authorization": f"Bearer {make_key('team')}"})
    assert used("team") == (2, 1, 2, PIXELS)
    assert used("other") == (1, 1, 1, PIXELS), "what it sent it had not sent before"


def test_a_shared_image_counts_for_one_account(
    make_client: MakeClient, make_key: Any, store: AccountStore, body: dict[str, Any]
) -> None:
    with TestClient(create_app(Settings.load(preload=(), share_images=True)), base_url="http://127.0.0.1") as client:
        for name in ("first", "second"):
            headers = {"Authorization": f"Bearer {make_key(name)}"}
            assert client.post(ROUTE, json=body, headers=headers).status_code == 200
    found = {name: total(store, name) for name in ("first", "second")}
    assert [(amount.requests, amount.images, amount.pixels) for amount in found.values()] == [
        (1, 1, PIXELS),
        (1, 0, 0),
    ]


def test_anonymous_clients_are_counted_together(store: AccountStore, body: dict[str, Any]) -> None:
    with TestClient(create_app(Settings.load(preload=(), anonymous=True)), base_url="http://127.0.0.1") as client:
        for _ in range(2):
            assert client.post(ROUTE, json=body).status_code == 200
    amount = total(store, "anonymous")
    assert (amount.requests, amount.images, amount.objects) == (2, 1, 2)
    assert store.accounts.list() == [], "anonymous is not an account"
