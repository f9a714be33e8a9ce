"""A mask's array, image and file, whichever format was answered."""

import base64
import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image
from pycocotools import mask as coco

from air import InputError, Mask, MaskError, _mask_arrays
from air._encoding import decode_mask

VALUES = np.array([[0, 1, 1, 0], [0, 1, 2, 0], [0, 0, 2, 0]], np.uint8)


def rle(pixels):
    return {"size": list(pixels.shape), "counts": coco.encode(np.asfortranarray(pixels.astype(np.uint8)))["counts"]}


def square(x, y, side):
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]


def in_rle(values, sized=True):
    segments = [{"value": int(v), "rle": rle(values == v)} for v in np.unique(values) if v]
    height, width = values.shape
    return Mask.model_validate({"segments": segments} | ({"width": width, "height": height} if sized else {}))


def in_polygons():
    """A ring of value 1 around a hole with value 2 in it, and a second piece of 1."""
    return Mask.model_validate(
        {
            "width": 8,
            "height": 5,
            "segments": [
                {"value": 1, "polygons": [[square(0, 0, 5), square(1, 1, 3)], [square(6, 0, 1)]]},
                {"value": 2, "polygons": [[square(2, 2, 1)]]},
            ],
        }
    )


@given(
    st.sampled_from([np.uint8, np.uint16]).flatmap(
        lambda dtype: npst.arrays(dtype, st.tuples(st.integers(1, 9), st.integers(1, 9)))
    )
)
def test_a_png_of_8_or_16_bits_is_read_without_loss(array):
    import io

    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    mask = Mask(b64_json=base64.b64encode(file.getvalue()).decode())
    read = mask.to_numpy()
    assert read.dtype == array.dtype
    assert np.array_equal(read, array)
    assert np.array_equal(np.asarray(mask.to_image()), array)


def test_a_data_url_is_read_too(to_png64):
    assert np.array_equal(Mask(b64_json="data:image/png;base64," + to_png64(VALUES)).to_numpy(), VALUES)


def test_pngs_of_one_bit_and_with_a_palette_are_read(to_png64):
    assert Mask(b64_json=to_png64(VALUES == 1)).to_numpy().tolist() == (VALUES == 1).tolist()
    import io

    palette = Image.fromarray(VALUES)
    palette.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    file = io.BytesIO()
    palette.save(file, "PNG")
    assert np.array_equal(Mask(b64_json=base64.b64encode(file.getvalue()).decode()).to_numpy(), VALUES)


@pytest.mark.parametrize("sized", [True, False])
def test_run_lengths_compose_to_the_same_array(sized):
    read = in_rle(VALUES, sized).to_numpy()
    assert read.dtype == np.uint8
    assert np.array_equal(read, VALUES)


def test_more_than_255_values_make_16_bits(tmp_path):
    values = np.arange(300, dtype=np.uint16).reshape(15, 20)
    mask = in_rle(values)
    assert mask.to_numpy().dtype == np.uint16
    assert np.array_equal(mask.to_numpy(), values)
    mask.save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as image:
        assert image.mode == "I;16"
        assert np.array_equal(np.asarray(image), values)


def test_polygons_compose_with_their_holes():
    assert in_polygons().to_numpy().tolist() == [
        [1, 1, 1, 1, 1, 0, 1, 0],
        [1, 0, 0, 0, 1, 0, 0, 0],
        [1, 0, 2, 0, 1, 0, 0, 0],
        [1, 0, 0, 0, 1, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0, 0],
    ]


def test_a_segment_gives_its_own_pixels_in_every_format(to_png64):
    plain = Mask.model_validate({"b64_json": to_png64(VALUES), "segments": [{"value": 2}, {"value": 3}]})
    assert np.array_equal(plain.segments[0].to_numpy(), VALUES == 2)
    assert not plain.segments[1].to_numpy().any()
    for mask in (plain, in_rle(VALUES), in_polygons()):
        for segment in mask.segments:
            pixels = segment.to_numpy()
            assert pixels.dtype == np.bool_
            assert np.array_equal(pixels, mask.to_numpy() == segment.value)


def test_overlapping_segments_have_an_array_each_and_none_together():
    whole, part = np.ones((3, 4), bool), np.zeros((3, 4), bool)
    part[1, 1] = True
    mask = Mask.model_validate({"segments": [{"value": 1, "rle": rle(whole)}, {"value": 2, "rle": rle(part)}]})
    with pytest.raises(MaskError, match=r"overlaps another.*mask\.segments\[i\]\.to_numpy\(\)"):
        mask.to_numpy()
    assert [int(segment.to_numpy().sum()) for segment in mask.segments] == [12, 1]


