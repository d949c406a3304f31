"""Receptive fields: the published ones, and arithmetic against the gradient."""

import math

import flax.linen as nn
import jax
import numpy as np
import pytest

from cnnjax import models
from cnnjax.analysis import jacobian_field, receptive_fields
from tests.models.variants import abstract_variables


@pytest.mark.parametrize(
    ("name", "options", "shape", "where", "side", "stride"),
    [
        ("alexnet", {}, (1, 224, 224, 3), "pool5", 195, 32),
        ("vgg16", {}, (1, 224, 224, 3), "pool5", 212, 32),
        pytest.param("resnet50", {}, (1, 224, 224, 3), "stage4", 427, 32, marks=pytest.mark.proofs),
        pytest.param("resnet50", {"version": "1"}, (1, 224, 224, 3), "stage4", 483, 32, marks=pytest.mark.proofs),
        ("lenet5_1998", {"padding": 0}, (1, 32, 32, 1), "c5", 32, 4),
        ("resnet20", {}, (1, 32, 32, 3), "stage3", 81, 4),
    ],
)
def test_the_published_fields_come_out(name, options, shape, where, side, stride):
    field = receptive_fields(getattr(models, name)(outputs=10, **options), shape)[where]
    assert field.size == field.least == (side, side)
    assert field.stride == (stride, stride)


def test_the_field_of_a_u_net_depends_on_the_phase_of_the_pixel():
    field = receptive_fields(models.unet_2015(outputs=2, width=2), (1, 572, 572, 1))["output"]
    assert (field.least, field.size, field.stride) == ((188, 188), (204, 204), (1, 1))


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("resnet18", {}, (64, 64, 3)),
        ("mobilenet_v2", {}, (64, 64, 3)),
        pytest.param("densenet121", {}, (64, 64, 3), marks=pytest.mark.proofs),
        pytest.param("convnext_tiny", {}, (64, 64, 3), marks=pytest.mark.proofs),
        pytest.param("googlenet", {}, (64, 64, 3), marks=pytest.mark.proofs),
        pytest.param("inception_v3", {}, (107, 107, 3), marks=pytest.mark.proofs),
        ("all_cnn_c", {}, (32, 32, 3)),
        ("convnet", {}, (28, 28, 1)),
        ("lenet5", {}, (28, 28, 1)),
        ("unet", {"width": 4, "depth": 2}, (32, 32, 3)),
        ("tdnn", {}, (100, 3)),
    ],
)
def test_total_strides_are_those_that_the_net_declares_and_fields_only_grow(name, options, shape):
    net = getattr(models, name)(outputs=5, **options)
    fields = receptive_fields(net, (1, *shape))
    fields.pop("output", None)
    assert [field.stride[0] for field in fields.values()] == list(net.strides)
    if name != "unet":  # a decoder's finest map sees the most
        sides = [field.size[0] for field in fields.values()]
        assert sides == sorted(sides)


def test_a_net_that_looks_at_the_whole_image_has_an_infinite_field():
    for net in (
        models.mlp(outputs=3),
        models.efficientnet(outputs=3, multiplier=0.25, depth=0.1),
        models.convnet(outputs=3, norm="group"),
    ):
        fields = receptive_fields(net, (1, 32, 32, 3))
        assert list(fields.values())[-1].size[0] == math.inf


# smooth and averaging, so that the gradient reaches every pixel that arithmetic allows
SMOOTH = [
    ("convnet", {"layers": (("conv", 4, 3), ("pool", 3, 2), ("conv", 4, 5), ("pool", 2))}, (33, 33, 1)),
    ("convnet", {"layers": (("conv", 4, 3, 2), ("conv", 4, 3, 2))}, (32, 32, 2)),
    ("resnet", {"blocks": (1, 1), "width": 4, "stem": "cifar"}, (33, 33, 3)),
    ("resnet", {"blocks": (1, 1), "width": 4, "stem": "cifar", "shortcut": "A", "version": "2"}, (32, 32, 3)),
    ("unet", {"width": 3, "depth": 1, "up": "resize"}, (48, 48, 1)),
    *(
        pytest.param(*case, marks=pytest.mark.proofs)
        for case in (
            ("densenet", {"blocks": (2, 1), "growth": 4, "stem": "cifar", "stem_width": 4}, (33, 33, 3)),
            ("unet", {"width": 3, "depth": 2}, (64, 64, 1)),
            ("unet", {"width": 3, "depth": 1, "padding": "valid"}, (48, 48, 1)),
            ("resnet20", {"width": 2}, (240, 240, 3)),
            ("vgg16", {"width": 1}, (544, 544, 3)),
            ("resnet50", {"width": 2}, (1024, 1024, 3)),
            ("alexnet", {}, (544, 544, 3)),
        )
    ),
    ("tdnn", {"layers": ((4, 5, 1), (4, 3, 2), (4, 3, 3))}, (60, 3)),
]


