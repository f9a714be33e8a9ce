import numpy as np
import pytest

from maskery.models.builtin.nano_window import (
    Window,
    around_object,
    around_point,
    as_clicked,
    copy_of,
    paste,
    previous_mask,
)

WHOLE = Window.whole(300, 400)
NO_POINTS = np.empty((0, 2), np.float32)


def square() -> np.ndarray:
    """Logits of a square from (100, 80) to (140, 120)."""
    logits = np.full((300, 400), -4, np.float32)
    logits[80:120, 100:140] = 4
    return logits


def test_a_window_surrounds_the_mask_with_a_margin() -> None:
    logits = np.full((300, 400), -4, np.float32)
    logits[80:180, 100:200] = 4
    assert around_object(logits, NO_POINTS, None) == (70, 50, 230, 210, False)


def test_a_window_contains_points_on_the_object_and_the_box() -> None:
    window = around_object(square(), np.array([(250, 100)], np.float32), np.array((90, 90, 200, 220), np.float32))
    assert window.x0 < 90
    assert window.x1 > 250
    assert window.y1 > 220


@pytest.mark.parametrize("logits", [np.ones((300, 400), np.float32), np.full((300, 400), -1, np.float32)])
def test_the_window_of_a_full_or_an_empty_mask_is_the_whole_image(logits: np.ndarray) -> None:
    assert around_object(logits, NO_POINTS, None) == WHOLE


def test_a_window_is_not_too_long_and_not_too_small() -> None:
    logits = np.full((300, 400), -1, np.float32)
    logits[150, 100:300] = 1
    window = around_object(logits, NO_POINTS, None)
    assert (window.x1 - window.x0) / (window.y1 - window.y0) == pytest.approx(1.6)
    logits = np.full((300, 400), -1, np.float32)
    logits[150, 100] = 1
    assert around_object(logits, NO_POINTS, None).area == 72 * 72


@pytest.mark.parametrize("point", [(0.5, 0.5), (399.5, 299.5), (200, 150)])
def test_a_window_around_a_point_is_smaller_and_within_the_image(point: tuple[float, float]) -> None:
    around = Window(50, 50, 250, 250)
    window = around_point(np.array(point, np.float32), around, 300, 400)
    assert window.local
    assert window.area == pytest.approx(90 * 90)
    assert 0 <= window.x0 <= point[0] <= window.x1 <= 400
    assert 0 <= window.y0 <= point[1] <= window.y1 <= 300
    assert window.shape == (160, 160)


def test_a_window_has_the_shape_of_nearest_aspect_ratio() -> None:
    assert Window(0, 0, 400, 400).shape == (256, 256)
    assert Window(0, 0, 1000, 100).shape == (192, 320)
    assert Window(0, 0, 300, 390).shape == (288, 224)


def test_a_window_with_few_pixels_has_a_small_shape() -> None:
    assert Window(0, 0, 192, 192).shape == (160, 160)
    assert Window(0, 0, 192, 193).shape == (256, 256)
    assert Window(0, 0, 100, 150).shape == (192, 128)


def test_a_copy_has_at_most_768_pixels_a_side() -> None:
    pixels = np.zeros((30, 3000, 3), np.uint8)
    assert copy_of(pixels).shape == (8, 768, 3)
    small = np.zeros((30, 40, 3), np.uint8)
    assert copy_of(small).shape == small.shape
    assert not np.shares_memory(copy_of(small), small)


def test_logits_are_read_in_a_window_and_pasted_back() -> None:
    window = Window(88.5, 68.2, 151.7, 131.5)
    read = previous_mask(square(), window)
    assert read.shape == (80, 80)
    assert (read[20:60, 20:60] > 0.9).all()
    assert (read[:12] < -0.9).all()
    changed = paste(square() * 0 - 4, read * 100, window)
    assert (changed[84:116, 104:136] == 8).all()
    outside = np.ones_like(changed, bool)
    outside[window.slices] = False
    assert (changed[outside] == -4).all()


def test_the_newest_of_two_points_on_a_pixel_counts() -> None:
    points = np.array([(1.5, 1.5), (1.2, 1.9), (3, 3)], np.float32)
    found = as_clicked(np.full((4, 4), 9, np.int8), points, np.array([1, 0, 1], np.uint8))
    assert found[1, 1] < 0
    assert found[3, 3] == 9
    assert (found > 0).sum() == 15
