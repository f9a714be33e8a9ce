"""What the tests of bridges share: the API's own answer, and a small server in the place of Label Studio."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import numpy as np
import pytest
from samples import MODEL, values_of

from maskery.accounts import AccountStore
from maskery.models.builtin.grabcut import GrabCut


def bearer(client: httpx.Client) -> str:
    """The API key of a client."""
    return client.headers["authorization"].removeprefix("Bearer ")


def api_mask(client: httpx.Client, image: bytes, **prompt: Any) -> np.ndarray:
    """The mask of value 1 that the API itself gives, bool [height, width]."""
    body = {"model": MODEL, "image_prompt": base64.b64encode(image).decode(), **prompt}
    response = client.post("/v1/images/segmentations", json=body)
    assert response.status_code == 200, response.text
    return values_of(response.json()) == 1


@pytest.fixture(scope="module")
def serve_bridges(
    tmp_path_factory: pytest.TempPathFactory, serve: Callable[..., AbstractContextManager[httpx.Client]]
) -> Iterator[Callable[..., httpx.Client]]:
    """Starts a server that a module's tests share; settings as keyword arguments, `cvat` creates the key for CVAT."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:

        def start(cvat: bool = False, **settings: Any) -> httpx.Client:
            home = tmp_path_factory.mktemp("bridges")
            patch.setenv("MASKERY_HOME", str(home))
            if cvat:
                store = AccountStore.open(home / "maskery.db")
                settings["cvat_key"] = store.keys.create("labellers")[1]
                store.close()
            return stack.enter_context(serve(home, **settings))

        yield start


@pytest.fixture
def encodings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The images that the model has encoded."""
    encoded: list[Any] = []
    encode = GrabCut.encode

    def counted(self: GrabCut, image: Any) -> Any:
        encoded.append(image)
        return encode(self, image)

    monkeypatch.setattr(GrabCut, "encode", counted)
    return encoded


@dataclass
class Origin:
    """A server with files, in the place of Label Studio.

    Attributes:
        files: by path: content, or where the server redirects to.
        token: that requests must have in the header Authorization; None: any.
        seen: paths and Authorization headers of the requests for files.
        access: tokens given in exchange for a personal access token.
    """

    url: str
    files: dict[str, bytes | str] = field(default_factory=dict)
    token: str | None = None
    seen: list[tuple[str, str | None]] = field(default_factory=list)
    access: list[str] = field(default_factory=list)

    def reset(self) -> None:
        for each in (self.files, self.seen, self.access):
            each.clear()
        self.token = None


@pytest.fixture
def origin(origin_server: Origin) -> Origin:
    """The module's server in the place of Label Studio, without files."""
    origin_server.reset()
    return origin_server


@pytest.fixture(scope="module")
def origin_server() -> Iterator[Origin]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            authorization = self.headers["authorization"]
            found.seen.append((self.path, authorization))
            content = found.files.get(self.path)
            if found.token and authorization != found.token:
                self.answer(401)
            elif isinstance(content, str):
                self.answer(302, location=content)
            else:
                self.answer(404 if content is None else 200, content or b"")

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if self.path != "/api/token/refresh/" or body != {"refresh": "eyJ.a.b"}:
                self.answer(401)
                return
            found.access.append(f"access-{len(found.access)}")
            found.token = f"Bearer {found.access[-1]}"
            self.answer(200, json.dumps({"access": found.access[-1]}).encode())

        def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in {"content-length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Origin(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()
