"""Stick figures on clutter, whose joints are known."""

import numpy as np
import pytest

from cnnjax.data import check, figures
from cnnjax.refusals import ConfigError


def test_figures_are_a_function_of_world_split_and_index():
    one, other = figures(train=6, test=4), figures(train=9, test=3)
    for field, values in one.train.arrays.items():
        np.testing.assert_array_equal(values, other.train.arrays[field][:6])
    assert not np.array_equal(one.train.arrays["image"][:4], one.test.arrays["image"])
    assert not np.array_equal(figures(train=4, test=2, world=1).train.arrays["points"], one.train.arrays["points"][:4])


def test_the_facts_name_the_joints_and_say_what_a_mirror_and_a_drawing_make_of_them():
    source = figures(train=8, test=2, size=48)
    check(source, 8)
    names, extra = source.facts.extra["point_names"], source.facts.extra
    assert source.facts.shape == (48, 48, 3)
    assert source.facts.fields["points"] == ((14, 2), np.float32)
    for name, other in zip(names, extra["mirror"], strict=True):
        assert {name, names[other]} in (
            {name},
            {name, name.replace("left", "right")},
            {name.replace("right", "left"), name},
        )
    assert {"neck head_top", "left_hip left_knee", "right_elbow right_wrist"} <= {
        f"{names[a]} {names[b]}" for a, b in extra["skeleton"]
    }


def test_joints_lie_on_their_figure_wholly_in_the_picture_upright_with_its_left_at_our_right():
    source = figures(train=60, test=2, turn=0, clutter=0, hiding=0, noise=0)
    images, points = source.train.arrays["image"].astype(int), source.train.arrays["points"]
    assert (points >= 0).all()
    assert (points <= 63).all()
    place = source.facts.extra["point_names"].index
    for part in ("shoulder", "hip"):
        assert (points[:, place(f"left_{part}"), 1] > points[:, place(f"right_{part}"), 1]).all()
    assert (points[:, place("head_top"), 0] < points[:, place("neck"), 0]).all()
    y, x = np.moveaxis(np.rint(points).astype(int), -1, 0)
    there, ground = images[np.arange(60)[:, None], y, x], images[:, [0, 0, 63, 63], [0, 63, 0, 63]].mean(1)
    assert (np.abs(there - ground[:, None]).max(-1) > 40).mean() > 0.98
    sizes = np.ptp(points, axis=1).max(-1)
    assert sizes.min() < 30 < 50 < sizes.max()


def test_what_hides_a_joint_makes_it_invisible_and_leaves_it_where_it_was():
    options = {"train": 60, "test": 2, "noise": 0}
    bare, hidden = (figures(hiding=count, **options).train.arrays for count in (0, 3))
    assert bare["visible"].all()
    np.testing.assert_array_equal(bare["points"], hidden["points"])
    assert 0.7 < hidden["visible"].mean() < 0.99
    changed = (bare["image"] != hidden["image"]).any(-1)
    for places, visible, over in zip(hidden["points"], hidden["visible"], changed, strict=True):
        for (y, x), seen in zip(places, visible, strict=True):
            around = over[int(y) : int(y) + 2, int(x) : int(x) + 2]
            assert around.any() if not seen else not around.all()


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("size", 8, "data.size is 8; it must be ≥ 32 and ≤ 4096"),
        ("turn", 200, "data.turn is 200; it must be ≥ 0 and ≤ 180"),
        ("hiding", -1, "data.hiding is -1; it must be ≥ 0 and ≤ 64"),
    ],
)
def test_options_out_of_range_are_refused(option, value, text):
    with pytest.raises(ConfigError) as refused:
        figures(**{option: value})
    assert str(refused.value) == text
