"""A net that learned shapes: attributions against where the shapes are, and against a net that forgot them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.analysis import attribute, faithfulness, inside_share, pointing_game, sanity

pytestmark = pytest.mark.proofs
_DATA = "data.name=shapes data.size=32 data.train=4096 data.test=512 data.clutter=2 data.turn=20"
_TRAINING = "train.epochs=8 train.devices=1 augment.train=flip,shift,normalize optimizer.lr=3e-3 report.quiet=yes"


@pytest.fixture(scope="module")
def learned(train_apart, tmp_path_factory):
    """A net with its variables, images as it reads them (B, 32, 32, 3), their classes and where their shapes are."""
    flags = [f"--config.{flag}" for flag in f"{_DATA} {_TRAINING} model.name=convnet".split()]
    trained = train_apart("configs/digits.py", tmp_path_factory.mktemp("shapes") / "run", *flags)
    test = trained.source.test.arrays
    images = (test["image"][:64].astype(np.float32) / 255 - trained.facts.mean) / trained.facts.std
    labels = test["label"][:64].astype(int)
    f = trained.net, trained.variables
    right = np.asarray(f[0].apply(f[1], jnp.asarray(images, jnp.float32)).argmax(-1)) == labels
    assert right.mean() > 0.8
    return f, jnp.asarray(images[right], jnp.float32), labels[right], test["segments"][:64][right] > 0


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


def test_of_gradients_little_is_left_when_layers_are_drawn_anew_and_of_guided_backpropagation_much(learned):
    f, images, labels, _ = learned
    found = {
        method: sanity(jax.random.key(1), f, images[:32], labels[:32], method=method)
        for method in ("saliency", "grad_cam", "guided_backprop")
    }
    left = {method: each.correlation.mean(1) for method, each in found.items()}
    assert found["saliency"].layers == ("head", "dense1", "conv2", "conv1")
    assert (left["saliency"][1:] < 0.3).all()
    assert (left["grad_cam"][1:] < 0.3).all()
    assert (left["guided_backprop"][:2] > 0.45).all()  # nothing that decides between classes is as it was
    assert (left["guided_backprop"] > left["saliency"] + 0.1).all()
