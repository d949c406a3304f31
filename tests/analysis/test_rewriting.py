"""A function with other gradients at its rectifiers: the values stay, and what is exchanged is found by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import models
from cnnjax.analysis import rewritten

DOUBLED = {name: (lambda x, g: 2 * g) for name in ("relu", "relu6", "leaky_relu")}
X = jnp.asarray([-2.0, -0.5, 1.0, 7.0])


@pytest.mark.parametrize(
    "rectifier",
    [
        jax.nn.relu,
        jax.nn.relu6,
        jax.nn.leaky_relu,
        lambda x: jnp.maximum(x, 0),
        lambda x: jnp.maximum(0.0, x),
        jax.jit(jax.nn.relu),
        jax.checkpoint(jax.nn.relu),
        lambda x: jax.lax.cond(x[0] < 0, jax.nn.relu, lambda x: x, x),
        lambda x: jax.lax.scan(lambda carry, row: (carry, jax.nn.relu(row)), 0.0, x)[1],
        lambda x: jax.vmap(jax.nn.relu)(x),
    ],
    ids=["relu", "relu6", "leaky", "maximum", "mirrored", "jit", "remat", "cond", "scan", "vmap"],
)
def test_a_rectifier_gets_another_gradient_wherever_it_stands_and_keeps_its_values(rectifier):
    other = rewritten(rectifier, DOUBLED)
    for f in (other, jax.jit(other)):
        np.testing.assert_array_equal(f(X), rectifier(X))
        np.testing.assert_array_equal(jax.grad(lambda x, f=f: f(x).sum())(X), [2, 2, 2, 2])


def test_what_has_no_rule_keeps_its_gradient():
    def f(x):
        return {"a": jax.nn.silu(jax.nn.relu(x)) * 3, "b": jax.nn.relu6(x)}

    other = rewritten(f, {"relu": lambda x, g: jnp.where(x > 0, g, 0)})
    assert other(X).keys() == {"a", "b"}
    for name in "ab":
        expected, found = (jax.grad(lambda x, f=f, name=name: f(x)[name].sum())(X) for f in (f, other))
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_carried_values_go_through_a_loop_as_before():
    def f(x):
        return jax.lax.scan(lambda c, w: (jax.nn.relu(c * w), c), x, jnp.asarray([1.0, -2.0, 3.0]), reverse=True)

    other = rewritten(f, {"relu": lambda x, g: jnp.where(x > 0, g, 0)})
    jax.tree.map(np.testing.assert_array_equal, other(X), f(X))


def test_a_residual_net_of_seventeen_rectifiers_has_seventeen():
    from cnnjax.analysis import rewriting

    net = models.resnet18(outputs=3, width=4)
    images = jnp.zeros((1, 32, 32, 3))
    variables = jax.eval_shape(lambda: net.init(jax.random.key(0), images))
    jaxpr = jax.make_jaxpr(net.apply)(variables, images)
    assert list(rewriting.named(jaxpr.jaxpr, DOUBLED)) == ["relu"] * 17


def test_a_function_without_a_rectifier_is_refused():
    with pytest.raises(ValueError, match="none of relu, relu6, leaky_relu is in the function"):
        rewritten(jax.nn.silu, DOUBLED)(X)
