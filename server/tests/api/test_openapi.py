"""The OpenAPI document tells the truth, and enough of it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from samples import b64, png, squares

from maskery.accounts import Limits

ROUTE = "/v1/images/segmentations"
BIN = Path(sys.executable).parent


def test_whatever_is_sent_the_answer_is_a_documented_one(client: httpx.Client, tmp_path: Path) -> None:
    # What schemathesis calls positive data is refused more often than not: no schema knows an image's size.
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
    make_client: Callable[..., httpx.Client], make_key: Callable[..., str], body: dict[str, Any]
) -> None:
    client = make_client(workers=1, max_queue=0)
    no_right = make_key("team", scopes=["metrics"])
    too_fast = make_key("team", limits=Limits(requests_per_minute=1))

    def ask(content: Any = None, **headers: str) -> int:
        return client.post(ROUTE, json={**body, **(content or {})}, headers=headers).status_code

    def crowd() -> set[int]:
        slow = {"image_prompt": b64(png(squares(1200, 900)))}
        with ThreadPoolExecutor(8) as pool:
            return set(pool.map(lambda _: ask(slow), range(8)))

    busy = crowd()
    time.sleep(0.5)
    reached = busy | {
        ask({"image_prompt": "%"}),
        ask(Authorization="Bearer wrong"),
        ask(Authorization=f"Bearer {no_right}"),
        *[ask(Authorization=f"Bearer {too_fast}") for _ in range(2)],
        ask({"model": "none"}),
        ask({"image_prompt": b64(png(squares()) + bytes(80 * 2**20))}),
        ask({"image_prompt": b64(b"text")}),
        ask({"segment_prompt": []}),
        ask(**{"x-request-timeout": "0.0001"}),
    }
    document = client.get("/openapi.json").json()
    assert {str(status) for status in reached} == set(document["paths"][ROUTE]["post"]["responses"])


def test_a_generated_client_works(client: httpx.Client, body: dict[str, Any], tmp_path: Path) -> None:
    document = client.get("/openapi.json").json()
    # This generator forgets an import where a body has two kinds; JSON is the one that it is tried with.
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
