"""Effective fields: k-nomials of layers of ones, whose widths are known."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import ops
from cnnjax.analysis import effective_field, effective_fields


class Ones(nn.Module):
    """So many convolutions by windows of ones, of which each but the first is a map."""

    count: int
    window: int

    def features(self, x):
        found = {}
        for number in range(1, self.count + 1):
            x = ops.conv(x, jnp.full((self.window, self.window, 1, 1), 1 / self.window**2), padding="same")
            found[f"conv{number}"] = x
        return {name: found[name] for name in (f"conv{self.count}",)}

    def __call__(self, x):
        return list(self.features(x).values())[-1].mean((1, 2))


def knomial(count, window):
    """What as many windows of ones make of a point, along a line."""
    return functools.reduce(np.convolve, [np.ones(window)] * count)


@pytest.mark.parametrize(
    ("count", "window", "side", "sigma", "area"),
    [(5, 3, 11, 1.8257, 69), (10, 3, 21, 2.5820, 137), (20, 3, 41, 3.6515, 261), (10, 5, 41, 4.4721, 393)],
)
def test_layers_of_ones_have_the_field_of_a_k_nomial(count, window, side, sigma, area):
    net = Ones(count, window)
    found = effective_field(net, {}, np.zeros((1, 45, 45, 1), np.float32), f"conv{count}")
    assert found.theory == (side, side)
    assert found.corner == (22 - side // 2,) * 2
    assert found.inside
    np.testing.assert_allclose(found.sigma, sigma, atol=1e-4)
    np.testing.assert_allclose(found.sigma, np.sqrt(count * (window**2 - 1) / 12), rtol=1e-5)
    assert found.area == area
    assert found.side == pytest.approx(area**0.5)
    assert found.share == pytest.approx(area / side**2)
    line = knomial(count, window) / knomial(count, window).sum()
    held = [line[side // 2 - r : side // 2 + r + 1].sum() ** 2 for r in range(side // 2 + 1)]
    assert found.radii == {t: 1 + 2 * int(np.argmax(np.array(held) >= t / 100)) for t in (20, 30, 50, 99)}
    assert (found.dead, found.asked) == (0, 1)


class Strided(nn.Module):
    """A rectifier on a convolution of stride 2, each unit of which looks at pixels of its own."""

    def features(self, x):
        return {"map": jax.nn.relu(ops.conv(x, jnp.ones((2, 2, 1, 1)), stride=2))}

    def __call__(self, x):
        return self.features(x)["map"].mean((1, 2))


def test_dead_units_are_left_out_and_counted_and_units_are_laid_over_each_other():
    images = np.ones((2, 16, 16, 1), np.float32)
    images[0, :8] = -1
    found = effective_fields(Strided(), {}, images, around=3)["map"]
    assert (found.dead, found.asked) == (3, 18)
    assert found.area == 4
    assert np.argwhere(found.map == 1).tolist() == [[8, 8], [8, 9], [9, 8], [9, 9]]
    assert found.radii[99] == 2
    nothing = effective_field(Strided(), {}, -np.ones_like(images), "map")
    assert (nothing.dead, nothing.area, nothing.share) == (2, 0, 0)
    assert np.isnan(nothing.sigma).all()


def test_a_unit_at_the_border_is_known_to_see_padding():
    net, images = Ones(5, 3), np.zeros((1, 20, 20, 1), np.float32)
    assert not effective_field(net, {}, images, "conv5", unit=(3, 10)).inside
    with pytest.raises(ValueError, match=r"unit is \(20, 0\); conv5 has places \(20, 20\)"):
        effective_field(net, {}, images, "conv5", unit=(20, 0))
    with pytest.raises(ValueError, match=r"name is 'conv6'.*conv5"):
        effective_field(net, {}, images, "conv6")


class Plain(nn.Module):
    """Two convolutions of flax, in a net that has no features."""

    @nn.compact
    def __call__(self, x):
        for name in ("first", "second"):
            x = nn.Conv(1, (3, 3), use_bias=False, kernel_init=nn.initializers.ones, name=name)(x)
        return x.mean((1, 2))


def test_a_net_without_features_has_the_fields_of_its_modules():
    images = np.zeros((1, 15, 15, 1), np.float32)
    ones = np.ones((3, 3, 1, 1), np.float32)
    variables = {"params": {"first": {"kernel": ones}, "second": {"kernel": ones}}}
    found = effective_fields(Plain(), variables, images)
    assert {name: each.theory for name, each in found.items()} == {"first": (3, 3), "second": (5, 5)}
    np.testing.assert_allclose(found["second"].sigma, np.sqrt(2 * (3**2 - 1) / 12), rtol=1e-5)
    assert list(effective_fields(Plain(), variables, images, most=1)) == ["first"]
    alone = effective_field(Plain(), variables, images, "second", unit=(3, 4))
    assert alone.corner == (1, 2)
