"""One step, the same numbers: on one device and on several, however it is compiled."""

import jax
import numpy as np
import pytest

from cnnjax.config import change, section
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
MIXED, PLAIN = ("crop", "normalize", "mixup"), ("normalize",)


def config(*, accumulate=1, net=(), augment=("crop", "normalize"), **train):
    """Whatever could depend on a device's share, in ten steps; of mixup, which is compiled for long, in the proofs."""
    optimizer = section("optimizers", "sgd", lr=0.1, ema=0.9, clip=1.0, accumulate=accumulate)
    made = eventful(optimizer=optimizer, net=net, train={"steps": 10, "batch": 32, **train})
    return change(made, {"augment.train": augment})


def trained(config, start=None):
    """Loss sums after each of ten steps, the last state on the host, and the first one."""
    prepared = prepare(config)
    start = prepared.start() if start is None else start
    state = prepared.layout.replicate(jax.tree.map(np.asarray, start))
    stream, store = prepared.batches(prepared.source.train), prepared.store(prepared.source.train)
    losses = []
    for t in range(0, prepared.plan.steps, prepared.plan.dispatch):
        batches = prepared.layout.share(stream.batches(t, prepared.plan.dispatch), 2)
        state, _ = prepared.step(state, store, batches, np.int32(prepared.plan.dispatch))
        losses.append(float(state.sums["loss"]))
    return np.array(losses), jax.tree.map(np.asarray, state), start


def furthest(a, b):
    """The largest difference of any leaf, relative to the leaf's largest value."""

    def distance(x, y):
        return float(np.max(np.abs(x.astype(float) - y), initial=0.0) / max(np.max(np.abs(y), initial=0.0), 1e-3))

    return max(jax.tree.leaves(jax.tree.map(distance, a, b)))


@pytest.mark.parametrize(
    ("options", "ways"),
    [
        pytest.param({"augment": MIXED}, STRATEGIES[1:], marks=pytest.mark.proofs, id="all"),
        pytest.param({}, [("jit", 8), ("shard_map", 8)], id="two of them"),
        pytest.param({"augment": MIXED, "accumulate": 2}, SOME, marks=pytest.mark.proofs, id="in microbatches"),
    ],
)
def test_in_float64_every_way_to_spread_ten_steps_gives_the_same_state(options, ways):
    whole = {"precision": "float64", "net": {"grouped": 8}, **options}  # examples, not a device's share
    with jax.enable_x64(True):
        losses, state, start = trained(config(parallel="jit", devices=1, **whole))
        for mode, devices in ways:
            other = trained(config(parallel=mode, devices=devices, **whole), start)
            what = f"{mode} on {devices}"
            np.testing.assert_allclose(other[0], losses, rtol=1e-9, err_msg=what)
            # normalised values are cast to the sums' float32 in the report alone; the state is compared whole
            assert furthest(other[1].replace(sums={}), state.replace(sums={})) < 1e-9, what


@pytest.mark.proofs
def test_in_float32_the_losses_agree_to_rounding():
    losses, *_ = trained(config(parallel="jit", devices=1, augment=MIXED))
    for mode, devices in SOME[:1]:
        np.testing.assert_allclose(trained(config(parallel=mode, devices=devices, augment=MIXED))[0], losses, rtol=1e-4)


def test_evaluation_counts_every_example_once_on_any_number_of_devices():
    jobs = [prepare(config(parallel=mode, devices=devices)) for mode, devices in STRATEGIES[:1] + SOME]
    start, measures = jobs[0].start(), []
    for prepared in jobs:
        state = prepared.layout.replicate(start)
        measures.append(prepared.evaluate(state, prepared.source.test, prepared.store(prepared.source.test)))
    for measure in measures[1:]:
        assert measure["accuracy"] == measures[0]["accuracy"]
        assert measure["loss"] == pytest.approx(measures[0]["loss"], rel=1e-5)


@pytest.mark.proofs
def test_several_steps_a_dispatch_give_the_same_numbers_whatever_their_number():
    made = config(parallel="jit", devices=1, augment=PLAIN)
    _, reference, start = trained(change(made, {"train.dispatch": 2}))
    _, state, _ = trained(change(made, {"train.dispatch": 5}), start)
    for name, value in jax.tree_util.tree_leaves_with_path(state):
        np.testing.assert_array_equal(value, dict(jax.tree_util.tree_leaves_with_path(reference))[name], str(name))


def test_bfloat16_trains_with_parameters_and_statistics_in_float32():
    made = config(devices=1, augment=PLAIN)
    losses, state, start = trained(change(made, {"train.precision": "bfloat16"}))
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves((state.params, state.model_state, state.ema)))
    assert np.isfinite(losses).all()
    np.testing.assert_allclose(np.diff(losses), np.diff(trained(made, start)[0]), rtol=0.1)
