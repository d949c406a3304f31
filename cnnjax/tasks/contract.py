"""What a task is: a frozen bundle of pure functions between a network's outputs and what is minimised and measured."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

import jax
import jax.numpy as jnp

from cnnjax.fields import Facts, is_error
from cnnjax.ops.randomness import example_keys
from cnnjax.refusals import LackingError

__all__ = ["Task", "count", "main_output", "noise_keys", "once", "refuse_without", "supervised"]

type Batch = Mapping[str, jax.Array]
type Outputs = jax.Array | Mapping[str, jax.Array]


def once(net: Callable, params: Mapping, batch: Batch, key: jax.Array) -> tuple[Outputs, Mapping]:
    """(outputs, model_state) of one call of the net on a batch."""
    return net(params, batch, key)


def _no_rows(outputs: Outputs, batch: Batch) -> dict:
    """No values per example."""
    return {}


@dataclasses.dataclass(frozen=True)
class Task:
    """What a network must give (`outputs`), what is minimised (`loss`), counted (`tally`, `rows`) and answered.

    forward(net, params, batch, key) -> outputs, model_state: the way from inputs to outputs, which sees no label.
    Training (through `supervised`), evaluation, prediction, views and export all take it.
    loss(net, params, batch, key) -> numerators (B,), weights (B,), (outputs, model_state): the step minimises
    total(numerators) / total(weights) over all devices and microbatches.
    `net(params, fields, key, part="")` -> (outputs, model_state) is bound by the step. `fields` is a batch, of which
    the net reads `facts.input`, or a tuple of arrays, which a part (a method, or a submodule that is a field) reads as
    they are. `net.train` says whether this is training; `train=False` in a call asks for running statistics even then.
    predict(outputs, batch) -> words of a batch (`label probabilities segments boxes classes scores present points image
    target masks`), in pixels of the picture that the net saw.
    tally(outputs, batch) -> sums, to which padding adds nothing; rows(outputs, batch) -> fields (B, …), small ones, of
    evaluation alone; summarize(sums, rows) -> metrics: numbers are metrics, arrays are tables. Lines of training have
    no rows ({}).
    `metric` is the headline metric, `higher` says that more of it is better.
    `parts` are the top-level groups of parameters that have an optimizer, a clip and a NaN check of their own.
    `views`: what may be averaged over several views of an image, softmaxes of the outputs or the outputs themselves; ""
    where neither may, as of coordinates, which would have to be moved back.
    `unlabelled`: whether training learns from examples of which `labelled` is 0 too; to others they are padding.
    `rank` is how many axes the main output must have, with that of the batch: 2 for rows, 4 for maps; 0 is any.
    """

    outputs: int | Mapping[str, int]
    loss: Callable
    predict: Callable
    tally: Callable
    summarize: Callable
    metric: str
    higher: bool = True
    rows: Callable = _no_rows
    parts: tuple[str, ...] = ("",)
    forward: Callable = once
    views: Literal["probabilities", "outputs", ""] = ""
    rank: int = 0
    unlabelled: bool = False

    def __post_init__(self):
        if getattr(self.loss, "forward", self.forward) is not self.forward:
            raise ValueError(
                "a task's forward is not the one that its loss takes; give supervised(criterion, forward) the same"
            )
        if self.views not in ("probabilities", "outputs", ""):
            raise ValueError(f"a task's views is {self.views!r}; it must be 'probabilities', 'outputs' or ''")

    def more_is_better(self, metric: str) -> bool:
        """Whether more of a metric is better: as `higher` says of the headline metric, else by its name."""
        name = metric.removeprefix("raw_")
        return self.higher if name == self.metric else not is_error(name)


def main_output(outputs: Outputs) -> jax.Array:
    """The array (B, …) that a network gives, or the one named `main` where it gives several."""
    return outputs["main"] if isinstance(outputs, Mapping) else outputs


def supervised(
    criterion: Callable[[Outputs, Batch], tuple[jax.Array, jax.Array]], forward: Callable = once
) -> Callable:
    """The loss of a task that minimises a criterion of its forward's outputs.

    criterion(outputs, batch) -> numerators (B,), weights (B,). No criterion has to know of padding.
    """

    def loss(net, params, batch, key):
        outputs, model_state = forward(net, params, batch, key)
        numerators, weights = criterion(outputs, batch)
        valid = batch["valid"].astype(jnp.float32)
        if jnp.shape(numerators) != valid.shape:  # a sum of all of them would be broadcast
            given = jnp.shape(numerators)
            raise ValueError(f"a task's criterion gives one loss an example, {valid.shape}; what it gives is {given}")
        # where, not times: whatever stands in a padded example (a NaN too) must count nothing
        return jnp.where(valid > 0, numerators, 0.0), jnp.where(valid > 0, weights * valid, 0.0), (outputs, model_state)

    loss.forward = forward
    return loss


def noise_keys(net: Callable, key: jax.Array, batch: Batch) -> jax.Array:
    """Keys (B,) for what a task draws: by place in the global batch where `net` trains, else by the example's index.

    So no number of an evaluation depends on how it was cut into batches.
    """
    if net.train:
        return example_keys(key, batch["index"].shape[0])
    return jax.vmap(lambda index: jax.random.fold_in(key, index))(batch["index"])


def count(values: jax.Array, valid: jax.Array) -> jax.Array:
    """Sum () of values (B,) over the examples that are valid."""
    if values.shape != valid.shape:
        raise ValueError(f"count wants one number an example, {valid.shape}; the values are {values.shape}")
    return jnp.sum(jnp.where(valid > 0, values.astype(jnp.float32), 0.0))


def refuse_without(facts: Facts, task: str, *words: str, named: bool = False) -> None:
    """Refuses data without one of the words that a task needs, or, where it must be `named`, names of the classes."""
    lacking = [word for word in words if word not in facts.fields]
    if lacking or (named and not facts.classes):
        needs = f"{', '.join(words)}{' and names of the classes' * named}"
        raise LackingError(
            f"task.name is {task!r}, which needs {needs}; the data has {', '.join(facts.fields) or 'nothing'}"
            f"{'' if facts.classes or not named else ' and no names'}",
            words,
        )
