"""Convolutions as matrices: scipy's Toeplitz ones, and the counts of the lectures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from cnnjax import ops
from cnnjax.analysis import as_matrix, connectivity, multiplies

NUMBERS = np.random.default_rng(0)


def toeplitz(kernel, size):
    """The matrix of a valid cross-correlation along a line."""
    places = size - len(kernel) + 1
    return scipy.linalg.toeplitz(np.r_[kernel[0], np.zeros(places - 1)], np.r_[kernel, np.zeros(size - len(kernel))])


def test_a_convolution_along_a_line_is_a_toeplitz_matrix():
    kernel = NUMBERS.normal(size=4)
    weights, which = as_matrix(kernel[:, None, None], (9, 1))
    np.testing.assert_array_equal(weights, toeplitz(kernel, 9))
    np.testing.assert_array_equal(which, toeplitz(np.arange(1, 5), 9) - 1)


def test_a_convolution_in_the_plane_is_a_doubly_block_toeplitz_matrix():
    kernel = NUMBERS.normal(size=(2, 3))
    weights, _ = as_matrix(kernel[..., None, None], (5, 6, 1))
    blocks = [toeplitz(row, 6) for row in kernel]
    empty = np.zeros_like(blocks[0])
    rows = [[blocks[j - i] if 0 <= j - i < 2 else empty for j in range(5)] for i in range(4)]
    np.testing.assert_array_equal(weights, np.block(rows))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": "same", "stride": 2},
        {"padding": "circular", "dilation": (1, 2)},
        {"padding": ((1, 0), (2, 3)), "groups": 2, "flip": True},
        {"padding": "full"},
    ],
    ids=str,
)
def test_the_matrix_times_the_array_is_the_convolution(options):
    x = NUMBERS.normal(size=(7, 6, 4)).astype(np.float32)
    kernel = NUMBERS.normal(size=(3, 2, 4 // options.get("groups", 1), 6)).astype(np.float32)
    weights, which = as_matrix(kernel, x.shape, **options)
    expected = jax.jit(lambda x, kernel: ops.conv(x, kernel, **options))(x[None], kernel)
    np.testing.assert_allclose(weights @ x.ravel(), np.ravel(expected), atol=1e-5)
    np.testing.assert_array_equal(weights, np.where(which < 0, 0, kernel.ravel()[which]))


def test_what_is_not_zero_is_what_is_multiplied():
    kernel = np.ones((3, 3, 2, 4), np.float32)
    _, which = as_matrix(kernel, (8, 7, 2))
    assert (which >= 0).sum() == multiplies(lambda x: ops.conv(x, kernel), np.zeros((1, 8, 7, 2), np.float32))
    assert set(np.bincount(which[which >= 0])) == {6 * 5}, "each weight is shared by all places"
    assert which.shape == (6 * 5 * 4, 8 * 7 * 2)


@pytest.mark.parametrize("by", ["wiring", "gradient"])
def test_an_output_hangs_on_what_its_row_has(by):
    kernel = NUMBERS.normal(size=(3, 1, 4)).astype(np.float32)
    _, which = as_matrix(kernel, (6, 2), padding="same", stride=2, groups=2)

    def f(x):
        return jnp.tanh(ops.conv(x, kernel, padding="same", stride=2, groups=2))

    np.testing.assert_array_equal(connectivity(f, (1, 6, 2), by=by), which >= 0)


def test_a_zero_weight_is_a_wire_without_a_gradient():
    """And of two layers of three each output sees five inputs."""
    kernel = np.array([1.0, 0, 2])[:, None, None].astype(np.float32)

    def f(x):
        return ops.conv(x, kernel)

    assert connectivity(f, (1, 7, 1)).sum(1).tolist() == [3] * 5
    assert connectivity(f, (1, 7, 1), by="gradient").sum(1).tolist() == [2] * 5
    assert connectivity(lambda x: f(jax.nn.relu(f(x))), (1, 7, 1)).sum(1).tolist() == [5] * 3
    dense = np.ones((7, 4), np.float32)
    assert connectivity(lambda x: x[..., 0] @ dense, (1, 7, 1)).all()


def test_what_has_no_matrix_is_refused():
    with pytest.raises(ValueError, match="padding is 'reflect'; a place of the input would be read by several"):
        as_matrix(np.ones((3, 1, 1)), (5, 1), padding="reflect")
    with pytest.raises(ValueError, match=r"kernel \(3, 2, 1\) in groups of 1 reads no array of shape \(5, 1\)"):
        as_matrix(np.ones((3, 2, 1)), (5, 1))
    with pytest.raises(ValueError, match=r"shape is \(2, 5, 1\); it must be that of one array"):
        connectivity(lambda x: x, (2, 5, 1))