@pytest.mark.parametrize(("name", "options", "shape"), SMOOTH)
def test_arithmetic_and_gradient_agree(name, options, shape):
    pools = name not in ("tdnn", "resnet20") and (name, options.get("stem")) != ("resnet", "cifar")
    smooth = {"pool": "avg"} if pools else {}
    net = getattr(models, name)(outputs=2, activation="softplus", **options, **smooth)
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: np.float32(0.05 + rng.random(leaf.shape)) / max(1, leaf.size) ** 0.5,
        abstract_variables(net, shape),
    )
    where, field = list(receptive_fields(net, (1, *shape)).items())[-1]
    image = rng.random((1, *shape)).astype(np.float32)
    sides, method = set(), None if where == "output" else "features"
    out = jax.eval_shape(lambda variables, image: net.apply(variables, image, method=method), variables, image)
    out = out if where == "output" else out[where]
    seen_of = jax.jit(lambda variables, image, unit: jacobian_field(net, variables, image, where, unit=unit))
    for shift in range(4):  # every phase of the pixel
        unit = tuple(size // 2 + shift if where == "output" else size // 2 for size in out.shape[1:-1])
        seen = np.asarray(seen_of(variables, image, unit)) > 0
        rows = np.flatnonzero(seen.reshape(seen.shape[0], -1).any(1))
        sides.add(int(rows[-1] - rows[0] + 1))
    assert max(sides) == field.size[0]
    assert min(sides) == field.least[0]


def test_a_maximum_shows_only_part_of_the_field():
    net = models.convnet(outputs=2, layers=(("conv", 2, 3), ("pool", 2)), activation="none")
    shape = (12, 12, 1)
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), abstract_variables(net, shape))
    images = np.random.default_rng(0).random((65, *shape), np.float32)
    seen_of = jax.jit(lambda images: jacobian_field(net, variables, images, "conv1"))
    seen = np.asarray(seen_of(images[:1])) > 0
    assert seen.sum() == 9
    assert ((np.asarray(seen_of(images[1:])) > 0) == seen).all()


class Own(nn.Module):
    """Convolutions as flax has them, in a net that has no features."""

    @nn.compact
    def __call__(self, x):
        x = nn.max_pool(nn.relu(nn.Conv(6, (3, 3), name="first")(x)), (2, 2), (2, 2))
        x = nn.Conv(6, (5, 3), padding="VALID", feature_group_count=3, kernel_dilation=(1, 2), name="second")(x)
        x = nn.ConvTranspose(4, (2, 2), (2, 2), name="third")(x)
        return nn.Dense(3)(nn.LayerNorm()(x).mean((1, 2)))


def test_a_net_of_ones_own_with_flaxs_convolutions_has_fields_by_module():
    found = receptive_fields(Own(), (1, 32, 32, 3))
    assert {name: field.size for name, field in found.items() if field.size[0] < math.inf} == {
        "first": (3, 3), "second": (12, 12), "third": (12, 12), "LayerNorm_0": (12, 12),
    }  # fmt: skip
    assert (found["first"].start, found["second"].start) == ((-1, -1), (-1, -1))
    assert [found[name].stride for name in ("first", "second", "third")] == [(1, 1), (2, 2), (1, 1)]
    net, image = Own(), np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype(np.float32)

    @jax.jit
    def slope(image):
        return jacobian_field(net, net.init(jax.random.key(0), image), image, "second", unit=(5, 4))

    rows, columns = (np.flatnonzero(np.any(np.asarray(slope(image)) != 0, axis)) for axis in (1, 0))
    for line, place in ((rows, 5), (columns, 4)):
        low = found["second"].start[0] + 2 * place
        assert low <= line.min()
        assert line.max() < low + 12
        assert line.max() - line.min() >= 9  # a maximum lets one pixel of two through
