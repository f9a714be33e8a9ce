"""Log lines as text or JSON: request ids, and no keys or images."""

import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sam_folders import write_model
from samples import MODEL, b64, jpeg, png, squares

from maskery import logs
from maskery.engine.threads import run_in_thread
from maskery.models import Store

ROUTE = "/v1/images/segmentations"
TOKEN = "/realms/airefinery-realm/protocol/openid-connect/token"
SAM = "team/small"
WRONG = "msk_0123456789abcdef0123456789abcdef"


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, restored after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)


Read = Callable[[], list[str]]


@pytest.fixture
def written(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> Read:
    """Returns the lines written since the previous call."""

    def read() -> list[str]:
        return capsys.readouterr().err.splitlines()

    return read


def test_json_lines_are_objects(written: Read) -> None:
    logs.configure("info", "json")
    logging.getLogger("maskery.test").info("%d images\nare here", 3, extra={"stages": {"wait": 1.5}, "user": None})
    (line,) = written()
    found = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}", found.pop("time"))
    assert found == {
        "level": "INFO",
        "logger": "maskery.test",
        "message": "3 images\nare here",
        "stages": {"wait": 1.5},
        "user": None,
    }


def test_json_lines_contain_tracebacks(written: Read) -> None:
    logs.configure("info", "json")
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("maskery.test").exception("failed")
    (line,) = written()
    timings = json.loads(line)["exc_info"]
    assert timings[0] == "Traceback (most recent call last):"
    assert timings[-1] == "ValueError: broken"


def test_text_lines_end_with_the_request_id(written: Read) -> None:
    logs.configure("info", "text")
    logging.getLogger("maskery.test").warning("outside")
    token = logs.request_id.set("r-1")
    try:
        logging.getLogger("maskery.test").warning("inside")
    finally:
        logs.request_id.reset(token)
    outside, inside = written()
    assert outside.endswith(" WARNING maskery.test outside")
    assert inside.endswith(" WARNING maskery.test inside request=r-1")


@pytest.mark.parametrize("form", ["text", "json"])
def test_lines_below_the_level_are_dropped(written: Read, form: logs.LogFormat) -> None:
    logs.configure("warning", form)
    logging.getLogger("maskery.test").info("not now")
    assert written() == []


def test_configuring_again_does_not_duplicate_lines(written: Read) -> None:
    for _ in range(3):
        logs.configure("info", "text")
    logging.getLogger("maskery.test").info("once")
    assert len(written()) == 1


async def test_lines_of_threads_have_the_request_id(written: Read) -> None:
    logs.configure("info", "json")
    log = logging.getLogger("maskery.test")
    with ThreadPoolExecutor(1) as pool:
        for name in ("one", "two"):
            logs.request_id.set(name)
            await run_in_thread(pool, lambda: log.info("working in %s", threading.current_thread().name))
        logs.request_id.set("")
        await run_in_thread(pool, lambda: log.info("without a request"))
    found = [json.loads(line) for line in written()]
    assert [each.get("request_id") for each in found] == ["one", "two", None]
    assert all("MainThread" not in each["message"] for each in found)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass(frozen=True)
class Traffic:
    """The log of a server process after many kinds of requests, and what it must not contain.

    Attributes:
        lines: of its log, the encoder's process' among them.
        secrets: keys and images that were sent.
    """

    lines: list[str]
    secrets: list[str]

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


def drive(home: Path, form: str) -> Traffic:
    """Start a server, send requests, stop it."""
    store = Store(home / "models")
    store.install_from_folder(SAM, write_model(home / "folder"))
    settings = {"HOME": str(home), "LOG_FORMAT": form, "LOG_LEVEL": "debug", "PORT": "0", "PRELOAD": MODEL}
    environment = {**os.environ, **{f"MASKERY_{name}": value for name, value in settings.items()}}
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "maskery", "serve"], env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        assert process.stdout
        found = re.search(r"http://\S+:\d+", process.stdout.readline())
        assert found, (home / "log").read_text()
        key = process.stdout.readline().removeprefix("Key: ").strip()
        with httpx.Client(base_url=found[0], timeout=60) as client:
            secrets = ask(client, key)
    finally:
        process.terminate()
        process.wait(30)
        if process.stdout:
            process.stdout.close()
    assert process.returncode == 0
    return Traffic((home / "log").read_text().splitlines(), [key, WRONG, *secrets])


