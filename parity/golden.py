"""`make golden`: stores outputs of transformers for the tests that run without it."""

import sys
import tempfile
from pathlib import Path

import numpy as np
from sam_cases import SIZES, image, prompts
from sam_folders import write_model

from maskery.models.sam.model import load
from parity.oracle import Oracle, correct_transformers

# Every second row and column suffices.
STRIDE = 2


def main(target: Path) -> None:
    correct_transformers()
    kept: dict[str, np.ndarray] = {}
    for architecture in ("sam", "sam_hq"):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_model(folder, architecture, seed=1)
            oracle, ours = Oracle(folder), load("a/b", folder, "r", "f32")
            for size in SIZES[1:3]:
                known = oracle.encode(image(size))
                fitted = ours.processor.fit(size)
                scale = (fitted.width / size.width, fitted.height / size.height)
                answers = [
                    oracle.decode(known, each, scale, None if each.mask is None else ours.mask_logits(each.mask))
                    for objects in prompts(size)
                    for each in objects
                ]
                key = f"{architecture}-{size}"
                kept[f"{key}-logits"] = np.stack([each.logits[:, ::STRIDE, ::STRIDE] for each in answers])
                kept[f"{key}-scores"] = np.stack([each.scores for each in answers])
    np.savez_compressed(target, **kept)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
