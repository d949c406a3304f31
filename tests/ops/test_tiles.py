"""A picture in tiles gives what the whole picture gives."""

import jax
import numpy as np
import pytest

from cnnjax import models, ops


def test_tiles_of_a_net_of_valid_convolutions_are_the_whole_bit_for_bit():
    net = models.unet(outputs=2, width=2, depth=2, padding="valid", norm="none")
    image = np.random.default_rng(0).normal(size=(48, 72, 1)).astype(np.float32)
    variables = jax.jit(lambda key, x: net.init(key, x, train=False))(jax.random.key(0), np.zeros((1, 92, 92, 1)))
    apply = jax.jit(lambda x: net.apply(variables, x, train=False))
    margin = 20
    around = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), "reflect")
    whole = np.asarray(apply(around[None]))[0]
    assert whole.shape == (48, 72, 2)
    np.testing.assert_array_equal(ops.tiled(apply, image, tile=24, margin=margin), whole)


def test_what_is_no_multiple_of_a_tile_comes_out_whole():
    image = np.random.default_rng(1).normal(size=(13, 22, 3)).astype(np.float32)

    @jax.jit
    def mean(x):
        return ops.avg_pool(x, 3, stride=1, padding=1)[..., :2]

    expected = np.asarray(mean(np.pad(image, ((2, 2), (2, 2), (0, 0)), "reflect")[None]))[0, 2:-2, 2:-2]
    np.testing.assert_allclose(ops.tiled(mean, image, tile=5, margin=2), expected, atol=1e-6)


def test_a_margin_that_cannot_be_mirrored_and_a_map_of_another_size_are_refused():
    image = np.zeros((8, 8, 1), np.float32)
    with pytest.raises(ValueError, match="margin is 8; a picture of 8×8 pixels can be mirrored by less"):
        ops.tiled(lambda x: x, image, tile=4, margin=8)
    with pytest.raises(ValueError, match=r"function gives \(3, 3\) of a tile of 4"):
        ops.tiled(lambda x: x[:, :3, :3], image, tile=4, margin=0)
