"""Rate limits and quotas over HTTP."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from samples import MODEL, b64, png, squares
from waiting import until

from maskery.accounts import AccountStore, Limiter, Subject
from maskery.models.builtin.grabcut import GrabCut

ROUTE = "/v1/images/segmentations"
PIXELS = 96 * 64

MakeClient = Callable[..., httpx.Client]


class Encoder:
    """Counts the images that are encoded, and can block encoding."""

    def __init__(self) -> None:
        self.images = 0
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.open.set()

    def wait(self) -> None:
        assert self.entered.acquire(timeout=20)


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Encoder]:
    encoder, encode = Encoder(), GrabCut.encode

    def watched(self: GrabCut, image: Any) -> Any:
        encoder.images += 1
        encoder.entered.release()
        assert encoder.open.wait(30)
        return encode(self, image)

    monkeypatch.setattr(GrabCut, "encode", watched)
    yield encoder
    encoder.open.set()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def another(body: dict[str, Any], number: int) -> dict[str, Any]:
    """The same request with a new image of the same size."""
    pixels = squares()
    pixels[-1, -1] = number
    return {**body, "image_prompt": b64(png(pixels))}


@pytest.fixture(params=["settings", "account", "key"])
def limited(
    request: pytest.FixtureRequest, make_client: MakeClient, store: AccountStore
) -> Callable[..., httpx.Client]:
    """A client with limits from the settings, of its account or of its key."""

    def make(**limits: int) -> httpx.Client:
        if request.param == "settings":
            return make_client(**limits)
        client = make_client()
        key_id = client.headers["authorization"].split("_")[1]
        if request.param == "account":
            store.accounts.update("team", limits)
        else:
            store.keys.update(key_id, limits)
        return client

    return make


def refused(response: httpx.Response, word: str, limit: int) -> int:
    """Check a 429 response; returns its Retry-After in seconds."""
    assert response.status_code == 429, response.text
    error = response.json()["error"]
    assert (error["code"], error["type"], error["param"]) == ("rate_limited", "rate_limit_error", None)
    assert "retry in" in error["message"]
    assert f"is limited to {limit:,} " in error["message"]
    seconds = int(response.headers["retry-after"])
    assert seconds >= 1
    if word:
        assert response.headers[f"x-ratelimit-limit-{word}"] == str(limit)
        assert response.headers[f"x-ratelimit-reset-{word}"]
    return seconds


def test_requests_per_minute(limited: MakeClient, body: dict[str, Any], encoder: Encoder) -> None:
    client = limited(requests_per_minute=3)
    for left in (2, 1, 0):
        response = client.post(ROUTE, json=body)
        assert response.status_code == 200
        assert response.headers["x-ratelimit-limit-requests"] == "3"
        assert response.headers["x-ratelimit-remaining-requests"] == str(left)
        assert response.headers["x-ratelimit-reset-requests"]
    response = client.post(ROUTE, json=another(body, 1))
    assert 50 <= refused(response, "requests", 3) <= 60
    assert response.headers["x-ratelimit-remaining-requests"] == "0"
    assert encoder.images == 1, "what is refused costs nothing"
    for method, path in (("POST", "/v1/images"), ("GET", "/v1/images/img_a"), ("DELETE", "/v1/images/img_a")):
        refused(client.request(method, path), "requests", 3)
    assert client.get("/v1/models").status_code == 200, "this route has no limits"


def test_new_images_per_minute(limited: MakeClient, body: dict[str, Any], encoder: Encoder) -> None:
    client = limited(images_per_minute=2)
    for number in (1, 2, 1, 2, 2):
        response = client.post(ROUTE, json=another(body, number))
        assert response.status_code == 200
    response = client.post(ROUTE, json=another(body, 3))
    assert 50 <= refused(response, "images", 2) <= 60
    assert response.headers["x-ratelimit-remaining-images"] == "0"
    refused(client.post("/v1/images", json={"model": MODEL, "image_prompt": another(body, 3)["image_prompt"]}), "", 2)
    assert client.post(ROUTE, json=another(body, 1)).status_code == 200, "one that is known costs nothing"
    prepared = {"model": MODEL, "image_prompt": another(body, 2)["image_prompt"]}
    assert client.post("/v1/images", json=prepared).status_code == 201
    assert encoder.images == 2


def test_pixels_per_day(limited: MakeClient, body: dict[str, Any], encoder: Encoder) -> None:
    client = limited(pixels_per_day=2 * PIXELS + 1)
    for number in (1, 2, 2, 1):
        assert client.post(ROUTE, json=another(body, number)).status_code == 200
    response = client.post(ROUTE, json=another(body, 3))
    midnight = 86400 - time.time() % 86400
    assert refused(response, "pixels", 2 * PIXELS + 1) == pytest.approx(midnight, abs=10)
    assert response.headers["x-ratelimit-remaining-pixels"] == "1"
    assert encoder.images == 2
    small = {**body, "image_prompt": b64(png(squares(1, 1))), "segment_prompt": [[[0, 0]]]}
    assert client.post(ROUTE, json=small).status_code == 200


def test_concurrent_requests(
    limited: MakeClient, body: dict[str, Any], encoder: Encoder, pool: ThreadPoolExecutor
) -> None:
    client = limited(concurrent_requests=2)
    encoder.open.clear()
    inside = [pool.submit(client.post, ROUTE, json=another(body, number)) for number in (1, 2)]
    encoder.wait()
    encoder.wait()
    assert refused(client.post(ROUTE, json=body), "", 2) == 1
    assert refused(client.get("/v1/images/img_none"), "", 2) == 1
    assert client.get("/v1/models").status_code == 200
    encoder.open.set()
    assert [each.result(20).status_code for each in inside] == [200, 200]
    assert client.post(ROUTE, json=body).status_code == 200


def test_the_limit_that_is_reached_is_named(make_client: MakeClient, store: AccountStore) -> None:
    client = make_client(requests_per_minute=100)
    key_id = client.headers["authorization"].split("_")[1]
    store.keys.update(key_id, {"requests_per_minute": 1})
    client.get("/v1/images/img_none")
    response = client.get("/v1/images/img_none")
    refused(response, "requests", 1)
    assert f"The key '{key_id}' is limited to 1 request per minute" in response.json()["error"]["message"]


def test_no_headers_without_limits(client: httpx.Client, body: dict[str, Any]) -> None:
    response = client.post(ROUTE, json=body)
    assert response.status_code == 200
    assert not [name for name in response.headers if name.startswith("x-ratelimit")]


def test_rejected_keys_do_not_count(make_client: MakeClient, make_key: Callable[..., str]) -> None:
    client = make_client(requests_per_minute=1)
    no_right = make_key("team", scopes=["metrics"])
    wrong = client.headers["authorization"][:-2] + "xx"
    for header in ("", "Bearer wrong", wrong, f"Bearer {no_right}"):
        assert client.get("/v1/images/img_a", headers={"Authorization": header}).status_code in (401, 403)
    assert client.get("/v1/images/img_a").status_code == 404
    assert client.get("/v1/images/img_a").status_code == 429


def test_responses_of_any_status_have_rate_limit_headers(make_client: MakeClient, body: dict[str, Any]) -> None:
    client = make_client(requests_per_minute=10)
    statuses = [
        client.get("/v1/images/img_a"),
        client.post(ROUTE, json={**body, "segment_prompt": []}),
        client.post(ROUTE, content=b"{", headers={"content-type": "application/json"}),
    ]
    assert [response.status_code for response in statuses] == [404, 422, 400]
    assert [response.headers["x-ratelimit-remaining-requests"] for response in statuses] == ["9", "8", "7"]


def test_keys_of_an_account_share_its_limit(
    make_client: MakeClient, make_key: Callable[..., str], body: dict[str, Any]
) -> None:
    client = make_client(requests_per_minute=2, images_per_minute=1, pixels_per_day=PIXELS)
    team, other = make_key("team"), make_key("other")

    def ask(key: str) -> int:
        return client.post(ROUTE, json=body, headers={"Authorization": f"Bearer {key}"}).status_code

    assert client.post(ROUTE, json=body).status_code == 200
    assert [ask(team), ask(team)] == [200, 429]
    assert client.post(ROUTE, json=body).status_code == 429
    assert [ask(other), ask(other), ask(other)] == [200, 200, 429]


def test_requests_that_share_an_encoding_are_charged_once(
    make_client: MakeClient, body: dict[str, Any], encoder: Encoder, pool: ThreadPoolExecutor
) -> None:
    client = make_client(images_per_minute=2, pixels_per_day=2 * PIXELS)
    encoder.open.clear()
    inside = [pool.submit(client.post, ROUTE, json=body) for _ in range(4)]
    encoder.wait()
    until(lambda: metric(client, "maskery_requests_in_flight") == 4)
    encoder.open.set()
    assert [each.result(20).status_code for each in inside] == [200] * 4
    assert encoder.images == 1
    assert client.post(ROUTE, json=another(body, 1)).status_code == 200
    assert client.post(ROUTE, json=another(body, 2)).status_code == 429


def metric(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def test_an_accounts_limit_does_not_affect_others_waiting_for_the_same_image(
    make_client: MakeClient,
    make_key: Callable[..., str],
    store: AccountStore,
    body: dict[str, Any],
    encoder: Encoder,
    pool: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = make_client(share_images=True)
    keys = {name: make_key(name) for name in ("poor", "rich", "richer")}
    for name in ("rich", "richer"):
        store.accounts.update(name, {"images_per_minute": 1})
    store.accounts.update("poor", {"pixels_per_day": 1})
    charge = Limiter.charge_image
    asked, go_on = threading.Event(), threading.Event()
    charged: list[str] = []

    @asynccontextmanager
    async def slowly(self: Limiter, subjects: Sequence[Subject], pixels: int) -> AsyncIterator[None]:
        if subjects[0].name == "poor":
            asked.set()
            assert await asyncio.to_thread(go_on.wait, 20)
        async with charge(self, subjects, pixels):
            charged.append(subjects[0].name)
            yield

    monkeypatch.setattr(Limiter, "charge_image", slowly)

    def ask(name: str) -> "Future[httpx.Response]":
        return pool.submit(client.post, ROUTE, json=body, headers={"Authorization": f"Bearer {keys[name]}"})

    first = ask("poor")
    assert asked.wait(20)
    others = [ask("rich"), ask("richer"), ask("rich")]
    until(lambda: metric(client, "maskery_requests_in_flight") == 4)
    time.sleep(0.2)
    assert encoder.images == 0
    go_on.set()
    assert first.result(20).status_code == 413, "its image has more than a pixel"
    assert [each.result(20).status_code for each in others] == [200] * 3
    assert encoder.images == 1
    assert len(charged) == 1, "one of them pays for all"
    assert charged[0] in ("rich", "richer")


def test_requests_that_share_a_rejected_encoding_are_rejected(
    make_client: MakeClient,
    body: dict[str, Any],
    encoder: Encoder,
    pool: ThreadPoolExecutor,
) -> None:
    client = make_client(images_per_minute=1)
    assert client.post(ROUTE, json=body).status_code == 200
    inside = [pool.submit(client.post, ROUTE, json=another(body, 1)) for _ in range(6)]
    assert [each.result(20).status_code for each in inside] == [429] * 6
    assert encoder.images == 1


@pytest.mark.parametrize("where", ["memory", pytest.param("redis", marks=pytest.mark.services)])
def test_a_damaged_image_is_not_charged(
    request: pytest.FixtureRequest, make_client: MakeClient, body: dict[str, Any], pool: ThreadPoolExecutor, where: str
) -> None:
    redis = {} if where == "memory" else {"redis_url": request.getfixturevalue("redis_url")}
    client = make_client(images_per_minute=1, pixels_per_day=PIXELS, **redis)
    whole = png(squares())
    damaged = {**body, "image_prompt": b64(whole[: len(whole) * 2 // 3])}
    answers = list(pool.map(lambda _: client.post(ROUTE, json=damaged), range(8)))
    assert {answer.json()["error"]["code"] for answer in answers} == {"unsupported_image"}, answers[0].text
    assert client.post("/v1/images", json={"model": MODEL, "image_prompt": damaged["image_prompt"]}).status_code == 415
    assert client.post(ROUTE, json=body).status_code == 200
    refused(client.post(ROUTE, json=another(body, 1)), "pixels", PIXELS)


def test_an_image_whose_encoding_fails_is_not_charged(
    make_client: MakeClient, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(images_per_minute=1)
    with monkeypatch.context() as patch:
        patch.setattr(GrabCut, "encode", lambda *_: 1 / 0)
        assert client.post(ROUTE, json=body).status_code == 500
    assert client.post(ROUTE, json=body).status_code == 200


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.services)])
def one_at_a_time(request: pytest.FixtureRequest, make_client: MakeClient) -> httpx.Client:
    redis = {} if request.param == "memory" else {"redis_url": request.getfixturevalue("redis_url")}
    return make_client(concurrent_requests=1, **redis)


def test_a_request_stops_counting_before_its_response(one_at_a_time: httpx.Client, body: dict[str, Any]) -> None:
    for number in range(15):
        assert one_at_a_time.post(ROUTE, json=another(body, number % 2)).status_code == 200


def test_a_failed_request_stops_counting(one_at_a_time: httpx.Client, body: dict[str, Any]) -> None:
    client = one_at_a_time
    for _ in range(2):
        assert client.post(ROUTE, json={**body, "segment_prompt": []}).status_code == 422
        assert client.post(ROUTE, json={**body, "model": "none"}).status_code == 404
        assert client.post(ROUTE, content=b"{", headers={"content-type": "application/json"}).status_code == 400
        assert client.post(ROUTE, content=b"{", headers={"content-type": "text/plain"}).status_code == 415
        assert client.post(ROUTE, json=body, headers={"x-request-timeout": "no"}).status_code == 422
        assert client.get("/v1/images/img_none").status_code == 404
        assert client.post(ROUTE, json={**body, "image_prompt": b64(b"text")}).status_code == 415


def test_a_request_with_an_internal_error_stops_counting(
    one_at_a_time: httpx.Client, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(GrabCut, "decode", lambda *_: 1 / 0)
        for _ in range(3):
            assert one_at_a_time.post(ROUTE, json=body).status_code == 500
    assert one_at_a_time.post(ROUTE, json=body).status_code == 200


def test_a_timed_out_request_stops_counting(
    one_at_a_time: httpx.Client, body: dict[str, Any], encoder: Encoder
) -> None:
    encoder.open.clear()
    for number in range(2):
        response = one_at_a_time.post(ROUTE, json=another(body, number), headers={"x-request-timeout": "0.2"})
        assert response.status_code == 504
    encoder.open.set()
    assert one_at_a_time.post(ROUTE, json=body).status_code == 200


@pytest.mark.parametrize("sent", ["all", "half"])
def test_a_disconnected_request_stops_counting(
    one_at_a_time: httpx.Client, body: dict[str, Any], encoder: Encoder, sent: str
) -> None:
    client = one_at_a_time
    encoder.open.clear()
    request = client.build_request("POST", ROUTE, json=body)
    lines = [f"{name}: {text}" for name, text in request.headers.items()]
    data = request.read()
    address = client.base_url.host, client.base_url.port or 0
    with socket.create_connection(address, timeout=20) as connection:
        head = "\r\n".join([f"POST {ROUTE} HTTP/1.1", *lines, "", ""]).encode()
        connection.sendall(head + (data if sent == "all" else data[: len(data) // 2]))
        if sent == "all":
            encoder.wait()
        else:
            # Were it later than the next request, it would be refused instead.
            time.sleep(0.3)
        until(lambda: client.get("/v1/images/img_none").status_code == 429)
    encoder.open.set()
    until(lambda: client.get("/v1/images/img_none").status_code == 404)
    assert client.post(ROUTE, json=body).status_code == 200


def test_anonymous_clients_share_one_account(make_client: MakeClient, body: dict[str, Any]) -> None:
    client = make_client(anonymous=True, requests_per_minute=2)
    statuses = [client.post(ROUTE, json=body, headers={"Authorization": ""}).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


def test_an_unavailable_redis(make_client: MakeClient, body: dict[str, Any]) -> None:
    nowhere = "redis://:open-sesame@127.0.0.1:1/0"
    client = make_client(requests_per_minute=2, redis_url=nowhere)
    assert [client.post(ROUTE, json=body).status_code for _ in range(3)] == [200, 200, 429]
    assert metric(client, "maskery_limits_degraded") == 1
    assert metric(client, "maskery_limits_failures_total") >= 1
    client = make_client(requests_per_minute=2, redis_url=nowhere, without_redis="refuse")
    response = client.post(ROUTE, json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "limits_unavailable")
    assert int(response.headers["retry-after"]) >= 1
    assert "sesame" not in response.text
    assert client.get("/v1/models").status_code == 200
