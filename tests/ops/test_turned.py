"""Overlaps of turned boxes, in the plane and in space, against Shapely's polygons."""

import jax
import numpy as np
import pytest
from shapely.geometry import Polygon

from cnnjax import ops

box_corners, quad_iou, solid_iou = map(jax.jit, (ops.box_corners, ops.quad_iou, ops.solid_iou))


def boxes(seed, count, spread=6.0):
    draws = np.random.default_rng(seed)
    centre, size = draws.uniform(0, spread, (count, 2)), draws.uniform(0.5, 5, (count, 2))
    return np.asarray(box_corners(centre, size, draws.uniform(-7, 7, count)), np.float64)


def overlap(a, b):
    one, other = Polygon(a), Polygon(b)
    shared = one.intersection(other).area
    return shared / (one.area + other.area - shared)


@pytest.mark.parametrize("seed", range(6))
def test_the_overlap_of_turned_boxes_is_shapelys(seed):
    a, b = boxes(seed, 12), boxes(seed + 50, 15)
    b[seed % 15] = a[0]
    b[3] = b[3][::-1]  # the other way round
    expected = [[overlap(one, other) for other in b] for one in a]
    with jax.enable_x64(True):
        np.testing.assert_allclose(quad_iou(a, b), expected, atol=1e-9)
    np.testing.assert_allclose(quad_iou(a.astype(np.float32), b.astype(np.float32)), expected, atol=1e-5)
    far = (a + 1000).astype(np.float32), (b + 1000).astype(np.float32)
    np.testing.assert_allclose(quad_iou(*far), expected, atol=1e-3)


def square(y, x, side, angle=0.0):
    return np.asarray(box_corners(*map(np.float32, ([y, x], [side, side], angle))))[None]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (square(0, 0, 2), 1.0),
        (square(0, 0, 2, np.pi / 2), 1.0),
        (square(0, 0, 2, np.pi), 1.0),
        (square(0, 2, 2), 0.0),  # touches
        (square(2, 2, 2), 0.0),  # at a corner
        (square(0.2, -0.3, 1), 0.25),  # within
        (square(0, 0, 4), 0.25),  # around
        (square(0, 0, 2, np.pi / 4), 8 * (2**0.5 - 1) / (8 - 8 * (2**0.5 - 1))),  # an octagon
        (square(0, 0, 0), 0.0),
    ],
)
def test_boxes_that_are_equal_turned_touching_and_contained(other, expected):
    assert quad_iou(square(0, 0, 2), other).item() == pytest.approx(expected, abs=1e-6)
    assert quad_iou(other, square(0, 0, 2)).item() == pytest.approx(expected, abs=1e-6)


def test_corners_begin_at_the_front_and_go_round():
    corners = box_corners(*map(np.float32, ([10, 20], [6, 2], 0)))
    np.testing.assert_allclose(corners, [[9, 23], [11, 23], [11, 17], [9, 17]])
    down = np.asarray(box_corners(*map(np.float32, ([10, 20], [6, 2], np.pi / 2))))
    np.testing.assert_allclose(down[:2].mean(0), [13, 20], atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_overlap_in_space_is_that_of_bases_and_heights(seed):
    a, b = boxes(seed, 8, 3.0), boxes(seed + 9, 7, 3.0)
    draws = np.random.default_rng(seed)
    high = [np.sort(draws.uniform(0, 3, (count, 2)), -1) for count in (8, 7)]
    found = np.asarray(solid_iou(a, high[0], b, high[1]))
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            shared = Polygon(one).intersection(Polygon(other)).area
            shared *= max(0.0, min(high[0][i, 1], high[1][j, 1]) - max(high[0][i, 0], high[1][j, 0]))
            volumes = Polygon(one).area * np.ptp(high[0][i]) + Polygon(other).area * np.ptp(high[1][j])
            assert found[i, j] == pytest.approx(shared / (volumes - shared), abs=1e-5)
