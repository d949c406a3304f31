"""Inputs changed a little so that a loss grows: by the sign of its gradient, or by many steps up it."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.annotations import AtLeastOne
from cnnjax.refusals import refuse_misfits

__all__ = ["BallNorm", "fgsm", "pgd", "random_start", "targeted"]

Loss = Callable[[jax.Array], jax.Array]
BallNorm = Literal["inf", "2"]


def fgsm(loss: Loss, images: jax.Array, epsilon: jax.Array | float) -> jax.Array:
    """Images (B, *sizes, C) in [0, 1], moved by ±`epsilon` to where their losses grow (Goodfellow 2015).

    `loss` gives a loss (B,) for each image; whatever normalises them is part of it.
    """
    return jnp.clip(images + epsilon * jnp.sign(_gradient(loss, images)), 0, 1)


def pgd(
    loss: Loss,
    images: jax.Array,
    epsilon: jax.Array | float,
    *,
    step: jax.Array | float,
    steps: AtLeastOne = 40,
    norm: BallNorm = "inf",
    start: jax.Array | tuple = (),
) -> jax.Array:
    """Images (B, *sizes, C) in [0, 1] after so many steps of length `step` up their losses (Madry 2018).

    They stay within `epsilon` of where they were, in every number ("inf") or in Euclidean length ("2"), and in [0, 1].
    The way begins at `start`, as `random_start` gives it, or at the images. `loss` is as for `fgsm`; `targeted` turns a
    loss so that it leads to a class.
    """
    refuse_misfits(pgd, {"steps": steps, "norm": norm})

    def moved(_, now):
        gradient = _gradient(loss, now)
        way = jnp.sign(gradient) if norm == "inf" else gradient / jnp.maximum(_length(gradient), 1e-12)
        return _inside(now + step * way, images, epsilon, norm)

    start = images if isinstance(start, tuple) else start
    return lax.fori_loop(0, steps, moved, jnp.asarray(start, images.dtype))


def random_start(
    key: jax.Array, images: jax.Array, epsilon: jax.Array | float, *, norm: BallNorm = "inf", clip: bool = True
) -> jax.Array:
    """A uniform draw from what lies within `epsilon` of images (B, *sizes, C) in [0, 1]: where `pgd` may begin.

    Without `clip` it may lie beyond black and white. Of a picture with much of either, one long step from there ends in
    many places, and from within in corners alone: a net learns to withstand just those (Wong 2020 does not clip).
    """
    refuse_misfits(random_start, {"norm": norm, "clip": clip})
    if norm == "inf":
        found = images + epsilon * jax.random.uniform(key, images.shape, images.dtype, -1, 1)
    else:
        direction, radius = jax.random.split(key)
        way = jax.random.normal(direction, images.shape, images.dtype)
        size = images[0].size
        share = jax.random.uniform(radius, (len(images), *[1] * (images.ndim - 1)), images.dtype) ** (1 / size)
        found = images + epsilon * share * way / _length(way)
    return jnp.clip(found, 0, 1) if clip else found


def targeted(loss: Loss) -> Loss:
    """The loss whose ascent leads down the given one: with that of another class, the image becomes one of it."""
    return lambda images: -loss(images)


def _gradient(loss, images):
    return jax.grad(lambda x: jnp.sum(loss(x)))(images)


def _length(x):
    return jnp.sqrt(jnp.sum(x * x, tuple(range(1, x.ndim)), keepdims=True))


def _inside(moved, images, epsilon, norm):
    way = moved - images
    if norm == "inf":
        way = jnp.clip(way, -epsilon, epsilon)
    else:
        way = way * jnp.minimum(1, epsilon / jnp.maximum(_length(way), 1e-12))
    return jnp.clip(images + way, 0, 1)
