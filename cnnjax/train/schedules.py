"""Learning-rate schedules: functions of progress in [0, 1] (after warm-up) that give a factor of the learning rate.

One that also asks for `drops` goes by evaluations: the loop counts how often as many of them as its option `patience`
came in a row without a better one, and keeps that in the state.
"""

import jax
import jax.numpy as jnp
import optax

from cnnjax.annotations import AtLeastOne, NonNegative, Positive, Share

__all__ = [
    "constant",
    "cosine",
    "exponential",
    "inverse_root",
    "linear",
    "multistep",
    "plateau",
    "polynomial",
    "triangle",
]


def constant(progress: jax.Array) -> jax.Array:
    """The factor 1, always."""
    return jnp.ones_like(progress)


def cosine(progress: jax.Array, *, floor: Share = 0.0) -> jax.Array:
    """Half a cosine from 1 down to `floor`."""
    return optax.cosine_decay_schedule(1.0, 1.0, alpha=floor)(progress)


def linear(progress: jax.Array, *, floor: Share = 0.0) -> jax.Array:
    """A straight line from 1 down to `floor`."""
    return optax.linear_schedule(1.0, floor, 1)(progress)


def polynomial(progress: jax.Array, *, power: Positive = 0.9, floor: Share = 0.0) -> jax.Array:
    """(1 - progress) ** power, down to `floor`; 0.9 is the habit of segmentation nets."""
    return optax.polynomial_schedule(1.0, floor, power, 1)(progress)


def exponential(progress: jax.Array, *, last: Positive = 0.01) -> jax.Array:
    """A constant rate of decay that reaches `last` at the end."""
    return jnp.power(last, progress)  # optax.exponential_decay asks `if` of its rate, which may be traced


def multistep(progress: jax.Array, *, milestones: tuple[Share, ...] = (0.5, 0.75), gamma: Share = 0.1) -> jax.Array:
    """Times `gamma` at each milestone, given as fractions of the training."""
    passed = jnp.sum(progress >= jnp.asarray(milestones, progress.dtype))
    return gamma ** passed.astype(progress.dtype)


def plateau(
    progress: jax.Array,
    drops: jax.Array | int = 0,
    *,
    patience: AtLeastOne = 5,
    gamma: Share = 0.1,
    floor: Share = 0.0,
) -> jax.Array:
    """Times `gamma` whenever `patience` evaluations in a row were no better than the best, never below `floor`.

    By `checkpoint.metric` on held-out examples. As Keras counts; PyTorch waits for one evaluation more.
    """
    return jnp.maximum(jnp.asarray(gamma, progress.dtype) ** jnp.asarray(drops, progress.dtype), floor)


def inverse_root(progress: jax.Array, *, floor: Share = 0.0, decay: NonNegative = 99.0) -> jax.Array:
    """1 / sqrt(1 + decay · progress), never below `floor`."""
    return jnp.maximum(1.0 / jnp.sqrt(1.0 + decay * progress), floor)


def triangle(progress: jax.Array, *, peak: Share = 0.23, start: Share = 0.2, floor: Share = 0.07) -> jax.Array:
    """A line from `start` up to 1 at `peak` of the training, then a line down to `floor`."""
    rising = start + (1.0 - start) * progress / jnp.maximum(peak, 1e-6)
    falling = 1.0 + (floor - 1.0) * (progress - peak) / jnp.maximum(1.0 - peak, 1e-6)
    return jnp.where(progress < peak, rising, falling)
