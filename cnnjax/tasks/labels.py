"""Tasks that predict a class for a whole example."""

import functools
from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.annotations import Count, NonNegative, Rate, Text
from cnnjax.fields import Facts
from cnnjax.ops import losses
from cnnjax.refusals import LackingError, one_of, refuse_misfits
from cnnjax.tasks.contract import Task, count, main_output, supervised

__all__ = ["classification"]

Criterion = Literal["cross_entropy", "focal", "squared_error", "binary_cross_entropy"]
Weights = Literal["none", "balanced"] | tuple[tuple[Text, NonNegative], ...]
_BINS = 15
_MOST = 4096  # classes of which every pair is counted, in 64 MB


def classification(
    facts: Facts,
    *,
    criterion: Criterion = "cross_entropy",
    smoothing: Rate = 0.0,
    gamma: NonNegative = 2.0,
    weights: Weights = "none",
    auxiliary: NonNegative = 0.3,
    top: Count = 0,
) -> Task:
    """One of `facts.classes` for each example; metrics: loss, accuracy, and accuracy within the first `top` if given.

    Tables: `confusion` (K, K) of truth and guess, of up to 4,096 classes, `calibration` (15, 3) by confidence.
    Where the examples of a `group` (clips of a video) are all of one class, `group_accuracy` is that of the groups,
    each by the mean of its examples' probabilities. A batch's `target` (a distribution, written by mixing) wins over
    its `label`. Further outputs beside `main` are auxiliary heads, whose losses count `auxiliary` times. `gamma` is
    that of the focal loss.

    In the loss, of training and of evaluation, an example counts the weight of its class, as in PyTorch: `weights`
    are numbers by name, 1 for those not named, as in (("cat", 2.0),), or "balanced" for (examples / classes) / (the
    class's examples). The weight of a mixed target is the mean of those of its classes.
    """
    refuse_misfits(classification, locals(), path="task.")
    _refuse_few(facts)
    if top >= facts.classes:
        raise ValueError(f"task.top is {top}; it must be below the number of classes, {facts.classes}")

    table = _weights(facts, weights)

    def loss_of(outputs, batch):
        target = batch["target"] if "target" in batch else batch["label"]
        each = functools.partial(_losses, criterion, target=target, smoothing=smoothing, gamma=gamma)
        value = each(main_output(outputs))
        if isinstance(outputs, dict):
            value += auxiliary * sum(each(logits) for logits in _auxiliary(outputs))
        if not len(table):
            return value, jnp.ones_like(value)
        weight = target @ table if "target" in batch else jnp.asarray(table)[target]
        return value * weight, weight

    return Task(
        outputs=facts.classes,
        loss=supervised(loss_of),
        predict=_predicted,
        tally=functools.partial(_tally, top),
        rows=functools.partial(_guesses, "group" in facts.fields),
        summarize=lambda sums, rows: (
            _accuracies(sums) | (_by_group(rows) | _tables(rows, facts.classes) if rows else {})
        ),
        metric="accuracy",
        views="probabilities",
        rank=2,
    )


def _losses(
    criterion: Criterion, logits: jax.Array, *, target: jax.Array, smoothing: jax.Array, gamma: jax.Array
) -> jax.Array:
    """The losses (B,) of logits (B, K), with a target of classes (B,) or distributions (B, K)."""
    if criterion == "cross_entropy":
        return losses.softmax_cross_entropy(logits, target, smoothing=smoothing)
    if criterion == "focal":
        return losses.focal_cross_entropy(logits, target, gamma=gamma, smoothing=smoothing)
    distribution = losses.target_distribution(target, logits.shape[-1], smoothing=smoothing)
    if criterion == "squared_error":
        return jnp.sum(losses.squared_error(jax.nn.softmax(logits), distribution), -1)
    return jnp.sum(losses.sigmoid_cross_entropy(logits, distribution), -1)


def _weights(facts, weights: Weights) -> np.ndarray:
    """(K,) what an example of each class counts, or () where all count the same."""
    if weights == "none":
        return np.ones(0, np.float32)
    if weights == "balanced":
        if not facts.class_counts:
            raise ValueError(
                "task.weights is 'balanced', but nothing is known of how often each class occurs in these data\n"
                'give numbers by name, as in task.weights=(("cat", 2.0),), or read the set whole: data.resident=yes'
            )
        counts = np.asarray(facts.class_counts, np.float64)
        return (counts.sum() / np.count_nonzero(counts) / np.maximum(counts, 1)).astype(np.float32)
    for name, _ in weights:
        one_of(name, facts.names, path="task.weights")
    named = dict(weights)
    return np.asarray([named.get(name, 1.0) for name in facts.names], np.float32)


