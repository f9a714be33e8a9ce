"""Models of a known duration. Python imports this module into all processes of the tested cluster.

The mask of image `n`, whose number is in its first pixel, covers its first `n % 7 + 1` eighths.
"""

import time
from collections.abc import Sequence

import numpy as np

from maskery.models import registry
from maskery.segmentation import Candidates, Earlier, Embedding, Image, ObjectPrompt


class _Model:
    revision = "1"
    max_batch = 1
    warmup_aspect_ratios = ()

    def __init__(self, name: str, seconds: float, encode_out_of_process: bool = False) -> None:
        self.name = name
        self.encode_out_of_process = encode_out_of_process
        self._seconds = seconds

    def encode(self, image: Image) -> Embedding:
        first = image.pixels[0, 0].astype(int)
        return Embedding({"number": np.array([first[0] * 256 + first[1]])}, image.size, 1)

    def decode(
        self, embedding: Embedding, objects: Sequence[ObjectPrompt], earlier: Sequence[Earlier | None] | None = None
    ) -> list[Candidates]:
        time.sleep(self._seconds)
        logits = np.full((1, 8, 8), -8, np.float32)
        logits[:, : int(embedding.arrays["number"][0]) % 7 + 1] = 8
        return [Candidates(logits, np.ones(1, np.float32), (8.0, 8.0)) for _ in objects]


registry._BUILT_IN = {
    **registry._BUILT_IN,
    "test/quick": lambda *_: _Model("test/quick", 0.0),
    "test/sleeping": lambda *_: _Model("test/sleeping", 0.15),
    "test/long": lambda *_: _Model("test/long", 2.0),
    "test/apart": lambda *_: _Model("test/apart", 0.0, encode_out_of_process=True),
}
