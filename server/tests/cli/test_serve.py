"""`maskery serve` and `maskery demo`."""

import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from command_line import fails, succeeds
from PIL import Image

from maskery.accounts import AccountStore
from maskery.accounts.keys import verify_secret
from maskery.cli import cluster
from maskery.errors import UserError
from maskery.serving.addresses import addresses
from maskery.serving.server import listen
from maskery.settings import Settings


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "127.1", "machine.example"])
def test_serving_beyond_this_machine_needs_a_key_first(host: str) -> None:
    for said in (fails("serve", "--host", host, "--port", 0), fails("serve", MASKERY_HOST=host, MASKERY_PORT="0")):
        assert f"{host} can be reached by other machines" in said
        assert "maskery keys create" in said
    assert "until" not in succeeds("keys", "list")


def test_an_empty_host_is_refused() -> None:
    """The system takes it for every address."""
    assert "MASKERY_HOST" in fails("serve", "--host", "", "--port", 0)


def test_a_first_start_that_fails_creates_no_key() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "cannot listen" in fails("serve", "--port", port, MASKERY_PRELOAD="maskery/grabcut")
    assert "Unknown model" in fails("serve", "--port", 0, MASKERY_ALIASES="a/b=c/d")
    assert "until" not in succeeds("keys", "list")


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A server in a process of its own, which preloads a model that needs no compiling."""
    variables = {"PYTHONUNBUFFERED": "1", "MASKERY_PRELOAD": "maskery/grabcut", **environment}
    with subprocess.Popen(
        [sys.executable, "-m", "maskery", *arguments],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=20)


def read_lines(process: subprocess.Popen[str], number: int) -> str:
    assert process.stdout
    return "".join(process.stdout.readline() for _ in range(number))


def test_the_first_start_prints_a_key_that_is_valid(own_home: Path) -> None:
    with running("serve", "--port", "0") as server:
        key = read_lines(server, 2).partition("Key: ")[2].strip()
        assert re.match(r"It is shown only once, and expires on \d+ [A-Z][a-z]+ 20\d\d; ", read_lines(server, 1))
    # A further start says whose keys there are.
    for _ in range(2):
        succeeds("keys", "create", "--account", "team")
    with running("serve", "--port", "0") as server:
        assert read_lines(server, 2).splitlines()[1].startswith("API keys: 3 active, of team (2), local (1); ")
    store = AccountStore.open(own_home / "maskery.db")
    record = store.keys.find_records([key.split("_")[1]]).popitem()[1]
    store.close()
    assert verify_secret(record, key)
    assert record.key.state == "active"


def test_a_server_on_every_address_prints_one_for_this_machine_and_one_for_others() -> None:
    with running("serve", "--port", "0", "--host", "0.0.0.0", "--anonymous") as server:
        printed = read_lines(server, 2)
        local, remote = re.findall(r"(http://[0-9a-zA-Z.-]+:[0-9]+)\b", printed)[::2]
        assert local.startswith("http://127.0.0.1:")
        assert not remote.startswith(("http://127.", "http://0."))
        for url in (local, remote):
            assert httpx.get(f"{url}/health/live").status_code == 200


def test_bridges_are_announced_with_what_to_enter_in_the_tools() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        own_address = f"127.0.0.1:{free.getsockname()[1]}"
    options = ("--bridge", "label-studio", "--bridge", "cvat", "--bridge-listen", own_address)
    with running(
        "serve", "--port", "0", *options, MASKERY_CVAT_KEY="mk_x", MASKERY_LABEL_STUDIO_URL="http://127.0.0.1:9"
    ) as server:
        address, _, _, _, label_studio, cvat = read_lines(server, 6).splitlines()
        url = re.findall(r"http://127.0.0.1:[0-9]+", address)[0]
        assert label_studio == f"Backend URL for Label Studio: {url}/label-studio"
        assert cvat == f"Nuclio for CVAT: http://{own_address}"
        # The key is not one, which CVAT learns when it calls.
        assert httpx.get(f"http://{own_address}/api/functions").json()["error"]["code"] == "wrong_key"


def test_a_cluster_has_no_address_of_its_own_for_a_bridge() -> None:
    with pytest.raises(UserError, match="MASKERY_CVAT_CLIENTS"):
        cluster._check(Settings.load(bridges="cvat", bridge_listen="127.0.0.1:8485"))


def test_an_incomplete_bridge_is_refused_in_a_sentence() -> None:
    assert "set MASKERY_CVAT_KEY" in fails("serve", "--port", 0, "--bridge", "cvat", "--bridge-listen", "127.0.0.1:1")
    assert "MASKERY_BRIDGES" in fails("serve", "--port", 0, "--bridge", "labelme")


@pytest.mark.parametrize(
    ("host", "local", "other"),
    [
        ("0.0.0.0", "http://127.0.0.1:", "http://192.168.1.7:"),
        ("::", "http://[::1]:", "http://192.168.1.7:"),
        ("127.0.0.1", "http://127.0.0.1:", None),
        ("localhost", "http://localhost:", None),
        ("::1", "http://[::1]:", None),
    ],
)
def test_printed_addresses(host: str, local: str, other: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskery.serving.addresses._own_address", lambda: "192.168.1.7")
    with listen(Settings(host=host, port=0)) as listener:
        port = listener.getsockname()[1]
        expected = (f"{local}{port}", other and f"{other}{port}")
        assert addresses(listener, host, "http") == expected


def test_without_a_network_the_machine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskery.serving.addresses._OUTSIDE", ((socket.AF_INET, "255.255.255.255"),))
    with listen(Settings(host="0.0.0.0", port=0)) as listener:
        assert (
            addresses(listener, "0.0.0.0", "https")[1] == f"https://{socket.gethostname()}:{listener.getsockname()[1]}"
        )


def test_an_address_that_cannot_be_used_is_named_with_the_options_that_choose_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MASKERY_PRELOAD", "maskery/grabcut")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert fails("serve", "--port", port) == (
            f"maskery: cannot listen on 127.0.0.1 port {port}: Address already in use; "
            "--host and --port choose another address, --port 0 a free port.\n"
        )
        assert "Address already in use" in fails("demo", "--port", port)
    for host in ("name.invalid", "x" * 70, "a..b"):
        options = ("--host", host, "--port", 0, "--anonymous", "--proxy-headers", "127.0.0.1")
        said = fails("serve", *options)
        assert f"cannot listen on {host} port 0: " in said
        assert not any(leak in said for leak in ("attempting", "('", "Unknown error"))


def test_libraries_write_nothing_about_the_files_of_clients(tmp_path: Path, make_key: Callable[..., str]) -> None:
    """libtiff writes to the file descriptor of standard error, and Pillow warns and logs."""
    headers = {"Authorization": f"Bearer {make_key()}"}
    request = json.dumps({"model": "maskery/grabcut", "segment_prompt": [[[2, 2]]]})
    with running("serve", "--port", "0") as server:
        url = read_lines(server, 1).split()[4].rstrip(",")
        for file in damaged_tiffs():
            form = {"files": {"image": file}, "data": {"request": request}}
            answer = httpx.post(f"{url}/v1/images/segmentations", headers=headers, timeout=60, **form)
            assert answer.status_code == 415, answer.text
        server.terminate()
        _, said = server.communicate(timeout=20)
    assert all(re.match(r"20\d\d-.* INFO (maskery|uvicorn)", line) for line in said.splitlines()), said
    image = tmp_path / "damaged.tiff"
    for file in damaged_tiffs():
        image.write_bytes(file)
        with running("segment", str(image), "-p", "2,2", "--model", "maskery/grabcut") as command:
            _, said = command.communicate(timeout=20)
        assert said.startswith(f"maskery: {image}: the ")
        assert said.count("\n") == 1


def damaged_tiffs() -> list[bytes]:
    """Of damaged pixels, of a damaged header, and of too many samples."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "TIFF", compression="tiff_lzw")
    data = file.getvalue()
    samples, more_samples = (struct.pack("<HHLL", 277, 3, 1, number) for number in (3, 900))
    assert samples in data
    return [
        data[:8] + b"\xff" * 64 + data[72:],
        data[: data.index(samples) + 2],
        data.replace(samples, more_samples),
    ]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no terminal sends SIGHUP here")
def test_closing_the_terminal_of_the_demo_stops_it_and_revokes_its_key() -> None:
    with running("demo", "--no-open", "--port", "0") as demo:
        assert "key=mk_" in read_lines(demo, 1)
        assert "until" in succeeds("keys", "list")
        demo.send_signal(signal.SIGHUP)
        assert demo.wait(20) == 0
    listed = succeeds("keys", "list")
    assert "revoked" in listed
    assert "until" not in listed
