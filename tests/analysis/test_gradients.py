"""Gradients of single examples: those of a loop over them, their noise, and whom they help."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnnjax.analysis import (
    classification_loss,
    example_gradients,
    gradient_similarity,
    noise_scale,
    noise_scale_of_sizes,
    tracin,
    tracin_last_layer,
)
from cnnjax.layers import BatchNorm, Conv, Dense


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(BatchNorm(name="norm")(Conv(3, 3, 2, name="conv")(x), train))
        return Dense(4, name="head")(x.reshape(len(x), -1))


NUMBERS = np.random.default_rng(0)
BATCH = NUMBERS.normal(size=(7, 6, 6, 1)).astype(np.float32), NUMBERS.integers(0, 4, 7).astype(np.int32)


@pytest.fixture(scope="module")
def net():
    """A net, its variables, and the gradient of each of seven examples by a loop over them, as one row."""
    net = Net()
    variables = jax.jit(net.init)(jax.random.key(0), BATCH[0])
    loss = classification_loss(net, variables)
    one = jax.jit(jax.grad(lambda params, batch: loss(params, batch)[0]))
    rows = [
        jax.device_get(one(variables["params"], jax.tree.map(lambda x, i=i: x[i : i + 1], BATCH))) for i in range(7)
    ]
    return net, variables, loss, rows


def flat(tree):
    return np.concatenate([np.asarray(leaf, np.float64).reshape(-1) for leaf in jax.tree.leaves(tree)])


def test_lengths_are_those_of_a_loop_over_examples_whole_and_by_layer(net):
    _, variables, loss, rows = net
    found = example_gradients(loss, variables["params"], BATCH, at_once=3)
    np.testing.assert_allclose(found.norms, [np.linalg.norm(flat(row)) for row in rows], rtol=1e-5)
    assert set(found.layers) == {"conv", "norm", "head"}
    for name, lengths in found.layers.items():
        np.testing.assert_allclose(lengths, [np.linalg.norm(flat(row[name])) for row in rows], rtol=1e-5, atol=1e-7)


def test_the_mean_of_the_gradients_is_that_of_the_batch(net):
    _, variables, loss, _ = net
    found = example_gradients(loss, variables["params"], BATCH, at_once=3)
    whole = jax.jit(jax.grad(lambda params: jnp.mean(loss(params, BATCH))))(variables["params"])
    assert found.mean_norm == pytest.approx(np.linalg.norm(flat(whole)), rel=1e-5)


def test_the_noise_scale_is_the_trace_of_the_covariance_over_the_squared_mean(net):
    _, variables, loss, rows = net
    found = noise_scale(example_gradients(loss, variables["params"], BATCH, at_once=3))
    each = np.stack([flat(row) for row in rows])
    trace = np.trace(np.cov(each.T))
    square = np.sum(each.mean(0) ** 2) - trace / 7
    assert (found.trace, found.square, found.scale) == pytest.approx((trace, square, trace / square), rel=1e-4)


def test_two_sizes_of_batches_know_the_noise_scale_too():
    """Of gradients of length² 5 with a covariance of trace 12 a batch of B has 5 + 12/B on the mean."""
    found = noise_scale_of_sizes((64, 5 + 12 / 64), (4, 5 + 12 / 4))
    assert (found.trace, found.square, found.scale) == pytest.approx((12, 5, 2.4))
    with pytest.raises(ValueError, match="both batches have 4 examples"):
        noise_scale_of_sizes((4, 1.0), (4, 2.0))


def test_an_example_whose_loss_depends_on_the_others_is_refused_with_what_to_use(net):
    module, variables, _, _ = net

    def training(params, batch):
        logits, _ = module.apply({**variables, "params": params}, batch[0], train=True, mutable=["batch_stats"])
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), batch[1][:, None], -1)[:, 0]

    with pytest.raises(ValueError, match=r"as under BatchNorm in training\n.*use norm=group, or train=False"):
        example_gradients(training, variables["params"], BATCH)
    with pytest.raises(ValueError, match=r"have \[6, 7\] rows"):
        example_gradients(training, variables["params"], (BATCH[0], BATCH[1][:6]))


def test_similarity_and_influence_are_products_of_gradients(net):
    _, variables, loss, rows = net
    each = np.stack([flat(row) for row in rows])
    few = jax.tree.map(lambda x: x[2:6], BATCH)
    cosines = gradient_similarity(loss, variables["params"], BATCH, few, at_once=3)
    units = each / np.linalg.norm(each, axis=1, keepdims=True)
    np.testing.assert_allclose(cosines, units @ units[2:6].T, atol=1e-5)
    params = variables["params"]
    influence = tracin(loss, BATCH, few, [(params, 0.1), (params, 0.3)], at_once=3)
    np.testing.assert_allclose(influence, 0.4 * each @ each[2:6].T, rtol=1e-4, atol=1e-5)


def test_the_influence_by_the_last_layer_has_a_closed_form():
    h, labels = NUMBERS.normal(size=(5, 3)), np.array([0, 1, 3, 2, 0])
    weights = {"kernel": NUMBERS.normal(size=(3, 4)).astype(np.float32), "bias": np.zeros(4, np.float32)}

    def loss(params, batch):
        logits = jax.nn.log_softmax(batch[0] @ params["kernel"] + params["bias"])
        return -jnp.take_along_axis(logits, batch[1][:, None], -1)[:, 0]

    logits = h @ weights["kernel"]
    powers = np.exp(logits - logits.max(1, keepdims=True))
    residuals = powers / powers.sum(1, keepdims=True) - np.eye(4)[labels]
    batch = h.astype(np.float32), labels
    wanted = tracin(loss, batch, batch, [(weights, 1.0)])
    np.testing.assert_allclose(tracin_last_layer((h, h), (residuals, residuals)), wanted, rtol=1e-4, atol=1e-5)
