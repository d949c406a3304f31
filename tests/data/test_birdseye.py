"""Scenes in space from above."""

import numpy as np
import pytest

from cnnjax.data import check, solids
from cnnjax.ops import quad_area
from cnnjax.refusals import ConfigError


@pytest.fixture(scope="module")
def fields():
    return solids(train=40, test=4).train.arrays


def test_scenes_are_a_function_of_world_split_and_index(fields):
    other = solids(train=12, test=3)
    for word, values in other.train.arrays.items():
        np.testing.assert_array_equal(values, fields[word][:12])
    assert not np.array_equal(other.test.arrays["image"], other.train.arrays["image"][:3])
    assert not np.array_equal(solids(train=3, test=1, world=1).train.arrays["image"], fields["image"][:3])
    check(other, 8)


def test_what_is_present_is_seen_and_as_large_as_its_kind(fields):
    there = fields["present"] > 0
    assert there.sum(1).min() >= 1
    assert there.sum(1).max() >= 4
    areas = np.asarray(quad_area(fields["corners"]))
    for kind, usual in enumerate((15 * 7, 19 * 8, 28 * 9)):
        some = areas[there & (fields["classes"] == kind)]
        assert np.all((some > usual * 0.72) & (some < usual * 1.33))
    assert not areas[~there].any()
    assert np.all(np.diff(fields["heights"])[..., 0][there] > 4)


def test_the_front_of_a_thing_is_lower_than_its_rear(fields):
    """The mean height that is seen in either half."""
    halves = np.zeros((2, 2))
    grid = np.stack(np.meshgrid(np.arange(96) + 0.5, np.arange(96) + 0.5, indexing="ij"), -1)
    for image, corners, present in zip(fields["image"], fields["corners"], fields["present"], strict=True):
        for corner in corners[present > 0]:
            middle, along = corner.mean(0), corner[:2].mean(0) - corner.mean(0)
            across = corner[1] - corner[0]
            place = (grid - middle) @ along / (along @ along)
            inside = (np.abs((grid - middle) @ across / (across @ across)) < 0.5) & (image[..., 1] > 40)
            for half, part in enumerate((place > 0.7, place < -0.7)):
                here = inside & part & (np.abs(place) < 1)
                halves[half] += image[..., 1][here].sum(), here.sum()
    front, rear = halves[:, 0] / halves[:, 1]
    assert front < 0.85 * rear


def test_nothing_is_seen_behind_a_wall_of_things():
    fields = solids(train=30, test=1, objects=1, clutter=0, points=20000).train.arrays
    for image, corners, (present,) in zip(fields["image"], fields["corners"][:, 0], fields["present"], strict=True):
        middle = corners.mean(0)
        away = (middle - [96, 48]) / np.hypot(*(middle - [96, 48]))
        behind = middle + 18 * away
        if present and (behind > 4).all() and (behind < 92).all():
            y, x = behind.astype(int)
            mirrored = image[y - 2 : y + 3, 95 - x - 2 : 95 - x + 3, 0]
            if abs(x - 48) > 20:
                assert image[y - 2 : y + 3, x - 2 : x + 3, 0].mean() < mirrored.mean()


def test_options_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r"data.size is 40; it must be ≥ 48"):
        solids(size=40)
