"""What captum, torchattacks and foolbox answered (tests/fixtures/analysis/make.py), and the nets they were asked."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import models, weights
from tests.weights.rulemade import tensor

FIXTURES = Path(__file__).parents[1] / "fixtures" / "analysis"
NETS = {"vgg": lambda: models.vgg11(outputs=10, width=4, hidden=64), "resnet18": lambda: models.resnet18(outputs=10)}
LAYERS = {"vgg": "conv4_2", "resnet18": "stage4"}


@functools.cache
def asked(name):
    """The fixture of a net, and the net with the weights of the rule."""
    with np.load(FIXTURES / f"{name}.npz") as file:
        fixture = dict(file)
    return fixture, filled(name, int(fixture["size"]))


@functools.cache
def filled(name, size):
    """A net and its variables, made by the rule under torchvision's names."""
    net = NETS[name]()
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), jnp.zeros((1, size, size, 3))))
    empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
    named = weights.tensors(net, empty, dialect="torchvision")
    made = {key: tensor(key, value.shape) for key, value in named.items()}
    return net, jax.tree.map(jnp.asarray, weights.fill(net, shapes, made))


def images(fixture):
    size = int(fixture["size"])
    return jnp.asarray(tensor("input", (2, size, size, 3)))


def apart(found, expected):
    """The largest difference, as a part of the largest number."""
    return float(np.abs(np.asarray(found) - expected).max() / np.abs(expected).max())
