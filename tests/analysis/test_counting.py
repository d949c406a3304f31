"""The cost of a net is counted, not measured."""

import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import models
from cnnjax.analysis import cost, multiplies
from cnnjax.layers import Conv, ConvTranspose, Dense
from tests.models.variants import filled


def one(layer, shape):
    (found,) = cost(Alone(layer), shape).layers
    return found


class Alone(nn.Module):
    """A net of one layer."""

    layer: nn.Module

    def __call__(self, x, train=False):
        return self.layer(x)


@pytest.mark.parametrize(
    ("layer", "shape", "parameters", "macs"),
    [
        (Conv(10, 5, padding=2), (1, 32, 32, 3), 760, 32 * 32 * 10 * 75),  # the lectures' example
        (Conv(6, 5), (1, 32, 32, 1), 156, 28 * 28 * 6 * 25),
        (Conv(128, 3, bias=False), (1, 256, 256, 1), 1_152, 254 * 254 * 128 * 9),
        (Dense(128, bias=False), (1, 256 * 256), 8_388_608, 8_388_608),
        (Conv(8, 3, groups=4, stride=2, padding=1, bias=False), (2, 9, 9, 8), 144, 2 * 25 * 8 * 18),
        (Conv(4, 3, dilation=2, bias=False), (1, 20, 3), 36, 16 * 36),
        (Conv(2, (1, 3, 3), bias=False), (1, 4, 5, 6, 3), 54, 4 * 3 * 4 * 54),
        (ConvTranspose(4, 2, 2, bias=False), (1, 5, 5, 8), 128, 25 * 128),
    ],
)
def test_a_layer_costs_what_the_formula_says(layer, shape, parameters, macs):
    found = one(layer, shape)
    assert found.parameters == parameters
    assert found.macs == macs


def test_the_sum_is_that_of_the_layers_and_the_table_names_them():
    found = cost(models.lenet5(outputs=10), (1, 28, 28, 1))
    assert found.parameters == sum(layer.parameters for layer in found.layers) == 61_706
    assert found.macs == sum(layer.macs for layer in found.layers) == 416_520
    assert [layer.path for layer in found.layers] == ["c1", "c3", "c5", "f6", "head"]
    table = str(found)
    assert "c3     Conv   1×10×10×16       2,416  240,000" in table
    assert table.splitlines()[-1].endswith("61,706  416,520")


def test_resizing_is_no_layer_and_costs_no_multiplies():
    net = models.unet(outputs=2, width=4, depth=1, up="resize", norm="none")
    by_hand = (16 * 16 * (3 * 4 + 4 * 4) + 8 * 8 * (4 * 8 + 8 * 8) + 16 * 16 * (8 * 4 + 4 * 4)) * 9
    assert cost(net, (1, 16, 16, 3)).macs == by_hand + 16 * 16 * (8 * 4 + 4 * 2)


def test_recomputed_and_looped_blocks_count_as_plain_ones():
    plain = cost(models.resnet20(outputs=10), (1, 32, 32, 3))
    for options in ({"remat": True}, {"stack": True}, {"remat": True, "stack": True}):
        assert cost(models.resnet20(outputs=10, **options), (1, 32, 32, 3)).layers == plain.layers


@pytest.mark.proofs
def test_auxiliary_heads_are_counted_where_they_run():
    net = models.inception_v3(outputs=10, auxiliary=True)
    evaluation, training = (cost(net, (1, 299, 299, 3), train=train) for train in (False, True))
    assert evaluation.parameters == training.parameters
    assert evaluation.macs < training.macs
    assert next(layer.macs for layer in evaluation.layers if layer.path == "auxiliary_head/output") == 0


def test_a_batch_multiplies_the_work_and_not_the_parameters():
    one, many = (cost(models.mlp(outputs=10), (n, 8, 8, 1)) for n in (1, 5))
    assert (many.parameters, many.macs) == (one.parameters, 5 * one.macs)


def test_a_net_of_the_users_own_with_plain_flax_layers_is_counted():
    class Tiny(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            x = nn.relu(nn.Conv(4, (3, 3), name="conv")(x))
            return nn.Dense(2, name="head")(jnp.mean(x, (1, 2)))

    found = cost(Tiny(), (1, 8, 8, 3))
    assert (found.parameters, found.macs) == (4 * 27 + 4 + 8 + 2, 64 * 4 * 27 + 8)


@pytest.mark.proofs
def test_resnet_152_is_counted_in_under_five_seconds():
    start = time.perf_counter()
    assert cost(models.resnet152(outputs=1000), (1, 224, 224, 3)).macs == 11_513_626_624
    assert time.perf_counter() - start < 5


def test_a_training_step_multiplies_three_times_as_often_as_an_answer_but_for_the_image_s_own_gradient():
    net, image = models.lenet5(outputs=10), np.zeros((2, 32, 32, 1), np.float32)
    params = filled(net, image.shape[1:])

    def loss(params):
        return jnp.sum(net.apply(params, image, train=False))

    answer, layers = multiplies(loss, params), cost(net, image.shape).layers
    assert answer == sum(layer.macs for layer in layers)
    assert multiplies(jax.grad(loss), params) == 3 * answer - layers[0].macs


def test_a_net_that_reads_tokens_is_counted_by_tokens():
    class Words(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3, name="head")(nn.Conv(5, (3,), name="window")(nn.Embed(11, 4, name="words")(x)).max(1))

    found = {layer.path: (layer.parameters, layer.macs) for layer in cost(Words(), (1, 6), dtype="int32").layers}
    assert found == {"words": (44, 0), "window": (65, 6 * 3 * 4 * 5), "head": (18, 15)}
