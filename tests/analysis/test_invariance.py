"""Answers to moved images: nets that read a pixel say exactly how far an image can be moved."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from cnnjax.analysis import consistency, invariances, moved, shift_map, turning_points

SIDE = 9
RAMP = np.broadcast_to(np.linspace(0, 1, SIDE)[None, :, None], (SIDE, SIDE, 1))  # rises to the right by 1/8
IMAGES = np.stack([RAMP, RAMP.transpose(1, 0, 2), 0.25 * np.ones_like(RAMP)]).astype(np.float32)


@jax.tree_util.Partial
def top_left(x):
    """Class 1 where the first pixel is above 0.3."""
    value = x[:, 0, 0, 0]
    return jnp.stack([0.3 - value, value - 0.3], 1) * 50


LIMITS = {"down": 6.0, "right": 6.0, "rotation": 45.0, "scale": 2.0, "brightness": 0.5, "contrast": 2.0}


@pytest.fixture(scope="module")
def turned():
    return turning_points(top_left, IMAGES, LIMITS, steps=8, halvings=16)


def test_a_net_that_reads_the_top_left_pixel_turns_where_arithmetic_says(turned):
    """The ramp is 0.3 at pixel 2.4; it comes to the first pixel by a shift, a growth, or the corner of a turn."""
    inf, column, half = np.inf, 0.3 * (SIDE - 1), (SIDE - 1) / 2
    at = {name: each.amounts for name, each in turned.items()}
    np.testing.assert_allclose(at["right"][:2], [[column, inf], [inf, inf]], atol=1e-3)
    np.testing.assert_allclose(at["down"][:2], [[inf, inf], [column, inf]], atol=1e-3)
    np.testing.assert_allclose(at["scale"][0], [inf, -np.log2(1 - column / half)], atol=1e-3)
    # to the right of the corner, at u = −h cos t + h sin t, lies what comes by turning it the one way
    angle = np.degrees(np.arcsin((column - half) / half / np.sqrt(2))) + 45
    np.testing.assert_allclose(np.sort(at["rotation"][:2], 1), [[angle, inf]] * 2, atol=1e-2)
    assert np.isinf(at["rotation"][0, 0]) != np.isinf(at["rotation"][1, 0])
    np.testing.assert_allclose(at["brightness"], [[inf, 0.3], [inf, 0.3], [inf, 0.05]], atol=1e-4)
    np.testing.assert_allclose(at["contrast"][0], [np.log2(0.5 / 0.2), inf], atol=1e-3)
    assert np.isinf(at["contrast"][2]).all()


def test_least_amounts_are_counted_as_shares(turned):
    found = turned["brightness"]
    np.testing.assert_allclose(found.least, [0.3, 0.3, 0.05], atol=1e-4)
    np.testing.assert_allclose(found.still([0, 0.04, 0.06, 0.29, 0.31]), [1, 1, 2 / 3, 2 / 3, 0])
    assert found.becomes.tolist() == [[-1, 1]] * 3
    assert found.limit == 0.5


@pytest.mark.parametrize("motion", ["down", "rotation", "scale", "shear"])
def test_a_moved_image_is_scipys(motion):
    image = scipy.ndimage.gaussian_filter(np.random.default_rng(0).random((1, 16, 15, 1)), (0, 1.5, 1.5, 0))
    amount = {"down": 1.3, "rotation": 20.0, "scale": 0.4, "shear": 0.3}[motion]
    found = np.asarray(moved(image.astype(np.float32), motion, amount))[0, ..., 0]
    turn = np.radians(20)
    back = {
        "rotation": [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]],
        "scale": np.eye(2) / 2**0.4, "shear": [[1, 0], [-0.3, 1]],
    }.get(motion, np.eye(2))  # fmt: skip
    centre = np.array([7.5, 7])
    offset = centre - np.array(back) @ centre - (np.array([1.3, 0]) if motion == "down" else 0)
    expected = scipy.ndimage.affine_transform(image[0, ..., 0], back, offset, order=1, mode="nearest")
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_shrinks_is_low_passed():
    stripes = np.broadcast_to((np.arange(32) % 2)[None, None, :, None], (1, 32, 32, 1)).astype(np.float32)
    inner = np.asarray(moved(stripes, "scale", -1.0))[0, 10:22, 10:22]
    np.testing.assert_allclose(inner, 0.5, atol=0.05)


def test_curves_maps_and_consistency_are_counts_of_answers():
    labels = np.array([0, 0, 1])
    found = invariances(top_left, IMAGES, {"right": (-4, 0, 2), "brightness": (0.1,)}, labels=labels)
    np.testing.assert_allclose(found["right"].alike, [2 / 3, 1, 1])
    np.testing.assert_allclose(found["right"].accuracy, [1 / 3, 2 / 3, 2 / 3])
    np.testing.assert_allclose(found["right"].agreement[1], 1)
    np.testing.assert_allclose(found["brightness"].alike, [2 / 3])
    share = jax.nn.softmax(top_left(IMAGES), -1)[:, 0]
    there = shift_map(top_left, IMAGES, 0, reach=2)
    np.testing.assert_allclose(there[:, 2, 2], share, rtol=1e-5)
    assert there.shape == (3, 5, 5)
    # two pixels to the left bring 2/8 to the first pixel of the ramp
    np.testing.assert_allclose(there[0, :, 0], jax.nn.softmax(jnp.array([0.05, -0.05]) * 50)[0], rtol=1e-3)
    assert consistency(jax.random.key(0), top_left, IMAGES, reach=2, pairs=4) == 1
    wide = consistency(jax.random.key(0), top_left, IMAGES[:1], reach=4, pairs=400)
    p = 2 / 9  # of 9 shifts those by 3 and by 4 to the left
    assert wide == pytest.approx(p**2 + (1 - p) ** 2, abs=0.06)


def test_what_can_not_be_moved_is_refused():
    with pytest.raises(ValueError, match=r"images are \(3, 9, 9, 1\) from 0 to 2; they must be .* in \[0, 1\]"):
        turning_points(top_left, 2 * IMAGES, {"down": 1.0})
    with pytest.raises(ValueError, match=r"motion is 'up'"):
        invariances(top_left, IMAGES, {"up": (1,)})
    with pytest.raises(ValueError, match=r"limits are \{'down': 0\}; they must be above 0"):
        turning_points(top_left, IMAGES, {"down": 0})
    with pytest.raises(ValueError, match=r"it must give \(B, K\)"):
        invariances(lambda x: x, IMAGES, {"down": (1,)})
