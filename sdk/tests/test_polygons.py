"""Filling polygons: exact along the edges of pixels, even-odd within."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from air._mask_arrays import fill_polygons


def outline(mask):
    """Every ring around a mask's pixels, by walking along pixel edges with the inside on the right."""
    padded = np.pad(mask, 1)
    steps = {}
    for y, x in np.argwhere(mask):
        for (dy, dx), start, end in (
            ((-1, 0), (x, y), (x + 1, y)),
            ((0, 1), (x + 1, y), (x + 1, y + 1)),
            ((1, 0), (x + 1, y + 1), (x, y + 1)),
            ((0, -1), (x, y + 1), (x, y)),
        ):
            if not padded[y + 1 + dy, x + 1 + dx]:
                steps.setdefault(tuple(map(int, start)), []).append(tuple(map(int, end)))
    rings = []
    while steps:
        corner = first = next(iter(steps))
        ring = []
        while True:
            ring.append(corner)
            ends = steps[corner]
            corner_next = ends.pop()
            if not ends:
                del steps[corner]
            corner = corner_next
            if corner == first:
                break
        rings.append(ring)
    return rings


@given(npst.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_the_outline_of_any_mask_is_filled_to_that_mask(mask):
    assert np.array_equal(fill_polygons(outline(mask), *mask.shape), mask)


def test_a_ring_within_a_ring_is_a_hole_and_one_within_that_is_an_island():
    rings = [[(a, a), (9 - a, a), (9 - a, 9 - a), (a, 9 - a)] for a in (0, 2, 4)]
    filled = fill_polygons(rings, 9, 9)
    assert filled[0].all()
    assert filled[4].tolist() == [True, True, False, False, True, False, False, True, True]


def test_the_direction_of_a_ring_does_not_matter():
    ring = [(1, 1), (4, 1), (4, 3), (1, 3)]
    assert np.array_equal(fill_polygons([ring], 5, 5), fill_polygons([ring[::-1]], 5, 5))
    assert fill_polygons([ring], 5, 5).sum() == 6


def test_what_lies_beyond_the_mask_is_cut_off():
    assert fill_polygons([[(-5, -5), (50, -5), (50, 50), (-5, 50)]], 3, 4).all()
    assert not fill_polygons([[(5, 0), (9, 0), (9, 9), (5, 9)]], 3, 4).any()
    assert not fill_polygons([[(-9, 0), (-5, 0), (-5, 9), (-9, 9)]], 3, 4).any()


def test_slanted_edges_keep_the_pixels_whose_centre_is_inside():
    triangle = [(0.2, 0.1), (30.7, 5.3), (12.4, 28.9)]
    filled = fill_polygons([triangle], 32, 32)
    contour = np.array(triangle, np.float32)
    for y, x in np.ndindex(filled.shape):
        assert filled[y, x] == (cv2.pointPolygonTest(contour, (x + 0.5, y + 0.5), False) > 0)


@pytest.mark.parametrize("rings", [[], [[]], [[(1, 1)]], [[(1, 1), (3, 1)]]])
def test_a_ring_without_an_interior_fills_nothing(rings):
    assert not fill_polygons(rings, 4, 4).any()
