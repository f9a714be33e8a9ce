"""The server's `maskery/nano` against the fold in PyTorch from which its weights come."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskery.models.builtin.nano import Nano
from maskery.segmentation import Image, ObjectPrompt
from parity.test_parity import iou
from training.nano2.fold import Folder, Prompt

ROOT = Path(__file__).parents[1]

# (x, y, 1 on the object or 0 off it), in shares of the sides.
CLICKS = [
    [(0.45, 0.42, 1)],
    [(0.3, 0.7, 1), (0.6, 0.2, 0)],
    [(0.5, 0.5, 1), (0.2, 0.25, 1), (0.9, 0.9, 0), (0.55, 0.6, 1), (0.1, 0.9, 0)],
]
BOX = (0.2, 0.15, 0.8, 0.9)


@pytest.fixture(scope="module")
def ours() -> Nano:
    return Nano("f32")


@pytest.fixture(scope="module")
def theirs() -> Folder:
    return Folder(ROOT / "training/nano2/weights.safetensors")


def photo(name: str, height: int, width: int) -> np.ndarray:
    pixels = cv2.imread(str(ROOT / "examples/photos" / name))
    assert pixels is not None
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)[:, :, ::-1].copy()


@pytest.mark.parametrize("size", [(300, 400), (900, 700), (180, 700), (48, 40)], ids=str)
@pytest.mark.parametrize("clicks", CLICKS, ids=len)
@pytest.mark.parametrize("box", [None, BOX], ids=["", "box"])
def test_masks_and_scores_equal_those_of_the_fold_in_pytorch(
    ours: Nano,
    theirs: Folder,
    size: tuple[int, int],
    clicks: Sequence[tuple[float, float, int]],
    box: tuple[float, ...] | None,
) -> None:
    pixels = photo("coffee.png", *size)
    scale = np.array(size[::-1])
    points = np.floor(np.array([click[:2] for click in clicks]) * scale) + 0.5
    labels = [click[2] for click in clicks]
    corners = None if box is None else (np.array(box).reshape(2, 2) * scale).reshape(4)
    asked = Prompt(
        tuple((float(x), float(y), label) for (x, y), label in zip(points, labels, strict=True)),
        None if corners is None else tuple(corners.tolist()),
    )
    expected = theirs.answer(theirs.encode(pixels), asked)
    prompt = ObjectPrompt(
        points.astype(np.float32),
        np.array(labels, np.uint8),
        None if corners is None else corners.astype(np.float32),
    )
    [found] = ours.decode(ours.encode(Image(pixels)), [prompt])
    assert found.logits[0].shape == expected.logits.shape
    # Rounding to 8 bits after each step adds up.
    assert iou(found.logits[0], expected.logits) >= (0.999 if len(clicks) < 3 else 0.998)
    assert found.scores[0] == pytest.approx(expected.score, abs=0.01)
    assert len(found) == len(expected.candidates)
    for mine, candidate in zip(found.logits, expected.candidates, strict=True):
        assert np.abs(mine - candidate).mean() < 0.05
