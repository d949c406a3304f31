"""Pools, norms and readers say what they cannot take, in which argument, with its shape; whole numbers are averaged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import ops

X = jax.ShapeDtypeStruct((2, 8, 9, 4), jnp.float32)
FLAT = jax.ShapeDtypeStruct((4,), jnp.float32)
EMPTY = jax.ShapeDtypeStruct((2, 0, 4, 1), jnp.float32)
KEY = jax.random.key(0)


def zeros(*shape):
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("call", "x", "words"),
    [
        (lambda x: ops.max_pool(x, 2, stride=0), X, "stride is 0; it must be at least 1"),
        (lambda x: ops.weighted_pool(x, zeros(3)), X, "window is (3,): 1 entries for 2 spatial dimensions"),
        (lambda x: ops.lp_pool(x, 2, p=0), X, "p is 0; a norm needs p > 0"),
        (lambda x: ops.global_pool(x, "lp", p=-1.0), X, "p is -1.0; a norm needs p > 0"),
        (lambda x: ops.global_pool(x), FLAT, "x has shape (4,); it must be (batch, *sizes, channels)"),
        (lambda x: ops.global_pool(x, "max"), EMPTY, "x is (2, 0, 4, 1): an empty map has no max"),
        (lambda x: ops.adaptive_pool(x, 2), FLAT, "x has shape (4,)"),
        (lambda x: ops.pyramid_pool(x, ()), X, "levels is empty"),
        (lambda x: ops.gaussian_window(3, 0.0), X, "sigma is (0.0,)"),
        (lambda x: ops.gaussian_window((3, 3), (1.0,)), X, "one for each of the sizes (3, 3)"),
        (lambda x: ops.batch_norm(x, 1.0, 0.0, zeros(3), zeros(3)), X, "mean has shape (3,); x (2, 8, 9, 4) has 4"),
        (lambda x: ops.batch_norm(x, zeros(3), 0.0, zeros(4), zeros(4)), X, "scale has shape (3,)"),
        (
            lambda x: ops.batch_norm(x, 1.0, 0.0, zeros(3, 4), zeros(3, 4)),
            X,
            "mean has shape (3, 4): its rows must divide the 2 examples of x (2, 8, 9, 4)",
        ),
        (lambda x: ops.batch_statistics(x), FLAT, "x has shape (4,); it must be (batch, …, channels)"),
        (lambda x: ops.layer_norm(x, zeros(3), 0.0), X, "scale has shape (3,)"),
        (lambda x: ops.layer_norm(x, 1.0, 0.0), FLAT, "x has shape (4,)"),
        (lambda x: ops.group_norm(x, 1.0, zeros(3), groups=2), X, "bias has shape (3,)"),
        (lambda x: ops.group_norm(x, 1.0, 0.0, groups=2), FLAT, "x has shape (4,)"),
        (lambda x: ops.instance_norm(x, 1.0, 0.0), FLAT, "x has shape (4,)"),
        (lambda x: ops.local_response_norm(x), FLAT, "x has shape (4,)"),
        (lambda x: ops.weight_standardize(x), FLAT, "kernel has shape (4,)"),
        (lambda x: ops.resize(x, 3), FLAT, "x has shape (4,)"),
        (lambda x: ops.pixel_shuffle(x, 2), FLAT, "x has shape (4,); it must be (batch, *sizes, channels) with 2"),
        (lambda x: ops.roi_align(x, zeros(2, 3, 5), 2), X, "boxes have shape (2, 3, 5); they must be (batch, boxes, 4"),
        (lambda x: ops.roi_align(x, zeros(3, 3, 4), 2), X, "boxes have shape (3, 3, 4)"),
        (lambda x: ops.dropout(0, x, 0.5), X, "key is 0"),
        (lambda x: ops.dropout(KEY, x, 2.0), X, "rate is 2.0"),
    ],
)
def test_what_cannot_be_taken_is_named_when_it_is_traced(call, x, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (read below)
        jax.eval_shape(call, x)
    assert words in str(caught.value)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
@pytest.mark.parametrize(
    "f",
    [
        lambda x: ops.avg_pool(x, 2),
        lambda x: ops.lp_pool(x, 2),
        lambda x: ops.weighted_pool(x, ops.gaussian_window((2, 2), 1.0)),
        lambda x: ops.global_pool(x, "lp"),
        lambda x: ops.batch_norm(x, 1.0, 0.0, *ops.batch_statistics(x)),
        lambda x: ops.layer_norm(x, 1.0, 0.0),
        lambda x: ops.group_norm(x, 1.0, 0.0, groups=1),
        lambda x: ops.instance_norm(x, 1.0, 0.0),
        lambda x: ops.local_response_norm(x),
    ],
)
def test_bytes_and_whole_numbers_give_the_floats_that_their_values_give(f, dtype):
    x = np.arange(64, dtype=dtype).reshape(1, 4, 8, 2)
    found, expected = jax.jit(lambda x: (f(x), f(x.astype(jnp.float32))))(x)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == jnp.float32


def test_one_number_serves_all_channels_of_a_batch_norm():
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    found = jax.jit(lambda x: ops.batch_norm(x, 1.0, 0.5, 0.0, 1.0, eps=0.0))(x)
    np.testing.assert_allclose(found, x + 0.5, rtol=1e-6)
