"""The programs of the API's own page run against our server as they stand."""

import io
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme
from PIL import Image

PAGE = Path(__file__).parent / "api_page"
MODEL = "syscv-community/sam-hq-vit-base"
PHOTO_HOST = "huggingface.co"


def car() -> bytes:
    """A photograph large enough for the page's point (450, 600), which lies on its car."""
    pixels = np.full((1200, 1800, 3), (150, 170, 190), np.uint8)
    pixels[450:800, 250:1400] = (180, 30, 40)
    pixels = (pixels + np.random.default_rng(0).integers(-8, 9, pixels.shape)).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@dataclass(frozen=True)
class PhotoHost:
    """Stands between the programs and the web, and answers for the host that their photograph comes from."""

    proxy: str
    certificates: Path


@pytest.fixture(scope="module")
def photo_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PhotoHost]:
    authority = trustme.CA()
    certificates = tmp_path_factory.mktemp("certificates") / "authority.pem"
    authority.cert_pem.write_to_path(certificates)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(PHOTO_HOST).configure_cert(context)
    photo = car()
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection:
            request = connection.recv(65536)
            if not request.startswith(f"CONNECT {PHOTO_HOST}:443 ".encode()):
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                return
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(65536)
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(photo)}\r\nConnection: close\r\n\r\n"
                secure.sendall(head.encode() + photo)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    yield PhotoHost(f"http://127.0.0.1:{listener.getsockname()[1]}", certificates)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def run(program: str, server: Any, photos: PhotoHost) -> subprocess.CompletedProcess[str]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        "ACCOUNT": "local",
        "API_KEY": server.key,
        "AIREFINERY_ADDRESS": server.url,
        "HTTPS_PROXY": photos.proxy,
        "NO_PROXY": "127.0.0.1",
        "REQUESTS_CA_BUNDLE": str(photos.certificates),
    }
    return subprocess.run(
        [sys.executable, PAGE / program], env=environment, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("program", ["segment_sync.py", "segment_async.py"])
def test_the_pages_programs_run_word_for_word(
    start_server: Callable[..., Any], photo_host: PhotoHost, program: str
) -> None:
    server = start_server(aliases=f'{{"{MODEL}": "maskery/grabcut"}}')
    result = run(program, server, photo_host)
    assert result.returncode == 0, result.stderr
    assert "image segmentation response: " in result.stdout
    # The beginning of a PNG of 1800 x 1200 pixels, one channel of 8 bits.
    assert "b64_json='iVBORw0KGgoAAAANSUhEUgAABwgAAASwCAAAA" in result.stdout


def test_without_the_model_the_answer_says_how_to_install_it(server: Any, photo_host: PhotoHost) -> None:
    result = run("segment_sync.py", server, photo_host)
    assert result.returncode == 1
    assert "air.errors.NotFoundError" in result.stderr
    assert f"maskery models install {MODEL}" in result.stderr
