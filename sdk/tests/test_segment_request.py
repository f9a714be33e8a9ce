"""Prompts and options: arrays, tuples and masks become plain JSON, or an error with the path to what cannot."""

import base64
import decimal
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco

from air import RLE, InputError
from air._segment_request import labels, mask_prompts, numbers, segment_prompt, size

MASK = np.array([[0, 1, 1], [0, 0, 1]], bool)


def test_json_text_is_sent_unchanged():
    assert segment_prompt("[[[1, 2]]]") == "[[[1, 2]]]"


@pytest.mark.parametrize(
    "prompt",
    [
        [[[1, 2], [3.5, 4]]],
        (((1, 2), (3.5, 4)),),
        np.array([[[1, 2], [3.5, 4]]]),
        [np.array([[1, 2], [3.5, 4]])],
        [[np.array([1, 2]), (3.5, np.int64(4))]],
        [iter([(1, 2), (np.float32(3.5), 4)])],
    ],
)
def test_points_may_be_nested_lists_tuples_arrays_and_iterators(prompt):
    sent = segment_prompt(prompt)
    assert sent == [[[1, 2], [3.5, 4]]]
    assert type(sent[0][0]) is list


def test_whole_numbers_stay_whole_and_floats_stay_floats():
    sent = segment_prompt([[[np.int32(1), 2.25]]])
    assert [type(number) for number in sent[0][0]] == [int, float]
    assert type(segment_prompt([np.float64(1.5)])[0]) is float


def test_what_numpy_can_read_without_a_tolist_is_read():
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            return np.array([[1, 2]])

    assert segment_prompt([Tensor()]) == [[[1, 2]]]


@settings(suppress_health_check=[HealthCheck.too_slow])  # on a machine with other work
@given(st.recursive(st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False), st.lists))
def test_plain_numbers_come_through_unchanged(value):
    assert numbers(value, "value") == value


@pytest.mark.parametrize("bad", [math.nan, math.inf, np.float32("nan")])
def test_nan_and_infinity_are_refused_with_their_path(bad):
    with pytest.raises(InputError, match=r"^segment_prompt\[1\]\[0\]\[1\] is (nan|inf): a coordinate must be a finite"):
        segment_prompt([[[1, 2]], [[3, bad]]])
    with pytest.raises(InputError) as caught:
        numbers(np.array([[1.0, bad]]), "boxes")
    assert str(caught.value).startswith("boxes[0][1] is ")


@pytest.mark.parametrize("odd", [{"x": 1}, b"12", decimal.Decimal(1), object()])
def test_anything_but_numbers_is_refused_with_its_path(odd):
    with pytest.raises(InputError, match=r"segment_prompt\[0\]\[1\] must be a number or a list of them"):
        segment_prompt([[[1, 2], odd]])
    with pytest.raises(InputError, match=r"boxes\[0\] must be a number or a list of them, got str"):
        numbers(["1"], "boxes")


@pytest.mark.parametrize(
    "mask",
    [MASK, MASK.astype(np.uint8), MASK * np.uint8(255), Image.fromarray(MASK), Image.fromarray(MASK * np.uint8(7))],
    ids=["bool", "0 and 1", "0 and 255", "PIL 1", "PIL L"],
)
def test_masks_of_pixels_are_sent_as_png_of_0_and_255(mask, from_png):
    (sent,) = mask_prompts([mask])
    assert from_png(sent).mode == "L"
    assert np.array_equal(np.asarray(from_png(sent)), MASK * 255)


def test_a_png_as_bytes_of_base64_is_recognised(to_png64):
    text = to_png64(MASK * np.uint8(255))
    assert mask_prompts([text.encode(), bytearray(text.encode())]) == [text, text]


def test_a_stack_of_masks_is_one_mask_per_object(from_png):
    sent = mask_prompts(np.stack([MASK, ~MASK]))
    assert [np.asarray(from_png(each)).mean() for each in sent] == [255 * 3 / 6, 255 * 3 / 6]
    assert sent[0] != sent[1]


