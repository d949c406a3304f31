"""Work by layer as it can be counted by hand, limits that are above zero, and XLA's count beside ours."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from cnnjax import models
from cnnjax.analysis import MachineLimits, compiled_cost, cost, machine_limits, roofline_of
from cnnjax.layers import Conv, Dense


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(Conv(16, 3, 1, name="conv")(x))
        return Dense(10, name="head")(x.reshape(len(x), -1))


def traced(net, shape):
    image = jax.ShapeDtypeStruct(shape, jnp.float32)
    return jax.eval_shape(lambda x: net.init(jax.random.key(0), x), image), image


def test_bytes_and_operations_of_layers_are_those_of_their_arrays():
    found = roofline_of(Net(), (2, 10, 10, 3), MachineLimits(flops=100e9, bandwidth=20e9))
    conv, head = found.layers
    assert (conv.path, conv.macs) == ("conv", 2 * 64 * 16 * 27)
    assert conv.bytes == 4 * (2 * 100 * 3 + 27 * 16 + 2 * 64 * 16)
    assert (head.path, head.macs, head.bytes) == ("head", 2 * 1024 * 10, 4 * (2 * 1024 + 1024 * 10 + 2 * 10))
    assert found.limits.ridge == 5
    assert conv.intensity > 5 > head.intensity
    assert found.seconds(conv) == pytest.approx(2 * conv.macs / 100e9)
    assert found.seconds(head) == pytest.approx(head.bytes / 20e9)
    half = roofline_of(Net(), (2, 10, 10, 3), found.limits, bytes_per_number=2)
    assert half.layers[0].intensity == pytest.approx(2 * conv.intensity)


def test_what_xla_counts_of_a_small_net_is_twice_our_macs():
    net, shape = Net(), (4, 12, 12, 8)
    found = compiled_cost(net.apply, *traced(net, shape))
    assert found.flops == pytest.approx(2 * cost(net, shape).macs, rel=0.05)  # biases and rectifiers
    assert found.arguments >= 4 * cost(net, shape).parameters
    assert found.outputs >= 4 * 4 * 10
    assert found.accessed > found.arguments
    assert found.seconds > 0


@pytest.mark.proofs
def test_what_xla_counts_of_vgg11_is_twice_our_macs():
    """But for the products with zeros of the border: along a side of n pixels there are 2 in 3 n."""
    net, shape = models.vgg11(outputs=1000), (1, 224, 224, 3)
    found = compiled_cost(net.apply, *traced(net, shape))
    inside = 0.0
    for layer in cost(net, shape).layers:
        side = layer.shape[1] if len(layer.shape) == 4 else 0
        inside += layer.macs * ((3 * side - 2) / (3 * side)) ** 2 if side else layer.macs
    assert found.flops == pytest.approx(2 * inside, rel=0.01)
    assert found.flops == pytest.approx(2 * cost(net, shape).macs, rel=0.035)


def test_a_machine_does_something_and_moves_something():
    found = machine_limits(side=64, megabytes=1, runs=1)
    assert found.flops > 1e6
    assert found.bandwidth > 1e6
