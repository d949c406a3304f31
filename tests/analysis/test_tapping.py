"""The map of a module inside a net is read, and moved."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import models
from cnnjax.analysis import module_maps, tapped, tapping
from tests.models.variants import filled
from tests.train.nets import layered

IMAGES = np.random.default_rng(1).normal(size=(2, 16, 16, 3)).astype(np.float32)


def seen(net, images=IMAGES):
    return net, filled(net, images.shape[1:])


def programs(net, path):
    """What reads the map of a module and what goes on from it, compiled."""
    return map(jax.jit, tapped(net, path))


def test_a_map_is_read_and_what_is_added_to_it_goes_on_to_the_output():
    net, variables = seen(layered(outputs=3, activation="tanh"))
    reads, resumes = programs(net, "c3")
    found = np.asarray(reads(variables, IMAGES))
    hidden = variables["params"]
    assert found.shape[-1] == 16
    np.testing.assert_allclose(resumes(variables, IMAGES, 0 * found), jax.jit(net.apply)(variables, IMAGES), rtol=1e-6)
    moved = np.tanh(found + 0.5).reshape(2, -1) @ hidden["head"]["kernel"] + hidden["head"]["bias"]
    np.testing.assert_allclose(resumes(variables, IMAGES, 0.5 + 0 * found), moved, rtol=1e-4, atol=1e-6)


def test_the_gradient_at_a_layer_is_that_of_the_rest_of_the_net():
    net, variables = seen(layered(outputs=3, activation="tanh"))
    reads, resumes = programs(net, "c3")
    found = np.asarray(reads(variables, IMAGES))

    def rest(found):
        return jnp.tanh(found).reshape(2, -1) @ variables["params"]["head"]["kernel"]

    expected = jax.jit(jax.grad(lambda x: rest(x)[:, 1].sum()))(found)
    gradient = jax.jit(jax.grad(lambda delta: resumes(variables, IMAGES, delta)[:, 1].sum()))(0 * found)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-7)


def test_the_last_features_are_a_layer_by_their_own_name():
    images = np.ones((1, 32, 32, 3), np.float32)
    net, variables = seen(models.vgg11(outputs=3, width=2, hidden=8), images)
    reads, resumes = programs(net, "pool5")
    expected = jax.jit(lambda variables, images: net.apply(variables, images, method="features")["pool5"])
    expected, found = (np.asarray(run(variables, images)) for run in (expected, reads))
    np.testing.assert_array_equal(found, expected)
    assert not np.allclose(resumes(variables, images, found + 1), resumes(variables, images, 0 * found))


def test_modules_give_their_maps_by_path_in_order_and_blocks_of_a_loop_one_by_one():
    net = models.resnet20(outputs=3, stack=True)
    variables = jax.eval_shape(lambda: net.init(jax.random.key(0), IMAGES))
    found = tapping.map_shapes(net, variables, IMAGES)
    names = list(found)
    assert {f"stage{i}/block{j}/conv{k}" for i in (1, 2, 3) for j in (1, 2, 3) for k in (1, 2)} <= set(names)
    assert names.index("stage1/block1") < names.index("stage1") < names.index("stage2/block1")
    assert found["stage3"] == (2, 4, 4, 64)


def test_modules_give_what_they_give():
    net, variables = seen(layered(outputs=3))
    names = []

    @jax.jit
    def maps(variables, images):
        found = module_maps(net, variables, images)
        names.extend(found)
        return found

    found = maps(variables, IMAGES)
    assert names == ["c1", "c3", "head"]
    np.testing.assert_array_equal(found["head"], jax.jit(net.apply)(variables, IMAGES))
    np.testing.assert_array_equal(found["c3"], next(programs(net, "c3"))(variables, IMAGES))


def test_a_layer_that_is_not_there_and_one_that_is_called_twice_are_refused():
    net, variables = seen(layered(outputs=3))
    with pytest.raises(ValueError, match=r"layer is 'c4'; allowed: c1, c3, head"):
        jax.eval_shape(tapped(net, "c4")[0], variables, IMAGES)

    import flax.linen as nn

    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x):
            layer = nn.Dense(3, name="layer")
            return layer(layer(x))

    variables = jax.eval_shape(Twice().init, jax.random.key(0), IMAGES)
    with pytest.raises(ValueError, match="layer is 'layer'; it is called 2 times"):
        jax.eval_shape(tapped(Twice(), "layer")[1], variables, IMAGES, 0.0)
