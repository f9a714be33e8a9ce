"""A server in a process of its own that reports its CPU time.

`OverheadServer` starts this file as a program. It serves Maskery with a model that returns fixed logits, or a bare
application that reads the body and answers with fixed bytes. For every line on standard input it prints its CPU seconds
so far, of all threads.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
import uvicorn
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from maskery.api.app import create_app
from maskery.models.builtin.grabcut import GrabCut
from maskery.segmentation import Candidates, Embedding, Image
from maskery.settings import Settings

MODEL = "maskery/grabcut"

_ROUTE = "/v1/images/segmentations"
_ROOT = Path(__file__).parents[1]


class OverheadServer:
    """The server process.

    Args:
        app: the application.
        http: uvicorn's parser, h11 or httptools.
        answer: file of the model's logits, arrays float32 [objects, rows, columns] whose first three quarters of rows
            cover the image; or of the bytes that the bare application answers.
    """

    def __init__(self, app: Literal["maskery", "bare"], http: str, answer: Path) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="overhead-")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.overhead_server", app, http, str(answer)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
            env={**os.environ, "MASKERY_HOME": self._home.name, "MASKERY_ANONYMOUS": "true"},
        )
        self._connection = HTTPConnection("127.0.0.1", int(self._answer()), timeout=60)

    def __enter__(self) -> "OverheadServer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()
        self._process.communicate()
        self._home.cleanup()

    def seconds(self, body: bytes, requests: int) -> float:
        """CPU seconds per request: the mean over several, one after another on one connection."""
        start = self._cpu()
        for _ in range(requests):
            self.post(body)
        return (self._cpu() - start) / requests

    def post(self, body: bytes) -> bytes:
        self._connection.request("POST", _ROUTE, body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"the server answered {response.status}: {answer[:500]!r}")
        return answer

    def _cpu(self) -> float:
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        return float(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server ended with status {self._process.wait()}")
        return line


def _bare(answer: bytes) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await Request(scope, receive).body()
            await Response(answer, media_type="application/json")(scope, receive, send)

    return app


def _maskery(answers: dict[int, NDArray[np.float32]]) -> Any:
    def encode(_: GrabCut, image: Image) -> Embedding:
        return Embedding({}, image.size, 4096)

    def decode(_: GrabCut, embedding: Embedding, objects: Any, earlier: Any = None) -> list[Candidates]:
        logits = answers.get(len(objects), answers[1])
        extent = (float(logits.shape[2]), logits.shape[1] * 0.75)
        scores = np.full(1, 0.9, np.float32)
        return [Candidates(logits[index % len(logits)][None], scores, extent) for index in range(len(objects))]

    # A built-in model needs no installation; its methods are replaced.
    GrabCut.encode, GrabCut.decode = encode, decode  # type: ignore[assignment, method-assign]
    return create_app(Settings.load(preload=(MODEL,), log_level="warning", candidate_cache_bytes=0))


def _serve(app: str, http: Any, answer: str) -> None:
    if app == "bare":
        served = _bare(Path(answer).read_bytes())
    else:
        with np.load(answer) as file:
            served = _maskery({len(file[name]): file[name] for name in file})
    config = uvicorn.Config(served, port=0, http=http, log_config=None, access_log=False, timeout_keep_alive=600)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    for _ in sys.stdin:
        print(time.process_time(), flush=True)
    server.should_exit = True
    thread.join()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
