"""Tasks that predict a class for a whole example."""

from typing import Literal

import jax
import jax.numpy as jnp

from cnnjax.annotations import Count, NonNegative, Rate
from cnnjax.ops import losses
from cnnjax.refusals import refuse_misfits
from cnnjax.tasks.contract import Task, count, main_output, supervised

__all__ = ["classification"]

Criterion = Literal["cross_entropy", "squared_error", "binary_cross_entropy"]


def classification(
    facts,
    *,
    criterion: Criterion = "cross_entropy",
    smoothing: Rate = 0.0,
    auxiliary: NonNegative = 0.3,
    top: Count = 0,
) -> Task:
    """One of `facts.classes` for each example; metrics: loss, accuracy, and accuracy within the first `top` if given.

    A batch's `target` (a distribution, written by mixing) wins over its `label`. Further outputs beside `main` are
    auxiliary heads, whose losses count `auxiliary` times.
    """
    refuse_misfits(classification, locals(), path="task.")
    if facts.classes < 2:
        raise ValueError(
            f"task.name is 'classification', but the data has {facts.classes} classes; it needs at least 2"
        )
    if top >= facts.classes:
        raise ValueError(f"task.top is {top}; it must be below the number of classes, {facts.classes}")

    def target(batch):
        return batch["target"] if "target" in batch else batch["label"]

    def each(logits, batch):
        if criterion == "cross_entropy":
            return losses.softmax_cross_entropy(logits, target(batch), smoothing=smoothing)
        distribution = losses.target_distribution(target(batch), facts.classes, smoothing=smoothing)
        if criterion == "squared_error":
            return jnp.sum(losses.squared_error(jax.nn.softmax(logits), distribution), -1)
        return jnp.sum(losses.sigmoid_cross_entropy(logits, distribution), -1)

    def loss_of(outputs, batch):
        value = each(main_output(outputs), batch)
        if isinstance(outputs, dict):
            value += auxiliary * sum(each(logits, batch) for name, logits in outputs.items() if name != "main")
        return value, jnp.ones_like(value)

    def tally(outputs, batch):
        logits, valid = main_output(outputs), batch["valid"]
        label = jnp.argmax(batch["target"], -1) if "target" in batch else batch["label"]
        sums = {
            "correct": count(jnp.argmax(logits, -1) == label, valid),
            "examples": count(jnp.ones_like(label), valid),
        }
        if top:
            best = jax.lax.top_k(logits, top)[1]
            sums[f"top{top}"] = count(jnp.any(best == label[:, None], -1), valid)
        return sums

    return Task(
        outputs=facts.classes,
        loss=supervised(loss_of),
        predict=_predicted,
        tally=tally,
        summarize=_accuracies,
        metric="accuracy",
    )


def _predicted(outputs) -> dict[str, jax.Array]:
    probabilities = jax.nn.softmax(main_output(outputs))
    return {"label": jnp.argmax(probabilities, -1), "probabilities": probabilities}


def _accuracies(sums, rows) -> dict[str, float]:
    examples = max(float(sums["examples"]), 1.0)
    best = {f"{name}_accuracy": float(value) / examples for name, value in sums.items() if name.startswith("top")}
    return {"accuracy": float(sums["correct"]) / examples} | best
