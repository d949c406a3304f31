"""Examples mixed with the one before them in the global batch; labels become distributions in `target`."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from cnnjax.annotations import AtLeastOne, NonNegative, Share
from cnnjax.augment._options import PICTURES, carried, happens, outlines, plane
from cnnjax.fields import Facts
from cnnjax.ops import axes

__all__ = ["cutmix", "mix", "mixup", "repeat"]

TRIES = 8


def before(x: jax.Array, steps: int = 1) -> jax.Array:
    """(B, …) of which row i is row i - steps of the whole `x` (B, …), around its end, whatever devices hold it."""
    rolled = jnp.roll(x, steps, axis=0)
    devices = axes.count()
    if devices == 1:
        return rolled
    if steps > x.shape[0]:
        raise ValueError(f"a device holds {x.shape[0]} examples; mixing here needs at least {steps}")
    ring = [(device, (device + 1) % devices) for device in range(devices)]
    return rolled.at[:steps].set(jax.lax.ppermute(x[-steps:], "batch", ring))


def _rows(batch):
    return next(iter(batch.values())).shape[0]


def _each(key, rows, draw):
    """`draw(key)` for every row, by its position in the whole batch."""
    return jax.vmap(lambda row: draw(jax.random.fold_in(key, row)))(axes.first(rows) + jnp.arange(rows))


def _targets(entry, facts, batch):
    if "target" in batch:
        return batch["target"]
    if "label" not in batch:
        raise ValueError(f"augment.{entry} needs `label` or `target`; the batch has {', '.join(sorted(batch))}")
    if not facts.classes:
        raise ValueError(f"augment.{entry} mixes classes, but the data has none (facts.names is ()); leave it out")
    return jax.nn.one_hot(batch["label"], facts.classes, dtype=jnp.result_type(float))


def _agreeing(batch, mixed):
    """`mixed` with the label of which the target has most, where there is a label and the target is of classes."""
    if "label" not in batch or mixed["target"].ndim != 2:
        return mixed
    return {**mixed, "label": jnp.argmax(mixed["target"], -1).astype(batch["label"].dtype)}


def _gamma(key, alpha):
    """The logarithm of a draw from Gamma(alpha), by Marsaglia and Tsang from eight tries.

    `jax.random.beta` is a loop that takes seconds to compile; here 1 draw in 10¹⁰ finds no accepted try.
    """
    normal, uniform = jax.random.split(key)
    *chance, power = jnp.log(jax.random.uniform(uniform, (TRIES + 1,), minval=1e-30))
    x = jax.random.normal(normal, (TRIES,))
    d = alpha + 2 / 3
    v = (1 + x / jnp.sqrt(9 * d)) ** 3
    safe = jnp.maximum(v, 1e-12)
    accepted = (v > 0) & (jnp.stack(chance) < x**2 / 2 + d - d * safe + d * jnp.log(safe))
    boosted = jnp.log(d * safe[jnp.argmax(accepted)])
    return boosted + power / alpha


def _beta(key, alpha):
    """A draw from Beta(alpha, alpha); 1 where alpha is 0."""
    alpha = jnp.asarray(alpha, float)
    left, right = (_gamma(part, jnp.maximum(alpha, 1e-3)) for part in jax.random.split(key))
    return jnp.where(alpha > 0, jax.nn.sigmoid(left - right), 1.0)


def _blend(x, share):
    """(B, …) with the given share (B,) of the row before; a share of 0 leaves a row as it is, exactly."""
    share = share.astype(x.dtype).reshape(share.shape + (1,) * (x.ndim - 1))
    return x * (1 - share) + before(x) * share


def _mixup(entry, facts, batch, share):
    treatments = carried(entry, facts, outlines(batch), "mixup", verb="mix")
    mixed = {name: _blend(batch[name], share) for name, treatment in treatments.items() if treatment == "blended"}
    mixed["target"] = _blend(_targets(entry, facts, batch), share)
    return _agreeing(batch, {**batch, **mixed})


def mixup(
    key: jax.Array,
    facts: Facts,
    batch: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    alpha: NonNegative = 0.2,
) -> dict[str, jax.Array]:
    """Every input and its target drawn towards those of the example before it, by Beta(alpha, alpha) (Zhang 2017).

    `label` becomes the one of which `target` has most. What has a place (segments, boxes, points) is refused, and so
    are tokens: there is nothing between two words.
    """
    share = _each(key, _rows(batch), lambda one: (1 - _beta(one, alpha)) * strength)
    return _mixup("mixup", facts, batch, share)


def _windows(key, rows, size, alpha, strength):
    """(rows, H, W) bool windows whose area is the beta-distributed share of the partner."""

    def window(one):
        share, corner = jax.random.split(one)
        root = jnp.sqrt((1 - _beta(share, alpha)) * strength)
        lines = []
        for draw, length in zip(jax.random.uniform(corner, (2,)), size, strict=True):
            side = jnp.round(root * length)
            start = jnp.floor(draw * length) - jnp.floor(side / 2)
            lines.append((jnp.arange(length) >= start) & (jnp.arange(length) < start + side))
        return lines[0][:, None] & lines[1][None, :]

    return _each(key, rows, window)


def _cutmix(entry, facts, batch, windows):
    """The partner's pixels (and segments) inside the windows; targets by the area that was really replaced."""
    mixed = {}
    for name, treatment in carried(entry, facts, outlines(batch), "cutmix", verb="mix").items():
        if treatment == "pasted":
            value, channels = batch[name], name in PICTURES
            inside = windows[..., None] if channels else windows
            inside = inside[:, None] if value.ndim > 3 + channels else inside  # every frame of a video alike
            mixed[name] = jnp.where(inside, before(value), value)
    if "label" in batch or "target" in batch:
        targets = _targets(entry, facts, batch)
        mixed["target"] = _blend(targets, windows.mean((1, 2), dtype=targets.dtype))
        return _agreeing(batch, {**batch, **mixed})
    return {**batch, **mixed}


