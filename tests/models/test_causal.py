"""Nets over time are filters: a layer is SciPy's, a causal net sees what it says, to the step, and never the future."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from cnnjax.models import tcn, tdnn


@pytest.mark.parametrize("dilation", [1, 3])
def test_a_linear_layer_of_a_tdnn_is_the_fir_filter_whose_taps_are_its_kernel_backwards(dilation):
    draws, span = np.random.default_rng(0), 4 * dilation
    x, kernel = draws.normal(size=64).astype(np.float32), draws.normal(size=5).astype(np.float32)
    taps = np.zeros(span + 1)
    taps[::dilation] = kernel[::-1]
    net = tdnn(outputs=0, layers=((1, 5, dilation),), padding=span, norm="none", activation="none")
    params = {"conv1": {"kernel": kernel[:, None, None], "bias": np.full(1, 0.5, np.float32)}}
    (heard,) = jax.jit(lambda x: net.apply({"params": params}, x, method="features"))(x[None, :, None]).values()
    np.testing.assert_allclose(heard[0, :64, 0], scipy.signal.lfilter(taps, 1, x) + 0.5, atol=1e-5)


@pytest.mark.parametrize(("blocks", "window", "patch"), [(3, 3, 1), (2, 4, 1), (2, 2, 3)])
def test_a_step_sees_exactly_the_steps_that_the_formula_says(blocks, window, patch):
    length, seen = 60, patch * (1 + 2 * (window - 1) * (2**blocks - 1))
    net = tcn(outputs=0, width=2, blocks=blocks, window=window, patch=patch, norm="none", activation="none")
    shapes = jax.eval_shape(net.init, jax.random.key(0), jax.ShapeDtypeStruct((1, length, 1), jnp.float32))
    variables = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.3, np.float32), shapes)

    @jax.jit
    def slopes(x):
        last = f"block{blocks}"
        return jax.jacobian(lambda x: net.apply(variables, x, method="features")[last][0, :, 0])(x)[:, 0, :, 0]

    found = np.asarray(slopes(np.ones((1, length, 1), np.float32))) != 0
    for place, row in enumerate(found):
        end = (place + 1) * patch
        np.testing.assert_array_equal(np.flatnonzero(row), np.arange(max(end - seen, 0), end), str(place))


def test_what_is_said_with_pool_last_is_the_last_step_and_linear_adds_a_regression():
    x = np.random.default_rng(0).normal(size=(2, 11, 3)).astype(np.float32)
    net = tcn(outputs=4, width=3, blocks=2, patch=2, linear=True, norm="none")
    variables = jax.jit(net.init)(jax.random.key(0), x)
    assert not np.asarray(variables["params"]["regression"]["kernel"]).any()
    kernel = np.random.default_rng(1).normal(size=(33, 4)).astype(np.float32)
    params = {**variables["params"], "regression": {"kernel": kernel, "bias": np.zeros(4, np.float32)}}

    @jax.jit
    def both(x):
        return net.apply(variables, x), net.apply({"params": params}, x)

    plain, added = both(x)
    np.testing.assert_allclose(added - plain, x.reshape(2, 33) @ kernel, rtol=1e-4, atol=1e-5)
