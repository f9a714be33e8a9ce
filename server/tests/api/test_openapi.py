"""The OpenAPI document is true and complete."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from samples import b64, png, squares

from maskery.accounts import Limits
from maskery.models.builtin.grabcut import GrabCut

ROUTE = "/v1/images/segmentations"
BIN = Path(sys.executable).parent


@pytest.mark.slow
def test_every_response_is_documented(make_client: Callable[..., httpx.Client], tmp_path: Path) -> None:
    # A whole grid for everything in an image takes longer than the generated client waits.
    client = make_client(max_points=64)
    # Generated data that is valid by the schema is mostly rejected: a schema cannot know the image's size.
    command = [
        *(BIN / "schemathesis", "run", f"{client.base_url}/openapi.json", "--header"),
        *(f"Authorization: {client.headers['authorization']}", "--max-examples", "30", "--seed", "1"),
        *("--exclude-checks", "positive_data_acceptance", "--no-color"),
    ]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr
    operations = sum(map(len, client.get("/openapi.json").json()["paths"].values()))
    assert f"Tested: {operations}" in result.stdout, result.stdout


def test_every_documented_status_can_be_reached(
    make_client: Callable[..., httpx.Client],
    make_key: Callable[..., str],
    body: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = make_client(workers=1, max_queue=0, max_image_bytes=2**20)
    without_scope = make_key("team", scopes=["metrics"])
    limited = make_key("team", limits=Limits(requests_per_minute=1))
    entered, go_on, encode = threading.Event(), threading.Event(), GrabCut.encode

    def held(self: GrabCut, image: Any) -> Any:
        entered.set()
        assert go_on.wait(30)
        return encode(self, image)

    def ask(content: Any = None, **headers: str) -> int:
        return client.post(ROUTE, json={**body, **(content or {})}, headers=headers).status_code

    monkeypatch.setattr(GrabCut, "encode", held)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask)
        assert entered.wait(20)
        reached = {ask()}
        go_on.set()
        reached |= {first.result()}
    reached |= {
        ask({"image_prompt": "%"}),
        ask(Authorization="Bearer wrong"),
        ask(Authorization=f"Bearer {without_scope}"),
        *[ask(Authorization=f"Bearer {limited}") for _ in range(2)],
        ask({"model": "none"}),
        ask({"image_prompt": b64(png(squares()) + bytes(2**20))}),
        ask({"image_prompt": b64(b"text")}),
        ask({"segment_prompt": []}),
        ask(**{"x-request-timeout": "0.0001"}),
    }
    document = client.get("/openapi.json").json()
    assert {str(status) for status in reached} == set(document["paths"][ROUTE]["post"]["responses"])


@pytest.mark.slow
def test_a_generated_client_works(client: httpx.Client, body: dict[str, Any], tmp_path: Path) -> None:
    document = client.get("/openapi.json").json()
    # The generator omits an import if a body has two media types; the test keeps JSON.
    del document["paths"][ROUTE]["post"]["requestBody"]["content"]["multipart/form-data"]
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(document))
    arguments = ["generate", "--path", file, "--output-path", tmp_path / "generated", "--meta", "none"]
    result = subprocess.run(
        [BIN / "openapi-python-client", *arguments],
        env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    program = """
import json, sys
from generated import AuthenticatedClient
from generated.api.segmentation import create_segmentation
from generated.api.models import list_models
from generated.models import ErrorResponse, SegmentationRequest

client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2])
body = json.loads(sys.stdin.read())
answer = create_segmentation.sync(client=client, body=SegmentationRequest.from_dict(body))
assert answer.data[0].segments[0].area > 0
assert answer.usage.total_tokens > 0
assert list_models.sync(client=client).data[0].id == body["model"]
wrong = create_segmentation.sync(client=client, body=SegmentationRequest.from_dict({**body, "n": 9}))
assert isinstance(wrong, ErrorResponse) and wrong.error.param == "n"
"""
    key = client.headers["authorization"].removeprefix("Bearer ")
    result = subprocess.run(
        [sys.executable, "-c", program, str(client.base_url), key],
        input=json.dumps(body),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