def _plane(entry, batch):
    return plane(entry, outlines(batch))


def cutmix(
    key: jax.Array,
    facts: Facts,
    batch: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    alpha: NonNegative = 1.0,
) -> dict[str, jax.Array]:
    """A window of the example before it pasted into every image, targets mixed by area (Yun 2019).

    Segments are pasted along; `label` becomes the one of which `target` has most; boxes, points and instances are
    refused. Strength scales the window's area. Its sides are rounded to the nearest pixel, where the published code and
    timm round down; its middle lies anywhere, and the target goes by the area left in the picture, as there.
    """
    size = _plane("cutmix", batch)
    return _cutmix("cutmix", facts, batch, _windows(key, _rows(batch), size, alpha, strength))


def mix(
    key: jax.Array,
    facts: Facts,
    batch: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    mixup: NonNegative = 0.2,
    cutmix: NonNegative = 1.0,
    switch: Share = 0.5,
) -> dict[str, jax.Array]:
    """Every example by mixup or, with probability `switch`, by cutmix; the first two options are their alphas."""
    rows = _rows(batch)
    chosen, left, right = jax.random.split(key, 3)
    cutting = _each(chosen, rows, lambda one: happens(one, switch))
    share = _each(left, rows, lambda one: (1 - _beta(one, mixup)) * strength)
    windows = _windows(right, rows, _plane("mix", batch), cutmix, strength) & cutting[:, None, None]
    # One of the two does nothing to a row, exactly; both read the same partners.
    drawn = _mixup("mix", facts, batch, jnp.where(cutting, 0.0, share))
    pasted = _cutmix("mix", facts, batch, windows)
    both = {name: value for name, value in drawn.items() if value is not batch.get(name)}
    chosen = {
        name: jnp.where(cutting.reshape((rows,) + (1,) * (value.ndim - 1)), pasted[name], value)
        for name, value in both.items()
    }
    return {**drawn, **chosen}


def repeat(
    key: jax.Array, facts: Facts, batch: Mapping[str, jax.Array], *, times: AtLeastOne = 3
) -> dict[str, jax.Array]:
    """The first of every `times` neighbours in the batch, `times` times: repeated augmentation (Hoffer 2019).

    It stands before the entries that make the copies differ; an epoch then shows a `times`-th of the examples.
    It has no strength.
    """
    rows = _rows(batch)
    if times < 1 or times > rows:
        raise ValueError(f"augment.repeat.times is {times}; it must be 1 to the {rows} examples of a device")
    place = axes.first(rows) + jnp.arange(rows)
    back = place % times

    def repeated(x):
        earlier = jnp.concatenate([before(x, times - 1)[: times - 1], x]) if times > 1 else x
        return earlier[jnp.arange(rows) + times - 1 - back]

    return {name: repeated(value) for name, value in batch.items()}
