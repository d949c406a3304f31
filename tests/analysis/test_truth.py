"""Nets that learned shapes: attributions against where these are, and against nets that forgot what they learned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.analysis import attribute, faithfulness, inside_share, pointing_game, sanity

pytestmark = pytest.mark.proofs
_DATA = "data.name=shapes data.size=32 data.train=4096 data.test=512"
_TRAINING = "train.devices=1 optimizer.lr=3e-3 report.quiet=yes report.tensorboard=no report.curves=no"


def looked_at(train_apart, workdir, *flags):
    """A trained net with its variables, 64 images as it reads them, their classes and where their shapes are."""
    flags = [f"--config.{flag}" for flag in (*_DATA.split(), *_TRAINING.split(), *flags)]
    trained = train_apart("configs/digits.py", workdir / "run", *flags)
    test = trained.source.test.arrays
    images = (test["image"][:64].astype(np.float32) / 255 - trained.facts.mean) / trained.facts.std
    f = trained.net, trained.variables
    return f, jnp.asarray(images, jnp.float32), test["label"][:64].astype(int), test["segments"][:64] > 0


@pytest.fixture(scope="module")
def learned(train_apart, tmp_path_factory):
    """A residual net that knows shapes it has never seen, and those of them that it names rightly."""
    flags = "data.clutter=2 data.turn=20 model.name=resnet20 model.width=8 augment.train=flip,shift,normalize"
    workdir = tmp_path_factory.mktemp("learned")
    f, images, labels, masks = looked_at(train_apart, workdir, *flags.split(), "train.epochs=10")
    right = np.asarray(jax.jit(f[0].apply)(f[1], images).argmax(-1)) == labels
    assert right.mean() > 0.9
    return f, images[right], labels[right], masks[right]


@pytest.fixture(scope="module")
def plain(train_apart, tmp_path_factory):
    """A net of two convolutions and two dense layers, without a way around any of them."""
    flags = ("data.clutter=4", "model.name=convnet", "augment.train=normalize", "train.epochs=15")
    return looked_at(train_apart, tmp_path_factory.mktemp("plain"), *flags)


@pytest.fixture(scope="module")
def attributed(learned):
    f, images, labels, _ = learned
    methods = ("saliency", "input_x_gradient", "integrated_gradients", "grad_cam", "occlusion", "deconvnet")
    return {method: np.asarray(attribute(f, images, labels, method)) for method in methods}


def test_attributions_lie_on_the_shapes_far_more_than_chance_would_have_it(learned, attributed):
    masks = learned[-1]
    chance = masks.mean()
    for method in ("input_x_gradient", "integrated_gradients", "grad_cam"):
        assert np.nanmean(inside_share(attributed[method], masks)) > 2 * chance, method
        assert pointing_game(attributed[method], masks).mean() > 4 * chance, method


def test_integrated_gradients_name_what_is_missed_sooner_than_gradients_do(learned, attributed):
    f, images, labels, _ = learned
    areas = {
        method: faithfulness(f, images, labels, attributed[method], sigma=3.0)
        for method in ("saliency", "integrated_gradients")
    }
    assert areas["integrated_gradients"].deletion_area.mean() < areas["saliency"].deletion_area.mean()
    assert areas["integrated_gradients"].insertion_area.mean() > areas["saliency"].insertion_area.mean()


def test_of_gradients_little_is_left_when_layers_are_drawn_anew_and_of_guided_backpropagation_much(plain):
    f, images, labels, _ = plain
    found = {
        method: sanity(jax.random.key(1), f, images[:32], labels[:32], method=method)
        for method in ("saliency", "grad_cam", "guided_backprop")
    }
    left = {method: each.correlation.mean(1) for method, each in found.items()}
    assert found["saliency"].layers == ("head", "dense1", "conv2", "conv1")
    assert (left["saliency"][1:] < 0.3).all()
    assert (left["grad_cam"][1:] < 0.3).all()
    assert (left["guided_backprop"][:2] > 0.4).all()  # nothing that decides between classes is as it was
    assert (left["guided_backprop"] > left["saliency"] + 0.1).all()
