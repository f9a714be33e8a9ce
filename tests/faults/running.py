"""Servers whose models fail on request, and clients that read raw responses."""

import base64
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_HERE = Path(__file__).parent

#: A model that encodes in the encoder process.
SLOW = "test/slow"

#: A model that encodes in the server process.
QUICK = "test/quick"

#: Number of the image that models are warmed up with.
WARMING = 96 * 256 + 96

# Seconds to wait for something that takes a moment on an idle machine.
PATIENCE = 60.0


def eventually(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait until the condition is true, and return its value."""
    latest = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < latest, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)
    return found


@dataclass(frozen=True)
class Answer:
    """A response."""

    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])

    @property
    def eighths(self) -> int:
        """How many eighths of the image the mask covers."""
        mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(self.json["data"][0]["b64_json"]))))
        return round(8 * np.count_nonzero(mask) / mask.size)


def expected_eighths(image: int) -> int:
    return image % 7 + 1


def image_file(number: int) -> bytes:
    pixels = np.full((64, 64, 3), 128, np.uint8)
    pixels[0, 0] = (number // 256, number % 256, 0)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def body_of(image: int, column: int = 30, model: str = SLOW, nbytes: int = 0) -> bytes:
    """The JSON body of a request, padded with spaces to a length."""
    return (
        json.dumps(
            {
                "model": model,
                "image_prompt": base64.b64encode(image_file(image)).decode(),
                "segment_prompt": [[[column, 30]]],
            }
        )
        .encode()
        .ljust(nbytes)
    )


def head_of(nbytes: int, kind: str = "application/json", **headers: str) -> bytes:
    """The head of a request with a body of that many bytes."""
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return (
        f"POST /v1/images/segmentations HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {nbytes}\r\n{more}\r\n"
    ).encode()


class Faults:
    """Controls the models of a server through the folder that `model/sitecustomize.py` describes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def set(self, what: str) -> Iterator[Path]:
        """Have the models do this until the end of the block, or until the file is removed."""
        file = self.folder / what
        file.touch()
        try:
            yield file
        finally:
            file.unlink(missing_ok=True)

    def begun(self, what: str) -> int:
        """How many times the models have begun it."""
        with suppress(FileNotFoundError):
            return (self.folder / "begun").read_text().splitlines().count(what)
        return 0

    def wait_for(self, what: str, times: int = 1) -> None:
        eventually(lambda: self.begun(what) >= times, f"{what} to begin")


@dataclass(frozen=True)
class Server:
    """A `maskery serve` process."""

    process: subprocess.Popen[str]
    log_file: Path
    faults: Faults
    port: int

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=2 * PATIENCE)

    def dial(self) -> socket.socket:
        """A TCP connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=2 * PATIENCE)

    def get(self, path: str) -> Answer:
        return self._send("GET", path)

    def segment(
        self,
        image: int,
        column: int = 30,
        model: str = SLOW,
        nbytes: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a segmentation request on a new connection."""
        body = body_of(image, column, model, nbytes)
        return self._send("POST", "/v1/images/segmentations", body, headers)

    def prepare(self, image: int, model: str = SLOW) -> Any:
        """Prepare an image; the JSON of the response."""
        fields = json.loads(body_of(image, model=model))
        del fields["segment_prompt"]
        answer = self._send("POST", "/v1/images", json.dumps(fields).encode())
        assert answer.status == 201, answer.body
        return answer.json

    def _send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = self.connect()
        try:
            connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
            return read(connection)
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        text = self.get("/metrics").body.decode()
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        assert found, f"no {name} in {text}"
        return float(found[1])

    def wait_for_metric(self, name: str, value: float) -> None:
        eventually(lambda: self.metric(name) == value, f"{name} to be {value:g}")

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @cached_property
    def pid(self) -> int:
        return self.process.pid

    def encoder(self) -> int | None:
        """Process id of the encoder process, if it is running."""
        return next(iter(children(self.pid)), None)

    def stop(self, number: int = signal.SIGTERM, seconds: float = PATIENCE) -> int:
        """Send a signal and wait for the exit status."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


#: Starts a server: settings as keyword arguments, `ready=False` to return at once, `folder`, `environment`.
Start = Callable[..., Server]


def read(connection: HTTPConnection) -> Answer:
    response = connection.getresponse()
    return Answer(response.status, response.headers, response.read())


def read_raw(connection: socket.socket) -> tuple[int, bytes]:
    """Status and bytes of everything until the server closes the connection."""
    data = b""
    while piece := connection.recv(65536):
        data += piece
    found = re.match(rb"HTTP/1.1 (\d+) ", data)
    return int(found[1]) if found else 0, data


def children(pid: int) -> list[int]:
    """Running child processes."""
    pids = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdecimal()]
    return [each for each in pids if _parent_of(each) == pid]


def is_alive(pid: int) -> bool:
    return _parent_of(pid) is not None


def _parent_of(pid: int) -> int | None:
    """The parent of a running process."""
    try:
        state, parent = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[:2]
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else int(parent)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def launch(folder: Path, environment: Mapping[str, str] | None = None, **settings: object) -> Server:
    """Start a server and return at once; settings as keyword arguments."""
    port = free_port()
    faults = Faults(folder)
    named = {f"MASKERY_{name.upper()}": str(value) for name, value in settings.items()}
    defaults = {
        "MASKERY_ANONYMOUS": "true",
        "MASKERY_OPEN_METRICS": "true",
        "MASKERY_PRELOAD": QUICK,
        # Models are to fail when a prompt is repeated, too.
        "MASKERY_CANDIDATE_CACHE_BYTES": "0",
    }
    log_file = folder / "server.log"
    with log_file.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "maskery", "serve", "--port", str(port)],
            env={
                **os.environ,
                "PYTHONPATH": str(_HERE / "model"),
                "PYTHONUNBUFFERED": "1",
                "FAULTS": str(folder),
                "MASKERY_HOME": str(folder / "home"),
                **defaults,
                **named,
                **(environment or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    return Server(process, log_file, faults, port)


def wait_until_ready(server: Server) -> Server:
    assert server.process.stdout is not None
    greeting = server.process.stdout.readline()
    assert f"127.0.0.1:{server.port}" in greeting, server.log
    return server
