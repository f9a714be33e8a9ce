"""What choices are made by."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from maskery.models.builtin import nano
from maskery.segmentation import Candidates, Earlier, Embedding, Image, ObjectPrompt
from training.cases import Case
from training.evaluate import ask, border_agreement, deepest_error, follow, iou, summarise
from training.robustness import changes


class Threshold:
    """What is brighter than its first click; a model that needs no weights."""

    name, revision, created, owned_by, slow_encoder, max_batch = "threshold", "1", 0, "test", False, 1

    def encode(self, image: Image) -> Embedding:
        return Embedding({"grey": image.pixels.mean(2)}, image.size, 1)

    def decode(
        self, embedding: Embedding, objects: Sequence[ObjectPrompt], earlier: Sequence[Earlier | None] | None = None
    ) -> list[Candidates]:
        grey = embedding.arrays["grey"].astype(np.float32)
        logits = np.stack([grey - 100, grey - 300])
        extent = (float(grey.shape[1]), float(grey.shape[0]))
        return [Candidates(logits, np.array((0.9, 0.2), np.float32), extent) for _ in objects]


@pytest.fixture
def case() -> Case:
    mask = np.zeros((60, 80), np.uint8)
    mask[20:40, 30:50] = 1
    return Case("made", np.repeat(mask[:, :, None] * np.uint8(200), 3, axis=2), mask)


def test_a_course_is_what_a_person_would_see(case: Case) -> None:
    course = follow(Threshold(), case, 3)
    assert course.ious == [1.0] * 3
    assert course.borders == [1.0] * 3
    assert course.first == [1.0, 0.0]
    assert course.score == pytest.approx(0.9)
    assert len(course.clicks) == 1
    assert summarise([case] * 2, [course] * 2)["best_candidate"] == 1.0


def test_the_deepest_error_is_the_middle_of_what_is_missing_or_too_much(case: Case) -> None:
    nothing = np.zeros_like(case.mask)
    x, y, label = deepest_error(case.mask, nothing) or (0, 0, 0)
    assert (label, abs(x - 40) <= 1, abs(y - 30) <= 1) == (1, True, True)
    assert (deepest_error(nothing, case.mask) or (0, 0, 1))[2] == 0
    assert deepest_error(case.mask, case.mask) is None


def test_borders_agree_as_far_as_they_are_near(case: Case) -> None:
    moved = np.roll(case.mask, 3, axis=1)
    assert border_agreement(case.mask, case.mask, 0.01) == 1
    assert border_agreement(case.mask, moved, 0.05) == 1
    assert border_agreement(case.mask, moved, 0.01) < 0.6
    assert border_agreement(case.mask, np.zeros_like(case.mask), 0.05) == 0
    assert iou(case.mask, moved) == pytest.approx(17 / 23)


def test_what_is_changed_is_changed_back_with_its_clicks() -> None:
    pixels = np.arange(6 * 9).reshape(6, 9)
    for change in changes(Path(nano.__file__).parent).values():
        x, y, label = change.click((7, 1, 0), *pixels.shape)
        assert change.pixels(pixels)[y, x] == pixels[1, 7]
        assert label == 0
        np.testing.assert_array_equal(change.back(change.pixels(pixels)), pixels)


def test_a_click_is_asked_about_at_the_middle_of_its_pixel(case: Case) -> None:
    model = Threshold()
    answers, scores = ask(model, model.encode(Image(case.pixels)), [(40, 30, 1)])
    np.testing.assert_array_equal(answers[0], case.mask)
    assert scores == pytest.approx([0.9, 0.2])
