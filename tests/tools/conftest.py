"""A real Label Studio in an environment of its own: `make test-tools` makes it."""

import io
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(os.environ.get("LABEL_STUDIO", ROOT / ".venv-label-studio")) / "bin"
USER, PASSWORD = "admin@example.com", "a password of nine"

ENVIRONMENT = {
    # It makes no connection to other machines.
    "LATEST_VERSION_CHECK": "false",
    "COLLECT_ANALYTICS": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    # It calls an ML backend on this one.
    "USE_DEFAULT_BANNED_SUBNETS": "false",
}


class LabelStudio:
    """A running Label Studio, and a session of its administrator.

    Attributes:
        log: what it has written.
        token: a personal access token.
    """

    def __init__(self, url: str, log: Path) -> None:
        self.url, self._log = url, log
        self.client = httpx.Client(base_url=url, timeout=120, trust_env=False)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def sign_in(self) -> None:
        page = self.client.get("/user/login/")
        assert page.status_code == 200, page.text
        form = {"email": USER, "password": PASSWORD, "csrfmiddlewaretoken": self.client.cookies["csrftoken"]}
        answer = self.client.post("/user/login/", data=form, headers={"Referer": self.url})
        assert answer.status_code == 302, answer.text
        self.token = self.post("/api/token/", {})["token"]

    def post(self, path: str, body: Any, status: int = 201) -> Any:
        answer = self.client.post(path, json=body, headers=self._headers())
        assert answer.status_code == status, answer.text[:500]
        return answer.json()

    def get(self, path: str) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text[:500]
        return answer.json()

    def make_project(self, configuration: str) -> int:
        project: int = self.post("/api/projects", {"title": "A project", "label_config": configuration})["id"]
        return project

    def import_image(self, project: int, image: bytes) -> dict[str, Any]:
        """Upload an image; its task."""
        answer = self.client.post(
            f"/api/projects/{project}/import",
            files={"file": ("coffee.png", io.BytesIO(image), "image/png")},
            headers=self._headers(),
        )
        assert answer.status_code == 201, answer.text
        (task,) = self.get(f"/api/tasks?project={project}")["tasks"]
        found: dict[str, Any] = task
        return found

    def connect(self, project: int, url: str, key: str) -> httpx.Response:
        """Add an ML backend to a project."""
        body = {
            "project": project,
            "url": url,
            "title": "Maskery",
            "is_interactive": True,
            "auth_method": "BASIC_AUTH",
            "basic_auth_user": "any",
            "basic_auth_pass": key,
        }
        return self.client.post("/api/ml", json=body, headers=self._headers())

    def annotate(self, backend: int, task: int, regions: list[dict[str, Any]]) -> dict[str, Any]:
        """What the page asks when an annotator has used a smart tool."""
        body = {"task": task, "context": {"result": regions}}
        answer: dict[str, Any] = self.post(f"/api/ml/{backend}/interactive-annotating", body, 200)
        return answer

    def _headers(self) -> dict[str, str]:
        return {"X-CSRFToken": self.client.cookies["csrftoken"], "Referer": self.url}


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture(scope="session")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudio]:
    program = PROGRAMS / "label-studio"
    if not program.exists():
        pytest.fail(f"there is no {program}: run make test-tools")
    folder = tmp_path_factory.mktemp("label-studio")
    port = free_port()
    log = folder / "log"
    command = [
        *(program, "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)),
        *("--username", USER, "--password", PASSWORD, "--data-dir", folder / "data", "--log-level", "INFO"),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **ENVIRONMENT}, cwd=folder, stdout=output, stderr=subprocess.STDOUT
        )
    found = LabelStudio(f"http://127.0.0.1:{port}", log)
    try:
        deadline = time.monotonic() + 280
        while not _is_ready(found):
            assert process.poll() is None, found.log
            assert time.monotonic() < deadline, found.log
            time.sleep(0.5)
        found.sign_in()
        yield found
    finally:
        found.client.close()
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder / "data", ignore_errors=True)


def _is_ready(label_studio: LabelStudio) -> bool:
    try:
        return label_studio.client.get("/health").status_code == 200
    except httpx.HTTPError:
        return False


def decode(rle: list[int]) -> bytes:
    """The values of a brush, decoded by Label Studio's own converter."""
    program = (
        "import json, sys; from label_studio_sdk.converter.brush import decode_rle; "
        "sys.stdout.buffer.write(decode_rle(json.load(sys.stdin)).tobytes())"
    )
    text = re.sub(r"\s", "", str(rle)).encode()
    done = subprocess.run([PROGRAMS / "python", "-c", program], input=text, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
