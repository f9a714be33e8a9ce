from collections.abc import Sequence

import numpy as np

from maskery.models.builtin.nano_prompt import PLANES, opponent_colours, prompt_planes

COLOURS = opponent_colours(np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8))


def planes(clicks: Sequence[tuple[float, float, int]], **options: bool) -> np.ndarray:
    """Of points in the window, the last of which is the newest."""
    points = np.array([click[:2] for click in clicks], np.float32)
    labels = np.array([click[2] for click in clicks], np.uint8)
    return prompt_planes(COLOURS, points, labels, (points[-1], int(labels[-1])), **options)


def test_colours_are_of_a_quarter_of_the_size() -> None:
    assert COLOURS.shape == (24, 32, 3)
    grey = opponent_colours(np.full((32, 64, 3), 100, np.uint8))
    np.testing.assert_allclose(grey, np.broadcast_to((120, 0, 0), grey.shape), atol=1e-3)


def test_spots_are_at_the_points() -> None:
    found = planes([(5.5, 7.5, 1), (20.5, 3.5, 0)])
    assert found.shape == (PLANES, 24, 32)
    assert np.unravel_index(found[0].argmax(), (24, 32)) == (7, 5)
    assert np.unravel_index(found[1].argmax(), (24, 32)) == (3, 20)
    assert found[0, 7, 5] == found[2, 7, 5] == found[4, 7, 5] == 1


def test_the_newest_point_has_a_spot_of_its_own_that_says_its_label() -> None:
    found = planes([(5.5, 7.5, 1), (20.5, 3.5, 0)])
    assert found[8].min() == found[8, 3, 20] == -1
    assert abs(found[8, 7, 5]) < 1e-3
    assert planes([(5.5, 7.5, 1)])[8, 7, 5] == 1
    assert not prompt_planes(COLOURS, np.array([(5.5, 7.5)], np.float32), np.ones(1, np.uint8))[8].any()


def test_planes_of_a_label_without_points_are_empty() -> None:
    assert not planes([(5.5, 7.5, 1)])[[1, 3, 5]].any()


def test_a_box_is_one_inside_and_minus_one_outside() -> None:
    found = prompt_planes(
        COLOURS, np.empty((0, 2), np.float32), np.empty(0, np.uint8), box=np.array((4, 6, 10, 9), np.float32)
    )
    assert (found[6] > 0).sum() == 6 * 3
    assert (found[6] < 0).sum() == 24 * 32 - 18
    assert not found[:6].any()


def test_a_point_at_the_far_edge_is_on_the_grid() -> None:
    assert np.unravel_index(planes([(32.0, 24.0, 1)])[0].argmax(), (24, 32)) == (23, 31)


def test_kinds_of_looks_are_marked_everywhere() -> None:
    assert [planes([(3, 3, 1)], single=True)[plane].mean() for plane in (7, 9)] == [1, 0]
    assert [planes([(3, 3, 1)], local=True)[plane].mean() for plane in (7, 9)] == [0, 1]


def test_many_points_have_the_nearest_of_them() -> None:
    points = np.random.default_rng(1).uniform(0, 24, (50, 2)).astype(np.float32)
    found = prompt_planes(COLOURS, points, np.ones(50, np.uint8))
    alone = [prompt_planes(COLOURS, each[None], np.ones(1, np.uint8)) for each in points]
    np.testing.assert_allclose(found[2], np.max([each[2] for each in alone], axis=0), atol=1e-6)
    np.testing.assert_allclose(found[4], np.max([each[4] for each in alone], axis=0), atol=1e-6)
