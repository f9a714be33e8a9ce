"""The server's `maskery/nano` against the fold in PyTorch from which its weights come."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from nano_cases import CASES, Case

from maskery.models.builtin.nano import Nano
from maskery.segmentation import Image
from parity.oracle_nano import NanoOracle
from parity.test_parity import iou

PHOTOS = Path(__file__).parents[1] / "examples/photos"


@pytest.fixture(scope="module")
def ours() -> Nano:
    return Nano("f32")


@pytest.fixture(scope="module")
def theirs() -> NanoOracle:
    return NanoOracle()


def photo(name: str, width: int, height: int) -> Image:
    pixels = cv2.imread(str(PHOTOS / name))
    assert pixels is not None
    resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)[:, :, ::-1]
    return Image(np.ascontiguousarray(resized, np.uint8))


PHOTO_CASES = [
    Case(photo("coffee.png", 400, 300), ((180.5, 126.5, 1),)),
    Case(photo("coffee.png", 900, 600), ((270.5, 420.5, 1), (540.5, 120.5, 0))),
    Case(photo("coffee.png", 400, 300), (), (80, 45, 320, 270)),
    Case(photo("chelsea.png", 700, 180), ((315.5, 75.5, 1), (100.5, 20.5, 0), (600.5, 160.5, 0))),
    Case(photo("chelsea.png", 300, 500), ((150.5, 250.5, 1), (30.5, 450.5, 0)), (60, 60, 240, 400)),
    Case(photo("chelsea.png", 48, 40), ((24.5, 20.5, 1), (5.5, 5.5, 0))),
]


@pytest.mark.parametrize("case", [*CASES, *PHOTO_CASES])
def test_masks_and_scores_equal_those_of_the_fold_in_pytorch(ours: Nano, theirs: NanoOracle, case: Case) -> None:
    [found] = ours.decode(ours.encode(case.image), [case.prompt])
    expected = theirs.answer(case)
    assert found.logits[0].shape == expected.logits.shape
    assert iou(found.logits[0], expected.logits) >= 0.999
    assert found.scores[0] == pytest.approx(expected.score, abs=0.01)
    assert len(found) == len(expected.candidates)
    for rank, candidate in enumerate(expected.candidates):
        assert np.abs(found.logits_of(rank) - candidate).mean() < 0.05
