import numpy as np
import pytest

from benchmarks.clicks import Click, Truth, clicks_needed, deepest, iou, next_click, rank_correlation


def region(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """bool [40, 60], True in boxes of x0, y0, x1, y1."""
    pixels = np.zeros((40, 60), np.bool_)
    for x0, y0, x1, y1 in boxes:
        pixels[y0:y1, x0:x1] = True
    return pixels


def truth(wanted: np.ndarray, ignored: np.ndarray | None = None) -> Truth:
    values = np.where(wanted, 255, 0).astype(np.uint8)
    if ignored is not None:
        values[ignored] = 128
    return Truth.from_values(values)


NOTHING = region()


def test_the_first_click_is_the_deepest_point_of_the_object() -> None:
    assert next_click(truth(region((10, 10, 31, 21))), NOTHING) == Click(15, 15, True)


def test_the_deepest_point_is_far_from_the_images_border_too() -> None:
    (x, y), depth = deepest(region((0, 0, 21, 21)))
    assert ((x, y), depth) == ((10, 10), 11)


def test_an_empty_region_has_no_depth() -> None:
    assert deepest(NOTHING)[1] == 0


def test_what_was_missed_gets_a_click_on_the_object() -> None:
    wanted = region((5, 5, 45, 25))
    assert next_click(truth(wanted), region((5, 5, 34, 25))) == Click(39, 10, True)


def test_what_was_too_much_gets_a_click_off_the_object() -> None:
    wanted = region((5, 5, 25, 25))
    assert next_click(truth(wanted), region((5, 5, 36, 25))) == Click(30, 10, False)


def test_the_deeper_of_the_two_errors_is_clicked() -> None:
    wanted = region((0, 0, 30, 30))
    answer = region((0, 0, 30, 25), (30, 0, 45, 30))
    assert next_click(truth(wanted), answer) == Click(37, 7, False)


def test_there_is_nothing_to_click_when_the_answer_is_right() -> None:
    wanted = region((5, 5, 25, 25))
    assert next_click(truth(wanted), wanted) is None


def test_ignored_pixels_are_never_clicked_and_never_wrong() -> None:
    ignored = region((25, 5, 40, 25))
    answer = region((5, 5, 40, 25))
    assert next_click(truth(region((5, 5, 40, 25)), ignored), answer) is None
    assert iou(truth(region((5, 5, 40, 25)), ignored), answer) == 1


def test_iou_counts_only_pixels_that_are_not_ignored() -> None:
    wanted, ignored = region((0, 0, 30, 10)), region((20, 0, 40, 10))
    assert iou(truth(wanted, ignored), region((10, 0, 50, 10))) == pytest.approx(10 / 30)


def test_iou_of_nothing_with_nothing_is_one() -> None:
    assert iou(truth(NOTHING), NOTHING) == 1


def test_clicks_needed_is_the_first_to_reach_the_threshold() -> None:
    assert clicks_needed([0.5, 0.9, 0.8], 0.85) == 2
    assert clicks_needed([0.85], 0.85) == 1
    assert clicks_needed([0.5, 0.84], 0.85) is None


def test_rank_correlation_sees_only_the_order() -> None:
    series = np.array([0.1, 0.5, 0.2, 0.9])
    assert rank_correlation(series, np.exp(series)) == pytest.approx(1)
    assert rank_correlation(series, -series) == pytest.approx(-1)


def test_rank_correlation_shares_ranks_among_equals() -> None:
    # Ranks 1.5, 1.5, 3 against 1, 2, 3: 1.5 / sqrt(1.5 x 2).
    assert rank_correlation(np.array([0.0, 0, 1]), np.array([1.0, 2, 3])) == pytest.approx(0.75**0.5)


def test_rank_correlation_with_a_constant_is_not_a_number() -> None:
    assert np.isnan(rank_correlation(np.ones(3), np.arange(3.0)))
