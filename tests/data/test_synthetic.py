"""Scenes of shapes on clutter."""

import numpy as np
import pytest

from cnnjax.data import check, shapes
from cnnjax.data.synthetic import KINDS, inside
from cnnjax.refusals import ConfigError


def test_scenes_are_a_function_of_world_split_and_index():
    one, other = shapes(train=12, test=6), shapes(train=20, test=3)
    for field, values in one.train.arrays.items():
        np.testing.assert_array_equal(values, other.train.arrays[field][:12])
    assert not np.array_equal(one.train.arrays["image"][:6], one.test.arrays["image"])
    assert not np.array_equal(shapes(train=4, test=2, world=1).train.arrays["image"], one.train.arrays["image"][:4])


def test_segments_say_where_the_shape_of_the_label_is():
    source = shapes(train=64, test=8, classes=8, size=64)
    fields = source.train.arrays
    np.testing.assert_array_equal(fields["label"], np.arange(64) % 8)
    for label, segments in zip(fields["label"], fields["segments"], strict=True):
        assert set(np.unique(segments)) == {0, 1 + label}
    assert source.facts.extra == {"segment_names": ("background", *KINDS)}
    assert source.facts.shape == (64, 64, 3)
    check(source, 32)


def test_a_shape_differs_from_what_is_around_it():
    fields = shapes(train=40, test=2, noise=0, clutter=0).train.arrays
    for image, segments in zip(fields["image"].astype(int), fields["segments"], strict=True):
        assert np.abs(image[segments > 0].mean(0) - image[segments == 0].mean(0)).max() > 40


def test_of_several_shapes_the_one_most_seen_gives_the_label():
    fields = shapes(train=32, test=2, objects=4).train.arrays
    for label, segments in zip(fields["label"], fields["segments"], strict=True):
        areas = np.bincount(segments.ravel(), minlength=5)[1:]
        assert areas[label] == areas.max()
    assert max(len(np.unique(segments)) for segments in fields["segments"]) == 5


def test_the_shapes_are_what_they_are_called():
    axis = np.linspace(-1, 1, 401)
    v, u = axis[:, None], axis[None]
    area = {kind: inside(kind, v, u).mean() * 4 for kind in KINDS}
    assert area["disk"] == pytest.approx(np.pi * 0.8, rel=0.01)
    assert area["square"] == pytest.approx(1.4**2, rel=0.02)
    assert area["triangle"] == pytest.approx(3 * np.sqrt(3) / 4, rel=0.01)
    assert area["cross"] == pytest.approx(2 * 0.5 * 1.9 - 0.25, rel=0.02)
    assert area["ring"] == pytest.approx(np.pi * 0.65, rel=0.01)
    assert area["star"] == pytest.approx(5 * 0.42 * np.sin(0.2 * np.pi), rel=0.02)
    assert area["bar"] == pytest.approx(1.9 * 0.48, rel=0.02)
    assert all((inside(kind, v, u) <= (u * u + v * v <= 1.01)).all() for kind in KINDS)


def test_upright_shapes_are_not_turned():
    fields = shapes(train=8, test=2, classes=2, turn=0, clutter=0, noise=0).train.arrays
    for segments in fields["segments"][1::2]:
        rows, columns = np.nonzero(segments)
        assert (np.ptp(rows) + 1) * (np.ptp(columns) + 1) == len(rows), "an upright square fills its box"


SEVERAL = {"objects": 6, "fewest": 1, "radius": 1 / 12, "spread": 1 / 8, "size": 96}


def test_boxes_and_instances_say_what_is_seen_of_every_shape():
    source = shapes(train=48, test=4, boxes=True, **SEVERAL)
    fields, gone = source.train.arrays, 0
    for segments, instances, boxes, classes, present in zip(
        *(fields[name] for name in ("segments", "instances", "boxes", "classes", "present")), strict=True
    ):
        for row in range(6):
            y, x = np.nonzero(instances == 1 + row)
            assert len(y) == 0 or present[row]
            if present[row]:
                np.testing.assert_array_equal(boxes[row], [y.min(), x.min(), y.max() + 1, x.max() + 1])
                assert set(segments[y, x]) == {1 + classes[row]}
        gone += (instances == 255).any()
        np.testing.assert_array_equal(instances > 0, segments > 0)
    assert gone, "of some shapes less than a tenth is seen: they are not there, and count nowhere"
    check(source, 48)


def test_the_number_of_shapes_is_drawn_where_fewest_is_given_and_their_sizes_as_asked():
    fields = shapes(train=200, test=2, boxes=True, clutter=0, **SEVERAL).train.arrays
    there = np.bincount(fields["present"].sum(1).astype(int), minlength=7)
    assert there[0] == 0
    assert (there[1:] > 15).all()
    alone = fields["present"].sum(1) == 1
    sides = (fields["boxes"][alone, 0, 2:] - fields["boxes"][alone, 0, :2]).max(1)
    assert sides.min() >= 10
    assert sides.max() <= 41


def test_what_is_not_asked_for_changes_no_pixel_and_is_not_there():
    plain, boxed = (shapes(train=6, test=2, objects=3, boxes=boxes).train.arrays for boxes in (False, True))
    assert set(boxed) - set(plain) == {"boxes", "classes", "present", "instances"}
    for name, values in plain.items():
        np.testing.assert_array_equal(values, boxed[name])
    # as it was before there were boxes: the sum of all pixels of these six scenes, and of their classes
    assert plain["image"].astype(int).sum() == 8_718_064
    assert plain["segments"].sum() == 14_055


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"fewest": 3, "objects": 2}, "data.fewest is 3; it must be at most data.objects, 2"),
        ({"radius": 0.4, "spread": 0.2}, "data.radius + data.spread is 0.6; it must be at most 0.5, half of the side"),
    ],
)
def test_options_that_do_not_fit_each_other_are_refused(options, text):
    with pytest.raises(ConfigError) as refused:
        shapes(**options)
    assert str(refused.value) == text


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("classes", 9, "data.classes is 9; it must be ≥ 2 and ≤ 8"),
        ("size", 8, "data.size is 8; it must be ≥ 16 and ≤ 4096"),
        ("train", 0, "data.train is 0; it must be ≥ 1 and ≤ 2147483648"),
        ("noise", 200, "data.noise is 200; it must be ≥ 0 and ≤ 127"),
    ],
)
def test_options_out_of_range_are_refused(option, value, text):
    with pytest.raises(ConfigError) as refused:
        shapes(**{option: value})
    assert str(refused.value) == text
