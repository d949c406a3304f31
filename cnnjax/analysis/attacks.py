"""Images changed a little so that a net is wrong, and how its accuracy falls with how little that is."""

import dataclasses
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax.analysis._functions import Answers, compiled, targets
from cnnjax.annotations import AtLeastOne
from cnnjax.refusals import refuse_misfits

__all__ = ["AttackCurves", "attack_curves", "fgsm", "pgd", "random_start", "targeted"]

Loss = Callable[[jax.Array], jax.Array]
Norm = Literal["inf", "2"]


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
    norm: Norm = "inf",
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


def random_start(key: jax.Array, images: jax.Array, epsilon: jax.Array | float, *, norm: Norm = "inf") -> jax.Array:
    """A uniform draw from what lies within `epsilon` of images (B, *sizes, C) in [0, 1]: where `pgd` may begin."""
    refuse_misfits(random_start, {"norm": norm})
    if norm == "inf":
        return jnp.clip(images + epsilon * jax.random.uniform(key, images.shape, images.dtype, -1, 1), 0, 1)
    direction, radius = jax.random.split(key)
    way = jax.random.normal(direction, images.shape, images.dtype)
    size = images[0].size
    share = jax.random.uniform(radius, (len(images), *[1] * (images.ndim - 1)), images.dtype) ** (1 / size)
    return jnp.clip(images + epsilon * share * way / _length(way), 0, 1)


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


@dataclasses.dataclass(frozen=True)
class AttackCurves:
    """The share of images that are still named rightly, for each epsilon (E,), by attack: `accuracy[name]` (E,)."""

    epsilons: np.ndarray
    accuracy: dict[str, np.ndarray]


def attack_curves(
    key: jax.Array,
    f: Answers,
    images: jax.Array,
    labels: np.ndarray,
    epsilons: np.ndarray,
    *,
    steps: AtLeastOne = 40,
    norm: Norm = "inf",
) -> AttackCurves:
    """Accuracy against `epsilons` (E,) on images (B, *sizes, C) in [0, 1] of classes `labels` (B,), in one program.

    By FGSM in the norm, by `pgd` from a random start with steps of 2.5 · epsilon / steps (Madry 2018), and by noise of
    the same size, which shows that it is the direction that harms.
    """
    refuse_misfits(attack_curves, {"steps": steps, "norm": norm})
    epsilons = np.asarray(epsilons, np.float32)
    if epsilons.ndim != 1 or not len(epsilons) or epsilons.min() < 0:
        raise ValueError(f"epsilons are {epsilons.tolist()}; they must be numbers from 0 on, one or more")
    low, high = float(np.min(images)), float(np.max(images))
    if low < 0 or high > 1:
        raise ValueError(f"images go from {low:g} to {high:g}; attacks take them in [0, 1], before they are normalised")
    right = compiled(_curves, f, images, targets(labels, len(images)), epsilons, key, steps=steps, norm=norm)
    return AttackCurves(epsilons, {name: np.asarray(share) for name, share in right.items()})


def _curves(f, images, labels, epsilons, key, *, steps, norm):
    def loss(x):
        return -jnp.take_along_axis(jax.nn.log_softmax(f(x)), labels[:, None], 1)[:, 0]

    def accuracy(x):
        return jnp.mean(jnp.argmax(f(x), -1) == labels)

    def at(epsilon):
        start = random_start(key, images, epsilon, norm=norm)
        noise = epsilon * jax.random.rademacher(key, images.shape, images.dtype)
        if norm == "2":
            noise = epsilon * noise / jnp.maximum(_length(noise), 1e-12)
        found = {
            "fgsm": pgd(loss, images, epsilon, step=epsilon, steps=1, norm=norm),  # one step of all, in either norm
            f"pgd-{steps}": pgd(loss, images, epsilon, step=2.5 * epsilon / steps, steps=steps, norm=norm, start=start),
            "noise": jnp.clip(images + noise, 0, 1),
        }
        return {name: accuracy(x) for name, x in found.items()}

    return lax.map(at, epsilons)
