"""Outlines: close to the mask, without specks, usable as polygons."""

import cv2
import numpy as np
import pytest

from maskery.bridges.outlines import outlines
from maskery.segmentation import Segment
from maskery.segmentation.upscale import Region


def segment(mask: np.ndarray) -> Segment:
    ys, xs = np.nonzero(mask)
    region = Region(xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if len(xs) else Region(0, 0, 0, 0)
    return Segment(1, (0,), 0.9, int(mask.sum()), region, lambda region: mask[region.slices])


def filled(rings: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """The pixels whose centres are inside a ring."""
    scale = 16
    canvas = np.zeros((shape[0] * scale, shape[1] * scale), np.uint8)
    for ring in rings:
        cv2.fillPoly(canvas, [np.rint(ring * scale).astype(np.int32)], 1)
    return canvas[scale // 2 :: scale, scale // 2 :: scale] > 0


def ellipse(width: int = 120, height: int = 90) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return ((x - 60) / 45) ** 2 + ((y - 45) / 30) ** 2 < 1


def test_an_outline_is_close_to_the_mask_with_few_corners() -> None:
    mask = ellipse()
    (ring,) = outlines(segment(mask))
    found = filled([ring], mask.shape)
    assert (found & mask).sum() / (found | mask).sum() > 0.97
    assert 8 <= len(ring) <= 60


def test_a_tolerance_leaves_fewer_corners() -> None:
    (fine,), (coarse,) = outlines(segment(ellipse())), outlines(segment(ellipse()), 0.02)
    assert len(coarse) < len(fine)


def test_a_rectangle_has_four_corners_along_its_pixels() -> None:
    mask = np.zeros((20, 30), np.bool_)
    mask[5:12, 7:23] = True
    (ring,) = outlines(segment(mask))
    assert sorted(map(tuple, ring.tolist())) == [(7, 5), (7, 12), (23, 5), (23, 12)]


def test_the_largest_part_comes_first_and_specks_are_left_out() -> None:
    mask = np.zeros((60, 80), np.bool_)
    mask[2:12, 2:12] = True
    mask[20:50, 20:70] = True
    mask[55, 75] = True
    first, second = outlines(segment(mask))
    assert first.min() == 20
    assert second.min() == 2


def test_holes_are_filled() -> None:
    mask = np.zeros((20, 20), np.bool_)
    mask[4:16, 4:16] = True
    mask[8:12, 8:12] = False
    assert len(outlines(segment(mask))) == 1


@pytest.mark.parametrize("rows", [1, 2])
def test_a_part_of_one_row_is_still_a_polygon(rows: int) -> None:
    mask = np.zeros((10, 40), np.bool_)
    mask[4 : 4 + rows, 3:30] = True
    (ring,) = outlines(segment(mask), 0.5)
    assert len(ring) >= 3


def test_a_segment_without_pixels_has_no_outline() -> None:
    assert outlines(segment(np.zeros((5, 5), np.bool_))) == []
