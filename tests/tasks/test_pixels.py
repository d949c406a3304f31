"""Segmentation: what is counted is right, ignored pixels count nowhere, and a small net learns scenes."""

import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.data import Facts
from cnnjax.tasks import segmentation

FACTS = Facts(shape=(4, 4, 1), extra={"segment_names": ("0", "1", "2")})


def batch(segments, valid=()):
    segments = jnp.asarray(segments)
    return {"segments": segments, "valid": jnp.asarray(valid or [1.0] * len(segments))}


def scene(seed=0, count=2, size=4):
    return np.random.default_rng(seed).integers(0, 3, (count, size, size))


def metrics(outputs, fields):
    task = segmentation(FACTS)
    return task.summarize(task.tally(outputs, fields), {})


def test_a_perfect_predictor_has_an_overlap_of_one_for_every_class():
    segments = scene()
    found = metrics(9.0 * jnp.eye(3)[segments], batch(segments))
    assert found == {"miou": 1.0, "pixel_accuracy": 1.0, "iou_0": 1.0, "iou_1": 1.0, "iou_2": 1.0}


def test_overlap_is_that_of_plain_counting():
    segments, guess = scene(0), scene(1)
    found = metrics(9.0 * jnp.eye(3)[guess], batch(segments))
    for k in range(3):
        both, either = ((segments == k) & (guess == k)).sum(), ((segments == k) | (guess == k)).sum()
        assert found[f"iou_{k}"] == pytest.approx(both / either)


def test_ignored_pixels_and_padding_count_nowhere():
    segments, guess = scene(0), scene(1)
    marked = np.where(guess == segments, segments, 255)
    assert metrics(9.0 * jnp.eye(3)[guess], batch(marked))["pixel_accuracy"] == 1.0
    padded = metrics(9.0 * jnp.eye(3)[guess], batch(segments, [1.0, 0.0]))
    assert padded == metrics(9.0 * jnp.eye(3)[guess[:1]], batch(segments[:1]))


def test_the_loss_weighs_examples_by_their_labelled_pixels():
    marked = scene()
    marked[0, :2] = 255
    task, outputs = segmentation(FACTS, dice=0.5), jnp.zeros((2, 4, 4, 3))
    losses, weights, _ = task.loss(lambda *a, **k: (outputs, {}), {}, batch(marked), None)
    assert list(weights) == [8, 16]
    assert np.isfinite(losses).all()


def test_outputs_smaller_than_the_scene_are_compared_with_its_centre():
    segments = scene(size=6)
    found = metrics(9.0 * jnp.eye(3)[segments[:, 1:5, 1:5]], batch(segments))
    assert found["pixel_accuracy"] == 1.0
    with pytest.raises(ValueError, match=r"output \(6, 6\) is larger than the segments \(4, 4\)"):
        metrics(jnp.zeros((2, 6, 6, 3)), batch(scene()))


@pytest.mark.proofs
def test_a_small_net_finds_the_shapes_of_scenes_it_has_not_seen(tmp_path, train_apart):
    flags = ("--config.model.name=tests.train.nets:scenes", "--config.data.test=256")  # a third of the U-Net's time
    trained = train_apart("configs/shapes.py", tmp_path, *flags)
    assert trained.measure("test")["miou"] >= 0.85
