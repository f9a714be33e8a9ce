"""`make golden`: what transformers and, for `maskery/nano`, PyTorch compute; kept for tests that run without them."""

import sys
import tempfile
from pathlib import Path

import numpy as np
from nano_cases import CASES
from sam_cases import SIZES, image, prompts
from sam_folders import write_model

from maskery.models.sam.model import load
from maskery.models.sam2.model import load as load_sam2
from parity.oracle import Oracle, correct_transformers
from parity.oracle_nano import NanoOracle
from parity.oracle_sam2 import Sam2Oracle

# Logits in between carry no further information.
STRIDE = 2


def sam() -> dict[str, np.ndarray]:
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
    return kept


def sam2() -> dict[str, np.ndarray]:
    kept: dict[str, np.ndarray] = {}
    for architecture in ("sam2", "edgetam"):
        with tempfile.TemporaryDirectory() as name:
            folder, size = Path(name), SIZES[1]
            write_model(folder, architecture, seed=1)
            oracle, ours = Sam2Oracle(folder), load_sam2("a/b", folder, "r", "f32")
            known = oracle.encode(ours.processor.pixel_values(image(size)))
            scale = (oracle.side / size.width, oracle.side / size.height)
            answers = [
                oracle.decode(known, each, scale, None if each.mask is None else ours.mask_logits(each.mask))
                for objects in prompts(size)
                for each in objects
            ]
            kept[f"{architecture}-logits"] = np.stack([each.logits for each in answers])
            kept[f"{architecture}-scores"] = np.stack([each.scores for each in answers])
    return kept


def nano() -> dict[str, np.ndarray]:
    oracle = NanoOracle()
    answers = [oracle.answer(case) for case in CASES]
    kept = {f"mask-{index}": np.packbits(each.logits > 0, axis=1) for index, each in enumerate(answers)}
    return {**kept, "scores": np.array([each.score for each in answers], np.float32)}


def main(folder: Path) -> None:
    made = (("golden.npz", sam), ("golden-sam2.npz", sam2), ("golden-nano.npz", nano))
    for name, kept in ((name, make()) for name, make in made):
        np.savez_compressed(folder / name, **kept)  # type: ignore[arg-type]
        print(f"{folder / name}: {(folder / name).stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
