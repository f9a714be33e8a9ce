"""API keys in all the right and wrong places of requests: the server's log contains no part of a secret."""

import json
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.faults.running import QUICK, Server, body_of, launch

ROUTE = "/v1/images/segmentations"
TOKEN = "/realms/airefinery-realm/protocol/openid-connect/token"

# Well-formed keys that the server does not know.
STRANGER = f"mk_{'0a' * 6}_{'Zq9-_x' * 7}Z"
OLD = f"mk_{'1b' * 6}_{'Yw8_-v' * 7}Y"

# Length of the substrings that are searched for.
PART = 8


@dataclass(frozen=True)
class Output:
    """Standard error of a server, and the keys that it received."""

    text: str
    keys: list[str]


@pytest.fixture(scope="module", params=["text", "json"])
def output(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Output:
    folder: Path = tmp_path_factory.mktemp("secrets")
    server = launch(folder, anonymous="false", log_level="debug", log_format=request.param)
    try:
        assert server.process.stdout
        server.process.stdout.readline()
        key = server.process.stdout.readline().removeprefix("Key: ").strip()
        assert re.fullmatch(r"mk_[0-9a-f]{12}_[\w-]{43}", key), server.log
        send(server, key)
        time.sleep(0.3)
    finally:
        server.stop()
        assert server.process.stdout
        server.process.stdout.close()
    return Output(server.log, [key, STRANGER, OLD])


def send(server: Server, key: str) -> None:
    """Send the key and others in every place where a client might put one."""
    right = {"Authorization": f"Bearer {key}"}
    body = json.loads(body_of(1, model=QUICK))
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60) as client:
        assert client.post(ROUTE, json=body, headers=right).status_code == 200
        for text in (key, STRANGER, OLD, key[:-3], key[3:], key.upper(), f"{key} {key}"):
            for header in (
                f"Bearer {text}",
                f"Basic {text}",
                text,
                f"Bearer{text}",
                f"bearer  {text}",
                f"Token a={text}",
            ):
                client.get("/v1/models", headers={"Authorization": header})
            client.get("/v1/models", headers={"x-api-key": text, "Cookie": f"key={text}", "sdk_version": text})
            client.get("/v1/models", headers={"User-Agent": text, "Referer": f"http://h/?key={text}", **right})
            client.get("/v1/models", headers={"x-request-id": text, **right})
            client.get("/v1/models", headers={"Origin": f"http://{text}", **right})
            client.get("/v1/models", headers={"Host": text, **right})
            client.post(ROUTE, json=body, headers={"x-request-timeout": text, **right})
            client.post(ROUTE, json=body, headers={"Content-Type": text, **right})
            client.get("/v1/models", params={"api_key": text})
            for path in (text, f"v1/images/{text}", f"v1/models/{text}", f"{text}/v1/models"):
                client.get(f"/{path}", headers=right)
                client.get(f"/{quote(quote(path).replace('_', '%5F'))}", headers=right)
                client.request(re.sub(r"\W|_", "", text)[:40], f"/{path}")
            client.post("/authentication/validate", json={"api_key": text})
            client.post("/authentication/validate", content=f'{{"api_key": "{text}"')
            client.post(TOKEN, data={"client_id": "local", "client_secret": text, "grant_type": "client_credentials"})
            client.post(TOKEN, data={"client_id": text, "client_secret": key, "grant_type": "client_credentials"})
            client.post(TOKEN, content=f"client_secret={text}", headers={"Content-Type": "text/plain"})
            for field in ("model", "user", "image_prompt", "segment_prompt", "size", "response_format", text):
                client.post(ROUTE, json={**body, field: text}, headers=right)
            client.post(ROUTE, json={**body, "extra_body": {"api_key": text}}, headers=right)
            client.post(ROUTE, files={text: b"x", "image": (text, b"x")}, data={"request": text}, headers=right)
            client.post(ROUTE, content=text.encode(), headers=right)
        with server.faults.set("raise-decode-33"):
            failing = {**json.loads(body_of(1, column=33, model=QUICK)), "user": key}
            answer = client.post(f"{ROUTE}?api_key={key}", json=failing, headers=right)
            assert answer.status_code == 500
            assert key not in answer.text
    for data in (
        f"GET / HTTP/1.1\r\nAuthorization Bearer {key}\r\n\r\n",
        f"Authorization: Bearer {key}\r\n\r\n",
        f"GET /\x00{key} HTTP/1.1\r\n\r\n",
        f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\nX: {key}\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(data.encode())
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass


def test_the_log_contains_no_part_of_a_secret(output: Output) -> None:
    assert output.text.count("maskery.access") > 100
    assert "the model cannot decode 33" in output.text
    assert "Traceback" in output.text
    for key in output.keys:
        secret = key.split("_", 2)[2]
        for start in range(len(secret) - PART):
            part = secret[start : start + PART]
            for written in (part, part.lower(), part.upper()):
                at = output.text.find(written)
                assert at < 0, output.text[max(0, at - 300) : at + 100]


def test_the_log_contains_the_id_of_a_misplaced_key(output: Output) -> None:
    identity = output.keys[0].split("_")[1]
    assert f"{identity}_..." in output.text


@pytest.mark.parametrize("output", ["json"], indirect=True, scope="module")
def test_json_log_lines_are_valid(output: Output) -> None:
    for line in output.text.splitlines():
        assert json.loads(line)["message"]
