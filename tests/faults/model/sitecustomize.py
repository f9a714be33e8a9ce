"""Models that fail as a test tells them to. Python imports this module into all processes of the tested server.

Test and server share a folder. Models append what they begin to its file `begun`, one word and number per line, and
look for files that tell them what to do:

    hold-encode-7      wait while the file exists, before image 7 is encoded
    raise-encode-7     raise an exception
    kill-encode-7      kill the process
    hold-decode-30     the same for prompts whose first point has x = 30
    raise-decode-30
    hold-stop-0        block the event loop while the file exists, once the server has received a signal to stop

The first pixel of an image encodes its number. Embeddings have as many further bytes as `FAULTS_BALLAST` says.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maskery.models import registry
from maskery.segmentation import Candidates, Earlier, Embedding, Image, ObjectPrompt

_FOLDER = Path(os.environ["FAULTS"])
_BALLAST = int(os.environ.get("FAULTS_BALLAST", "0"))

# Longer than any test: what a failed test leaves behind ends by itself.
_LONGEST = 60


def _begin(what: str, number: int) -> None:
    with (_FOLDER / "begun").open("a") as file:
        file.write(f"{what} {number}\n")
    latest = time.monotonic() + _LONGEST
    while (_FOLDER / f"hold-{what}-{number}").exists() and time.monotonic() < latest:
        time.sleep(0.005)
    if (_FOLDER / f"kill-{what}-{number}").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    if (_FOLDER / f"raise-{what}-{number}").exists():
        raise ArithmeticError(f"the model cannot {what} {number}")


class _Model:
    """The mask of image `n` covers its first `n % 7 + 1` eighths."""

    revision = "1"
    max_batch = 8
    warmup_aspect_ratios = (1.0,)

    def __init__(self, name: str, encode_out_of_process: bool) -> None:
        self.name = name
        self.encode_out_of_process = encode_out_of_process

    def encode(self, image: Image) -> Embedding:
        first = image.pixels[0, 0].astype(int)
        number = int(first[0] * 256 + first[1])
        _begin("encode", number)
        ballast = np.full(_BALLAST, number % 256, np.uint8)
        return Embedding({"ballast": ballast, "number": np.array([number])}, image.size, 1)

    def decode(
        self, embedding: Embedding, objects: Sequence[ObjectPrompt], earlier: Sequence[Earlier | None] | None = None
    ) -> list[Candidates]:
        for each in objects:
            _begin("decode", int(each.points[0][0]))
        logits = np.full((1, 8, 8), -8, np.float32)
        logits[:, : int(embedding.arrays["number"][0]) % 7 + 1] = 8
        return [Candidates(logits, np.ones(1, np.float32), (8.0, 8.0)) for _ in objects]


registry._BUILT_IN = {
    **registry._BUILT_IN,
    "test/slow": lambda *_: _Model("test/slow", encode_out_of_process=True),
    "test/quick": lambda *_: _Model("test/quick", encode_out_of_process=False),
}

if "serve" in sys.orig_argv:
    import uvicorn

    _on_tick = uvicorn.Server.on_tick

    async def _hold_then_tick(self: uvicorn.Server, counter: int) -> bool:
        if self.should_exit:
            _begin("stop", 0)
        return await _on_tick(self, counter)

    uvicorn.Server.on_tick = _hold_then_tick
