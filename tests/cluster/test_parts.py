"""The parts of a cluster that need no running Ray."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from ray.serve.schema import ServeDeploySchema
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from maskery.cluster.local import replica_environment
from maskery.cluster.metrics import merge
from maskery.cluster.proxy import ReplicaErrors
from maskery.settings import Settings

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "ray-serve.yaml"


def exposition(requests: int, cached: int) -> bytes:
    registry = CollectorRegistry()
    Counter("requests", "Requests.", ["route"], registry=registry).labels("/v1").inc(requests)
    Gauge("cached", "Images.", registry=registry).set(cached)
    Histogram("seconds", "Time.", buckets=(1, 2), registry=registry).observe(1.5)
    return generate_latest(registry)


def test_metrics_of_replicas_are_told_apart_by_a_label() -> None:
    merged = merge([("a", exposition(3, 5)), ("b", exposition(4, 6))]).decode()
    assert 'requests_total{replica="a",route="/v1"} 3.0' in merged
    assert 'requests_total{replica="b",route="/v1"} 4.0' in merged
    assert 'cached{replica="b"} 6.0' in merged
    assert 'seconds_bucket{le="2.0",replica="a"} 1.0' in merged
    for name, kind in (("requests_total", "counter"), ("cached", "gauge"), ("seconds", "histogram")):
        assert merged.count(f"# TYPE {name} {kind}\n") == 1


def ask(app: Any, path: str = "/v1/models", **headers: str) -> httpx.Response:
    async def main() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(ReplicaErrors(app))) as client:
            return await client.get(f"http://replica{path}", headers=headers)

    return asyncio.run(main())


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """As Ray's proxy when a replica was lost."""


def test_a_request_that_no_replica_answers_gets_an_error_of_the_api() -> None:
    app = Starlette(routes=[])
    for response in (ask(silent, **{"x-request-id": "mine"}), ask(app, **{"x-request-id": "mine"})):
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "replica_unavailable"
        assert response.headers["retry-after"] == "1"
        assert response.headers["x-request-id"] == "mine"
    assert ask(silent).headers["x-request-id"]


def test_answers_of_replicas_and_the_proxys_own_pages_pass_unchanged() -> None:
    async def refuse(request: Request) -> PlainTextResponse:
        response = PlainTextResponse("no", 404, headers={"x-maskery-replica": "a", "x-request-id": "replicas"})
        response.headers.append("x-request-id", "rays")
        return response

    async def healthy(request: Request) -> PlainTextResponse:
        return PlainTextResponse("success")

    app = Starlette(routes=[Route("/v1/models", refuse), Route("/-/healthz", healthy)])
    response = ask(app)
    assert (response.status_code, response.text) == (404, "no")
    assert response.headers.get_list("x-request-id") == ["replicas"]
    assert ask(app, "/-/healthz").text == "success"


def test_replicas_on_one_machine_share_what_its_settings_do_not_divide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKERY_CACHE_BYTES", "1000")
    settings = Settings.load(anonymous=True)
    environment = replica_environment(settings, replicas=4)
    assert "MASKERY_CACHE_BYTES" not in environment
    assert environment["MASKERY_MODEL_MEMORY"] == str(settings.model_memory // 4)
    assert environment["MASKERY_ANONYMOUS"] == "true"


def test_the_configuration_for_several_machines_is_one_of_ray() -> None:
    configuration = ServeDeploySchema.model_validate(yaml.safe_load(CONFIGURATION.read_text()))
    (application,) = configuration.applications
    assert application.import_path == "maskery.cluster:app"
    assert [each.name for each in application.deployments] == ["Maskery"]
    named = {name.removeprefix("MASKERY_").lower() for name in application.runtime_env["env_vars"]}
    assert named <= set(Settings.model_fields)
