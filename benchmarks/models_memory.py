"""Memory of a server with one model, after some requests."""

import io
import tempfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from benchmarks.serving.contenders import MODEL, Contender, install
from benchmarks.serving.processes import resident_bytes, session
from benchmarks.serving.server import Server, free_port

_IMAGES = 5
_CLICKS = 4
_SIZE = (1600, 1200)


def after_requests(folder: Path, precision: str) -> dict[str, Any]:
    """Start a server and send four clicks on each of five images.

    Returns:
        The number of requests, and the resident memory in bytes of the server and of the process that encodes images;
        files that are mapped count.

    Raises:
        CannotInstall, ServerFailed, HTTPError: the server does not work.
    """
    contender = Contender("maskery", "", "sam_maskery", precision, own=True)
    with tempfile.TemporaryDirectory(prefix="maskery-bench-") as name:
        home, port = Path(name), free_port()
        key = install(folder, home)
        with Server("maskery", contender.start(port, folder, home), port, key) as server:
            headers = {"Authorization": f"Bearer {key}"}
            with httpx.Client(base_url=server.url, headers=headers, timeout=120, trust_env=False) as client:
                for image in range(_IMAGES):
                    for click in range(_CLICKS):
                        point = [200 + 300 * click, 600]
                        request = f'{{"model": "{MODEL}", "segment_prompt": [[{point}]]}}'
                        files = {"image": ("image.jpg", _photo(image), "image/jpeg")}
                        answer = client.post("/v1/images/segmentations", data={"request": request}, files=files)
                        answer.raise_for_status()
            # The session's leader is the server.
            server_bytes, *encoder = (resident_bytes(pid) for pid in sorted(session(server.pid)))
    return {"requests": _IMAGES * _CLICKS, "server": server_bytes, "encoder": sum(encoder)}


def _photo(seed: int) -> bytes:
    """A JPEG of coarse noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (_SIZE[1] // 50, _SIZE[0] // 50, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize(_SIZE, Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()
