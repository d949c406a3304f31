"""Options that make no net, or that another option leaves without effect, are refused by their name and value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import models
from tests.models.variants import abstract_variables, flat, quickly, shape_of

WHOLE = r"must be a whole number from 1 on"
ROW = r"must be whole numbers from 1 on"

REFUSED = [
    ("resnet18", {"outputs": -1}, "outputs is -1; it must be a whole number from 0 on"),
    ("mlp", {"outputs": True}, "outputs is True; it must be a whole number from 0 on"),
    ("lenet5_1998", {"outputs": "10"}, "outputs is '10'; it must be a whole number from 0 on"),
    ("dcgan", {"outputs": -1}, "outputs is -1; it must be a whole number from 0 on"),
    ("resnet18", {"blocks": ()}, rf"blocks is \(\); it {ROW}"),
    ("resnet18", {"blocks": (2, 0)}, "blocks holds 0; it must be ≥ 1"),
    ("resnet18", {"blocks": 3}, "blocks is 3; it must be a tuple of whole numbers"),
    ("resnet18", {"width": 0}, "width is 0; it must be ≥ 1"),
    ("resnet18", {"stem_width": -4}, "stem_width is -4; it must be ≥ 0"),
    ("resnet18", {"stem": "deep", "stem_width": 1}, "stem_width is 1; .* it must be 2"),
    ("resnet50", {"groups": 0}, "groups is 0; it must be ≥ 1"),
    ("resnext50_32x4d", {"width": 8}, "width is 8: with group_width 4 .* = 0 maps"),
    ("resnet18", {"groups": 32}, "groups is 32, which has no effect here: it needs bottleneck=True"),
    ("resnet18", {"group_width": 4}, "group_width is 4, which has no effect here: it needs bottleneck=True"),
    ("resnet18", {"block_dropout": 0.5}, "block_dropout is 0.5, which has no effect here: it needs version '2'"),
    ("resnet18_v2", {"zero_init": True}, "zero_init is True, which has no effect here: it needs version '1' or '1.5'"),
    ("resnet20", {"shortcut": "none", "drop_path": 0.1}, "drop_path is 0.1, which has no effect here"),
    ("resnet20", {"pool": "avg"}, "pool is 'avg', which has no effect here: it needs stem 'imagenet' or 'deep'"),
    ("resnet18", {"momentum": 5.0}, "momentum is 5.0; it must be ≥ 0 and < 1"),
    ("googlenet", {"eps": -1.0}, "eps is -1.0; it must be at least 0"),
    ("unet", {"width": 0, "backbone": "resnet18"}, "width is 0; it must be ≥ 1"),
    ("unet", {"depth": -1}, "depth is -1; it must be ≥ 0"),
    ("unet", {"backbone": ".x:y"}, "backbone is '.x:y'; "),
    ("unet", {"backbone": 5}, "backbone is 5; it must be the name of a net"),
    ("unet", {"backbone": "nonesuch:there"}, "backbone is 'nonesuch:there'; No module named 'nonesuch'"),
    ("detector", {"backbone": ""}, "backbone is ''; it must be the name of a net, such as resnet18"),
    ("detector", {"backbone": "mlp"}, "backbone is 'mlp'; its features lie in no image plane, so nothing can be found"),
    (
        "detector",
        {"levels": (16, 8)},
        r"levels is \(16, 8\); they are strides of the backbone's maps, 2 4 8 16 32, from",
    ),
    ("detector", {"levels": (8, 48)}, r"levels is \(8, 48\); .* or go on from there by doublings: 64 128 …"),
    ("detector", {"levels": ()}, r"levels is \(\); they are strides"),
    ("detector", {"masks": 4, "turned": True}, "masks is 4 and turned is True; masks are cut to boxes that are not"),
    ("localizer", {"level": 3}, r"levels is \(3,\); they are strides of the backbone's maps"),
    ("mobilenet_v2", {"multiplier": 0.0}, "multiplier is 0.0; it must be above 0"),
    ("mobilenet_v3_small", {"multiplier": -1.0}, "multiplier is -1.0; it must be above 0"),
    ("efficientnet_b0", {"depth": 0.0}, "depth is 0.0; it must be above 0"),
    ("densenet", {"growth": 0}, "growth is 0; it must be ≥ 1"),
    ("densenet", {"compression": 2.0}, "compression is 2.0; it must be > 0 and ≤ 1"),
    ("mlp", {"hidden": 5}, f"hidden is 5; it {ROW}"),
    ("vgg11", {"hidden": 0}, f"hidden is 0; it {WHOLE}"),
    ("c3d", {"stages": (4, 8)}, r"stages is \(4, 8\); it must have .*, as in \(\(8,\), \(8, 8\)\)"),
    ("c3d", {"stages": ()}, r"stages is \(\); it must have"),
    ("c3d", {"stages": ((4, 0),)}, rf"a row of stages is \(4, 0\); it {ROW}"),
    ("tdnn", {"layers": ()}, r"layers is \(\); it must have \(features, window, dilation\)"),
    ("convnet", {"layers": (("conv", 0, 3),)}, "layers holds 0; it must be ≥ 1"),
    ("convnext_tiny", {"window": 4}, "window is 4; .* it must be odd"),
    ("dcgan", {"size": "28"}, "size is '28'; it must be a whole number from 4 on"),
]


@pytest.mark.parametrize(("name", "options", "words"), REFUSED)
def test_an_option_that_makes_no_net_is_refused(name, options, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        getattr(models, name)(**{"outputs": 1, **options})


def test_zeros_cannot_make_a_map_of_fewer_channels():
    with pytest.raises(ValueError, match=r"shortcut is 'A', .* a block of 16 gets 32; choose 'B'"):
        abstract_variables(models.resnet20(outputs=3, stem_width=32), (16, 16, 3))


@pytest.mark.parametrize("name", ["mlp", "lenet5", "convnet", "resnet20", "vgg11", "tdnn", "convnext_tiny"])
def test_an_empty_batch_has_an_empty_answer(name):
    shape = {"tdnn": (48, 3)}.get(name, (32, 32, 3))
    net = getattr(models, name)(outputs=3)
    assert jax.eval_shape(net.apply, abstract_variables(net, shape), jnp.zeros((0, *shape))).shape == (0, 3)


def test_nets_whose_numbers_are_known_can_be_static_arguments():
    net = models.resnet20(outputs=3, width=4)
    answer = jax.jit(lambda net, variables, x: net.apply(variables, x), static_argnums=0)
    variables = abstract_variables(net, (8, 8, 3))
    assert answer.eval_shape(net, variables, jnp.ones((2, 8, 8, 3))).shape == (2, 3)


def test_a_window_of_even_size_keeps_the_size_too():
    net = models.convnet(outputs=3, layers=(("conv", 4, 4), ("conv", 4, 2)))
    x = jnp.zeros((1, 32, 32, 3))
    maps = jax.eval_shape(lambda v, x: net.apply(v, x, method="features"), abstract_variables(net, (32, 32, 3)), x)
    assert {leaf.shape for leaf in maps.values()} == {(1, 32, 32, 4)}


@pytest.mark.parametrize(
    ("name", "layer", "deviation"),
    [
        ("inception_v3", "stem5/conv", 0.1),
        ("convnext_tiny", "stage1/block1/expand", 0.02),
        ("googlenet", "conv3/conv", 0.01),
        ("r3d_18", "head/output", 0.01),
    ],
)
def test_first_weights_are_spread_as_torchvisions(name, layer, deviation):
    net = getattr(models, name)(outputs=400)
    x = jnp.zeros((1, *shape_of(name)))

    def kernel(key):  # of the others nothing is computed
        return flat(net.init(key, x, train=False)["params"])[f"{layer}/kernel"]

    found = quickly(kernel, jax.random.key(0))(jax.random.key(0))
    assert np.std(found) == pytest.approx(deviation, rel=0.02)
    assert np.abs(found).max() > 3 * deviation  # not cut off
