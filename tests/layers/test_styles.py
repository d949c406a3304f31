"""What the layers of a net have in common."""

import jax
import jax.numpy as jnp

from cnnjax.layers import Style


def test_convolutions_have_a_bias_where_nothing_normalises():
    def parameters(layer):
        return set(jax.eval_shape(layer.init, jax.random.key(0), jnp.ones((1, 4, 4, 2)))["params"])

    assert parameters(Style(norm="batch").conv(3)) == {"kernel"}
    assert parameters(Style(norm="none").conv(3)) == {"kernel", "bias"}
    assert parameters(Style(norm="batch").conv(3, bias=True)) == {"kernel", "bias"}


def test_layers_are_made_to_the_style():
    style = Style(act="sigmoid", init="zeros", momentum=0.3, eps=0.1, group=4)
    norm = style.normalize("n")
    assert (norm.momentum, norm.eps, norm.group, norm.name) == (0.3, 0.1, 4, "n")
    assert float(style.activate(jnp.zeros(()))) == 0.5
    kernel = style.conv(3).init(jax.random.key(0), jnp.ones((1, 4, 4, 2)))["params"]["kernel"]
    assert (kernel == 0).all()
