import numpy as np
import pytest

from maskery.models.builtin.nano_prompt import lab_colours
from maskery.models.builtin.nano_window import Window, crop, encode_prompt, paste_window, sample_window, window_around
from maskery.segmentation import ObjectPrompt, Size

SIZE = Size(400, 300)


def prompt(*points: tuple[float, float, int], box: tuple[float, float, float, float] | None = None) -> ObjectPrompt:
    return ObjectPrompt(
        np.array([point[:2] for point in points], np.float32).reshape(-1, 2),
        np.array([point[2] for point in points], np.uint8),
        None if box is None else np.array(box, np.float32),
    )


def square(rows: int = 75, columns: int = 100) -> np.ndarray:
    """Logits of a square from (100, 80) to (140, 120) in the image."""
    logits = np.full((rows, columns), -4, np.float32)
    logits[20:30, 25:35] = 4
    return logits


def test_a_window_surrounds_the_mask_with_a_margin() -> None:
    assert window_around(square(), prompt(), SIZE) == pytest.approx((88, 68, 152, 132))


def test_a_window_contains_positive_points_and_the_box_but_not_negative_points() -> None:
    window = window_around(square(), prompt((300, 100, 1), (10, 10, 0), box=(90, 90, 200, 250)), SIZE)
    assert window is not None
    assert window.x0 > 10
    assert window.x0 < 90
    assert window.x1 > 300
    assert window.y1 > 250


def test_a_window_ends_where_the_image_does() -> None:
    assert window_around(np.ones((75, 100), np.float32), prompt(), SIZE) == Window.whole(SIZE)


def test_an_empty_mask_has_no_window() -> None:
    assert window_around(-(square() ** 2), prompt(), SIZE) is None


def test_a_window_is_at_most_twice_as_long_as_wide() -> None:
    logits = np.full((75, 100), -1, np.float32)
    logits[40, 20:80] = 1
    window = window_around(logits, prompt(), SIZE)
    assert window is not None
    assert window.width == pytest.approx(2 * window.height)


def test_a_crop_has_the_pixels_of_the_window() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (150, 200, 3), dtype=np.uint8)
    part, window = crop(pixels, Window(101, 51, 200, 149.5), SIZE)
    np.testing.assert_array_equal(part, pixels[25:75, 50:100])
    assert window == Window(100, 50, 200, 150)


def test_logits_are_sampled_in_a_window_and_pasted_back() -> None:
    window = Window(88, 68, 152, 132)
    seen = sample_window(square(), window, SIZE, 64, 64)
    assert (seen[16:48, 16:48] > 0).all()
    assert (seen[:10] < 0).all()
    whole = paste_window(square(), seen, window, SIZE, SIZE)
    assert whole.shape == (300, 400)
    assert (whole[84:116, 104:136] > 0).all()
    assert (whole > 0).sum() == pytest.approx(40 * 40, rel=0.05)


def test_the_grid_is_not_finer_than_its_limit() -> None:
    window = Window(100, 80, 104, 84)
    assert paste_window(square(), square(), window, SIZE, Size(120, 90)).shape == (90, 120)


def test_points_outside_the_window_are_left_out() -> None:
    colours = lab_colours(np.zeros((24, 32, 3), np.uint8))
    found = encode_prompt(prompt((110, 90, 1), (10, 10, 0)), colours, Window(100, 80, 132, 104), False)
    assert found.shape == (1, 8, 24, 32)
    assert np.unravel_index(found[0, 0].argmax(), (24, 32)) == (10, 10)
    assert not found[0, 1].any()
