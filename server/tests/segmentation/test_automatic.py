"""Everything in an image, with a model whose candidates are known."""

from collections.abc import Sequence

import numpy as np
import pytest

from maskery.segmentation import (
    AutomaticDefaults,
    AutomaticOptions,
    Candidates,
    Earlier,
    Embedding,
    Image,
    Mask,
    ObjectPrompt,
    PromptError,
    PromptLimits,
    Segmentation,
    Size,
    segment_everything,
)
from maskery.segmentation.automatic import BATCH

SIZE = Size(96, 64)

Box = tuple[int, int, int, int]

# The value that each is expected to have: the largest is the lowest layer.
LARGE, MIDDLE, SMALL = (4, 4, 60, 60), (40, 30, 90, 62), (12, 12, 28, 28)


class Boxes:
    """Segments boxes: a point's candidates are those that contain it.

    Attributes:
        edge: logits fall by 1 in so many pixels across the edge of a box: a wide edge is an unstable mask.
        decoded: the number of objects of each call.
    """

    name = "test/boxes"
    revision = "1"
    max_batch = 64
    encode_out_of_process = False
    warmup_aspect_ratios = (1.5,)

    def __init__(self, *boxes: tuple[Box, float], edge: float = 0.1) -> None:
        self.boxes, self.edge = boxes, edge
        self.decoded: list[int] = []

    def encode(self, image: Image) -> Embedding:
        return Embedding({}, image.size, 6)

    def decode(
        self, embedding: Embedding, objects: Sequence[ObjectPrompt], earlier: Sequence[Earlier | None] | None = None
    ) -> list[Candidates]:
        self.decoded.append(len(objects))
        return [self._candidates(*each.points[0]) for each in objects]

    def _candidates(self, x: float, y: float) -> Candidates:
        found = [(box, score) for box, score in self.boxes if box[0] <= x < box[2] and box[1] <= y < box[3]]
        found = found or [((0, 0, 0, 0), 0.1)]
        logits = np.stack([self._logits(box) for box, _ in found])
        return Candidates(logits, np.array([score for _, score in found], np.float32), (SIZE.width, SIZE.height))

    def _logits(self, box: Box) -> np.ndarray:
        x, y = np.arange(SIZE.width) + 0.5, (np.arange(SIZE.height) + 0.5)[:, None]
        inside = np.minimum(np.minimum(x - box[0], box[2] - x), np.minimum(y - box[1], box[3] - y))
        return (inside / self.edge).clip(-20, 20).astype(np.float32)


def run(model: Boxes, size: Size | None = None, **options: float) -> Segmentation:
    wanted = AutomaticOptions(**{"points_per_side": 16, "min_area": 0, **options})  # type: ignore[arg-type]
    return segment_everything(model, Embedding({}, SIZE, 6), wanted.resolve(model), size)


def boxes_of(mask: Mask) -> list[Box]:
    """Corners of the segments, in the order of their values."""
    assert [segment.value for segment in mask.segments] == list(range(1, len(mask.segments) + 1))
    return [(x, y, x + w, y + h) for x, y, w, h in (segment.bbox or (0, 0, 0, 0) for segment in mask.segments)]


def test_smaller_objects_lie_on_top_of_larger_ones() -> None:
    model = Boxes((SMALL, 0.9), (LARGE, 0.95), (MIDDLE, 0.99))
    (mask,) = run(model).masks
    assert boxes_of(mask) == [LARGE, MIDDLE, SMALL]
    assert mask.values is not None
    assert mask.values[20, 20] == 3
    assert mask.values[8, 8] == 1
    assert mask.values[45, 50] == 2
    assert mask.values[0, 0] == 0
    assert [segment.area for segment in mask.segments] == [
        np.count_nonzero(mask.values == value) for value in (1, 2, 3)
    ]
    assert [segment.prompts for segment in mask.segments] == [(), (), ()]
    assert [round(segment.score, 2) for segment in mask.segments] == [0.95, 0.99, 0.9]


def test_candidates_are_left_out_that_are_not_good_enough() -> None:
    assert boxes_of(run(Boxes((LARGE, 0.95), (SMALL, 0.88))).masks[0]) == [LARGE]
    assert boxes_of(run(Boxes((LARGE, 0.95), (SMALL, 0.88)), pred_iou_threshold=0.8).masks[0]) == [LARGE, SMALL]
    unsteady = Boxes((LARGE, 0.95), (SMALL, 0.95), edge=0.6)
    assert boxes_of(run(unsteady, stability_threshold=0.8).masks[0]) == [LARGE]
    assert boxes_of(run(unsteady, stability_threshold=0.5).masks[0]) == [LARGE, SMALL]


def test_a_model_can_have_defaults_of_its_own() -> None:
    model = Boxes((LARGE, 0.6))
    assert not run(model).masks[0].segments
    assert AutomaticOptions().resolve(model).points_per_side == 32
    model.automatic_defaults = AutomaticDefaults(8, 0.5, 0.5)  # type: ignore[attr-defined]
    assert boxes_of(run(model).masks[0]) == [LARGE]
    assert AutomaticOptions().resolve(model).points_per_side == 8


