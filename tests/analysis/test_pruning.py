"""What is left when weights, filters and channels are taken away: nothing at a share of 0, and what counting says."""

import jax
import numpy as np
import pytest
from flax import linen as nn

from cnnjax.analysis import cost, pruned, pruning_curves, remaining_macs
from cnnjax.layers import BatchNorm, Conv, Dense


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(BatchNorm(name="norm")(Conv(4, 3, 1, bias=False, name="c1")(x), train))
        x = nn.relu(Conv(6, 3, 1, name="c2")(x))
        return Dense(3, name="head")(x.mean((1, 2)))


X = np.random.default_rng(0).normal(size=(8, 8, 8, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def variables():
    drawn = jax.device_get(jax.jit(Net().init)(jax.random.key(0), X))
    drawn["params"]["norm"]["scale"] = np.array([0.1, -2, 0.5, 1], np.float32)
    drawn["params"]["norm"]["bias"] = np.ones(4, np.float32)
    return drawn


@pytest.mark.parametrize("by", ["weights", "filters", "channels"])
def test_a_share_of_nothing_changes_nothing(variables, by):
    found = pruned(variables, 0.0, by=by)
    jax.tree.map(np.testing.assert_array_equal, found, variables)


def test_the_smallest_weights_of_all_kernels_go_first(variables):
    found, kernels = pruned(variables, 0.4)["params"], ("c1", "c2", "head")
    before = np.concatenate([variables["params"][name]["kernel"].reshape(-1) for name in kernels])
    after = np.concatenate([found[name]["kernel"].reshape(-1) for name in kernels])
    assert np.sum(after == 0) == int(0.4 * len(before))
    assert np.abs(before[after == 0]).max() <= np.abs(before[after != 0]).min()
    np.testing.assert_array_equal(found["norm"]["scale"], variables["params"]["norm"]["scale"])


def test_filters_of_the_least_norm_go_with_their_biases_and_one_stays(variables):
    found = pruned(variables, 0.5, by="filters", layers=("c2",))["params"]
    lengths = np.abs(variables["params"]["c2"]["kernel"]).sum((0, 1, 2))
    gone = ~found["c2"]["kernel"].any((0, 1, 2))
    assert set(np.flatnonzero(gone)) == set(np.argsort(lengths)[:3])
    assert found["c1"]["kernel"].all()
    assert pruned(variables, 1.0, by="filters")["params"]["c2"]["kernel"].any((0, 1, 2)).sum() == 1


def test_channels_go_by_the_scale_of_their_norm(variables):
    found = pruned(variables, 0.5, by="channels")["params"]["norm"]
    np.testing.assert_array_equal(found["scale"], np.array([0, -2, 0, 1], np.float32))
    np.testing.assert_array_equal(found["bias"], [0, 1, 0, 1])


def test_a_filter_of_zeros_costs_nothing_and_neither_does_what_would_have_read_it(variables):
    whole = {layer.path: layer.macs for layer in cost(Net(), (1, 8, 8, 2)).layers}
    assert remaining_macs(Net(), variables, variables, X) == whole
    left = pruned(variables, 0.5, by="filters", layers=("c2",))
    assert remaining_macs(Net(), variables, left, X) == {**whole, "c2": whole["c2"] // 2, "head": whole["head"] // 2}
    left = pruned(variables, 0.5, by="channels")  # what stands before the norm is read by nothing else
    assert remaining_macs(Net(), variables, left, X) == {**whole, "c1": whole["c1"] // 2, "c2": whole["c2"] // 2}


def test_curves_begin_at_the_nets_accuracy_and_end_at_that_of_no_net(variables):
    answers = np.asarray(jax.jit(Net().apply)(variables, X)).argmax(-1)
    found = pruning_curves(Net(), variables, X, answers, (0.0, 0.5, 1.0))
    assert list(found.accuracy) == ["", "c1", "c2", "head"]
    assert all(accuracy[0] == 1 for accuracy in found.accuracy.values())
    empty = np.mean(answers == 0)  # of equal answers the first
    by_filter = pruning_curves(Net(), variables, X, answers, (0.0,), by="filters")
    assert list(by_filter.accuracy) == ["", "c1", "c2"], "the filters of the last layer are the classes"
    assert found.accuracy["head"][-1] == found.accuracy[""][-1] == pytest.approx(empty)


def test_what_a_net_does_not_have_is_not_pruned(variables):
    bare = {"params": {"head": variables["params"]["head"]}}
    with pytest.raises(ValueError, match="by is 'channels', and the net has no scales; it has bias, kernel"):
        pruned(bare, 0.5, by="channels")
    with pytest.raises(ValueError, match=r"layers is 'c3'.*c1"):
        pruned(variables, 0.5, layers=("c3",))
