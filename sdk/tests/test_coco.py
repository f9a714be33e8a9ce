"""COCO files of answers, as pycocotools reads them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from pycocotools import mask as coco
from pycocotools.coco import COCO

from air import MaskError, SegmentationResponse
from air._coco import encode_rle

# pycocotools' own, while it decodes.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

VALUES = np.array([[0, 1, 1, 0, 0], [0, 1, 1, 0, 2], [3, 0, 0, 0, 2]], np.uint8)


def answered(*masks):
    return SegmentationResponse.model_validate({"created": 1, "data": list(masks)})


def rle(pixels):
    encoded = coco.encode(np.asfortranarray(pixels.astype(np.uint8)))
    return {"size": list(pixels.shape), "counts": encoded["counts"].decode()}


def loaded(file, path):
    """What pycocotools reads: per annotation the name of its category, its entry and its pixels."""
    path.write_text(json.dumps(file))
    dataset = COCO(path)
    names = {category["id"]: category["name"] for category in dataset.loadCats(dataset.getCatIds())}
    entries = dataset.loadAnns(dataset.getAnnIds())
    return [(names[entry["category_id"]], entry, dataset.annToMask(entry).astype(bool)) for entry in entries]


@given(npst.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_run_lengths_are_written_as_pycocotools_writes_them(mask):
    assert encode_rle(mask) == rle(mask)["counts"]


@pytest.mark.parametrize("form", ["b64_json", "rle", "only a mask"])
def test_a_coco_file_holds_the_pixels_of_every_segment(form, to_png64, tmp_path):
    segments = [
        {"value": 1, "area": 4, "bbox": [1, 0, 2, 2], "score": 0.9, "label": "car"},
        {"value": 2, "area": 2, "bbox": [4, 1, 1, 2], "label": "car"},
        {"value": 3, "area": 1, "bbox": [0, 2, 1, 1]},
        {"value": 4, "area": 0},
    ]
    mask = {"b64_json": to_png64(VALUES), "segments": segments}
    if form == "rle":
        mask = {"segments": [{**each, "rle": rle(each["value"] == VALUES)} for each in segments]}
    elif form == "only a mask":
        mask = {"b64_json": to_png64(VALUES), "label": "car"}
    file = answered(mask).to_coco("desk.jpg")
    assert file["images"] == [{"id": 1, "file_name": "desk.jpg", "width": 5, "height": 3}]
    annotations = loaded(file, tmp_path / "coco.json")
    assert [name for name, _, _ in annotations] == ["car", "car", "car" if form == "only a mask" else "object"]
    for value, (_, entry, pixels) in enumerate(annotations, start=1):
        assert np.array_equal(pixels, value == VALUES)
        assert (entry["area"], entry["bbox"]) == (segments[value - 1]["area"], segments[value - 1]["bbox"])


def test_polygons_stay_polygons_unless_they_have_holes(tmp_path):
    def square(x, y, side):
        return [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]

    segments = [
        {"value": 1, "area": 24, "bbox": [0, 0, 5, 5], "polygons": [[square(0, 0, 5), square(2, 2, 1)]]},
        {"value": 2, "area": 10, "bbox": [6, 0, 3, 5], "polygons": [[square(6, 0, 3)], [square(8, 4, 1)]]},
    ]
    file = answered({"width": 10, "height": 6, "segments": segments}).to_coco()
    ring, parts = (annotation["segmentation"] for annotation in file["annotations"])
    assert parts == [[6, 0, 9, 0, 9, 3, 6, 3], [8, 4, 9, 4, 9, 5, 8, 5]]
    assert ring["size"] == [6, 10]
    (_, _, with_hole), (_, _, without) = loaded(file, tmp_path / "coco.json")
    assert with_hole.sum() == 24
    assert not with_hole[2, 2]
    assert without.sum() == 10


def test_an_answer_without_masks_has_no_file():
    with pytest.raises(MaskError, match="no mask"):
        answered().to_coco()