def test_a_model_can_have_a_faster_way_to_decode_the_grid() -> None:
    class Quick(Boxes):
        def propose(self, embedding: Embedding, objects: Sequence[ObjectPrompt]) -> list[Candidates]:
            return [self._candidates(*each.points[0]) for each in objects]

    model = Quick((LARGE, 0.95), (SMALL, 0.95))
    assert boxes_of(run(model).masks[0]) == [LARGE, SMALL]
    assert model.decoded == [2]


def test_of_candidates_with_nearly_the_same_box_the_best_is_kept() -> None:
    nearly = (5, 4, 60, 60)
    model = Boxes((nearly, 0.9), (LARGE, 0.95))
    assert boxes_of(run(model).masks[0]) == [LARGE]
    assert len(run(model, nms_iou=0.99).masks[0].segments) == 2


def test_the_best_objects_are_kept_if_there_are_more_than_asked_for() -> None:
    model = Boxes((LARGE, 0.9), (MIDDLE, 0.99), (SMALL, 0.95))
    assert boxes_of(run(model, max_objects=2).masks[0]) == [MIDDLE, SMALL]


def test_small_parts_and_holes_are_removed() -> None:
    class Speckled(Boxes):
        def _logits(self, box: Box) -> np.ndarray:
            logits = super()._logits(box)
            logits[40:43, 20:23] = -20  # a hole of 9 pixels
            logits[61:63, 80:82] = 20  # a part of 4
            return logits

    (speckled,) = run(Speckled((LARGE, 0.95))).masks
    (clean,) = run(Speckled((LARGE, 0.95)), min_area=10).masks
    (plain,) = run(Boxes((LARGE, 0.95)), min_area=10).masks
    assert speckled.segments[0].area == plain.segments[0].area - 9 + 4
    assert np.array_equal(clean.values, plain.values)  # type: ignore[arg-type]
    assert not run(Boxes((SMALL, 0.95)), min_area=300).masks[0].segments


def test_parts_that_smaller_objects_leave_visible_belong_to_what_lies_below() -> None:
    # The smallest box leaves a strip of 2 x 20 pixels of the middle one visible, which lies on the largest.
    largest, middle, smallest = (0, 0, 90, 60), (10, 10, 42, 30), (12, 10, 42, 30)
    model = Boxes((largest, 0.9), (middle, 0.95), (smallest, 0.95))
    shown = {"nms_iou": 0.99, "points_per_side": 32}
    (crumbs,) = run(model, **shown).masks
    (clean,) = run(model, min_area=41, **shown).masks
    assert [each.area for each in crumbs.segments] == [90 * 60 - 32 * 20, 30 * 20, 2 * 20]
    assert [each.area for each in clean.segments] == [90 * 60 - 30 * 20, 30 * 20]


def test_values_are_in_the_order_of_visible_areas() -> None:
    # The larger box lies below, and less of it is visible.
    lower, upper = (0, 0, 60, 60), (0, 4, 60, 60)
    (mask,) = run(Boxes((lower, 0.95), (upper, 0.95)), nms_iou=0.99).masks
    assert boxes_of(mask) == [upper, (0, 0, 60, 4)]
    areas = [each.area for each in mask.segments]
    assert areas == sorted(areas, reverse=True)


def test_an_image_without_objects_has_an_empty_mask() -> None:
    result = run(Boxes())
    (mask,) = result.masks
    assert mask.segments == ()
    assert mask.values is not None
    assert not mask.values.any()
    assert mask.score == 0


def test_more_than_255_objects_make_a_mask_of_16_bits() -> None:
    cells = [((x, y, x + 4, y + 4), 0.95) for x in range(0, 96, 5) for y in range(0, 64, 4)]
    (mask,) = run(Boxes(*cells), points_per_side=64, max_objects=512).masks
    assert len(mask.segments) > 255
    assert mask.values is not None
    assert mask.values.dtype == np.uint16
    assert mask.values.max() == len(mask.segments)


def test_the_mask_has_the_size_that_was_asked_for() -> None:
    (mask,) = run(Boxes((LARGE, 0.95)), Size(48, 32)).masks
    assert (mask.size, boxes_of(mask)) == (Size(48, 32), [tuple(side // 2 for side in LARGE)])


def test_a_grid_is_decoded_in_batches_and_the_result_is_the_same_each_time() -> None:
    model = Boxes((LARGE, 0.95), (SMALL, 0.95), (MIDDLE, 0.95))
    first, second = run(model), run(model)
    assert max(model.decoded) == BATCH
    assert first.usage == second.usage
    assert first.usage.point_tokens == 16**2
    assert np.array_equal(first.masks[0].values, second.masks[0].values)  # type: ignore[arg-type]


def test_limits_hold_for_the_grid_and_the_objects() -> None:
    AutomaticOptions(45, max_objects=512).resolve(Boxes(), PromptLimits())
    for options in (AutomaticOptions(46), AutomaticOptions(max_objects=513)):
        with pytest.raises(PromptError, match="at most"):
            options.resolve(Boxes(), PromptLimits())


def test_by_default_there_are_no_more_objects_than_the_limit() -> None:
    assert AutomaticOptions().resolve(Boxes(), PromptLimits()).max_objects == 256
    assert AutomaticOptions().resolve(Boxes(), PromptLimits(max_objects=100)).max_objects == 100


def test_a_model_that_decodes_one_object_at_a_time_is_refused() -> None:
    model = Boxes()
    model.max_batch = 1
    with pytest.raises(PromptError, match="one object at a time"):
        run(model)
