"""Detectors: any backbone, any strides, places in pixels, boxes that move with what they see."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import config, models
from cnnjax.models._pyramids import spread
from cnnjax.models.detectors import _turned
from tests.models.variants import abstract_variables, at_once, filled, flat


def tiny(**options):
    backbone = models.resnet(outputs=0, blocks=(1, 1, 1), width=4, stem="cifar")
    return models.detector(**{"outputs": 3, "backbone": backbone, "levels": (2, 4), "width": 8, "depth": 1, **options})


@pytest.mark.parametrize("backbone", ["vgg11_bn", "lenet5", "unet"])
@pytest.mark.parametrize("net", ["detector", "localizer"])
def test_any_backbone_finds_things_whatever_its_strides(net, backbone):
    strides = getattr(models, backbone)(outputs=0).strides
    options = {"levels": strides[1:]} if net == "detector" else {"level": strides[1]}
    net, example = getattr(models, net)(outputs=3, backbone=backbone, width=4, **options), (53, 61, 3)
    variables = abstract_variables(net, example)
    out = jax.eval_shape(net.apply, variables, jnp.zeros((2, *example)))
    assert out["boxes"].shape[::2] == (2, 4)
    assert "head" not in variables["params"]["pyramid"]["backbone"]
    if "places" in out:
        maps = jax.eval_shape(
            lambda v, x: list(net.apply(v, x, method="features").values()), variables, jnp.zeros((2, *example))
        )
        assert out["places"].shape == (2, sum(y.shape[1] * y.shape[2] for y in maps), 3)
        assert len(maps) == len(net.strides)


def test_levels_beyond_the_backbones_coarsest_are_made_by_halving():
    net = tiny(levels=(2, 16))
    image = jnp.zeros((1, 32, 32, 3))
    maps = jax.eval_shape(
        lambda v: list(net.apply(v, image, method="features").values()), abstract_variables(net, (32, 32, 3))
    )
    assert [y.shape[1:3] for y in maps] == [(16, 16), (2, 2)]


def test_places_lie_in_the_middle_of_what_they_stand_for():
    def places(*arguments):
        return np.asarray(at_once(lambda: spread(*arguments)))

    np.testing.assert_array_equal(places((8, 8), (2, 2), 4), [[2, 2, 4], [2, 6, 4], [6, 2, 4], [6, 6, 4]])
    np.testing.assert_array_equal(places((7, 4), (2, 1), 4)[:, 0], [2, 6])  # the last reaches over the edge
    np.testing.assert_array_equal(places((12, 4), (2, 1), 4)[:, 0], [4, 8])  # a map that pads nothing shows the middle


@pytest.mark.parametrize("turned", [False, True])
def test_boxes_move_with_what_they_see(turned):
    net = tiny(
        levels=(4,),
        turned=turned,
        norm="none",
        backbone=models.resnet(outputs=0, blocks=(1, 1, 1), width=4, stem="cifar", norm="none"),
    )
    x = np.zeros((1, 64, 64, 3), np.float32)
    x[:, 24:32, 24:32] = np.random.default_rng(0).normal(size=(1, 8, 8, 3))
    both = at_once(jax.vmap(net.apply, (None, 0)), filled(net, (64, 64, 3)), np.stack([x, np.roll(x, 8, 1)]))
    one, moved = ({name: np.asarray(leaf)[i, 0] for name, leaf in both.items()} for i in (0, 1))
    inside = [row * 16 + column for row in range(5, 9) for column in range(5, 9)]
    there = [place + 32 for place in inside]  # two rows of places further down
    shifts = {"centres": [8, 0], "sides": 0, "headings": 0, "heights": 0} if turned else {"boxes": [8, 0, 8, 0]}
    for name, shift in {**shifts, "main": 0}.items():
        wanted = one[name][inside] + np.float32(shift)
        np.testing.assert_allclose(moved[name][there], wanted, rtol=1e-3, atol=1e-3)


def test_places_keep_their_pixels_in_half_precision():
    net, large = tiny(levels=(2,)), jax.ShapeDtypeStruct((1, 64, 1200, 3), jnp.bfloat16)
    out = jax.eval_shape(net.apply, abstract_variables(net, (64, 1200, 3)), large)
    assert out["main"].dtype == jnp.bfloat16
    assert out["places"].dtype == out["boxes"].dtype == jnp.float32


def test_masks_add_prototypes_at_half_the_finest_stride_and_nothing_else():
    plain, with_masks = (flat(abstract_variables(tiny(masks=count), (16, 16, 3))["params"]) for count in (0, 5))
    assert {path.split("/")[0] for path in set(with_masks) - set(plain)} == {"prototypes", "mask_head"}
    out = jax.eval_shape(
        lambda key, x: tiny(masks=5).init_with_output(key, x)[0], jax.random.key(0), jnp.zeros((2, 16, 16, 3))
    )
    assert out["prototypes"].shape == (2, 16, 16, 5)
    assert out["coefficients"].shape == (2, 8 * 8 + 4 * 4, 5)


def test_a_mask_in_a_box_is_drawn_by_what_lies_there_twice_as_fine_as_it_is_read():
    plain, drawing = (flat(abstract_variables(tiny(aligned=side), (16, 16, 3))["params"]) for side in (0, 5))
    assert {path.split("/")[0] for path in set(drawing) - set(plain)} == {"maps", "mask_tower"}
    net = tiny(
        levels=(4,),
        aligned=5,
        norm="none",
        backbone=models.resnet(outputs=0, blocks=(1, 1, 1), width=4, stem="cifar", norm="none"),
    )
    x = np.zeros((1, 64, 64, 3), np.float32)
    x[:, 24:32, 24:32] = np.random.default_rng(0).normal(size=(1, 8, 8, 3))
    boxes = np.float32([[[20, 22, 34, 33], [24, 24, 32, 32], [0, 0, 6, 6]]])

    def drawn(variables, x, boxes):
        maps = net.apply(variables, x)["maps"]
        return maps, net.apply(variables, maps, boxes, method="aligned_masks")

    variables = filled(net, (64, 64, 3))
    shifted = np.stack([x, np.roll(x, 8, 1)]), np.stack([boxes, boxes + np.float32([8, 0, 8, 0])])
    both = at_once(jax.vmap(drawn, (None, 0, 0)), variables, *shifted)
    maps, (one, moved) = both[0], both[1]
    assert (maps.shape[1:], one.shape) == ((1, 32, 32, 8), (1, 3, 10, 10))
    np.testing.assert_allclose(moved[:, :2], one[:, :2], rtol=1e-3, atol=1e-3)
    assert np.abs(one[0, 0] - one[0, 1]).max() > 1e-3
    for options, text in (({"masks": 2}, "aligned is 5 and masks is 2"), ({"turned": True}, "and turned is True")):
        with pytest.raises(ValueError, match=text):
            tiny(aligned=5, **options)


def test_solids_have_sides_and_a_height_above_nothing_whatever_the_layer_says():
    places = np.float32([[4, 4, 8], [4, 12, 8]])
    raw = np.repeat([[[0.0]], [[-30.0]], [[90.0]]], 16, 2).reshape(3, 2, 8)
    found = at_once(_turned, raw.astype(jnp.bfloat16), places)
    np.testing.assert_array_equal(found["centres"][0], places[:, :2])
    np.testing.assert_array_equal(found["sides"][0], [[32, 32]] * 2)
    np.testing.assert_array_equal(found["heights"][0], [[0, 4]] * 2)
    assert all(np.isfinite(value).all() and value.dtype == jnp.float32 for value in found.values())
    assert (np.asarray(found["sides"]) > 0).all()
    assert (np.diff(found["heights"]) >= 0).all()


def test_a_backbone_may_be_a_section_of_the_config():
    section = config.section("models", "detector", width=4, backbone=config.section("models", "resnet18", width=8))
    net = config.call("models", section, outputs=2)
    kernel = flat(abstract_variables(net, (64, 64, 3))["params"])["pyramid/backbone/stem/conv/kernel"]
    assert kernel.shape == (7, 7, 3, 8)
