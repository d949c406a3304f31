"""Segmentation: what is counted is right, ignored pixels count nowhere, and a small net learns scenes."""

import jax
import numpy as np
import pytest
import scipy.ndimage
from skimage.metrics import adapted_rand_error
from sklearn.metrics import f1_score, jaccard_score, v_measure_score

from cnnjax.data import Facts
from cnnjax.tasks import segmentation

PARTED = ("rand_error", "info_error", "rand_error_best", "info_error_best")
FACTS = Facts(shape=(4, 4, 1), extra={"segment_names": ("0", "1", "2")})


def batch(segments, valid=()):
    segments = np.int32(segments)
    return {"segments": segments, "valid": np.float32(valid or [1.0] * len(segments))}


def scene(seed=0, count=2, size=4):
    return np.random.default_rng(seed).integers(0, 3, (count, size, size))


def metrics(outputs, fields):
    task = segmentation(FACTS)
    return task.summarize(jax.jit(task.tally)(outputs, fields), {})


def test_a_perfect_predictor_has_an_overlap_of_one_for_every_class():
    segments = scene()
    found = metrics(9 * np.eye(3, dtype=np.float32)[segments], batch(segments))
    assert found == {"miou": 1.0, "dice": 1.0, "pixel_accuracy": 1.0, "iou_0": 1.0, "iou_1": 1.0, "iou_2": 1.0}


def test_overlap_is_that_of_plain_counting():
    segments, guess = scene(0), scene(1)
    found = metrics(9 * np.eye(3, dtype=np.float32)[guess], batch(segments))
    for k in range(3):
        both, either = ((segments == k) & (guess == k)).sum(), ((segments == k) | (guess == k)).sum()
        assert found[f"iou_{k}"] == pytest.approx(both / either)


def test_ignored_pixels_and_padding_count_nowhere():
    segments, guess = scene(0), scene(1)
    marked = np.where(guess == segments, segments, 255)
    assert metrics(9 * np.eye(3, dtype=np.float32)[guess], batch(marked))["pixel_accuracy"] == 1.0
    padded = metrics(9 * np.eye(3, dtype=np.float32)[guess], batch(segments, [1.0, 0.0]))
    assert padded == metrics(9 * np.eye(3, dtype=np.float32)[guess[:1]], batch(segments[:1]))


def test_the_loss_weighs_examples_by_their_labelled_pixels():
    marked = scene()
    marked[0, :2] = 255
    task, outputs = segmentation(FACTS, dice=0.5), np.zeros((2, 4, 4, 3))
    losses, weights, _ = jax.jit(lambda: task.loss(lambda *a, **k: (outputs, {}), {}, batch(marked), None))()
    assert list(weights) == [8, 16]
    assert np.isfinite(losses).all()


def test_outputs_smaller_than_the_scene_are_compared_with_its_centre():
    segments = scene(size=6)
    found = metrics(9 * np.eye(3, dtype=np.float32)[segments[:, 1:5, 1:5]], batch(segments))
    assert found["pixel_accuracy"] == 1.0
    with pytest.raises(ValueError, match=r"output \(6, 6\) is larger than the segments \(4, 4\)"):
        metrics(np.zeros((2, 6, 6, 3)), batch(scene()))


def measured(guess, fields, **options):
    """All that an evaluation says of guesses (B, H, W), and the table."""
    task, outputs = segmentation(FACTS, **options), 9 * np.eye(3, dtype=np.float32)[guess]
    sums, rows = jax.jit(lambda *a: (task.tally(*a), task.rows(*a)))(outputs, fields)
    return task.summarize(sums, jax.tree.map(np.asarray, rows))


def patches(seed, size=(3, 40, 30)):
    """Scenes of smooth patches of three classes."""
    noise = scipy.ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(*size, 3)), (0, 3, 3, 0))
    return noise.argmax(-1)


def test_overlaps_by_class_and_by_image_are_scikit_learns():
    segments, guess = patches(0), patches(1)
    segments[0][segments[0] == 2] = guess[0][guess[0] == 2] = 0  # a class that one image has not
    found = measured(guess, batch(segments))
    assert found["dice"] == pytest.approx(f1_score(segments.ravel(), guess.ravel(), average="macro"))
    each = [jaccard_score(a.ravel(), b.ravel(), average="macro") for a, b in zip(segments, guess, strict=True)]
    assert found["miou_image"] == pytest.approx(np.mean(each))


def test_boundary_iou_is_that_of_the_inner_bands():
    segments, guess = patches(2), patches(3)
    width, both, either = 1, np.zeros(3), np.zeros(3)  # 0.02 · 50
    for truth, other in zip(segments, guess, strict=True):
        for k in range(3):
            bands = [
                each & ~scipy.ndimage.binary_erosion(each, np.ones((3, 3)), width) for each in (truth == k, other == k)
            ]
            both[k] += (bands[0] & bands[1]).sum()
            either[k] += (bands[0] | bands[1]).sum()
    assert measured(guess, batch(segments))["boundary_iou"] == pytest.approx(np.mean(both / either))