def ask(client: httpx.Client, key: str) -> list[str]:
    """Send many kinds of requests; returns parts of the images' base64."""
    image, broken = b64(png(squares())), b64(jpeg(squares())[:-600])
    right = {"Authorization": f"Bearer {key}"}
    body = {"model": MODEL, "image_prompt": image, "segment_prompt": [[[20, 20]]]}

    def post(content: Any, name: str, headers: dict[str, str] | None = None, **more: Any) -> int:
        headers = {**(right if headers is None else headers), "x-request-id": name}
        return client.post(ROUTE, json=content, headers=headers, **more).status_code

    assert post({**body, "user": "ann\nINFO forged"}, "good") == 200
    assert post({**body, "model": SAM}, "apart") == 200
    assert post({**body, "model": SAM}, "known") == 200
    assert post({**body, "model": SAM, "image_prompt": broken}, "broken") == 415
    assert post({**body, "segment_prompt": image}, "image-as-prompt") == 422
    for number, header in enumerate(
        (f"Bearer {WRONG}", f"Basic {WRONG}", WRONG, f"Bearer  {key} {WRONG}", f"Bearer{key}", f"Bearer {key}x")
    ):
        assert post(body, f"wrong-{number}", {"Authorization": header}) == 401
    assert post(body, "in-the-query", params={"api_key": key}) == 200
    for secret, status in ((key, 200), (WRONG, 401)):
        headers = {"x-request-id": "validate"}
        assert client.post("/authentication/validate", json={"api_key": secret}, headers=headers).status_code == status
        form = {"client_id": "local", "client_secret": secret, "grant_type": "client_credentials"}
        assert client.post(TOKEN, data=form, headers=headers).status_code == status
    answer = client.post(
        ROUTE,
        files={
            "image": ("p.png", png(squares())),
            "request": ("r", json.dumps({"model": MODEL, "boxes": [[1, 1, 9, 9]]})),
        },
        headers=right,
    )
    assert answer.status_code == 200
    assert client.get("/metrics", headers=right).status_code == 200
    return [image[100:130], broken[100:130]]


@pytest.fixture(scope="module")
def json_traffic(tmp_path_factory: pytest.TempPathFactory) -> Traffic:
    return drive(tmp_path_factory.mktemp("json"), "json")


@pytest.fixture(scope="module")
def text_traffic(tmp_path_factory: pytest.TempPathFactory) -> Traffic:
    return drive(tmp_path_factory.mktemp("text"), "text")


def test_every_json_line_of_a_server_is_an_object(json_traffic: Traffic) -> None:
    for found in json_traffic.objects():
        assert {"time", "level", "logger", "message"} <= set(found)
        assert found["level"] in {"DEBUG", "INFO", "WARNING", "ERROR"}
        assert "\x1b" not in str(found), "colours are for terminals"


def test_a_request_has_one_complete_access_log_line(json_traffic: Traffic) -> None:
    access = [found for found in json_traffic.objects() if found["logger"] == "maskery.access"]
    (good,) = [found for found in access if found["request_id"] == "good"]
    assert (good["method"], good["path"], good["status"]) == ("POST", ROUTE, 200)
    assert (good["account"], good["user"], good["model"]) == ("local", "ann\nINFO forged", MODEL)
    assert (good["embedding"], good["objects"], good["known_objects"]) == ("new", 1, 0)
    assert set(good["stages"]) == {"read", "wait", "decode_image", "encode", "decode", "compose", "write"}
    assert 0 < sum(good["stages"].values()) <= good["milliseconds"] + 1
    (known,) = [found for found in access if found["request_id"] == "known"]
    assert known["embedding"] == "known"
    (wrong,) = [found for found in access if found["request_id"] == "wrong-0"]
    assert (wrong["status"], wrong["account"], wrong["objects"]) == (401, None, None)


def test_lines_of_threads_and_the_encoder_process_have_the_request_id(json_traffic: Traffic) -> None:
    """One request loads the model twice: in a thread for decoding, and in the encoder process."""
    loading = [found for found in json_traffic.objects() if found["message"] == f"loading {SAM}"]
    assert [found["request_id"] for found in loading] == ["apart", "apart"]


def test_text_lines_of_threads_have_the_request_id(text_traffic: Traffic) -> None:
    loading = [line for line in text_traffic.lines if f"loading {SAM}" in line]
    assert len(loading) == 2
    assert all(line.endswith(" request=apart") for line in loading)
    (good,) = [line for line in text_traffic.lines if "request=good " in line]
    said = rf"POST {ROUTE} 200 [\d.]+ms request=good client=127\.0\.0\.1 account=local user="
    assert re.search(rf" INFO maskery\.access {said}", good)
    assert "forged" in good
    assert " objects=1 known_objects=0 embedding=new read=" in good
    assert " encode=" in good


def test_every_text_line_has_time_and_level(text_traffic: Traffic) -> None:
    pattern = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR) \S+ ")
    assert [line for line in text_traffic.lines if not pattern.match(line)] == []


@pytest.mark.parametrize("form", ["json_traffic", "text_traffic"])
def test_keys_and_images_are_never_logged(request: pytest.FixtureRequest, form: str) -> None:
    traffic: Traffic = request.getfixturevalue(form)
    everything = "\n".join(traffic.lines)
    assert "maskery.access" in everything
    for secret in traffic.secrets:
        assert secret not in everything


def test_invalid_images_and_prompts_are_not_server_errors(json_traffic: Traffic) -> None:
    assert [found for found in json_traffic.objects() if found["level"] in ("WARNING", "ERROR")] == []
