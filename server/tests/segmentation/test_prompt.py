import json
import math
from typing import Any

import numpy as np
import pytest

from maskery.segmentation import PromptError, PromptLimits, Size, parse_prompt
from maskery.segmentation.rle import encode

SIZE = Size(100, 50)


def refused(segment_prompt: Any, **more: Any) -> PromptError:
    with pytest.raises(PromptError) as caught:
        parse_prompt(segment_prompt, SIZE, **more)
    return caught.value


def test_the_points_of_one_list_are_one_object() -> None:
    first, second = parse_prompt([[[1, 2], [3.5, 4]], [[99, 49]]], SIZE)
    assert first.points.tolist() == [[1, 2], [3.5, 4]]
    assert first.labels.tolist() == [1, 1]
    assert second.points.tolist() == [[99, 49]]
    assert first.tokens == 2


def test_a_prompt_may_be_json_text() -> None:
    (only,) = parse_prompt(json.dumps([[[1, 2]]]), SIZE)
    assert only.points.tolist() == [[1, 2]]


@pytest.mark.parametrize("size", [Size(1, 1), Size(320, 240), Size(4000, 8), Size(16384, 9000)])
def test_rounding_does_not_move_a_point_outside(size: Size) -> None:
    inside = [[math.nextafter(size.width, 0), math.nextafter(size.height, 0)], [size.width - 0.5, 0]]
    [asked] = parse_prompt([inside], size)
    assert (asked.points < (size.width, size.height)).all()
    assert (asked.points.astype(int)[0] == (size.width - 1, size.height - 1)).all()
    assert asked.points[1].tolist() == [size.width - 0.5, 0]


def test_a_box_that_rounding_makes_empty_is_refused() -> None:
    assert "x0 < x1" in str(refused(None, boxes=[[99.0, 0, 99.000001, 9]]))


def test_labels_go_with_points_and_may_be_null() -> None:
    first, second = parse_prompt([[[1, 2], [3, 4]], [[5, 6]]], SIZE, point_labels=[[1, 0], None])
    assert first.labels.tolist() == [1, 0]
    assert second.labels.tolist() == [1]


def test_a_box_up_to_a_pixel_outside_is_clipped() -> None:
    (only,) = parse_prompt(None, SIZE, boxes=[[-1, -0.5, 101, 50.5]])
    assert only.box is not None
    assert only.box.tolist() == [0, 0, 100, 50]


def test_a_box_needs_no_points() -> None:
    (only,) = parse_prompt(None, SIZE, boxes=[[10, 5, 100, 50]])
    assert only.box is not None
    assert only.box.tolist() == [10, 5, 100, 50]
    assert only.tokens == 2
    both = parse_prompt([[], [[1, 1]]], SIZE, boxes=[[1, 1, 2, 2], None])
    assert both[1].box is None


def test_a_mask_prompt_is_an_rle_or_a_png() -> None:
    mask = np.zeros((50, 100), bool)
    mask[10:20, 30:60] = True
    compressed = encode(mask, (0, 0), SIZE)
    (only,) = parse_prompt(None, SIZE, mask_prompts=[compressed])
    assert only.mask is not None
    assert (only.mask == mask).all()


@pytest.mark.parametrize(
    ("prompt", "param"),
    [
        (None, "segment_prompt"),
        ([], "segment_prompt"),
        ({}, "segment_prompt"),
        (7, "segment_prompt"),
        ("[[[1, 2]", "segment_prompt"),
        ("7", "segment_prompt"),
        ([[]], "segment_prompt[0]"),
        ([[[1, 2]], None], "segment_prompt[1]"),
        ([[1, 2]], "segment_prompt[0][0]"),
        ([[[[1, 2]]]], "segment_prompt[0][0]"),
        ([[[1, 2, 3]]], "segment_prompt[0][0]"),
        ([[[1, 2], [3]]], "segment_prompt[0][1]"),
        ([[["1", 2]]], "segment_prompt[0][0][0]"),
        ([[[1, None]]], "segment_prompt[0][0][1]"),
        ([[[True, 2]]], "segment_prompt[0][0][0]"),
        ([[[1, math.nan]]], "segment_prompt[0][0][1]"),
        ([[[math.inf, 1]]], "segment_prompt[0][0][0]"),
        ([[[10**400, 1]]], "segment_prompt[0][0][0]"),
        ([[[1e30, 1]]], "segment_prompt[0][0]"),
        ([[[100, 1]]], "segment_prompt[0][0]"),
        ([[[1, 1], [1, 50]]], "segment_prompt[0][1]"),
        ([[[-0.5, 1]]], "segment_prompt[0][0]"),
    ],
)
def test_the_error_of_an_invalid_prompt_has_its_path(prompt: Any, param: str) -> None:
    error = refused(prompt)
    assert error.param == param
    assert param in str(error)


def test_the_error_of_a_point_outside_names_the_size_of_the_image() -> None:
    text = str(refused([[[1, 1], [450, 600]]]))
    assert "(450, 600)" in text
    assert "100 wide and 50 high: x is from 0 to below 100, y from 0 to below 50" in text


def test_a_coordinate_is_shown_with_all_its_digits() -> None:
    assert "(100.0000001, 1)" in str(refused([[[100.0000001, 1]]]))
    text = str(refused(None, boxes=[[0.1, 0, 101.00001, 50]]))
    assert text.startswith("boxes[0] is [0.1, 0, 101.00001, 50], more than a pixel outside the image")
    assert text.endswith("x is from 0 to 100, y from 0 to 50")