def test_a_mask_on_which_nothing_was_found_is_all_background():
    assert Mask(segments=[], width=3, height=2).to_numpy().tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        ({}, "came without pixels"),
        ({"segments": [{"value": 1}]}, "came without pixels"),
        ({"segments": [{"value": 1}], "width": 2, "height": 2}, "segment 1 came without its pixels"),
        ({"segments": [{"value": 1, "polygons": []}], "width": 2}, "came without pixels"),
        ({"b64_json": "%%%"}, "not base64"),
        ({"b64_json": "é"}, "not base64"),
        ({"b64_json": "aGVsbG8="}, "not a complete PNG"),
        ({"segments": [{"value": 1, "rle": {"size": [2, 2], "counts": "4"}}], "width": 9, "height": 9}, "its mask"),
        ({"segments": [{"value": 1, "rle": {"size": [2, 2], "counts": "9"}}]}, "does not fill"),
    ],
)
def test_a_mask_that_is_damaged_or_empty_is_an_error(mask, sentence):
    with pytest.raises(MaskError, match=sentence):
        Mask.model_validate(mask).to_numpy()


def test_a_png_cut_short_is_an_error(to_png64):
    data = base64.b64decode(to_png64(np.arange(10_000, dtype=np.uint8).reshape(100, 100)))
    with pytest.raises(MaskError, match="not a complete PNG"):
        Mask(b64_json=base64.b64encode(data[:60]).decode()).to_numpy()


def test_a_png_in_colour_is_not_a_categorical_mask(to_png64):
    with pytest.raises(MaskError, match="mode RGB; a categorical mask has one channel"):
        Mask(b64_json=to_png64(np.zeros((2, 2, 3), np.uint8))).to_numpy()


def test_saving_writes_the_servers_png_unchanged(tmp_path, to_png64):
    Mask(b64_json=to_png64(VALUES)).save(str(tmp_path / "mask.PNG"))
    assert (tmp_path / "mask.PNG").read_bytes() == base64.b64decode(to_png64(VALUES))


def test_saving_other_formats_writes_a_png_of_8_bits(tmp_path):
    in_polygons().save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as image:
        assert (image.format, image.mode) == ("PNG", "L")
        assert np.array_equal(np.asarray(image), in_polygons().to_numpy())


def test_a_mask_is_not_saved_in_a_format_that_would_change_its_values(tmp_path, to_png64):
    with pytest.raises(InputError, match=r"only PNG keeps a mask's values; name it 'mask\.png'"):
        Mask(b64_json=to_png64(VALUES)).save(tmp_path / "mask.jpg")
    assert list(tmp_path.iterdir()) == []


def test_the_png_is_decoded_once_for_a_mask_and_its_segments(to_png64, monkeypatch):
    decoded = []
    monkeypatch.setattr(_mask_arrays, "decode_mask", lambda text: decoded.append(text) or decode_mask(text))
    mask = Mask.model_validate({"b64_json": to_png64(VALUES), "segments": [{"value": 1}, {"value": 2}]})
    for _ in range(2):
        mask.to_numpy()
        mask.overlay(np.zeros((3, 4, 3), np.uint8))
        for segment in mask.segments:
            segment.to_numpy()
    assert len(decoded) == 1


def test_arrays_of_a_mask_are_copies(to_png64):
    mask = Mask.model_validate({"b64_json": to_png64(VALUES), "segments": [{"value": 2}]})
    mask.to_numpy()[:] = 9
    mask.segments[0].to_numpy()[:] = False
    assert np.array_equal(mask.to_numpy(), VALUES)
    assert np.array_equal(mask.segments[0].to_numpy(), VALUES == 2)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda mask: pickle.loads(pickle.dumps(mask)), Mask.model_copy])
def test_a_copy_has_the_same_pixels(to_png64, duplicate):
    mask = Mask.model_validate({"b64_json": to_png64(VALUES), "segments": [{"value": 2}]})
    mask.to_numpy()
    other = duplicate(mask)
    assert other == mask
    assert np.array_equal(other.to_numpy(), VALUES)
    assert np.array_equal(other.segments[0].to_numpy(), VALUES == 2)


@pytest.mark.parametrize("assign", [setattr, Mask.__setitem__, lambda mask, name, value: mask.update({name: value})])
def test_pixels_follow_an_assignment(to_png64, assign):
    mask = Mask.model_validate({"b64_json": to_png64(VALUES), "segments": [{"value": 2}]})
    assert mask.to_numpy().max() == 2
    assign(mask, "b64_json", to_png64(VALUES * 0 + 2))
    assert (mask.to_numpy() == 2).all()
    assert mask.segments[0].to_numpy().all()
    assert (mask.model_copy(update={"b64_json": to_png64(VALUES)}).to_numpy() == VALUES).all()
