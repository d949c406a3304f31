"""Classification: what is counted is right, and padding never changes a number."""

import functools

import jax
import numpy as np
import pytest

from cnnjax.config import change, load
from cnnjax.data import Facts, digits
from cnnjax.sweep.points import packs_of, resolved
from cnnjax.tasks import classification
from cnnjax.train.job import prepare

FACTS = Facts(shape=(8, 8, 1), classes=4)


def batch(labels, valid=()):
    labels = np.int32(labels)
    return {"label": labels, "valid": np.float32(valid or [1.0] * len(labels))}


def metrics(task, outputs, fields):
    return task.summarize(jax.jit(task.tally)(outputs, fields), {})


@functools.partial(jax.jit, static_argnums=0)
def losses_of(task, outputs, fields):
    return task.loss(lambda *a, **k: (outputs, {}), {}, fields, None)[:2]


def loss_of(task, outputs, fields):
    losses, weights = losses_of(task, outputs, fields)
    return float(losses.sum() / weights.sum())


def test_a_perfect_predictor_scores_perfectly_and_a_constant_one_scores_chance():
    task, labels = classification(FACTS), np.arange(8) % 4
    assert metrics(task, 9 * np.eye(4)[labels], batch(labels)) == {"accuracy": 1.0}
    assert metrics(task, np.tile([0.0, 0, 1, 0], (8, 1)), batch(labels)) == {"accuracy": 0.25}


def test_padding_changes_no_loss_and_no_metric_even_where_it_holds_nan():
    task = classification(FACTS, smoothing=0.1, top=2)
    logits, labels = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32), [0, 1, 2, 3, 0, 1]
    padded = np.concatenate([logits, np.full((2, 4), np.nan, np.float32)])
    short, long = batch(labels), batch([*labels, 3, 3], [1.0] * 6 + [0.0, 0.0])
    assert loss_of(task, padded, long) == pytest.approx(loss_of(task, logits, short))
    assert metrics(task, padded, long) == metrics(task, logits, short)


@pytest.mark.parametrize("criterion", ["cross_entropy", "focal", "squared_error", "binary_cross_entropy"])
def test_every_criterion_is_least_at_the_label(criterion):
    task, labels = classification(FACTS, criterion=criterion), np.arange(4)
    right, none, wrong = (
        loss_of(task, each, batch(labels)) for each in (9 * np.eye(4), np.zeros((4, 4)), 9 * np.eye(4)[::-1])
    )
    assert right < none < wrong


def test_a_target_distribution_wins_over_the_label():
    task = classification(FACTS)
    fields = batch([0]) | {"target": np.eye(4)[[3]]}
    assert metrics(task, 9 * np.eye(4)[[3]], fields) == {"accuracy": 1.0}


def test_auxiliary_heads_add_their_share_to_the_loss():
    fields, logits, task = batch([1, 2]), np.ones((2, 4)), classification(FACTS, auxiliary=0.3)
    both = {"main": logits, "auxiliary1": logits}
    assert loss_of(task, both, fields) == pytest.approx(1.3 * loss_of(task, logits, fields))


def test_of_very_many_classes_no_pair_is_counted():
    rows = {"truth": np.array([0, 4095]), "guess": np.array([0, 0]), "confidence": np.array([0.2, 0.9])}
    for classes, tables in ((4096, {"confusion", "calibration"}), (4097, {"calibration"})):
        task = classification(Facts(shape=(8, 8, 1), classes=classes))
        found = task.summarize({"correct": 1.0, "examples": 2.0}, rows)
        assert set(found) == {"accuracy"} | tables
        if "confusion" in tables:
            assert (found["confusion"].dtype, found["confusion"].sum(), found["confusion"][4095, 0]) == ("int32", 2, 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"criterion": "hinge"},
            "task.criterion is 'hinge'; allowed: binary_cross_entropy",
        ),
        ({"top": 4}, "task.top is 4; it must be below the number of classes, 4"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        classification(FACTS, **options)


def test_data_without_classes_is_refused():
    with pytest.raises(ValueError, match="the data has no classes"):
        classification(Facts(shape=(8, 8, 1)))


def test_an_example_counts_the_weight_of_its_class_and_the_loss_is_divided_by_all_weights():
    facts = Facts(shape=(8, 8, 1), names=tuple("abcd"), class_counts=(6, 2, 0, 4))
    logits, same = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32), classification(facts)
    plain = [loss_of(same, logits[i : i + 1], batch([i])) for i in range(3)]
    named = classification(facts, weights=(("b", 3.0), ("a", 0.5)))
    wanted = (0.5 * plain[0] + 3 * plain[1] + plain[2]) / 4.5
    assert loss_of(named, logits, batch([0, 1, 2])) == pytest.approx(wanted)
    mixed = batch([0, 1, 2]) | {"target": np.eye(4)[:3]}
    assert loss_of(named, logits, mixed) == pytest.approx(wanted)
    balanced = classification(facts, weights="balanced")  # 12 examples of 3 classes: 4 / 6, 4 / 2
    wanted = (4 / 6 * plain[0] + 4 / 2 * plain[1]) / (4 / 6 + 4 / 2)
    assert loss_of(balanced, logits[:2], batch([0, 1])) == pytest.approx(wanted)


