"""PNG, RLE and polygons describe one mask."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from pycocotools import mask as coco

from maskery.segmentation import Size, polygons, rle, to_png

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))


@given(masks, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_rle_equals_cocos_and_is_decoded(crop: np.ndarray, left: int, top: int, right: int, bottom: int) -> None:
    whole = np.pad(crop, ((top, bottom), (left, right)))
    size = Size(whole.shape[1], whole.shape[0])
    encoded = rle.encode(crop, (left, top), size)
    assert encoded["size"] == [size.height, size.width]
    theirs = coco.encode(np.asfortranarray(whole.astype(np.uint8)))
    assert encoded["counts"] == theirs["counts"].decode()
    assert (rle.decode(encoded["counts"], size) == whole).all()


@pytest.mark.parametrize(
    "counts",
    [
        *("", "0", "o", "P" * 20, "\u20ac", "\ud800", "1 2", "ooooooooo0", "o" * 30 + "0", None, {}),
        *([], [5], [1.0, 3.0], [True, 3], [-1, 5], [10**30, 4]),
    ],
)
def test_counts_that_do_not_fill_the_image_are_refused(counts: object) -> None:
    with pytest.raises(ValueError, match=r"must|not|ends"):
        rle.decode(counts, Size(2, 2))


def test_the_number_of_runs_is_limited_before_they_are_decoded() -> None:
    size = Size(4000, 4000)
    with pytest.raises(ValueError, match="at most 1,000,000 runs"):
        rle.decode("1" * 2_000_000, size)
    with pytest.raises(ValueError, match="at most 1,000,000 runs"):
        rle.decode("o" * 80_000_000, size)
    with pytest.raises(ValueError, match="at most 1,000,000 runs"):
        rle.decode([16] * 1_000_001, size)
    with pytest.raises(ValueError, match="at most 5 runs"):
        rle.decode([1, 1, 1, 1, 0, 0], Size(2, 2))


def test_a_million_runs_are_decoded() -> None:
    chess = np.indices((1000, 999)).sum(axis=0) % 2 == 1
    encoded = rle.encode(chess, (0, 0), Size(999, 1000))
    assert (rle.decode(encoded["counts"], Size(999, 1000)) == chess).all()


def fill(parts: list[polygons.Polygon], height: int, width: int) -> np.ndarray:
    """Even-odd filling: every vertical edge inverts the pixels to its right."""
    flips = np.zeros((height, width + 1), int)
    for ring in (ring for part in parts for ring in part):
        for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
            assert (x0 == x1) != (y0 == y1)
            if x0 == x1:
                flips[min(y0, y1) : max(y0, y1), x0] += 1
    return np.cumsum(flips, axis=1)[:, :width] % 2 == 1


def area(ring: polygons.Ring) -> float:
    x, y = np.array(ring).T
    return abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2


@given(masks)
def test_polygons_fill_to_the_mask_and_keep_its_holes(mask: np.ndarray) -> None:
    parts = polygons.trace(mask)
    assert (fill(parts, *mask.shape) == mask).all()
    assert sum(area(rings[0]) - sum(map(area, rings[1:])) for rings in parts) == mask.sum()


def test_a_hole_and_the_island_in_it_are_traced() -> None:
    mask = np.zeros((9, 9), bool)
    mask[1:8, 1:8] = True
    mask[3:6, 3:6] = False
    mask[4, 4] = True
    ring, island = polygons.trace(mask, (100, 200))
    assert ring == [
        [[101, 201], [108, 201], [108, 208], [101, 208]],
        [[103, 203], [106, 203], [106, 206], [103, 206]],
    ]
    assert island == [[[104, 204], [105, 204], [105, 205], [104, 205]]]


def test_pixels_that_touch_at_a_corner_are_two_parts() -> None:
    assert len(polygons.trace(np.eye(2, dtype=bool))) == 2
    assert len(polygons.trace(np.eye(2, dtype=bool)[::-1])) == 2


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_png_is_lossless_at_both_depths(kind: type) -> None:
    values = np.random.default_rng(1).integers(0, np.iinfo(kind).max, (33, 47), endpoint=True).astype(kind)
    image = Image.open(io.BytesIO(to_png(values)))
    assert image.mode == ("L" if kind is np.uint8 else "I;16")
    assert (np.asarray(image) == values).all()
