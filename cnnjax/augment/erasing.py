"""Rectangles of the picture taken away; every label stays, segments too: what is hidden is still there."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from cnnjax.augment._options import plane, repainted, within
from cnnjax.fields import Facts

__all__ = ["cutout", "erase"]

CONTENTS = ("constant", "mean", "noise")


def _contents(entry, key, facts, content, fill):
    """A function that gives the new pixels of an image of any shape."""
    within(f"{entry}.content", content, CONTENTS)
    if content == "noise":
        return lambda x: jax.random.uniform(key, x.shape, x.dtype)
    value = facts.mean if content == "mean" else fill
    return lambda x: jnp.broadcast_to(jnp.asarray(value, x.dtype), x.shape)


def _lines(start, length, size):
    """(size,) bool: the whole positions in start ≤ position < start + length."""
    position = jnp.arange(size)
    return (position >= start) & (position < start + length)


def _without(example, rows, columns, contents):
    mask = (rows[:, None] & columns[None, :])[..., None]
    return repainted(example, lambda x: jnp.where(mask, contents(x), x))


def cutout(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    side: float = 8.0,
    content: str = "constant",
    fill: float = 0.0,
) -> dict[str, jax.Array]:
    """A square of `side` pixels, centred anywhere and cut by the borders, replaced (DeVries 2017).

    `content` is constant (`fill`), mean (the training set's) or noise. Strength scales the side.
    """
    centre, pixels = jax.random.split(key)
    length = jnp.round(side * strength)
    lines = [
        _lines(jnp.floor(draw * size) - jnp.floor(length / 2), length, size)
        for draw, size in zip(jax.random.uniform(centre, (2,)), plane("cutout", example), strict=True)
    ]
    return _without(example, *lines, _contents("cutout", pixels, facts, content, fill))


def erase(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    probability: float = 0.5,
    smallest: float = 0.02,
    largest: float = 0.33,
    aspect: float = 3.3,
    content: str = "noise",
    fill: float = 0.0,
) -> dict[str, jax.Array]:
    """A rectangle of `smallest` … `largest` of the area replaced by noise, `fill` or the mean (Zhong 2017).

    The ratio of its sides is log-uniform in 1/aspect … aspect. Strength scales the probability.
    """
    draws, pixels = jax.random.split(key)
    chance, area, ratio, *corner = jax.random.uniform(draws, (5,))
    height, width = plane("erase", example)
    area = height * width * (smallest + (largest - smallest) * area)
    root = jnp.exp((ratio - 0.5) * jnp.log(aspect))
    sides = [
        jnp.clip(jnp.round(side), 1, size)
        for side, size in ((jnp.sqrt(area) * root, height), (jnp.sqrt(area) / root, width))
    ]
    rows, columns = (
        _lines(jnp.floor(draw * (size - side + 1)), side, size)
        for draw, side, size in zip(corner, sides, (height, width), strict=True)
    )
    rows = rows & (chance < probability * strength)
    return _without(example, rows, columns, _contents("erase", pixels, facts, content, fill))
