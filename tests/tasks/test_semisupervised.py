"""Learning from what has no label: of a linear net the way that changes most is known; hidden labels say nothing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import entr, expit, rel_entr

from cnnjax.config import augmentation, change, experiment, section
from cnnjax.data import Facts
from cnnjax.tasks import consistency
from tests.trainings import equal, prepared_once

FACTS = Facts(
    shape=(3, 3, 1), names=("dark", "light"), fields={"image": ((3, 3, 1), "float32"), "label": ((), "int32")}
)
DRAW = np.random.default_rng(0)
WEIGHT = DRAW.normal(size=9).astype(np.float32)
BATCH = {
    "image": DRAW.normal(size=(12, 3, 3, 1)).astype(np.float32),
    "label": np.arange(12, dtype=np.int32) % 2,
    "labelled": np.float32([1, 0, 0] * 4),
    "valid": np.float32([1] * 11 + [0]),
    "index": np.arange(12, dtype=np.int32),
}
MARGIN = BATCH["image"].reshape(12, 9) @ WEIGHT


@functools.partial(jax.jit, static_argnames="train")
def found(batch, epsilon, share, entropy, train=True):
    """(losses, weights, sums, slope of the first loss by the weight) of a net whose outputs differ by the margin."""

    def net(params, fields, key, **options):
        margin = fields["image"].reshape(-1, 9) @ params
        return jnp.stack([-margin / 2, margin / 2], -1), {}

    net.train = train
    task = consistency(FACTS, epsilon=epsilon, share=share, entropy=entropy)

    def total(params):
        losses, weights, (outputs, _) = task.loss(net, params, batch, jax.random.key(0))
        return losses[0], (losses, weights, task.tally(outputs, batch))

    (_, values), slope = jax.value_and_grad(total, has_aux=True)(WEIGHT)
    return *values, slope


def bernoulli(margin):
    return np.stack([expit(-margin), expit(margin)], -1)


def test_the_second_answer_is_that_of_the_way_that_changes_the_first_most():
    losses, weights, sums, slope = found(BATCH, 0.5, 1.0, 0.0)
    shares, far = bernoulli(MARGIN), 0.5 * np.linalg.norm(WEIGHT)
    apart = np.stack([rel_entr(shares, bernoulli(MARGIN + sign * far)).sum(-1) for sign in (-1, 1)])
    known, valid = BATCH["labelled"] * BATCH["valid"], BATCH["valid"]
    told = known * -np.log(shares[np.arange(12), BATCH["label"]])
    assert np.isclose(losses, told + valid * apart, rtol=1e-3, atol=1e-5).any(0).all()  # either way is as steep
    np.testing.assert_array_equal(weights, valid)
    assert float(sums["examples"]) == known.sum()
    assert np.abs(slope).max() > 0


def test_entropies_count_whether_there_is_a_label_or_not():
    losses, *_ = found(BATCH, 0.5, 0.0, 2.0)
    shares = bernoulli(MARGIN)
    told = BATCH["labelled"] * -np.log(shares[np.arange(12), BATCH["label"]])
    np.testing.assert_allclose(losses, BATCH["valid"] * (told + 2 * entr(shares).sum(-1)), rtol=1e-4)


def test_evaluation_is_classification():
    losses, *_ = found(BATCH, 0.5, 1.0, 1.0, train=False)
    np.testing.assert_allclose(losses, BATCH["valid"] * -np.log(bernoulli(MARGIN)[np.arange(12), BATCH["label"]]), 1e-4)


def test_hidden_labels_are_padding_to_other_tasks_and_half_a_loss_to_this_one():
    config = experiment(
        data=section("data", "digits", labelled=1, sampling="labelled"),
        model=section("models", "mlp", hidden=(4,)),
        task=section("tasks", "classification"),
        augment=augmentation(train=("normalize",), eval=("normalize",)),
        optimizer=section("optimizers", "sgd", lr=0.1),
        schedule=section("schedules", "constant"),
        train={"steps": 2, "batch": 16, "devices": 1},
    )
    steps = {}
    for name in ("classification", "consistency"):
        prepared = prepared_once(change(config, {"task.name": name}))
        split = prepared.source.train
        with prepared.batches(split) as stream:
            batches = prepared.layout.share(stream.batches(0, 1), 2)
        known = float(split.arrays["labelled"][batches["index"].reshape(-1)].sum())
        assert 8 <= known < 16
        start = jax.tree.map(jnp.copy, prepared.layout.replicate(prepared.start()))
        state, _ = prepared.step(start, prepared.store(split), batches, np.int32(1))
        steps[name] = state
        assert float(state.sums["task"]["examples"]) == known
        assert float(state.sums["weight"]) == (known if name == "classification" else 16)
    assert not equal(steps["classification"].params, steps["consistency"].params)


def test_data_without_classes_and_tokens_are_refused():
    with pytest.raises(ValueError, match="'consistency', which needs label and names of the classes"):
        consistency(Facts(shape=(3, 3, 1)))
    tokens = {"tokens": ((4,), "int32"), "label": ((), "int32")}
    with pytest.raises(ValueError, match="which changes inputs a little; the nets of these data read tokens"):
        consistency(Facts(input="tokens", shape=(4,), names=("a", "b"), fields=tokens))
    with pytest.raises(ValueError, match=r"task\.epsilon"):
        consistency(FACTS, epsilon=0.0)


@pytest.mark.proofs
def test_digits_without_labels_help_to_tell_digits(tmp_path, train_apart):
    """With two labels a class: 91.1 % with the others, 81.1 % without."""
    alone, more = (
        train_apart(f"configs/few_labels.py:{variant}", tmp_path / variant).measure("test")["accuracy"]
        for variant in ("alone", "consistent")
    )
    assert more >= alone + 0.04
