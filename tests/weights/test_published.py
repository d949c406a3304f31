"""Weights that others trained and published load by their own names, and their nets know what is in a photograph."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from cnnjax import models, weights
from cnnjax.weights import _names


def empty(net, side=224):
    """The shapes of a net's variables."""
    image = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    return jax.eval_shape(lambda x: net.init(jax.random.key(0), x, train=False), image)


def seen(path):
    """A photograph (1, 224, 224, 3) as EfficientNet-Lite reads it."""
    image = Image.open(path).convert("RGB")
    shrunk = 256 / min(image.size)
    image = image.resize([round(side * shrunk) for side in image.size], Image.Resampling.BICUBIC)
    left, top = ((side - 224) // 2 for side in image.size)
    return (np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)[None] - 127) / 128


@pytest.fixture(scope="module")
def lite(real):
    net = models.efficientnet_lite0(outputs=1000)
    variables = weights.load(net, empty(net), real("pretrained/efficientnet_lite0.pth"))
    return jax.jit(lambda x: jax.nn.softmax(net.apply(variables, x, train=False)[0]))


@pytest.mark.parametrize(
    ("photograph", "known"),
    [
        ("chelsea.png", {"tiger cat": 0.39, "Egyptian cat": 0.36, "tabby": 0.17}),
        ("camera.png", {"tripod": 0.94}),
        ("coffee.png", {"espresso": 0.95}),
        ("rocket.jpg", {"missile": 0.30, "projectile": 0.20}),
    ],
)
def test_efficientnet_lite_sees_what_it_saw_elsewhere(real, lite, photograph, known):
    names = real("pretrained/imagenet_classes.txt").read_text().splitlines()
    found = np.asarray(lite(seen(real(f"photos_skimage/{photograph}"))))
    assert [names[place] for place in np.argsort(-found)[: len(known)]] == list(known)
    assert [found[names.index(name)] for name in known] == pytest.approx(list(known.values()), abs=0.006)


def test_a_backbone_of_mobilenet_under_its_early_names_loads(real):
    net = models.mobilenet_v2(outputs=0)
    variables = weights.load(net, empty(net), real("pretrained/mobilenet_v2_backbone.pt"))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 2_223_872
    assert float(jnp.mean(variables["batch_stats"]["last_conv"]["norm"]["var"])) > 0


@pytest.mark.parametrize(
    ("entry", "some", "count"),
    [
        ("mobilenet_v2", {"features.1.conv.3.weight", "features.17.conv.7.running_var", "features.18.0.weight"}, 262),
        ("efficientnet_lite0", {"_conv_stem.weight", "_blocks.15._bn2.bias", "_bn1.running_mean", "_fc.bias"}, 247),
        ("efficientnet_b0", {"_blocks.0._se_reduce.bias", "_blocks.0._bn1.weight", "_conv_head.weight"}, 311),
    ],
)
def test_early_names_are_written_and_read_back(tmp_path, entry, some, count):
    net = getattr(models, entry)(outputs=10)
    variables = jax.tree.map(lambda leaf: np.full(leaf.shape, leaf.size % 7, np.float32), empty(net, 64))
    found = weights.tensors(net, variables, dialect="early")
    assert some <= set(found)
    assert len(found) == count
    weights.save(net, variables, tmp_path / "early.safetensors", dialect="early")
    again = weights.load(net, empty(net, 64), tmp_path / "early.safetensors")
    assert jax.tree.all(jax.tree.map(np.array_equal, again, variables))


def test_version_3_has_no_early_names():
    net = models.mobilenet_v3_small(outputs=10)
    assert "early" in _names.DIALECTS
    with pytest.raises(weights.WeightsError, match="early has no names for MobileNet"):
        weights.tensors(net, empty(net, 64), dialect="early")
