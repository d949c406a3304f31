"""Normalisation layers, and the noise ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.layers import (
    BatchNorm,
    Dropout,
    DropPath,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LocalResponseNorm,
    normalizer,
)

X = np.random.default_rng(0).normal(2, 3, (6, 5, 4, 8)).astype(np.float32)
NOISE = {"noise": jax.random.key(5)}


def run(layer, x=X, train=False, variables=()):
    @jax.jit
    def applied(x, variables):
        variables = variables or layer.init(jax.random.key(0), x)
        if train:
            return layer.apply(variables, x, True, mutable=["batch_stats"])
        return layer.apply(variables, x)

    return applied(x, variables)


def test_batch_norm_uses_the_batch_while_training_and_keeps_running_statistics():
    out, kept = run(BatchNorm(momentum=0.75), train=True)
    mean, var = X.mean((0, 1, 2)), X.var((0, 1, 2))
    np.testing.assert_allclose(out, (X - mean) / np.sqrt(var + 1e-5), atol=1e-5)
    n = X[..., 0].size
    np.testing.assert_allclose(kept["batch_stats"]["mean"], 0.25 * mean, rtol=1e-5)
    np.testing.assert_allclose(kept["batch_stats"]["var"], 0.75 + 0.25 * var * n / (n - 1), rtol=1e-5)


def test_batch_norm_in_evaluation_is_a_fixed_affine_map():
    stats = {"mean": np.arange(8.0, dtype=np.float32), "var": np.full(8, 4.0, np.float32)}
    params = {"scale": np.full(8, 2.0, np.float32), "bias": np.ones(8, np.float32)}
    out = run(BatchNorm(eps=0.0), variables={"params": params, "batch_stats": stats})
    np.testing.assert_allclose(out, (X - np.arange(8)) / 2 * 2 + 1, rtol=1e-5, atol=1e-5)


def test_groups_of_examples_have_statistics_of_their_own():
    out, kept = run(BatchNorm(group=2, momentum=0.0), train=True)
    out = np.asarray(out)
    for i in range(0, 6, 2):
        part = X[i : i + 2]
        want = (part - part.mean((0, 1, 2))) / np.sqrt(part.var((0, 1, 2)) + 1e-5)
        np.testing.assert_allclose(out[i : i + 2], want, atol=1e-5)
    means = X.reshape(3, -1, 8).mean(1)
    np.testing.assert_allclose(kept["batch_stats"]["mean"], means.mean(0), rtol=1e-5)


def test_running_statistics_stay_where_they_are_not_asked_for():
    alone = jax.jit(lambda x: BatchNorm().apply(BatchNorm().init(jax.random.key(0), x), x, True))(X)
    np.testing.assert_allclose(alone, run(BatchNorm(), train=True)[0], atol=1e-6)


def test_making_the_parameters_leaves_the_running_statistics_at_their_start():
    variables = jax.jit(lambda x: BatchNorm().init(jax.random.key(0), x, True))(X)
    stats = jax.tree.map(np.asarray, variables["batch_stats"])
    assert (stats["mean"] == 0).all()
    assert (stats["var"] == 1).all()


def test_the_momentum_may_be_traced():
    @jax.jit
    def kept(momentum):
        return run(BatchNorm(momentum=momentum), train=True)[1]["batch_stats"]["mean"]

    np.testing.assert_allclose(kept(0.5), 5 * np.asarray(kept(0.9)), rtol=1e-5)


@pytest.mark.parametrize(
    ("layer", "axes"),
    [
        (LayerNorm(), (3,)),
        (LayerNorm(spatial=True), (1, 2, 3)),
        (InstanceNorm(), (1, 2)),
    ],
)
def test_each_normalisation_goes_over_its_own_axes(layer, axes):
    mean, var = X.mean(axes, keepdims=True), X.var(axes, keepdims=True)
    np.testing.assert_allclose(run(layer), (X - mean) / np.sqrt(var + layer.eps), atol=1e-5)


def test_group_norm_lowers_its_groups_to_a_divisor_of_the_channels():
    parted = X.reshape(6, 5, 4, 4, 2)
    want = (parted - parted.mean((1, 2, 4), keepdims=True)) / np.sqrt(parted.var((1, 2, 4), keepdims=True) + 1e-5)
    np.testing.assert_allclose(run(GroupNorm(groups=12)), want.reshape(X.shape), atol=1e-5)


def test_the_response_norm_divides_by_the_energy_of_neighbours():
    out = run(LocalResponseNorm(3, alpha=0.3, beta=0.5, bias=1.0))
    padded = np.pad(X**2, ((0, 0),) * 3 + ((1, 1),))
    energy = padded[..., :-2] + padded[..., 1:-1] + padded[..., 2:]
    np.testing.assert_allclose(out, X / np.sqrt(1 + 0.1 * energy), rtol=1e-5)


@pytest.mark.parametrize("kind", ["batch", "group", "layer", "instance", "none"])
def test_every_kind_takes_the_same_call_and_keeps_the_dtype(kind):
    layer, x = normalizer(kind), X.astype(jnp.bfloat16)

    @jax.jit
    def both(x):
        variables = layer.init(jax.random.key(0), x)
        return layer.apply(variables, x, True, mutable=["batch_stats"])[0], variables

    out, variables = both(x)
    assert out.dtype == jnp.bfloat16
    assert out.shape == X.shape
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} <= {jnp.dtype("float32")}


def test_a_scale_that_starts_at_zero_shuts_a_branch():
    assert not np.asarray(run(normalizer("batch", scale_init="zeros"))).any()


@pytest.mark.parametrize("layer", [Dropout, DropPath])
def test_noise_is_there_in_training_alone_and_its_rate_may_be_traced(layer):
    assert (layer(0.5).apply({}, X) == X).all()
    out = jax.jit(lambda rate: layer(rate).apply({}, X, True, rngs=NOISE))
    np.testing.assert_array_equal(out(0.0), X)
    half = np.asarray(out(0.5))
    zero = half == 0
    assert zero.any()
    assert not zero.all()
    np.testing.assert_allclose(half[~zero], 2 * X[~zero], rtol=1e-6)
    if layer is DropPath:
        assert all(one.all() or not one.any() for one in zero)


def test_a_rate_of_plain_zero_needs_no_key():
    assert (Dropout(0.0).apply({}, X, True) == X).all()
