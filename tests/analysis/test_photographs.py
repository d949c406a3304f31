"""A published net looked into: what in a photograph is the cat, and how little makes it another one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from cnnjax import models, weights
from cnnjax.analysis import fgsm, filters, grad_cam, inside_share, pgd, pointing_game, targeted
from cnnjax.ops import resize
from tests.weights.test_published import empty, seen

pytestmark = pytest.mark.proofs  # the net's gradient is compiled for half a minute


@pytest.fixture(scope="module")
def cat(real):
    """EfficientNet-Lite0, its variables, a photograph (1, 224, 224, 3) in [0, 1] and the names of the classes."""
    net = models.efficientnet_lite0(outputs=1000)
    variables = weights.load(net, empty(net), real("pretrained/efficientnet_lite0.pth"))
    names = real("pretrained/imagenet_classes.txt").read_text().splitlines()
    image = (seen(real("photos_skimage/chelsea.png")) * 128 + 127) / 255
    return net, jax.tree.map(jnp.asarray, variables), jnp.asarray(image, jnp.float32), names


def normalized(image):
    return (image * 255 - 127) / 128


@pytest.fixture(scope="module")
def asked(cat):
    """The net as a function of images in [0, 1], and what it says of one: names and shares, the likeliest first."""
    net, variables, _, names = cat
    f = Partial(lambda variables, x: net.apply(variables, normalized(x), train=False), variables)
    answer = jax.jit(lambda f, x: jax.nn.softmax(f(x))[0])

    def said(image):
        found = np.asarray(answer(f, image))
        return [(names[k], float(found[k])) for k in np.argsort(-found)[:3]]

    return f, said


def loss(f, name, names):
    return lambda x: -jax.nn.log_softmax(f(x))[:, names.index(name)]


def test_a_step_that_no_eye_sees_makes_a_tiger_cat_an_egyptian_cat(cat, asked):
    _, _, image, names = cat
    f, said = asked
    assert [name for name, _ in said(image)[:2]] == ["tiger cat", "Egyptian cat"]
    moved = jax.jit(lambda f, x: fgsm(loss(f, "tiger cat", names), x, 0.007))(f, image)
    assert float(jnp.abs(moved - image).max()) <= 0.007 + 1e-6
    name, share = said(moved)[0]
    assert name == "Egyptian cat"
    assert share == pytest.approx(0.970, abs=0.005)


def test_ten_steps_as_small_make_it_a_gibbon(cat, asked):
    _, _, image, names = cat
    f, said = asked
    gibbon = jax.jit(lambda f, x: pgd(targeted(loss(f, "gibbon", names)), x, 0.007, step=0.001, steps=10))(f, image)
    name, share = said(gibbon)[0]
    assert name == "gibbon"
    assert share == pytest.approx(0.22, abs=0.03)


def test_of_two_things_in_a_picture_each_class_is_found_where_it_is(cat, real):
    """The cat in one corner, a cup of espresso in the other: a pointing game whose truth is known."""
    net, variables, image, names = cat
    scene, places = np.full((1, 224, 224, 3), 0.5, np.float32), {}
    cup = (seen(real("photos_skimage/coffee.png")) * 128 + 127) / 255
    for name, photograph, start in (("tiger cat", image, 0), ("espresso", cup, 112)):
        half = np.asarray(resize(jnp.asarray(photograph, jnp.float32), 112))
        scene[:, start : start + 112, start : start + 112] = half
        places[name] = np.zeros((1, 224, 224), bool)
        places[name][:, start : start + 112, start : start + 112] = True
    for name, place in places.items():
        found = grad_cam((net, variables), normalized(jnp.asarray(scene)), names.index(name))
        assert found.shape == (1, 224, 224, 1)
        assert pointing_game(found, place).all(), name
        assert inside_share(found, place)[0] > 0.4, name  # of a quarter of the picture


def test_its_first_filters_are_in_colour_and_those_of_single_channels_are_shown_whole(cat):
    _, variables, _, _ = cat
    assert filters(variables, "stem/conv").images.shape == (32, 3, 3, 3)
    deep = filters(variables, "stage3_block2/depthwise/conv")
    assert deep.images.shape == (240, 5, 5, 1)
    assert (deep.share == 1).all()
