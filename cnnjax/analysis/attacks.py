"""Images changed a little so that a net is wrong, and how its accuracy falls with how little that is."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax.analysis._functions import Answers, compiled, targets
from cnnjax.annotations import AtLeastOne
from cnnjax.ops import BallNorm, fgsm, pgd, random_start, targeted
from cnnjax.refusals import refuse_misfits

__all__ = ["AttackCurves", "attack_curves", "fgsm", "pgd", "random_start", "targeted"]


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
    norm: BallNorm = "inf",
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
            noise = epsilon * noise / jnp.sqrt(jnp.float32(images[0].size))  # a row of ±1 has that length
        found = {
            "fgsm": pgd(loss, images, epsilon, step=epsilon, steps=1, norm=norm),  # one step of all, in either norm
            f"pgd-{steps}": pgd(loss, images, epsilon, step=2.5 * epsilon / steps, steps=steps, norm=norm, start=start),
            "noise": jnp.clip(images + noise, 0, 1),
        }
        return {name: accuracy(x) for name, x in found.items()}

    return lax.map(at, epsilons)
