"""Small islands and holes of a mask are removed, unless they contain a point."""

import numpy as np
import pytest

from maskery.models.builtin.nano_postprocess import remove_small_regions
from maskery.segmentation import ObjectPrompt, Size

SIZE = Size(200, 160)


def prompt(*clicks: tuple[float, float, int]) -> ObjectPrompt:
    """Clicks (x, y, label) in pixels of the image."""
    found = np.array(clicks, np.float32).reshape(-1, 3)
    return ObjectPrompt(found[:, :2].copy(), found[:, 2].astype(np.uint8))


def mask(*boxes: tuple[slice, slice, float]) -> np.ndarray:
    """Logits on a grid of half the image's rows and columns: -4, and the logit of each box."""
    logits = np.full((80, 100), -4.0, np.float32)
    for rows, columns, logit in boxes:
        logits[rows, columns] = logit
    return logits


LARGE = (slice(10, 50), slice(10, 50), 3.0)
SPECK = (slice(60, 64), slice(80, 84), 2.0)
HOLE = (slice(20, 24), slice(20, 24), -2.0)
ON_LARGE = (70.0, 70.0, 1)


def test_a_speck_is_removed_and_the_rest_is_unchanged() -> None:
    logits = mask(LARGE, SPECK)
    np.testing.assert_array_equal(remove_small_regions(logits, prompt(ON_LARGE), SIZE) > 0, mask(LARGE) > 0)
    untouched = np.ones_like(logits, bool)
    untouched[SPECK[:2]] = False
    np.testing.assert_array_equal(remove_small_regions(logits, prompt(ON_LARGE), SIZE)[untouched], logits[untouched])
    assert (logits[SPECK[:2]] == 2.0).all()


def test_a_speck_with_a_point_is_kept() -> None:
    logits = mask(LARGE, SPECK)
    assert (remove_small_regions(logits, prompt(ON_LARGE, (164.0, 124.0, 1)), SIZE) == logits).all()
    gone = remove_small_regions(logits, prompt(ON_LARGE, (164.0, 124.0, 0)), SIZE)
    assert (gone[SPECK[:2]] < 0).all()


def test_a_large_second_island_is_kept() -> None:
    logits = mask(LARGE, (slice(55, 75), slice(60, 80), 1.0))
    assert (remove_small_regions(logits, prompt(ON_LARGE), SIZE) == logits).all()


def test_a_hole_is_filled_unless_it_has_a_negative_point() -> None:
    logits = mask(LARGE, HOLE)
    assert (remove_small_regions(logits, prompt(ON_LARGE), SIZE) > 0).sum() == 1600
    assert (remove_small_regions(logits, prompt(ON_LARGE, (44.0, 44.0, 0)), SIZE) == logits).all()


def test_islands_in_holes_and_holes_in_islands_are_removed() -> None:
    dot = (slice(21, 23), slice(21, 23), 1.0)
    np.testing.assert_array_equal(
        remove_small_regions(mask(LARGE, HOLE, dot), prompt(ON_LARGE), SIZE) > 0, mask(LARGE) > 0
    )
    pierced = mask(LARGE, SPECK, (slice(61, 63), slice(81, 83), -1.0))
    np.testing.assert_array_equal(remove_small_regions(pierced, prompt(ON_LARGE), SIZE) > 0, mask(LARGE) > 0)


def test_cells_that_meet_at_a_corner_only_are_an_island() -> None:
    logits = mask(LARGE, (slice(50, 53), slice(50, 53), 2.0))
    np.testing.assert_array_equal(remove_small_regions(logits, prompt(ON_LARGE), SIZE) > 0, mask(LARGE) > 0)


def test_a_large_hole_is_kept() -> None:
    logits = mask(LARGE, (slice(20, 32), slice(20, 32), -2.0))
    assert (remove_small_regions(logits, prompt(ON_LARGE), SIZE) == logits).all()


def test_a_small_corner_of_the_image_is_not_a_hole() -> None:
    logits = np.full((80, 100), 3.0, np.float32)
    logits[:4, :4] = -1
    assert (remove_small_regions(logits, prompt(ON_LARGE), SIZE) == logits).all()


@pytest.mark.parametrize("logit", [-3.0, 3.0])
def test_an_empty_and_a_full_mask_are_unchanged(logit: float) -> None:
    logits = np.full((80, 100), logit, np.float32)
    assert (remove_small_regions(logits, prompt((199.9, 159.9, 1), (0.0, 0.0, 0)), SIZE) == logits).all()


def test_small_regions_are_removed_for_a_box_alone() -> None:
    asked = ObjectPrompt(np.zeros((0, 2), np.float32), np.zeros(0, np.uint8), np.array((10, 10, 120, 120), np.float32))
    np.testing.assert_array_equal(remove_small_regions(mask(LARGE, SPECK, HOLE), asked, SIZE) > 0, mask(LARGE) > 0)
