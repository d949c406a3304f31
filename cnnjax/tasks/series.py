"""Tasks that predict how a series goes on."""

from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.fields import Facts
from cnnjax.refusals import refuse_misfits
from cnnjax.tasks.contract import Task, count, main_output, once, refuse_without, supervised

__all__ = ["forecasting"]

_LEAST = 1e-6  # of a window's variance: one in which nothing changes is not blown up
Criterion = Literal["absolute", "squared", "huber"]


def forecasting(
    facts: Facts,
    *,
    criterion: Criterion = "absolute",
    around: Literal["zero", "last", "mean"] = "zero",
    scaled: bool = False,
) -> Task:
    """The `target` (L, C) that follows a series, in the data's own unit; metrics: mae, mse, smape (in %), mase.

    Nets give (B, L·C) in the unit in which they see the series, where `criterion` is taken too. What `around` says,
    the window's last value or its mean, is taken from what they see and added to what they say: a series whose level
    drifts is forecast beyond the levels that were trained on. `scaled` divides what they see by the window's own
    deviation, by which what they say is multiplied (Kim 2022).

    MASE is in units of how much a season changes in the training part (Hyndman 2006), where the data say how much.
    Of forecasts that the data bring as `references` the same is measured: mae_seasonal_naive, …. Averages are over
    all steps and columns. Table: `mae_by_step` (1 + R, L), of the net, then of the references by name.
    """
    refuse_misfits(forecasting, locals(), path="task.")
    shape = _shape(facts)
    black, white = np.float32(facts.black), np.float32(facts.white)
    changed = around != "zero" or scaled

    def forward(net, params, batch, key):
        level, unit = _own_unit(batch["series"], around, scaled)
        return net(params, {**batch, "series": (batch["series"] - level) / unit}, key)

    def forecast(outputs, batch):
        found = main_output(outputs)
        if found.ndim != 2:
            raise ValueError(
                f"the net's outputs are {found.shape}; forecasting needs (B, {shape[0] * shape[1]}), as tcn gives them"
            )
        found = found.astype(jnp.float32).reshape(-1, *shape)
        level, unit = _own_unit(batch["series"], around, scaled) if changed else (0.0, 1.0)
        return found * unit + level

    def predict(outputs, batch):
        return {"target": (forecast(outputs, batch) - black) / (white - black)}

    def loss_of(outputs, batch):
        apart = forecast(outputs, batch) - (batch["target"] * (white - black) + black)
        return _losses(apart, criterion).mean((1, 2)), jnp.ones(len(apart))

    def tally(outputs, batch):
        each = {"": predict(outputs, batch)["target"]} | _references(facts, batch)
        scale = np.float32(facts.extra.get("seasonal_error", ()))
        sums = {"examples": count(jnp.ones_like(batch["valid"]), batch["valid"])}
        for name, found in each.items():
            sums |= _sums(name and f"_{name}", found, batch, scale)
        return sums

    forward = forward if changed else once
    loss = supervised(loss_of, forward)
    return Task(shape[0] * shape[1], loss, predict, tally, _summary, metric="mae", higher=False, forward=forward)


def _shape(facts) -> tuple[int, int]:
    """Steps and columns of what follows."""
    refuse_without(facts, "forecasting", "series", "target")
    shape = tuple(facts.fields["target"][0])
    if facts.input != "series" or len(shape) != 2 or shape[1] != facts.shape[-1]:
        raise ValueError(
            f"task.name is 'forecasting', which needs a target (L, {facts.shape[-1]}) of a series; the data has "
            f"{facts.input} {tuple(facts.shape)} and target {shape}"
        )
    return shape


def _own_unit(series: jax.Array, around: str, scaled: bool) -> tuple[jax.Array, jax.Array]:
    """The level (B, 1, C) around which a window's values are told, and the unit (B, 1, C)."""
    mean = series.mean(1, keepdims=True)
    level = {"zero": jnp.zeros_like(mean), "last": series[:, -1:], "mean": mean}[around]
    return level, jnp.sqrt(jnp.square(series - mean).mean(1, keepdims=True) + _LEAST) if scaled else jnp.ones_like(mean)


def _losses(apart, criterion):
    if criterion == "huber":
        size = jnp.abs(apart)
        return jnp.where(size < 1, 0.5 * size**2, size - 0.5)
    return jnp.abs(apart) if criterion == "absolute" else jnp.square(apart)


def _references(facts, batch):
    """The forecasts (B, L, C) that come with the data, by name."""
    if "references" not in batch:
        return {}
    known, number = facts.extra.get("reference_names", ()), batch["references"].shape[1]
    names = known if len(known) == number else [f"reference{place}" for place in range(1, number + 1)]
    return {name: batch["references"][:, place] for place, name in enumerate(names)}


def _sums(name, found, batch, scale):
    """What is added up of a forecast (B, L, C); of its steps (L,) the mean over columns."""
    target, valid = batch["target"].astype(jnp.float32), batch["valid"]
    off = jnp.abs(found - target)
    size = jnp.abs(found) + jnp.abs(target)
    each = {"mae": off, "mse": off**2, "smape": 200 * jnp.where(size > 0, off / jnp.where(size > 0, size, 1), 0)}
    each |= {"mase": off / scale} if scale.size else {}
    steps = jnp.where(valid[:, None] > 0, off.mean(-1), 0).sum(0)
    return {f"{key}{name}": count(value.mean((1, 2)), valid) for key, value in each.items()} | {f"steps{name}": steps}


def _summary(sums: Mapping, rows: Mapping) -> dict:
    examples = max(float(sums["examples"]), 1.0)
    tables = [np.asarray(value) / examples for name, value in sums.items() if name.startswith("steps")]
    plain = {n: float(value) / examples for n, value in sums.items() if not n.startswith(("steps", "examples"))}
    return plain | {"mae_by_step": np.stack(tables)}
