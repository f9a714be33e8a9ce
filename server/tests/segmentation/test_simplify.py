"""Polygons are simplified within the tolerance, and stay valid; shapely is the judge."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely import LineString, Polygon

from maskery.segmentation.polygons import trace
from maskery.segmentation.simplify import simplify

Mask = NDArray[np.bool_]


def blobs(seed: int, side: int = 80) -> Mask:
    """Discs and lines that are added and cut out, at random: parts, holes, slits and single pixels."""
    random = np.random.default_rng(seed)
    pixels = np.zeros((side, side), np.uint8)
    for _ in range(14):
        x, y = random.integers(0, side, 2).tolist()
        radius, value = int(random.integers(1, 16)), int(random.random() < 0.6)
        cv2.circle(pixels, (x, y), radius, value, -1)
        end = random.integers(0, side, 2).tolist()
        cv2.line(pixels, (x, y), end, 1 - value, int(random.integers(1, 4)))
    return pixels.astype(bool)


def fill(polygons: list[list[list[list[int]]]], shape: tuple[int, ...]) -> Mask:
    """The pixels whose centres lie within the rings, by the even-odd rule."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    inside = np.zeros(shape, bool)
    for ring in (ring for polygon in polygons for ring in polygon):
        for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
            if y0 != y1:
                inside ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 1.0, 2.0, 7.0, 100.0]))
def test_simplified_polygons_are_valid_and_within_the_tolerance(seed: int, tolerance: float) -> None:
    exact = trace(blobs(seed))
    simplified = simplify(exact, tolerance)
    assert [len(polygon) for polygon in simplified] == [len(polygon) for polygon in exact]
    for before, after in zip(exact, simplified, strict=True):
        for ring, fewer in zip(before, after, strict=True):
            assert 3 <= len(fewer) <= len(ring)
            assert {*map(tuple, fewer)} <= {*map(tuple, ring)}
            outline = LineString([*fewer, fewer[0]])
            distances = [outline.distance(each) for each in map(LineString, zip(ring, ring, strict=True))]
            assert max(distances) <= tolerance + 1e-9
        # A part that touches itself at a corner of pixels is not valid by OGC's rules before, either.
        if Polygon(before[0], before[1:]).is_valid:
            assert Polygon(after[0], after[1:]).is_valid


def test_a_tolerance_of_one_pixel_leaves_out_most_corners_and_few_pixels_change() -> None:
    y, x = np.mgrid[:400, :600]
    ellipse = ((x - 300) / 250) ** 2 + ((y - 200) / 150) ** 2 < 1
    ellipse[150:250, 250:350] = False
    exact = trace(ellipse)
    simplified = simplify(exact, 1.0)
    corners = [sum(len(ring) for polygon in polygons for ring in polygon) for polygons in (exact, simplified)]
    assert corners[1] < 0.2 * corners[0]
    assert np.count_nonzero(fill(simplified, ellipse.shape) != ellipse) < 0.01 * np.count_nonzero(ellipse)
    assert len(simplified) == 1
    assert simplified[0][1] == exact[0][1], "the corners of a rectangle stay"


def test_no_tolerance_changes_nothing() -> None:
    exact = trace(blobs(7))
    assert simplify(exact, 0) == exact
    assert np.array_equal(fill(exact, (80, 80)), blobs(7))


def test_a_hole_near_the_border_stays_inside() -> None:
    """With this tolerance alone, the outer ring would cut through the hole."""
    mask = np.ones((40, 40), bool)
    for row in range(20):
        mask[row, : 20 - row] = False
    mask[12:30, 11:13] = False
    (before,), (after,) = trace(mask), simplify(trace(mask), 6.0)
    assert Polygon(before[0], before[1:]).is_valid
    assert Polygon(after[0], after[1:]).is_valid
    assert Polygon(after[0]).contains(Polygon(after[1]))


@pytest.mark.parametrize("mask", [np.zeros((5, 5), bool), np.ones((1, 1), bool), np.eye(4, dtype=bool)])
def test_degenerate_masks(mask: Mask) -> None:
    assert np.array_equal(fill(simplify(trace(mask), 1.0), mask.shape), mask)
