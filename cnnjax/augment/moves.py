"""Moves of the picture plane: each gives a 3×3 matrix (and a displacement field or none), never pixels."""

import jax
import jax.numpy as jnp

from cnnjax.augment._moving import BORDERS, Move

__all__ = ["crop", "flip", "shift"]


def _matrix(*rows):
    return jnp.stack([jnp.stack([jnp.asarray(value, float) for value in row]) for row in rows])


def _border(entry, border):
    if border not in BORDERS:
        raise ValueError(f"augment.{entry}.border is {border!r}; it must be one of {', '.join(BORDERS)}")
    return border


def _between(key, low, high):
    """A whole number, uniform in low … high, both traced and included."""
    draw = low + jnp.floor(jax.random.uniform(key) * (high - low + 1))
    return jnp.minimum(draw, high)


def flip(
    key,
    facts,
    size,
    strength,
    index,
    epoch,
    *,
    probability: float = 0.5,
    axis: str = "width",
    mode: str = "random",
    seed: int = 0,
):
    """A mirror image (left-right, or top-bottom with `axis="height"`) with the given probability.

    `mode="alternate"`: each example's first epoch is random, by its index and `seed`; after it the two
    orientations take turns, so that any two consecutive epochs show both.
    """
    chance = jax.random.uniform(key)
    if mode == "alternate":
        first = jax.random.bernoulli(jax.random.fold_in(jax.random.key(seed), index), probability)
        turned = (first ^ (epoch % 2 == 1)) & (chance < strength)
    elif mode == "random":
        turned = chance < probability * strength
    else:
        raise ValueError(f"augment.flip.mode is {mode!r}; it must be random or alternate")
    height, width = size
    sign = jnp.where(turned, -1.0, 1.0)
    if axis == "width":
        matrix = _matrix((1, 0, 0), (0, sign, jnp.where(turned, width - 1.0, 0.0)), (0, 0, 1))
    elif axis == "height":
        matrix = _matrix((sign, 0, jnp.where(turned, height - 1.0, 0.0)), (0, 1, 0), (0, 0, 1))
    else:
        raise ValueError(f"augment.flip.axis is {axis!r}; it must be width or height")
    return Move(matrix, whole=True)


def shift(key, facts, size, strength, *, pixels: int = 2, border: str = "constant", fill: float = 0.0):
    """The image moved by up to `pixels` whole pixels along both axes."""
    most = jnp.round(pixels * jnp.minimum(strength, 1.0))
    y, x = (_between(part, -most, most) for part in jax.random.split(key))
    return Move(
        _matrix((1, 0, y), (0, 1, x), (0, 0, 1)), whole=True, reach=pixels, border=_border("shift", border), fill=fill
    )


def crop(key, facts, size, strength, *, padding: int = 4, side: int = 0, border: str = "constant", fill: float = 0.0):
    """A window of `side` pixels (0: the size of the image) cut at random from the image padded on every side.

    Strength scales how far the window strays from the centre.
    """
    out = (side, side) if side else size
    spare = [length + 2 * padding - new for length, new in zip(size, out, strict=True)]
    if min(spare) < 0:
        raise ValueError(f"augment.crop.side is {side}; an image of {size[0]}×{size[1]} padded by {padding} is smaller")
    strength = jnp.minimum(strength, 1.0)
    starts = []
    for part, room in zip(jax.random.split(key), spare, strict=True):
        middle = room // 2
        low, high = middle - jnp.round(strength * middle), middle + jnp.round(strength * (room - middle))
        starts.append(_between(part, low, high) - padding)
    matrix = _matrix((1, 0, starts[0]), (0, 1, starts[1]), (0, 0, 1))
    return Move(matrix, size=out, whole=True, reach=padding, border=_border("crop", border), fill=fill)