def test_an_empty_prompt_may_be_left_out_beside_boxes() -> None:
    text = str(refused([], boxes=[[1, 1, 9, 9]]))
    assert text.endswith("give at least one object, or leave it out and give boxes or mask_prompts")
    assert str(refused(None, boxes=[])) == "boxes is empty: give at least one object"


@pytest.mark.parametrize("segment_prompt", [None, [[[1, 1]]], [[[1, 1]]] * 4])
def test_a_box_outside_a_list_is_explained(segment_prompt: Any) -> None:
    assert "one box [x0, y0, x1, y1] (or null) per object" in str(refused(segment_prompt, boxes=[1, 2, 3, 4]))


def test_nouns_are_singular_or_plural() -> None:
    assert "has 2 entries for 1 object:" in str(refused([[[1, 1]]], boxes=[None, None]))
    assert "has 1 entry for 2 objects:" in str(refused([[[1, 1]]] * 2, point_labels=[None]))
    assert "has 2 labels for 1 point:" in str(refused([[[1, 1]]], point_labels=[[1, 1]]))
    assert "has 1 label for 2 points:" in str(refused([[[1, 1], [2, 2]]], point_labels=[[1]]))
    assert "has 1 entry," in str(refused([[[1]]]))
    assert "has 1 entry;" in str(refused(None, boxes=[[1]]))


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"point_labels": 1}, "point_labels"),
        ({"point_labels": [[1], [1]]}, "point_labels"),
        ({"point_labels": [1]}, "point_labels[0]"),
        ({"point_labels": [[1, 1]]}, "point_labels[0]"),
        ({"point_labels": [[2]]}, "point_labels[0][0]"),
        ({"point_labels": [[True]]}, "point_labels[0][0]"),
        ({"point_labels": [["1"]]}, "point_labels[0][0]"),
        ({"point_labels": [[0]]}, "point_labels[0]"),
        ({"boxes": [1, 2, 3, 4]}, "boxes"),
        ({"boxes": [[1, 2, 3]]}, "boxes[0]"),
        ({"boxes": ["all"]}, "boxes[0]"),
        ({"boxes": [[5, 5, 5, 9]]}, "boxes[0]"),
        ({"boxes": [[9, 5, 5, 9]]}, "boxes[0]"),
        ({"boxes": [[1, 2, 3, math.nan]]}, "boxes[0][3]"),
        ({"boxes": [[0, 0, 101.5, 50]]}, "boxes[0]"),
        ({"boxes": [[0, -1.5, 100, 50]]}, "boxes[0]"),
        ({"boxes": [[100.2, 0, 101, 50]]}, "boxes[0]"),
        ({"mask_prompts": [5]}, "mask_prompts[0]"),
        ({"mask_prompts": ["no mask"]}, "mask_prompts[0]"),
        ({"mask_prompts": [{"size": [100, 50], "counts": ""}]}, "mask_prompts[0].size"),
        ({"mask_prompts": [{"size": [50, 100], "counts": "!"}]}, "mask_prompts[0].counts"),
        ({"mask_prompts": [{"size": [50, 100], "counts": [1, 2]}]}, "mask_prompts[0].counts"),
        ({"mask_prompts": [{"size": [50, 100], "counts": [-1, 5001]}]}, "mask_prompts[0].counts"),
        ({"mask_prompts": [{"size": [50, 100]}]}, "mask_prompts[0].counts"),
    ],
)
def test_the_error_of_an_invalid_label_box_or_mask_has_its_path(more: dict[str, Any], param: str) -> None:
    assert refused([[[1, 1]]], **more).param == param


def test_limits_are_named_in_the_error() -> None:
    limits = PromptLimits(max_objects=2, max_points=3)
    parse_prompt([[[1, 1], [2, 2]], [[3, 3]]], SIZE, limits=limits)
    assert "at most 2" in str(refused([[[1, 1]]] * 3, limits=limits))
    assert "at most 3" in str(refused([[[1, 1]] * 4], limits=limits))


def test_the_pixels_of_mask_prompts_are_limited_before_any_is_decoded() -> None:
    mask = encode(np.ones((50, 100), bool), (0, 0), SIZE)
    limits = PromptLimits(max_mask_pixels=2 * SIZE.pixels)
    parse_prompt(None, SIZE, mask_prompts=[mask, mask], limits=limits)
    error = refused(None, mask_prompts=[mask, mask, "not even a mask"], limits=limits)
    assert error.param == "mask_prompts"
    assert "10,000 pixels together" in str(error)


def test_json_text_may_be_indented_but_its_length_is_limited() -> None:
    limits = PromptLimits(max_objects=512, max_points=2048)
    points = [[[1 / 3, 2 / 3]] * 4] * 512
    assert len(parse_prompt(json.dumps(points, indent=4), SIZE, limits=limits)) == 512
    assert "characters" in str(refused(" " * 1_000_000 + "[[[1, 1]]]", limits=limits))


def test_long_values_are_shortened_in_errors() -> None:
    assert len(str(refused([[["x" * 10_000, 1]]]))) < 300


def test_labels_name_the_objects() -> None:
    objects = parse_prompt([[[1, 2]], [[3, 4]]], SIZE, labels=["x" * 128, None])
    assert [each.name for each in objects] == ["x" * 128, None]


@pytest.mark.parametrize(
    ("labels", "param"),
    [
        ("car", "labels"),
        (["car", "wheel"], "labels"),
        ([7], "labels[0]"),
        ([["car"]], "labels[0]"),
        ([""], "labels[0]"),
        ([" "], "labels[0]"),
        (["x" * 129], "labels[0]"),
    ],
)
def test_an_invalid_label_is_refused_with_its_path(labels: Any, param: str) -> None:
    error = refused([[[1, 2]]], labels=labels)
    assert error.param == param
    assert param in str(error)
