"""A published net looked into: what in a photograph is the cat, and how little makes it another one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from cnnjax import models, weights
from cnnjax.analysis import fgsm, filters, grad_cam, pgd, targeted
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


def test_the_cat_is_where_its_face_is(cat):
    """Of what speaks for the cat most lies around eyes, cheek and nose, in the lower left of the picture."""
    net, variables, image, names = cat
    found = np.asarray(grad_cam((net, variables), normalized(image), names.index("tiger cat")))[0, ..., 0]
    assert found.shape == (224, 224)
    assert found[50:, 20:200].sum() > 0.8 * found.sum()
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert 60 < row < 210
    assert 30 < column < 190


def test_its_first_filters_are_in_colour_and_those_of_single_channels_are_shown_whole(cat):
    _, variables, _, _ = cat
    assert filters(variables, "stem/conv").images.shape == (32, 3, 3, 3)
    deep = filters(variables, "stage3_block2/depthwise/conv")
    assert deep.images.shape == (240, 5, 5, 1)
    assert (deep.share == 1).all()
