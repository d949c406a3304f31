"""What a task is: a frozen bundle of pure functions between a network's outputs and what is minimised and measured."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

__all__ = ["Task", "count", "main_output", "supervised"]

type Batch = Mapping[str, jax.Array]
type Outputs = jax.Array | Mapping[str, jax.Array]


def _no_rows(outputs: Outputs, batch: Batch) -> dict:
    """No values per example."""
    return {}


@dataclasses.dataclass(frozen=True)
class Task:
    """What a network must give (`outputs`), what is minimised (`loss`), and what is counted (`tally`, `rows`).

    loss(net, params, batch, key, hparams) -> numerators (B,), weights (B,), (outputs, model_state): the step minimises
    total(numerators) / total(weights) over all devices and microbatches.
    `net(params, fields, key, train=…, part="")` -> (outputs, model_state) is bound by the step.
    predict(outputs) -> fields; tally(outputs, batch) -> sums, to which padding adds nothing;
    rows(outputs, batch) -> fields (B, …); summarize(sums, rows) -> metrics.
    `metric` is the headline metric, `higher` says that more of it is better.
    `parts` are the top-level groups of parameters that have an optimizer, a clip and a NaN check of their own.
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


def main_output(outputs: Outputs) -> jax.Array:
    """The array that a network gives, or the one named `main` where it gives several."""
    return outputs["main"] if isinstance(outputs, Mapping) else outputs


def supervised(criterion: Callable[[Outputs, Batch], tuple[jax.Array, jax.Array]]) -> Callable:
    """The loss of a task that passes its batch through the net once, made of its criterion.

    criterion(outputs, batch) -> numerators (B,), weights (B,). No criterion has to know of padding.
    """

    def loss(net, params, batch, key, hparams):
        outputs, model_state = net(params, batch, key, train=True)
        numerators, weights = criterion(outputs, batch)
        valid = batch["valid"].astype(jnp.float32)
        # where, not times: whatever stands in a padded example (a NaN too) must count nothing
        return jnp.where(valid > 0, numerators, 0.0), weights * valid, (outputs, model_state)

    return loss


def count(values: jax.Array, valid: jax.Array) -> jax.Array:
    """Sum of values (B,) over the examples that are valid."""
    return jnp.sum(jnp.where(valid > 0, values.astype(jnp.float32), 0.0))
