"""How much of a net's accuracy is left when its pictures are spoiled, by kind and by how badly."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.analysis._functions import Answers, compiled, targets
from cnnjax.annotations import AtLeastOne
from cnnjax.refusals import refuse_misfits

__all__ = ["Robustness", "corruption_robustness"]

Corruption = Callable[[jax.Array, jax.Array, int], jax.Array]
"""(key, images (B, *sizes, C) in [0, 1], severity from 1 on) → images that are spoiled."""


@dataclasses.dataclass(frozen=True)
class Robustness:
    """The `clean` error, and errors (K, S) of K kinds of corruption at severities 1 to S.

    `mean` is over all of them, `relative` (K,) how many times the clean error a kind's mean is: without the errors of
    another net to divide by there is no mCE.
    """

    kinds: tuple[str, ...]
    errors: np.ndarray
    clean: float

    @property
    def mean(self) -> float:
        """The mean error over kinds and severities."""
        return float(self.errors.mean())

    @property
    def relative(self) -> np.ndarray:
        """Each kind's mean error over the clean one (K,); infinite where that is 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.errors.mean(1) / self.clean


def corruption_robustness(
    key: jax.Array,
    f: Answers,
    images: jax.Array,
    labels: np.ndarray,
    corruptions: Mapping[str, Corruption],
    *,
    severities: AtLeastOne = 5,
) -> Robustness:
    """The error of `f` on images (B, *sizes, C) in [0, 1], of classes `labels` (B,), spoiled by each of `corruptions`.

    `f` has all that becomes of a picture before a net reads it. Every kind and severity draws from a key of its own.
    """
    refuse_misfits(corruption_robustness, {"severities": severities})
    labels = targets(labels, len(images))
    if not corruptions:
        raise ValueError("corruptions is empty; name one or more")

    def error(images):
        return float(compiled(_error, f, images, labels))

    found = np.zeros((len(corruptions), severities))
    for row, spoil in enumerate(corruptions.values()):
        for column in range(severities):
            found[row, column] = error(spoil(jax.random.fold_in(key, row * severities + column), images, column + 1))
    return Robustness(tuple(corruptions), found, error(images))


def _error(f, images, labels):
    return jnp.mean(jnp.argmax(f(images), -1) != labels)
