"""Classification: what is counted is right, and padding never changes a number."""

import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.data import Facts
from cnnjax.tasks import classification

FACTS = Facts(shape=(8, 8, 1), classes=4)


def batch(labels, valid=()):
    labels = jnp.asarray(labels)
    return {"label": labels, "valid": jnp.asarray(valid or [1.0] * len(labels))}


def metrics(task, outputs, fields):
    return task.summarize(task.tally(outputs, fields), {})


def test_a_perfect_predictor_scores_perfectly_and_a_constant_one_scores_chance():
    task, labels = classification(FACTS), jnp.arange(8) % 4
    assert metrics(task, 9.0 * jnp.eye(4)[labels], batch(labels)) == {"accuracy": 1.0}
    assert metrics(task, jnp.zeros((8, 4)).at[:, 2].set(1), batch(labels)) == {"accuracy": 0.25}


def test_padding_changes_no_loss_and_no_metric_even_where_it_holds_nan():
    task = classification(FACTS, smoothing=0.1, top=2)
    logits, labels = jnp.asarray(np.random.default_rng(0).normal(size=(6, 4)), "float32"), [0, 1, 2, 3, 0, 1]
    padded = jnp.concatenate([logits, jnp.full((2, 4), jnp.nan)])

    def loss(outputs, fields):
        losses, weights, _ = task.loss(lambda *a, **k: (outputs, {}), {}, fields, None)
        return float(losses.sum() / weights.sum())

    short, long = batch(labels), batch([*labels, 3, 3], [1.0] * 6 + [0.0, 0.0])
    assert loss(padded, long) == pytest.approx(loss(logits, short))
    assert metrics(task, padded, long) == metrics(task, logits, short)


@pytest.mark.parametrize("criterion", ["cross_entropy", "squared_error", "binary_cross_entropy"])
def test_every_criterion_is_least_at_the_label(criterion):
    task, labels = classification(FACTS, criterion=criterion), jnp.arange(4)

    def total(logits):
        return float(task.loss(lambda *a, **k: (logits, {}), {}, batch(labels), None)[0].sum())

    assert total(9.0 * jnp.eye(4)) < total(jnp.zeros((4, 4))) < total(9.0 * jnp.eye(4)[::-1])


def test_a_target_distribution_wins_over_the_label():
    task = classification(FACTS)
    fields = batch([0]) | {"target": jnp.eye(4)[jnp.array([3])]}
    assert metrics(task, 9.0 * jnp.eye(4)[jnp.array([3])], fields) == {"accuracy": 1.0}


def test_auxiliary_heads_add_their_share_to_the_loss():
    fields, logits = batch([1, 2]), jnp.ones((2, 4))

    def total(outputs, auxiliary):
        task = classification(FACTS, auxiliary=auxiliary)
        return float(task.loss(lambda *a, **k: (outputs, {}), {}, fields, None)[0].sum())

    both = {"main": logits, "auxiliary1": logits}
    assert total(both, 0.3) == pytest.approx(1.3 * total(logits, 0.3))


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
