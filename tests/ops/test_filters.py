"""Filters made by hand, against SciPy's."""

import jax
import numpy as np
import pytest
import scipy.ndimage

from cnnjax import ops
from cnnjax.refusals import ConfigError

filtered = jax.jit(ops.filtered, static_argnames="padding")
IMAGE = np.random.default_rng(0).random((17, 23)).astype(np.float32)


def ours(kernel, *arguments):
    return jax.jit(lambda x: ops.filtered(x[None, ..., None], kernel(*arguments))[0, ..., 0])(IMAGE)


@pytest.mark.parametrize(("axis", "number"), [("y", 0), ("x", 1)])
def test_slopes_are_scipys(axis, number):
    for mine, theirs in ((ops.sobel, scipy.ndimage.sobel), (ops.prewitt, scipy.ndimage.prewitt)):
        np.testing.assert_allclose(ours(mine, axis), theirs(IMAGE, number, mode="constant"), atol=1e-5)


def test_the_laplacian_and_the_blurs_are_scipys():
    np.testing.assert_allclose(ours(ops.laplacian), scipy.ndimage.laplace(IMAGE, mode="constant"), atol=1e-5)
    np.testing.assert_allclose(ours(ops.box, 5), scipy.ndimage.uniform_filter(IMAGE, 5, mode="constant"), atol=1e-6)
    for sigma in (0.7, 1.5):
        expected = scipy.ndimage.gaussian_filter(IMAGE, sigma, mode="constant")
        np.testing.assert_allclose(ours(ops.gaussian, sigma), expected, atol=1e-6)


def test_an_edge_is_found_where_it_is_and_nowhere_else():
    step = np.zeros((1, 6, 8, 1), np.float32)
    step[:, :, 5:] = 1
    found = np.asarray(filtered(step, ops.edge("x"), padding="valid"))[0, ..., 0]
    np.testing.assert_array_equal(found, np.eye(7)[4] * np.ones((6, 1)))
    assert not np.asarray(filtered(step, ops.edge("y"), padding="valid")).any()


def test_what_leaves_even_pictures_alone_does_so():
    flat = np.full((1, 9, 9, 2), 0.4, np.float32)
    for kernel, expected in ((ops.sharpen(2.0), 0.4), (ops.emboss(), 0.4), (ops.laplacian(), 0.0), (ops.sobel(), 0.0)):
        np.testing.assert_allclose(filtered(flat, kernel, padding="valid"), expected, atol=1e-6)


@pytest.mark.parametrize("angle", [0.0, 0.6, np.pi / 2])
def test_a_gabor_answers_its_own_wave_most(angle):
    y, x = np.mgrid[:41, :41] - 20.0

    def answer(turn, frequency):
        wave = np.cos(2 * np.pi * frequency * (x * np.cos(turn) + y * np.sin(turn))).astype(np.float32)
        kernel = ops.gabor(15, frequency=0.2, angle=angle)
        return np.abs(filtered(wave[None, ..., None], kernel, padding="valid")).max()

    own = answer(angle, 0.2)
    assert own > 4 * answer(angle + np.pi / 2, 0.2)
    assert own > 4 * answer(angle, 0.05)


def test_another_axis_is_refused():
    with pytest.raises(ConfigError, match="axis is 'z'"):
        ops.sobel("z")
