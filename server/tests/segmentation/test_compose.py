"""Overlap and merging, with discs and boxes whose logits are known."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskery.segmentation import Size, rle
from maskery.segmentation.compose import ObjectLogits, _compared_size, compose, compose_overlapping

SIZE = Size(120, 90)


def box(x0: int, y0: int, x1: int, y1: int, logit: float = 4.0, score: float = 0.9, size: Size = SIZE) -> ObjectLogits:
    logits = np.full((size.height, size.width), -4, np.float32)
    logits[y0:y1, x0:x1] = logit
    return ObjectLogits(logits, (size.width, size.height), score)


def test_one_object_keeps_its_mask() -> None:
    mask = compose([box(10, 20, 30, 50)], SIZE)
    assert mask.values is not None
    expected = np.zeros((90, 120), np.uint8)
    expected[20:50, 10:30] = 1
    assert (mask.values == expected).all()
    (segment,) = mask.segments
    assert segment.value == 1
    assert segment.prompts == (0,)
    assert segment.area == 20 * 30
    assert segment.bbox == (10, 20, 20, 30)


def test_the_highest_logit_wins_where_objects_cross() -> None:
    mask = compose([box(0, 0, 60, 40, logit=3), box(40, 0, 100, 40, logit=5)], SIZE)
    assert mask.values is not None
    assert mask.values[20, 39] == 1
    assert mask.values[20, 40] == 2
    assert mask.segments[0].area == 40 * 40


def test_ties_go_to_the_lower_value() -> None:
    mask = compose([box(0, 0, 60, 40), box(40, 0, 100, 40)], SIZE)
    assert mask.values is not None
    assert (mask.values[:40, 40:60] == 1).all()


@pytest.mark.parametrize("order", [1, -1])
def test_a_wheel_lies_on_its_car_though_its_logits_are_lower(order: int) -> None:
    car, wheel = box(0, 0, 100, 60, logit=9), box(20, 40, 40, 60, logit=1)
    mask = compose([car, wheel][::order], SIZE)
    assert mask.values is not None
    assert len(np.unique(mask.values[40:60, 20:40])) == 1
    assert sorted(segment.area for segment in mask.segments) == [400, 100 * 60 - 400]


def test_a_hub_lies_on_its_wheel_which_lies_on_its_car() -> None:
    layers = [box(0, 0, 100, 60, logit=9), box(20, 20, 60, 60, logit=5), box(30, 30, 40, 40, logit=1)]
    mask = compose(layers, SIZE)
    assert mask.values is not None
    assert [segment.area for segment in mask.segments] == [6000 - 1600, 1600 - 100, 100]


def test_an_object_less_than_nine_tenths_inside_does_not_lie_on_top() -> None:
    mask = compose([box(0, 0, 100, 60, logit=9), box(83, 0, 103, 60, logit=1)], SIZE)
    assert mask.segments[1].area == 3 * 60


def test_the_same_object_twice_is_one_segment() -> None:
    mask = compose([box(0, 0, 50, 50, score=0.8), box(60, 0, 70, 10), box(0, 0, 50, 49, score=0.6)], SIZE)
    assert mask.values is not None
    assert [segment.value for segment in mask.segments] == [1, 2]
    assert [segment.prompts for segment in mask.segments] == [(0, 2), (1,)]
    assert mask.segments[0].area == 2500
    assert mask.segments[0].score == pytest.approx(0.7)
    assert set(np.unique(mask.values).tolist()) == {0, 1, 2}


def test_merging_is_transitive() -> None:
    layers = [box(0, 0, 100, 50), box(5, 0, 105, 50), box(10, 0, 110, 50)]
    assert [segment.prompts for segment in compose(layers, SIZE).segments] == [(0, 1, 2)]


def test_merging_can_be_configured_and_disabled() -> None:
    layers = [box(0, 0, 50, 50), box(0, 0, 50, 40)]
    assert len(compose(layers, SIZE).segments) == 2
    assert len(compose(layers, SIZE, merge_iou=0.8).segments) == 1
    same = [box(0, 0, 50, 50), box(0, 0, 50, 50)]
    assert [segment.area for segment in compose(same, SIZE, merge_iou=1).segments] == [2500, 0]


def test_an_empty_mask_is_a_segment_without_pixels() -> None:
    mask = compose([box(0, 0, 0, 0, score=0.3), box(0, 0, 10, 10, score=0.9)], SIZE)
    empty = mask.segments[0]
    assert (empty.area, empty.bbox, empty.score) == (0, None, pytest.approx(0.3))
    assert mask.score == pytest.approx(0.9)
    alone = compose([box(0, 0, 0, 0, score=0.3)], SIZE)
    assert alone.score == pytest.approx(0.3)
    assert alone.segments[0].polygons() == []


def test_two_empty_masks_are_not_the_same_object() -> None:
    assert len(compose([box(0, 0, 0, 0), box(0, 0, 0, 0)], SIZE).segments) == 2


def test_the_score_is_weighted_by_area() -> None:
    mask = compose([box(0, 0, 30, 10, score=0.5), box(0, 20, 10, 30, score=0.9)], SIZE)
    assert mask.score == pytest.approx((300 * 0.5 + 100 * 0.9) / 400)


def test_more_than_255_objects_take_16_bits() -> None:
    layers = [box(x, y, x + 4, y + 4) for y in range(0, 90, 5) for x in range(0, 120, 5)]
    assert len(layers) > 255
    mask = compose(layers, SIZE)
    assert mask.values is not None
    assert mask.values.dtype == np.uint16
    assert mask.values.max() == len(layers)


def test_whole_masks_may_overlap() -> None:
    mask = compose_overlapping([box(0, 0, 60, 40), box(20, 20, 40, 40)], SIZE)
    assert mask.values is None
    assert [segment.area for segment in mask.segments] == [2400, 400]


def test_an_empty_whole_mask_has_every_format() -> None:
    (segment,) = compose_overlapping([box(0, 0, 0, 0)], SIZE).segments
    assert (segment.area, segment.bbox) == (0, None)
    assert (rle.decode(segment.rle(SIZE)["counts"], SIZE) == 0).all()
    assert segment.polygons() == []


def test_an_object_that_overlaps_no_other_is_unchanged() -> None:
    apart, crossed, crossing = box(3, 5, 20, 30), box(60, 40, 90, 70), box(70, 50, 110, 80, logit=6)
    mask = compose([crossed, apart, crossing], SIZE)
    alone, pair = compose([apart], SIZE), compose([crossed, crossing], SIZE)
    assert mask.values is not None
    assert alone.values is not None
    assert pair.values is not None
    assert ((mask.values == 2) == (alone.values == 1)).all()
    assert ((mask.values == 1) == (pair.values == 1)).all()
    assert ((mask.values == 3) == (pair.values == 2)).all()
    assert mask.segments[1].bbox == alone.segments[0].bbox


def test_hundreds_of_objects_are_compared_at_fewer_pixels() -> None:
    size = Size(4000, 3000)
    assert _compared_size(size, 8).pixels == pytest.approx(2**18, rel=0.01)
    assert _compared_size(size, 512).pixels == pytest.approx(2**16, rel=0.01)
    assert _compared_size(size, 60_000).pixels == pytest.approx(2**16, rel=0.01)
    assert _compared_size(Size(30, 20), 512) == Size(30, 20)


def test_hundreds_of_duplicates_are_one_segment() -> None:
    layers = [box(0, 0, 100, 60, logit=9, score=index / 300) for index in range(300)] + [box(20, 20, 40, 40, logit=1)]
    mask = compose(layers, SIZE)
    assert [len(segment.prompts) for segment in mask.segments] == [300, 1]
    assert [segment.area for segment in mask.segments] == [6000 - 400, 400]


def test_large_masks_are_painted_in_bands_without_a_seam() -> None:
    rng = np.random.default_rng(0)
    layers = [ObjectLogits(rng.standard_normal((24, 32)).astype(np.float32), (32.0, 24.0), 0.5) for _ in range(3)]
    size = Size(3000, 2250)
    mask = compose(layers, size, merge_iou=1)
    assert mask.values is not None
    for y0 in (0, 1390, 2240):
        part = compose_rows(layers, size, y0, y0 + 10)
        assert (mask.values[y0 : y0 + 10] == part).all()


def compose_rows(layers: list[ObjectLogits], size: Size, y0: int, y1: int) -> np.ndarray:
    """Rows of the mask without bands: each pixel interpolated by the textbook formula, the highest logit wins."""
    y = (np.arange(y0, y1) + 0.5) * 24 / size.height - 0.5
    x = (np.arange(size.width) + 0.5) * 32 / size.width - 0.5
    stack = []
    for layer in layers:
        grid = np.pad(layer.logits, 1, mode="edge").astype(np.float64)
        row, column = np.floor(y).astype(int), np.floor(x).astype(int)
        v, u = (y - row)[:, None], (x - column)[None, :]
        top = grid[row + 1][:, column + 1] * (1 - u) + grid[row + 1][:, column + 2] * u
        bottom = grid[row + 2][:, column + 1] * (1 - u) + grid[row + 2][:, column + 2] * u
        stack.append(top * (1 - v) + bottom * v)
    logits = np.array(stack)
    return np.where(logits.max(0) > 0, logits.argmax(0) + 1, 0)


def grid(seed: int) -> ObjectLogits:
    logits = np.random.default_rng(seed).standard_normal((9, 12)).astype(np.float32)
    return ObjectLogits(logits, (12.0, 9.0), 0.5)


# Different seeds, so that no logits tie.
stacks = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5, unique=True).map(
    lambda seeds: [grid(seed) for seed in seeds]
)


@given(stacks, st.integers(1, 70), st.integers(1, 70))
def test_segments_describe_the_mask(layers: list[ObjectLogits], width: int, height: int) -> None:
    mask = compose(layers, Size(width, height))
    assert mask.values is not None
    assert mask.values.shape == (height, width)
    assert set(np.unique(mask.values).tolist()) <= {0, *(segment.value for segment in mask.segments)}
    assert sorted(index for segment in mask.segments for index in segment.prompts) == list(range(len(layers)))
    for segment in mask.segments:
        y, x = np.nonzero(mask.values == segment.value)
        assert segment.area == len(x)
        expected = (x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1) if len(x) else None
        assert segment.bbox == expected


@given(stacks, st.randoms())
def test_permuting_objects_permutes_values(layers: list[ObjectLogits], random: Random) -> None:
    order = list(range(len(layers)))
    random.shuffle(order)
    size = Size(48, 36)
    straight = compose(layers, size, merge_iou=1).values
    permuted = compose([layers[index] for index in order], size, merge_iou=1).values
    assert straight is not None
    assert permuted is not None
    back = np.array([0, *(index + 1 for index in order)])
    assert (back[permuted] == straight).all()


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4), st.integers(1, 70), st.integers(1, 70))
def test_coded_logits_compose_as_those_they_stand_for(seeds: list[int], width: int, height: int) -> None:
    # Codes 0 to 127 stand for logits from 0 to 8, codes -128 to -1 for logits from -8 to below 0.
    table = np.roll(np.linspace(-8, 8, 256), 128).astype(np.float32)
    table[0] = 0
    codes = [np.random.default_rng(seed).integers(-128, 128, (9, 12), np.int8) for seed in seeds]
    size = Size(width, height)
    coded = compose([ObjectLogits(each, (12.0, 8.5), 0.5, table=table) for each in codes], size)
    plain = compose([ObjectLogits(table[each.view(np.uint8)], (12.0, 8.5), 0.5) for each in codes], size)
    assert coded.values is not None
    assert plain.values is not None
    assert (coded.values == plain.values).all()
    assert [each.bbox for each in coded.segments] == [each.bbox for each in plain.segments]
