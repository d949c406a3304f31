"""Rectangles of the picture taken away; every label stays, segments too: what is hidden is still there."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from cnnjax.annotations import Factor, NonNegative, Share
from cnnjax.augment._options import TRIES, Content, drawn_sides, happens, plane, repainted
from cnnjax.fields import Facts

__all__ = ["cutout", "erase"]


def _contents(key, facts, content, fill):
    """A function that gives the new pixels of an image of any shape."""
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
    side: NonNegative = 8.0,
    content: Content = "constant",
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
    return _without(example, *lines, _contents(pixels, facts, content, fill))


def erase(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    probability: Share = 0.5,
    smallest: Share = 0.02,
    largest: Share = 0.33,
    aspect: Factor = 3.3,
    content: Content = "noise",
    fill: float = 0.0,
) -> dict[str, jax.Array]:
    """A rectangle of `smallest` … `largest` of the area replaced by noise, `fill` or the mean (Zhong 2017).

    Its width / height in pixels is log-uniform in 1/aspect … aspect. One that does not leave some of the picture along
    both axes is drawn again, ten times; then nothing is taken. Strength scales the probability.
    """
    chances, draws, corners, pixels = jax.random.split(key, 4)
    area, ratio = jax.random.uniform(draws, (2, TRIES))
    height, width = plane("erase", example)
    shares = smallest + (largest - smallest) * area
    *sides, found = drawn_sides((height, width), shares, (2 * ratio - 1) * jnp.log(aspect), spare=1)
    rows, columns = (
        _lines(jnp.floor(draw * (size - side + 1)), side, size)
        for draw, side, size in zip(jax.random.uniform(corners, (2,)), sides, (height, width), strict=True)
    )
    rows = rows & found & happens(chances, probability * strength)
    return _without(example, rows, columns, _contents(pixels, facts, content, fill))