def test_balanced_weights_are_of_the_training_split_wherever_it_lives_and_a_sweep_of_gamma_is_one_program():
    made = change(load("digits:mlp"), {"task.weights": "balanced", "data.holdout": 400, "data.resident": "no"})
    facts = prepare(made).program.seen
    labels = digits(holdout=400).train.arrays["label"]
    assert facts.class_counts == tuple(np.bincount(labels))
    points = [{"task.gamma": gamma} for gamma in (0.0, 2.0)]
    assert len(packs_of(resolved(change(made, {"task.criterion": "focal"}), points, ""))) == 1


def test_weights_of_classes_that_there_are_not_are_refused():
    facts = Facts(shape=(8, 8, 1), names=("cat", "dog"))
    with pytest.raises(ValueError, match=r"task\.weights is 'cta'; nearest: cat"):
        classification(facts, weights=(("cta", 2.0),))
    with pytest.raises(ValueError, match=r"nothing is known of how often each class occurs.*\n.*data\.resident=yes"):
        classification(facts, weights="balanced")


def test_the_focal_loss_of_gamma_0_is_the_cross_entropy_and_its_slope_is_finite_where_a_class_is_certain():
    logits, labels = np.float32([[1.0, -2.0, 0.5, 0.0], [90.0, 0.0, 0.0, 0.0]]), [2, 0]
    plain, focal = classification(FACTS), classification(FACTS, criterion="focal", gamma=0.0)
    assert loss_of(focal, logits, batch(labels)) == pytest.approx(loss_of(plain, logits, batch(labels)), abs=1e-6)
    share = float(jax.nn.softmax(logits[0])[2])
    one = loss_of(classification(FACTS, criterion="focal", gamma=2.0), logits[:1], batch([2]))
    assert one == pytest.approx(-((1 - share) ** 2) * np.log(share), rel=1e-5)

    @jax.jit
    def slopes(logits, gamma):
        return jax.grad(total, (0, 1))(logits, gamma)

    def total(logits, gamma):
        task = classification(FACTS, criterion="focal", gamma=gamma)
        return task.loss(lambda *a, **k: (logits, {}), {}, batch(labels), None)[0].sum()

    for gamma in (0.0, 0.5, 2.0):
        assert all(np.isfinite(x).all() for x in slopes(logits, gamma))


def test_clips_of_a_video_vote_by_their_mean_probabilities():
    """Two of a video's three clips are narrowly wrong, one is surely right: the clips' majority would be wrong."""
    task = classification(Facts(classes=2, fields={"group": ((), np.int32), "label": ((), np.int32)}))
    shares = np.float32([[0.45, 0.55], [0.45, 0.55], [0.95, 0.05], [0.3, 0.7], [0.2, 0.8]])
    fields = batch([0, 0, 0, 1, 1]) | {"group": np.int32([7, 7, 7, 2, 2])}
    sums, rows = jax.jit(lambda x, y: (task.tally(x, y), task.rows(x, y)))(np.log(shares), fields)
    found = task.summarize(sums, rows)
    assert found["accuracy"] == pytest.approx(0.6)
    assert found["group_accuracy"] == 1.0
    for group in (np.arange(5), np.int32([1, 1, 1, 1, 2])):  # each its own; words of one speaker
        assert "group_accuracy" not in task.summarize(sums, {**rows, "group": group})