def test_the_rand_error_of_connected_parts_is_scikit_images_mean_over_images():
    segments, guess = patches(4), patches(5)
    each = []
    for truth, other in zip(segments, guess, strict=True):
        parts = [scipy.ndimage.label(labels == 1)[0] for labels in (truth, other)]
        each.append(adapted_rand_error(*parts)[0])
    assert measured(guess, batch(segments), cells=1)["rand_error"] == pytest.approx(np.mean(each), abs=1e-6)
    right = measured(segments, batch(segments), cells=1)
    assert all(right[name] == pytest.approx(0, abs=1e-6) for name in PARTED)


def test_the_best_errors_of_connected_parts_are_those_of_the_best_of_nine_probabilities():
    segments, draw = patches(4), np.random.default_rng(6)
    likely = np.clip(0.25 + 0.3 * (segments == 1) + 0.06 * draw.normal(size=segments.shape), 0.01, 0.98)
    outputs = np.log(np.stack([1 - likely - 0.01, likely, np.full_like(likely, 0.01)], -1)).astype(np.float32)
    task, each = segmentation(FACTS, cells=1), []
    for cut in np.arange(1, 10) / 10:
        errors = []
        for truth, seen in zip(segments, likely, strict=True):
            one, other = scipy.ndimage.label(truth == 1)[0], scipy.ndimage.label(seen > cut)[0]
            told = v_measure_score(one[one > 0], other[one > 0])
            errors.append((adapted_rand_error(one, other)[0], 1 - told))
        each.append(np.mean(errors, 0))
    fields = batch(segments)
    sums, rows = jax.tree.map(np.asarray, jax.jit(lambda: (task.tally(outputs, fields), task.rows(outputs, fields)))())
    found = task.summarize(sums, rows)
    assert (found["rand_error_best"], found["info_error_best"]) == pytest.approx(np.min(each, 0), abs=1e-5)
    assert found["rand_error_best"] < found["rand_error"]


def test_connected_parts_are_scored_against_the_instances():
    """By scikit-image's labels and the definition: hits over hits, misses and false ones, at ten overlaps."""
    truth, guess = (patches(seed, (2, 40, 30)) == 1 for seed in (6, 7))
    guess[0] = truth[0] & (np.random.default_rng(8).random((40, 30)) > 0.02)
    instances = np.stack([scipy.ndimage.label(each)[0] for each in truth])
    rows = int(instances.max()) + 9
    fields = {**batch(truth.astype(int)), "instances": instances, "boxes": np.zeros((2, rows, 4))}
    each = []
    for there, other in zip(instances, guess, strict=True):
        found = scipy.ndimage.label(other)[0]
        found = [found == k for k in range(1, found.max() + 1)]
        found = sorted(found, key=np.sum)[::-1][:rows]
        things = [there == k for k in range(1, there.max() + 1)]
        iou = np.array([[(a & b).sum() / (a | b).sum() for b in things] for a in found])
        hits = np.array([(iou > t).sum() for t in np.linspace(0.5, 0.95, 10)])  # above a half at most one each
        each.append(np.mean(hits / (len(found) + len(things) - hits)))
    assert 0.1 < np.mean(each) < 0.9
    assert measured(guess.astype(int), fields, cells=1)["dsb"] == pytest.approx(np.mean(each))


def test_pixels_between_two_things_count_more():
    facts = Facts(
        shape=(24, 24, 1),
        fields=dict.fromkeys(("segments", "instances"), ((24, 24), np.int32)),
        extra={"segment_names": ("outside", "inside")},
    )
    instances = np.zeros((1, 24, 24), np.int32)
    instances[0, 4:20, 3:10], instances[0, 4:20, 13:21], instances[0, 2, 12] = 1, 2, 255
    segments = (instances % 255 > 0).astype(np.int32)
    distances = [scipy.ndimage.distance_transform_edt(instances[0] != number) for number in (1, 2)]
    expected = 1 + 10 * np.exp(-((distances[0] + distances[1]) ** 2) / 50)
    task, logits = segmentation(facts, border=10.0), np.zeros((1, 24, 24, 2))
    fields = {**batch(segments), "instances": instances}
    losses, weights, _ = jax.jit(lambda: task.loss(lambda *a, **k: (logits, {}), {}, fields, None))()
    assert weights[0] == 576
    assert losses[0] == pytest.approx(np.log(2) * expected.sum(), rel=1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"border": 10.0}, "task.border is 10, but the data has no instances to find borders between; set it to 0"),
        ({"cells": 3}, "task.cells is 3; the classes of segments go from 0 to 2: 0, 1, 2"),
    ],
)
def test_what_the_data_has_not_is_said(options, said):
    with pytest.raises(ValueError, match=said):
        segmentation(FACTS, **options)


@pytest.mark.proofs
def test_a_small_net_finds_the_shapes_of_scenes_it_has_not_seen(tmp_path, train_apart):
    flags = ("--config.model.name=tests.train.nets:scenes", "--config.data.test=256")  # a third of the U-Net's time
    trained = train_apart("configs/shapes.py", tmp_path, *flags)
    assert trained.measure("test")["miou"] >= 0.85
