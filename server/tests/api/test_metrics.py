"""Metrics and health checks."""

import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from samples import MODEL, b64, png, squares
from waiting import until

from maskery.accounts import Database, DatabaseError

ROUTE = "/v1/images/segmentations"
STAGES = {"read", "wait", "decode_image", "encode", "decode", "compose", "write"}

MakeClient = Callable[..., httpx.Client]
Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def samples(client: httpx.Client) -> Samples:
    response = client.get("/metrics")
    assert response.status_code == 200, response.text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    """The value of one sample, 0 if it does not exist yet."""
    return found.get((name, frozenset(labels.items())), 0)


def labels_of(found: Samples, name: str, label: str) -> set[str]:
    return {dict(labels)[label] for each, labels in found if each == name}


class Gate:
    """Blocks encoding until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.error: Exception | None = None


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    from maskery.models.builtin.grabcut import GrabCut

    gate, encode = Gate(), GrabCut.encode

    def held(self: GrabCut, image: Any) -> Any:
        gate.entered.release()
        assert gate.open.wait(30)
        if gate.error:
            raise gate.error
        return encode(self, image)

    monkeypatch.setattr(GrabCut, "encode", held)
    yield gate
    gate.open.set()


def test_metrics_require_a_key(client: httpx.Client) -> None:
    assert client.get("/metrics").status_code == 200
    for headers in ({"Authorization": "Bearer wrong"}, {"Authorization": ""}):
        response = client.get("/metrics", headers=headers)
        assert response.status_code == 401
        assert "maskery_" not in response.text


def test_open_metrics_require_no_key(make_client: MakeClient) -> None:
    client = make_client(open_metrics=True)
    for headers in ({"Authorization": ""}, {"Authorization": "Bearer wrong"}):
        assert client.get("/metrics", headers=headers).status_code == 200
        assert client.get("/v1/models", headers=headers).status_code == 401


def test_the_exposition_is_valid_prometheus_text(client: httpx.Client, body: dict[str, Any]) -> None:
    client.post(ROUTE, json=body)
    response = client.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = list(text_string_to_metric_families(response.text))
    assert all(family.documentation for family in families)
    names = {family.name for family in families}
    assert {name for name in names if not re.match(r"maskery_|process_", name)} == set()
    assert {"process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds"} <= names


def test_requests_are_counted_by_route_model_and_status(client: httpx.Client, body: dict[str, Any]) -> None:
    for _ in range(3):
        assert client.post(ROUTE, json=body).status_code == 200
    assert client.post(ROUTE, json={**body, "segment_prompt": []}).status_code == 422
    assert client.post("/v1/images", json={"model": MODEL, "image_prompt": body["image_prompt"]}).status_code == 201
    assert client.get("/v1/images/img_none").status_code == 404
    assert client.get("/v1/models").status_code == 200
    assert client.get("/nothing/here").status_code == 404
    assert client.get("/wp-login.php").status_code == 404
    found = samples(client)

    def requests(route: str, status: int, model: str = "") -> float:
        return value(found, "maskery_requests_total", route=route, model=model, status=str(status))

    assert requests(ROUTE, 200, MODEL) == 3
    assert requests(ROUTE, 422, MODEL) == 1
    assert requests("/v1/images", 201, MODEL) == 1
    assert requests("/v1/models", 200) == 1
    assert requests("other", 404) == 2
    routes = labels_of(found, "maskery_requests_total", "route")
    assert not any("img_none" in route for route in routes)
    assert len([route for route in routes if route.startswith("/v1/images/{")]) == 1
    assert value(found, "maskery_request_seconds_count", route=ROUTE) == 4
    assert 0 < value(found, "maskery_request_seconds_sum", route=ROUTE) < 60


def test_every_stage_of_a_request_is_timed(client: httpx.Client, body: dict[str, Any]) -> None:
    assert client.post(ROUTE, json=body).status_code == 200
    found = samples(client)
    assert labels_of(found, "maskery_stage_seconds_count", "stage") == STAGES
    for stage in STAGES:
        assert value(found, "maskery_stage_seconds_count", stage=stage, model=MODEL) == 1
    assert client.post(ROUTE, json={**body, "segment_prompt": [[[40, 30]]]}).status_code == 200
    found = samples(client)
    times = {stage: value(found, "maskery_stage_seconds_count", stage=stage, model=MODEL) for stage in STAGES}
    assert times == {stage: 1 if stage in ("decode_image", "encode") else 2 for stage in STAGES}
    spent = sum(value(found, "maskery_stage_seconds_sum", stage=stage, model=MODEL) for stage in STAGES)
    assert 0 < spent <= value(found, "maskery_request_seconds_sum", route=ROUTE)


def test_cache_metrics_follow_hits_misses_and_evictions(make_client: MakeClient, body: dict[str, Any]) -> None:
    one = 96 * 64 * 3
    client = make_client(cache_bytes=one + 100)
    for _ in range(3):
        client.post(ROUTE, json=body)
    found = samples(client)
    assert value(found, "maskery_cache_max_bytes") == one + 100
    assert (value(found, "maskery_cache_images"), value(found, "maskery_cache_bytes")) == (1, one)
    assert (value(found, "maskery_cache_misses_total"), value(found, "maskery_cache_hits_total")) == (1, 2)
    assert value(found, "maskery_cache_evictions_total") == 0
    client.post(ROUTE, json={**body, "image_prompt": b64(png(squares(90, 64)))})
    found = samples(client)
    assert value(found, "maskery_cache_evictions_total") == 1
    assert value(found, "maskery_cache_evicted_bytes_total") == one
    assert value(found, "maskery_cache_bytes") == 90 * 64 * 3
    assert value(found, "maskery_decode_calls_total") == value(found, "maskery_decoded_requests_total") == 2
    assert value(found, "maskery_encoder_restarts_total") == 0
    client.post("/v1/images", json={"model": MODEL, "image_prompt": body["image_prompt"]})
    assert value(samples(client), "maskery_prepared_images") == 1


def test_candidate_cache_metrics_count_objects(client: httpx.Client, body: dict[str, Any]) -> None:
    for prompt in ([[[20, 20]], [[40, 30]]], [[[20, 20]], [[41, 30]]], [[[20, 20]]]):
        assert client.post(ROUTE, json={**body, "segment_prompt": prompt}).status_code == 200
    found = samples(client)
    names = ("objects", "hits_total", "misses_total", "evictions_total")
    assert [value(found, f"maskery_candidate_cache_{name}") for name in names] == [3, 2, 3, 0]
    # Three candidates of float32, in the grid of the model, with three scores.
    assert value(found, "maskery_candidate_cache_bytes") == 3 * (3 * 96 * 64 * 4 + 3 * 4)
    assert value(found, "maskery_candidate_cache_max_bytes") > value(found, "maskery_candidate_cache_bytes")


def test_queue_metrics_follow_waiting_requests(make_client: MakeClient, body: dict[str, Any], gate: Gate) -> None:
    client = make_client(workers=1)
    bodies = [{**body, "image_prompt": b64(png(squares(80 + number, 64)))} for number in range(3)]
    threads = [threading.Thread(target=client.post, args=[ROUTE], kwargs={"json": each}) for each in bodies]
    for thread in threads:
        thread.start()
    assert gate.entered.acquire(timeout=20)
    until(lambda: value(samples(client), "maskery_queue_waiting", queue="encode_inline") == 2)
    found = samples(client)
    assert value(found, "maskery_queue_running", queue="encode_inline") == 1
    assert value(found, "maskery_requests_in_flight") == 3
    assert value(found, "maskery_request_bytes_in_flight") > sum(len(each["image_prompt"]) for each in bodies)
    gate.open.set()
    for thread in threads:
        thread.join()
    found = samples(client)
    for name in ("maskery_queue_running", "maskery_queue_waiting"):
        assert labels_of(found, name, "queue") == {"encode", "encode_inline", "decode"}
        assert all(value(found, name, queue=queue) == 0 for queue in ("encode", "encode_inline", "decode"))
    assert (value(found, "maskery_requests_in_flight"), value(found, "maskery_request_bytes_in_flight")) == (0, 0)


def test_a_disconnected_client_is_counted_as_499(make_client: MakeClient, body: dict[str, Any], gate: Gate) -> None:
    client = make_client(workers=1)
    request = client.build_request("POST", ROUTE, json=body)
    lines = [f"{name}: {text}" for name, text in request.headers.items()]
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=20) as connection:
        connection.sendall("\r\n".join([f"POST {ROUTE} HTTP/1.1", *lines, "", ""]).encode() + request.read())
        assert gate.entered.acquire(timeout=20)
    until(
        lambda: value(samples(client), "maskery_requests_total", route=ROUTE, model=MODEL, status="499") == 1,
    )
    assert value(samples(client), "maskery_requests_in_flight") == 0


def test_unknown_names_do_not_become_labels(make_client: MakeClient, body: dict[str, Any]) -> None:
    """Each label would stay in the memory of the server and of Prometheus."""
    client = make_client(aliases={"team/alias": MODEL})
    for number in range(20):
        assert client.post(ROUTE, json={**body, "model": f"made/up-{number}"}).status_code == 404
        assert client.get(f"/made-up/{number}").status_code == 404
        assert client.delete(f"/v1/images/img_{number}").status_code == 404
    assert client.post(ROUTE, json={**body, "model": "team/alias", "user": "made-up-user"}).status_code == 200
    text = client.get("/metrics").text
    assert not re.search(r"made.?up", text, re.IGNORECASE)
    found = samples(client)
    assert labels_of(found, "maskery_requests_total", "model") <= {"", MODEL, "team/alias"}
    assert value(found, "maskery_requests_total", route=ROUTE, model="", status="404") == 20
    assert value(found, "maskery_requests_total", route="other", model="", status="404") == 20


def test_metrics_reveal_no_keys_accounts_or_images(client: httpx.Client, body: dict[str, Any]) -> None:
    prepared = client.post("/v1/images", json={"model": MODEL, "image_prompt": body["image_prompt"]}).json()["id"]
    request = {**body, "image_prompt": f"id:{prepared}", "user": "end-user-7"}
    answer = client.post(ROUTE, json=request, headers={"x-request-id": "this-one"})
    assert answer.status_code == 200
    text = client.get("/metrics").text
    key = client.headers["authorization"].removeprefix("Bearer ")
    for secret in (key, key[:12], "team", prepared, "end-user-7", "this-one", body["image_prompt"][:20]):
        assert secret not in text


def test_liveness_requires_no_key(client: httpx.Client) -> None:
    response = client.get("/health/live", headers={"Authorization": ""})
    assert (response.status_code, response.json()) == (200, {"status": "alive"})


def test_the_server_is_not_ready_before_models_have_run(make_client: MakeClient, gate: Gate) -> None:
    client = make_client(preload=(MODEL,))
    assert gate.entered.acquire(timeout=20)
    response = client.get("/health/ready", headers={"Authorization": ""})
    assert (response.status_code, response.json()) == (503, {"status": "starting"})
    assert response.headers["retry-after"] == "1"
    assert client.get("/health/live").status_code == 200
    gate.open.set()
    until(lambda: client.get("/health/ready").status_code == 200)
    response = client.get("/health/ready", headers={"Authorization": ""})
    assert response.json() == {"status": "ready"}
    assert "retry-after" not in response.headers


def test_warm_up_does_not_show_in_metrics(make_client: MakeClient) -> None:
    client = make_client(preload=(MODEL,))
    until(lambda: client.get("/health/ready").status_code == 200)
    found = samples(client)
    for name in ("cache_images", "cache_bytes", "cache_hits_total", "cache_misses_total", "prepared_images"):
        assert value(found, f"maskery_{name}") == 0


def test_a_failed_warm_up_makes_readiness_fail(make_client: MakeClient, gate: Gate) -> None:
    gate.error = ValueError("broken weights")
    gate.open.set()
    client = make_client(preload=(MODEL,))
    until(lambda: client.get("/health/ready").json() == {"status": "failed"})
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health/live").status_code == 200


@pytest.mark.parametrize("anonymous", [False, True])
def test_readiness_depends_on_the_accounts_database_where_keys_are_needed(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, anonymous: bool
) -> None:
    def fail(_: Database) -> None:
        raise DatabaseError("gone")

    monkeypatch.setattr("maskery.accounts.service._CHECK_INTERVAL", 0)
    client = make_client(anonymous=anonymous)
    until(lambda: client.get("/health/ready").status_code == 200)
    monkeypatch.setattr(Database, "ping", fail)
    expected = (200, {"status": "ready"}) if anonymous else (503, {"status": "accounts_unavailable"})
    response = client.get("/health/ready")
    assert (response.status_code, response.json()) == expected
    assert client.get("/health/live").status_code == 200
    monkeypatch.undo()
    assert client.get("/health/ready").status_code == 200
