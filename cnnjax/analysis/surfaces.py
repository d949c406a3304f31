"""The loss around the weights that a training found, along its way, and how sharply it bends there."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax.analysis._functions import compiled_program
from cnnjax.analysis.gradients import Loss, as_partial
from cnnjax.annotations import AtLeastOne, Bounds, NonNegative, Positive
from cnnjax.refusals import refuse_misfits

__all__ = [
    "Curvature",
    "Interpolation",
    "Landscape",
    "Trace",
    "Trajectory",
    "filter_normalized",
    "hessian_eigenvalues",
    "hessian_trace",
    "interpolation",
    "landscape",
    "trajectory",
]


def filter_normalized(key: jax.Array, params: Any) -> Any:
    """A random direction shaped like `params`, each of its filters as long as the one that it is added to (Li 2018).

    A filter is what gives one output: the last axis of a kernel counts them. Biases and the scales of norms are not
    moved: 0.
    """
    leaves, tree = jax.tree.flatten(params)
    found = []
    for number, leaf in enumerate(leaves):
        if np.ndim(leaf) < 2:
            found.append(np.zeros_like(leaf))
            continue
        drawn = np.asarray(jax.random.normal(jax.random.fold_in(key, number), np.shape(leaf)))
        lengths = (np.linalg.norm(np.reshape(x, (-1, x.shape[-1])), axis=0) for x in (np.asarray(leaf), drawn))
        own, random = lengths
        found.append((drawn * (own / np.maximum(random, 1e-12))).astype(np.asarray(leaf).dtype))
    return jax.tree.unflatten(tree, found)


@dataclasses.dataclass(frozen=True)
class Landscape:
    """Mean losses (N, N) at params + a · first + b · second, for a and b in `places` (N,): `losses[b, a]`."""

    places: np.ndarray
    losses: np.ndarray


def landscape(
    loss: Loss,
    params: Any,
    batch: Any,
    directions: tuple[Any, Any],
    *,
    extent: Positive = 1.0,
    points: Bounds(2, 1001) = 21,
) -> Landscape:
    """The mean loss on a plane through `params`, to `extent` times either direction: `filter_normalized`, or others.

    `loss(params, batch)` gives losses (B,). Statistics of norms in it stay those of the centre, so that far from it a
    net with BatchNorm is not what a training would have made of it.
    """
    refuse_misfits(landscape, {"extent": extent, "points": points})
    places = np.linspace(-extent, extent, points)
    return Landscape(places, _over(loss, params, batch, directions, np.stack(np.meshgrid(places, places), -1)))


def _over(loss, params, batch, directions, grid):
    """Mean losses (…) at params + Σ grid (…, k) · directions."""
    flat = grid.reshape(-1, grid.shape[-1]).astype(np.float64 if jax.config.jax_enable_x64 else np.float32)
    found = compiled_program(_heights)(as_partial(loss), params, batch, directions, flat)
    return np.asarray(found, np.float64).reshape(grid.shape[:-1])


def _heights(loss, params, batch, directions, grid):
    def at(place):
        moved = params
        for share, direction in zip(place, directions, strict=True):
            moved = jax.tree.map(lambda x, d, s=share: x + (s * d).astype(x.dtype), moved, direction)
        return jnp.mean(loss(moved, batch))

    return lax.map(at, grid)


@dataclasses.dataclass(frozen=True)
class Interpolation:
    """Mean losses (N,) at `shares` (N,) of the way from one net's weights to another's, and the `barrier` between.

    That is how far the loss rises above the straight line from one end to the other: 0 where it nowhere does.
    """

    shares: np.ndarray
    losses: np.ndarray
    barrier: float


def interpolation(
    loss: Loss, params: Any, other: Any, batch: Any, *, points: Bounds(2, 10_001) = 21, beyond: NonNegative = 0.25
) -> Interpolation:
    """The mean loss on the straight way from `params` to those of `other`, and `beyond` either end by that share."""
    refuse_misfits(interpolation, {"points": points, "beyond": beyond})
    shares = np.unique(np.concatenate([np.linspace(-beyond, 1 + beyond, points), [0.0, 1.0]]).round(12))
    way = jax.tree.map(lambda a, b: np.asarray(b) - np.asarray(a), params, other)
    losses = _over(loss, params, batch, (way,), shares[:, None])
    inside = (shares >= 0) & (shares <= 1)
    first, last = losses[shares == 0][0], losses[shares == 1][0]
    above = losses[inside] - (1 - shares[inside]) * first - shares[inside] * last
    return Interpolation(shares, losses, float(above.max()))


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """A training's way in the plane that holds most of it: places (T, 2) of T checkpoints, the last of them 0.

    `directions` are the plane's two of length 1, `share` (2,) what part of the way's spread either holds.
    """

    places: np.ndarray
    directions: tuple[Any, Any]
    share: np.ndarray


def trajectory(checkpoints: Sequence[Any]) -> Trajectory:
    """The two principal directions of the parameters of three checkpoints or more, seen from the last of them.

    Of a random walk too two directions hold most (Antognini 2018): a large share by itself says little.
    """
    if len(checkpoints) < 3:
        raise ValueError(f"there are {len(checkpoints)} checkpoints; a plane takes three or more")
    leaves = [jax.tree.leaves(each) for each in checkpoints]
    rows = np.stack([np.concatenate([np.asarray(leaf, np.float64).reshape(-1) for leaf in each]) for each in leaves])
    ways = rows - rows[-1]
    left, sizes, right = np.linalg.svd(ways[:-1], full_matrices=False)
    places = np.concatenate([left[:, :2] * sizes[:2], np.zeros((1, 2))])
    share = sizes[:2] ** 2 / max(float(np.sum(sizes**2)), 1e-300)
    first, second = (_shaped(direction, checkpoints[-1]) for direction in right[:2])
    return Trajectory(places, (first, second), share)


def _shaped(flat: np.ndarray, like: Any) -> Any:
    """Numbers (P,) as a tree of arrays."""
    leaves, tree = jax.tree.flatten(like)
    ends = np.cumsum([np.size(leaf) for leaf in leaves])[:-1]
    parts = zip(np.split(flat, ends), leaves, strict=True)
    return jax.tree.unflatten(tree, [part.reshape(np.shape(x)).astype(np.asarray(x).dtype) for part, x in parts])


@dataclasses.dataclass(frozen=True)
class Curvature:
    """Ritz values (k,) of the Hessian, the greatest first, and the weights (k,) that they have in its spectrum.

    The outermost are eigenvalues to rounding; the inner ones, with their weights, are its outline.
    """

    values: np.ndarray
    weights: np.ndarray


def hessian_eigenvalues(key: jax.Array, loss: Loss, params: Any, batch: Any, *, steps: AtLeastOne = 20) -> Curvature:
    """Eigenvalues of the Hessian of the mean loss by `steps` of Lanczos, from a random start; the top ones first.

    It ends before where the start has no part in what is left. Every vector is kept and made orthogonal to all before:
    `steps` times the memory of the parameters.
    """
    refuse_misfits(hessian_eigenvalues, {"steps": steps})
    bend = _bend(loss, params, batch)
    size = sum(np.size(leaf) for leaf in jax.tree.leaves(params))
    vector = np.asarray(jax.random.normal(key, (size,)), np.float64)
    basis, diagonal, beside = [vector / np.linalg.norm(vector)], [], []
    for _ in range(min(steps, size)):
        bent = bend(basis[-1])
        diagonal.append(float(bent @ basis[-1]))
        for _ in range(2):  # twice is enough (Kahan)
            for each in basis:
                bent = bent - (bent @ each) * each
        rest = float(np.linalg.norm(bent))
        if rest <= 1e-6 * max(1e-30, np.abs(diagonal).max()) or len(diagonal) == min(steps, size):
            break
        beside.append(rest)
        basis.append(bent / rest)
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
    return Curvature(values[::-1], vectors[0, ::-1] ** 2)


def _bend(loss: Loss, params: Any, batch: Any) -> Callable[[np.ndarray], np.ndarray]:
    """v (P,) → the Hessian times v (P,), on the host."""
    program, loss = compiled_program(_bent), as_partial(loss)

    def bend(vector):
        found = program(loss, params, batch, _shaped(vector, params))
        return np.concatenate([np.asarray(leaf, np.float64).reshape(-1) for leaf in jax.tree.leaves(found)])

    return bend


def _bent(loss, params, batch, vector):
    return jax.jvp(jax.grad(lambda params: jnp.mean(loss(params, batch))), (params,), (vector,))[1]


@dataclasses.dataclass(frozen=True)
class Trace:
    """An estimate of a trace, and its standard error."""

    value: float
    error: float


def hessian_trace(key: jax.Array, loss: Loss, params: Any, batch: Any, *, draws: Bounds(2, 1_000_000) = 32) -> Trace:
    """The trace of the Hessian of the mean loss, the sum of its eigenvalues, by `draws` random signs (Hutchinson)."""
    refuse_misfits(hessian_trace, {"draws": draws})
    keys = jax.random.split(key, draws)
    found = np.asarray(compiled_program(_traces)(as_partial(loss), params, batch, keys), np.float64)
    return Trace(float(found.mean()), float(found.std(ddof=1) / draws**0.5))


def _traces(loss: Callable, params: Mapping, batch: Any, keys: jax.Array) -> jax.Array:
    def one(key):
        leaves, tree = jax.tree.flatten(params)
        pieces = zip(jax.random.split(key, len(leaves)), leaves, strict=True)
        signs = jax.tree.unflatten(tree, [jax.random.rademacher(k, x.shape, x.dtype) for k, x in pieces])
        bent = _bent(loss, params, batch, signs)
        return sum(jnp.sum(s * b) for s, b in zip(jax.tree.leaves(signs), jax.tree.leaves(bent), strict=True))

    return lax.map(one, keys)
