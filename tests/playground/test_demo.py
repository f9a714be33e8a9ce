"""`maskery demo` opens the playground with a sample."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx

from tests.playground.driver import MODEL


def test_the_demo_opens_a_sample_and_revokes_its_key_at_the_end(open_page: Any, tmp_path: Path) -> None:
    environment = {**os.environ, "MASKERY_HOME": str(tmp_path), "MASKERY_PRELOAD": MODEL, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "maskery", "demo", "--no-open", "--port", "0"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as demo:
        try:
            assert demo.stdout
            address = demo.stdout.readline().split()[-1]
            url, _, fragment = address.partition("/#")
            key, _, sample = fragment.removeprefix("key=").partition("&")
            assert sample == "sample=coffee"
            page = open_page(at=SimpleNamespace(url=url, key=key), connect=False)
            page.page.goto(address)
            page.page.wait_for_selector("#model option", state="attached")
            page.page.select_option("#model", MODEL)
            page.page.wait_for_selector("#toolbar:visible")
            page.click(285, 60)
            assert httpx.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200
        finally:
            demo.send_signal(signal.SIGINT)
            assert demo.wait(20) == 0
    listed = subprocess.run(
        [sys.executable, "-m", "maskery", "keys", "list"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert "demo" in listed.stdout
    assert "active" not in listed.stdout


def test_the_demo_uses_a_free_port_if_the_default_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = {
            **os.environ,
            "MASKERY_HOME": str(tmp_path),
            "MASKERY_PORT": str(port),
            "MASKERY_PRELOAD": MODEL,
            "PYTHONUNBUFFERED": "1",
        }
        command = [sys.executable, "-m", "maskery", "demo", "--no-open"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as demo:
            try:
                assert demo.stdout
                address = demo.stdout.readline().split()[-1].partition("/#")[0]
                assert address != f"http://127.0.0.1:{port}"
                assert httpx.get(f"{address}/health/ready").status_code == 200
            finally:
                demo.send_signal(signal.SIGINT)
                assert demo.wait(20) == 0