def test_a_pngs_bytes_and_path_are_sent_unchanged(tmp_path, to_png64):
    text = to_png64(MASK * np.uint8(255))
    data = base64.b64decode(text)
    (tmp_path / "mask.png").write_bytes(data)
    assert mask_prompts([data, bytearray(data), tmp_path / "mask.png", None, text]) == [text, text, text, None, text]


def test_coco_rle_is_sent_unchanged_whether_ours_or_of_pycocotools():
    theirs = coco.encode(np.asfortranarray(MASK.astype(np.uint8)))
    plain = {"size": [2, 3], "counts": theirs["counts"].decode()}
    assert isinstance(theirs["counts"], bytes)
    sent = mask_prompts([theirs, plain, RLE.model_validate(plain)])
    assert sent[:2] == [plain, plain]
    assert sent[2] == plain | {"size": (2, 3)}


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (b"\xff\xd8 a JPEG", "is not a PNG file"),
        (MASK.astype(float), r"bool or uint8 \[height, width\], got float64 \[2, 3\]"),
        (np.zeros((2, 3, 3), np.uint8), r"got uint8 \[2, 3, 3\]"),
        (Image.new("RGB", (3, 2)), r"got uint8 \[2, 3, 3\]"),
        (3, "must be COCO RLE"),
    ],
)
def test_anything_but_a_mask_is_refused_with_its_path(mask, sentence):
    with pytest.raises(InputError, match=r"^mask_prompts\[1\].*" + sentence):
        mask_prompts([None, mask])


@pytest.mark.parametrize("alone", [{"size": [2, 3], "counts": "0"}, "iVBOR", b"\x89PNG\r\n\x1a\n", 3])
def test_a_mask_alone_is_not_a_list_of_masks(alone):
    with pytest.raises(InputError, match="a mask or None per object"):
        mask_prompts(alone)


@pytest.mark.parametrize("sent", ["640x480", (640, 480), [640, 480], (np.int64(640), 480)])
def test_a_size_may_be_text_or_a_pair(sent):
    assert size(sent) == "640x480"


@pytest.mark.parametrize("odd", [(1,), (1, 2, 3), ("a", "b"), 5])
def test_a_size_of_anything_else_is_refused(odd):
    with pytest.raises(InputError, match="WIDTHxHEIGHT"):
        size(odd)


def test_prompts_that_cannot_be_sent_are_refused_before_sending(twin, stub):
    with pytest.raises(InputError, match=r"point_labels\[0\]\[0\] is nan"):
        twin.segment(point_labels=[[math.nan]])
    with pytest.raises(InputError, match="image array must be uint8"):
        twin.segment(np.zeros((2, 2)))
    assert stub.requests == []


def test_masks_and_sizes_reach_the_wire(twin, stub, from_png):
    twin.segment(mask_prompts=[MASK, None], size=(6, 4))
    assert np.array_equal(np.asarray(from_png(stub.request.json["mask_prompts"][0])), MASK * 255)
    assert stub.request.json["mask_prompts"][1] is None
    assert stub.request.json["size"] == "6x4"


def test_labels_and_automatic_reach_the_wire(twin, stub):
    twin.segment(labels=("car", None))
    assert stub.requests[-1].json["labels"] == ["car", None]
    twin.segment(prompt=None, automatic={"points_per_side": 16})
    assert stub.requests[-1].json["segment_prompt"] is None
    assert stub.requests[-1].json["automatic"] == {"points_per_side": 16}
    twin.segment(prompt=None, automatic=True)
    assert stub.requests[-1].json["automatic"] is True


@pytest.mark.parametrize("odd", ["car", 7, [7], [b"car"]])
def test_labels_that_are_not_text_are_refused(odd):
    with pytest.raises(InputError, match="labels"):
        labels(odd)
