"""One step, the same numbers: on one device and on several, however it is compiled."""

import jax
import numpy as np
import pytest

from cnnjax.config import section
from cnnjax.train.job import prepare
from tests.trainings import eventful

STRATEGIES = [
    ("jit", 1),
    ("jit", 2),
    ("jit", 8),
    ("pmap", 2),
    ("pmap", 8),
    ("shard_map", 1),
    ("shard_map", 2),
    ("shard_map", 8),
]
SOME = [("pmap", 8), ("shard_map", 2)]


def config(*, accumulate=1, net=(), **train):
    """Whatever could depend on a device's share, in ten steps."""
    optimizer = section("optimizers", "sgd", lr=0.1, ema=0.9, clip=1.0, accumulate=accumulate)
    return eventful(optimizer=optimizer, net=net, train={"steps": 10, "batch": 32, **train})


def trained(config):
    """Loss sums after each of ten steps, and the last state on the host."""
    prepared = prepare(config)
    state = prepared.layout.replicate(prepared.start())
    stream, store = prepared.batches(prepared.source.train), prepared.store(prepared.source.train)
    losses = []
    for t in range(0, prepared.plan.steps, prepared.plan.dispatch):
        batches = prepared.layout.share(stream.batches(t, prepared.plan.dispatch), 2)
        state, _ = prepared.step(state, store, batches, np.int32(prepared.plan.dispatch))
        losses.append(float(state.sums["loss"]))
    return np.array(losses), jax.tree.map(np.asarray, state), prepared


def furthest(a, b):
    """The largest difference of any leaf, relative to the leaf's largest value."""

    def distance(x, y):
        return float(np.max(np.abs(x.astype(float) - y), initial=0.0) / max(np.max(np.abs(y), initial=0.0), 1e-3))

    return max(jax.tree.leaves(jax.tree.map(distance, a, b)))


@pytest.mark.parametrize(
    ("accumulate", "ways"),
    [
        pytest.param(1, STRATEGIES[1:], marks=pytest.mark.proofs, id="all"),
        pytest.param(1, [("jit", 8), ("pmap", 2), ("shard_map", 8)], id="one of each"),
        pytest.param(2, SOME, marks=pytest.mark.proofs, id="in microbatches"),
    ],
)
def test_in_float64_every_way_to_spread_ten_steps_gives_the_same_state(accumulate, ways):
    whole = {"precision": "float64", "net": {"grouped": 8}, "accumulate": accumulate}  # examples, not a device's share
    with jax.enable_x64(True):
        losses, state, _ = trained(config(parallel="jit", devices=1, **whole))
        for mode, devices in ways:
            other = trained(config(parallel=mode, devices=devices, **whole))
            what = f"{mode} on {devices}"
            np.testing.assert_allclose(other[0], losses, rtol=1e-9, err_msg=what)
            # normalised values are cast to the sums' float32 in the report alone; the state is compared whole
            assert furthest(other[1].replace(sums={}), state.replace(sums={})) < 1e-9, what


@pytest.mark.proofs
def test_in_float32_the_losses_agree_to_rounding():
    losses, *_ = trained(config(parallel="jit", devices=1))
    for mode, devices in SOME[:1]:
        np.testing.assert_allclose(trained(config(parallel=mode, devices=devices))[0], losses, rtol=1e-4)


def test_evaluation_counts_every_example_once_on_any_number_of_devices():
    measures = []
    for mode, devices in STRATEGIES[:1] + SOME:
        prepared = prepare(config(parallel=mode, devices=devices))
        state = prepared.layout.replicate(prepared.start())
        measures.append(prepared.evaluate(state, prepared.source.test, prepared.store(prepared.source.test)))
    for measure in measures[1:]:
        assert measure["accuracy"] == measures[0]["accuracy"]
        assert measure["loss"] == pytest.approx(measures[0]["loss"], rel=1e-5)


def test_several_steps_a_dispatch_give_the_same_numbers_whatever_their_number():
    reference = trained(config(parallel="jit", devices=1, dispatch=2))[1]
    state = trained(config(parallel="jit", devices=1, dispatch=5))[1]
    for name, value in jax.tree_util.tree_leaves_with_path(state):
        np.testing.assert_array_equal(value, dict(jax.tree_util.tree_leaves_with_path(reference))[name], str(name))


def test_bfloat16_trains_with_parameters_and_statistics_in_float32():
    losses, state, _ = trained(config(precision="bfloat16", devices=1))
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves((state.params, state.model_state, state.ema)))
    assert np.isfinite(losses).all()
    np.testing.assert_allclose(np.diff(losses), np.diff(trained(config(devices=1))[0]), rtol=0.1)