def _refuse_few(facts) -> None:
    refused = "task.name is 'classification', but the data has {}; it needs at least 2"
    if not facts.classes:
        raise LackingError(refused.format("no classes"), ("label",))
    if facts.classes < 2:
        found = f"one class, {facts.names[0]!r}" if facts.names else "one class"
        raise ValueError(f"{refused.format(found)}\neach directory of a folder is a class")


def _auxiliary(outputs: Mapping) -> list[jax.Array]:
    """The outputs (B, K) beside `main`."""
    for name, logits in outputs.items():
        if logits.shape != outputs["main"].shape:
            wanted = f"an auxiliary head has the shape of main, {outputs['main'].shape}"
            raise ValueError(f"the net's output {name!r} is {logits.shape}; {wanted}")
    return [logits for name, logits in outputs.items() if name != "main"]


def _truth(batch: Mapping) -> jax.Array:
    return jnp.argmax(batch["target"], -1) if "target" in batch else batch["label"]


def _tally(top: int, outputs, batch) -> dict[str, jax.Array]:
    logits, valid, label = main_output(outputs), batch["valid"], _truth(batch)
    sums = {
        "correct": count(jnp.argmax(logits, -1) == label, valid),
        "examples": count(jnp.ones_like(label), valid),
    }
    if top:
        best = jax.lax.top_k(logits, top)[1]
        sums[f"top{top}"] = count(jnp.any(best == label[:, None], -1), valid)
    return sums


def _predicted(outputs, batch) -> dict[str, jax.Array]:
    probabilities = jax.nn.softmax(main_output(outputs))
    return {"label": jnp.argmax(probabilities, -1), "probabilities": probabilities}


def _guesses(grouped: bool, outputs, batch) -> dict[str, jax.Array]:
    found = _predicted(outputs, batch)
    rows = {"truth": _truth(batch), "guess": found["label"], "confidence": jnp.max(found["probabilities"], -1)}
    return rows | ({"group": batch["group"], "probabilities": found["probabilities"]} if grouped else {})


def _by_group(rows: Mapping) -> dict[str, float]:
    """The accuracy of groups by the mean of their examples' probabilities; {} where groups are no such thing.

    That is where each example is its own, or where one has examples of several classes, as of a speaker all words.
    """
    if "group" not in rows:
        return {}
    truth, shares = np.asarray(rows["truth"]), np.asarray(rows["probabilities"], np.float64)
    _, first, group = np.unique(rows["group"], return_index=True, return_inverse=True)
    if len(first) == len(truth) or (truth != truth[first][group]).any():
        return {}
    mean = np.zeros((len(first), shares.shape[1]))
    np.add.at(mean, group, shares)
    return {"group_accuracy": float((mean.argmax(1) == truth[first]).mean())}


def _accuracies(sums: Mapping) -> dict[str, float]:
    examples = max(float(sums["examples"]), 1.0)
    best = {f"{name}_accuracy": float(value) / examples for name, value in sums.items() if name.startswith("top")}
    return {"accuracy": float(sums["correct"]) / examples} | best


def _tables(rows: Mapping, classes: int) -> dict[str, np.ndarray]:
    """`confusion` (K, K): how often an example of class i was called k; `calibration` (bins, 3), by confidence.

    There is no confusion of more classes than `_MOST`: of 21,841 it would take 2 GB, each time. A bin holds the sum of
    its confidences, how many of them were right, and how many there are (Guo 2017).
    """
    truth, guess, confidence = (np.asarray(rows[name]) for name in ("truth", "guess", "confidence"))
    bins = np.clip((confidence * _BINS).astype(int), 0, _BINS - 1)
    each = np.stack([confidence, truth == guess, np.ones(len(truth))], -1).astype(np.float64)
    calibration = np.zeros((_BINS, 3))
    np.add.at(calibration, bins, each)
    if classes > _MOST:
        return {"calibration": calibration}
    confusion = np.zeros((classes, classes), np.int32)
    np.add.at(confusion, (truth, guess), 1)
    return {"confusion": confusion, "calibration": calibration}
