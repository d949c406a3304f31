"""How far made pictures are from real ones, as a classifier sees them."""

import dataclasses

import jax
import numpy as np

from cnnjax import config as sections
from cnnjax.annotations import AtLeastOne
from cnnjax.ops import compiler_options
from cnnjax.refusals import ConfigError
from cnnjax.train.trained import Trained

__all__ = ["FrechetDigits", "frechet_digits", "frechet_distance", "kernel_distance"]


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """The Fréchet distance of two clouds of points (N, D) and (M, D), each taken as normal (Heusel 2017).

    It falls with the number of points towards what it is of endless ones, as 1/N: compare what has equally many.
    """
    one, other = _clouds(one, other)
    spreads = [np.atleast_2d(np.cov(points, rowvar=False)) for points in (one, other)]
    root = _root(spreads[0])
    both = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ spreads[1] @ root), 0)).sum()
    apart = one.mean(0) - other.mean(0)
    return float(apart @ apart + np.trace(spreads[0]) + np.trace(spreads[1]) - 2 * both)


def kernel_distance(one: np.ndarray, other: np.ndarray) -> float:
    """The squared maximum mean discrepancy of points (N, D) and (M, D), cubic kernel, without bias (Bińkowski 2018)."""
    one, other = _clouds(one, other)

    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    within = [(kernel(x, x).sum() - np.trace(kernel(x, x))) / (len(x) * (len(x) - 1)) for x in (one, other)]
    return float(sum(within) - 2 * kernel(one, other).mean())


def _clouds(one, other):
    clouds = [np.asarray(points, np.float64) for points in (one, other)]
    if any(points.ndim != 2 or len(points) < 2 for points in clouds) or clouds[0].shape[1] != clouds[1].shape[1]:
        raise ValueError(
            f"points are {clouds[0].shape} and {clouds[1].shape}; they must be (N, D) and (M, D), 2 or more"
        )
    return clouds


def _root(spread):
    """The symmetric root of a covariance."""
    values, vectors = np.linalg.eigh(spread)
    return vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T


@dataclasses.dataclass(frozen=True)
class FrechetDigits:
    """Distances of N made pictures, and of N others for comparison, from N test pictures.

    `floor` is that of training pictures, `ceiling` that of uniform noise; `kernel` that of the made ones by
    `kernel_distance`. `count` is N.
    """

    distance: float
    floor: float
    ceiling: float
    kernel: float
    count: int


def frechet_digits(classifier: Trained, pictures: np.ndarray, *, batch: AtLeastOne = 500) -> FrechetDigits:
    """The Fréchet distance of made pictures (N, H, W, C) from as many test pictures of a classifier's own data.

    Pictures are as the data has them, uint8 or in [0, 1]. The points are what the classifier's output layer reads: no
    number of another classifier, least of all an FID, can be compared with it.
    """
    source, count = classifier.source, len(pictures)
    fewest = min(len(source.train), len(source.test))
    if count > fewest or pictures.shape[1:] != classifier.facts.shape:
        raise ConfigError(
            f"pictures are {pictures.shape}; they must be at most {fewest:,} of {classifier.facts.shape}, as the test "
            "pictures of the classifier are"
        )
    pictures = pictures if pictures.dtype == np.uint8 else np.round(np.clip(pictures, 0, 1) * 255).astype(np.uint8)
    index = np.arange(count)
    test, train = (source_part.read(index)[classifier.facts.input] for source_part in (source.test, source.train))
    noise = np.random.default_rng(0).integers(0, 256, pictures.shape).astype(np.uint8)
    read = _reader(classifier)
    points = [_points(read, part, batch) for part in (test, pictures, train, noise)]
    near = [frechet_distance(points[0], part) for part in points[1:]]
    return FrechetDigits(*near, kernel_distance(points[0], points[1]), count)


def _reader(classifier: Trained):
    """A compiled function from pictures (B, …) to what the classifier's output layer reads (B, D)."""
    net = sections.call("models", classifier.config["model"], classifier.prepared.program.seen, outputs=0)

    def read(variables, pictures):
        return net.apply(variables, classifier.seen(pictures), train=False)

    compiled = jax.jit(read, compiler_options=compiler_options(jax.default_backend()))
    return lambda pictures: compiled(classifier.variables, pictures)


def _points(read, pictures, batch):
    """What is read of pictures (N, …), in batches of one shape."""
    found = []
    for start in range(0, len(pictures), batch):
        rows = np.minimum(np.arange(start, start + min(batch, len(pictures))), len(pictures) - 1)
        found.append(np.asarray(read(pictures[rows]))[: len(pictures) - start])
    points = np.concatenate(found)
    return points.reshape(len(points), -1)
