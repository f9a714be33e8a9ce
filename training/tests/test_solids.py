"""Solids are seen as geometry says."""

import numpy as np
import pytest

from training import assemblies
from training.solids import NOTHING, Solid, render, turn

UPRIGHT = turn(0.0, 0.0, 0.0)


def white(side):
    return np.full((side, side, 3), 180, np.uint8)


def seen(*solids, view=UPRIGHT, side=96):
    return render(solids, view, np.random.default_rng(0), white, side)


def share(view, part):
    return (view.parts == part).mean()


# The longest side fills 1 / 1.04 of the image.
FILLED = 1 / 1.04**2


@pytest.mark.parametrize(("kind", "expected"), [("ball", np.pi / 4), ("box", 1.0), ("tube", 1.0)])
def test_the_outline_of_a_solid_seen_from_the_front(kind, expected):
    assert share(seen(Solid(kind, (0, 0, 0), (1, 1, 1), 0)), 0) == pytest.approx(expected * FILLED, rel=0.03)


def test_a_cylinder_seen_along_its_axis_is_a_disc():
    view = seen(Solid("tube", (0, 0, 0), (1, 1, 1), 0), view=turn(0.0, 0.0, np.pi / 2))
    assert share(view, 0) == pytest.approx(np.pi / 4 * FILLED, rel=0.03)


def test_half_lengths_are_those_of_its_axes():
    view = seen(Solid("ball", (0, 0, 0), (1, 0.5, 3), 0))
    columns, rows = ((view.parts == 0).any(axis).sum() for axis in (0, 1))
    assert columns == pytest.approx(2 * rows, abs=2)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 0)])
def test_what_is_nearer_hides_what_is_behind_it_in_any_order(first, second):
    both = [Solid("box", (0, 0, 0), (1, 1, 0.1), 0), Solid("box", (0, 0, -2), (0.5, 0.5, 0.1), 1)]
    view = seen(both[first], both[second])
    assert view.parts[48, 48] == 1
    assert share(view, 1) == pytest.approx(0.25 * FILLED, rel=0.1)
    turned = seen(both[first], both[second], view=turn(0.0, np.pi, 0.0))
    assert turned.parts[48, 48] == 0


def test_a_turn_about_z_turns_what_is_seen():
    board = Solid("box", (0, 0, 0), (1, 0.2, 0.2), 0, (np.pi / 2, 0.0))
    rows, columns = ((seen(board).parts == 0).any(axis).sum() for axis in (1, 0))
    assert rows == pytest.approx(5 * columns, rel=0.1)


def test_the_counterpart_of_a_turned_solid_is_its_mirror_image():
    arm = Solid("box", (0.8, 0.1, 0), (0.1, 0.6, 0.1), 0, (0.5, 0.3))
    parts = seen(arm, arm.mirrored()).parts
    assert (parts == parts[:, ::-1]).mean() > 0.98


def test_light_comes_from_above_more_than_from_below():
    view = seen(Solid("ball", (0, 0, 0), (1, 1, 1), 0))
    brightness = view.pixels[:, :, :3].mean(2)
    assert brightness[12:30, 40:56].mean() > brightness[66:84, 40:56].mean() + 10


def test_opacity_is_where_a_part_is():
    view = assemblies.draw(np.random.default_rng(4), white)
    np.testing.assert_array_equal(view.pixels[:, :, 3] == 255, view.parts != NOTHING)


def test_assemblies_are_the_same_for_the_same_seed_and_fill_their_picture():
    for seed in range(60):
        view, again = (assemblies.draw(np.random.default_rng(seed), white, 64) for _ in range(2))
        np.testing.assert_array_equal(view.pixels, again.pixels)
        covered = view.parts != NOTHING
        assert max(covered.any(0).sum(), covered.any(1).sum()) > 64 * 0.6
        assert 0.01 < covered.mean() < 0.98


def test_most_assemblies_show_parts_of_different_stuff():
    shown = [len(np.unique(assemblies.draw(np.random.default_rng(seed), white, 64).parts)) for seed in range(60)]
    assert np.mean([number > 2 for number in shown]) > 0.85
