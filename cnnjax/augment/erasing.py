"""Parts of the input taken away."""

import jax
import jax.numpy as jnp

__all__ = ["cutout", "erase"]


def _inside(center, length, size):
    """True for the whole positions 0 … size-1 in the window of the given length around the given centre."""
    start = jnp.floor(center - length / 2 + 0.5)
    position = jnp.arange(size)
    return (position >= start) & (position < start + length)


def _blank(example, rows, columns, new):
    example = dict(example)
    mask = (rows[:, None] & columns[None, :])[..., None]
    for name in ("image", "video"):
        if name in example:
            example[name] = jnp.where(mask, new(example[name]), example[name])
    return example


def _plane(example):
    return example["image"].shape[:2] if "image" in example else example["video"].shape[1:3]


def cutout(key, facts, example, strength, *, side: float = 8.0, fill: float = 0.0):
    """A square of `side` pixels, centred anywhere and cut by the borders, set to `fill` (DeVries 2017)."""
    height, width = _plane(example)
    y, x = jax.random.uniform(key, (2,))
    length = jnp.round(side * strength)
    rows = _inside(jnp.floor(y * height), length, height)
    columns = _inside(jnp.floor(x * width), length, width)
    return _blank(example, rows, columns, lambda image: jnp.asarray(fill, image.dtype))


def erase(
    key,
    facts,
    example,
    strength,
    *,
    probability: float = 0.5,
    smallest: float = 0.02,
    largest: float = 0.33,
    aspect: float = 3.3,
    noise: bool = False,
    fill: float = 0.0,
):
    """A rectangle of `smallest` … `largest` of the area set to `fill`, or to noise (Zhong 2017).

    Sides' ratio is log-uniform in 1/aspect … aspect. Strength scales the probability.
    """
    height, width = _plane(example)
    chance, area, ratio, place, pixels = jax.random.split(key, 5)
    area = height * width * jax.random.uniform(area, minval=smallest, maxval=largest)
    ratio = jnp.exp(jax.random.uniform(ratio, minval=-1.0, maxval=1.0) * jnp.log(aspect))
    tall = jnp.clip(jnp.round(jnp.sqrt(area * ratio)), 1, height)
    wide = jnp.clip(jnp.round(jnp.sqrt(area / ratio)), 1, width)
    y, x = jax.random.uniform(place, (2,))
    top, left = jnp.floor(y * (height - tall + 1)), jnp.floor(x * (width - wide + 1))
    done = jax.random.uniform(chance) < probability * strength
    rows, columns = jnp.arange(height), jnp.arange(width)
    rows = done & (rows >= top) & (rows < top + tall)
    columns = (columns >= left) & (columns < left + wide)
    if noise:
        return _blank(example, rows, columns, lambda image: jax.random.normal(pixels, image.shape, image.dtype))
    return _blank(example, rows, columns, lambda image: jnp.asarray(fill, image.dtype))
