"""The gradient of every example by itself: how long it is, how far it agrees with others, how noisy their mean is."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import Partial

from cnnjax.analysis._functions import compiled_program, main
from cnnjax.annotations import AtLeastOne
from cnnjax.config import mode
from cnnjax.refusals import refuse_misfits

__all__ = [
    "ExampleGradients",
    "NoiseScale",
    "classification_loss",
    "example_gradients",
    "gradient_similarity",
    "noise_scale",
    "noise_scale_of_sizes",
    "tracin",
    "tracin_last_layer",
]

Loss = Callable[[Any, Any], jax.Array]
"""The losses (B,) of parameters and a batch, any tree of arrays (B, …)."""


@dataclasses.dataclass(frozen=True)
class _CrossEntropy:
    net: nn.Module

    def __call__(self, rest: Mapping, params: Mapping, batch: tuple) -> jax.Array:
        images, labels = batch
        logits = main(self.net.apply({**rest, "params": params}, images, **mode(self.net, False)))
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], -1)[:, 0]


def classification_loss(net: nn.Module, variables: Mapping) -> Partial:
    """loss(params, (images, labels)) → cross-entropies (B,) of a net in evaluation, with the statistics it has."""
    return Partial(_CrossEntropy(net), {name: leaf for name, leaf in variables.items() if name != "params"})


@dataclasses.dataclass(frozen=True)
class ExampleGradients:
    """Euclidean lengths (B,) of the gradients of B examples, whole and by layer, and that of their mean."""

    norms: np.ndarray
    layers: dict[str, np.ndarray]
    mean_norm: float


def example_gradients(loss: Loss, params: Any, batch: Any, *, at_once: AtLeastOne = 32) -> ExampleGradients:
    """The length of each example's gradient, and of the part of it that lies in each layer.

    `loss(params, batch)` gives losses (B,); what of a batch (B, …) an example is must not change its loss, so that
    BatchNorm in training is refused. So many gradients are held `at_once`.
    """
    refuse_misfits(example_gradients, {"at_once": at_once})
    rows, weights = _chunks(batch, at_once)
    *compared, squares, total = compiled_program(_lengths)(as_partial(loss), params, batch, rows, weights)
    _refuse_mixing(*(np.asarray(each, np.float64) for each in compared))
    count = _size(batch)
    layers: dict[str, np.ndarray] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(squares):
        name = "/".join(jax.tree_util.keystr((step,), simple=True) for step in path[:-1])
        layers[name] = layers.get(name, 0.0) + np.asarray(leaf, np.float64).reshape(-1)[:count]
    mean = sum(float(np.sum((np.asarray(leaf, np.float64) / count) ** 2)) for leaf in jax.tree.leaves(total))
    return ExampleGradients(
        np.sqrt(sum(layers.values())), {name: np.sqrt(each) for name, each in layers.items()}, mean**0.5
    )


def _lengths(loss, params, batch, rows, weights):
    """Losses of the first chunk together and each alone, squared lengths by leaf and chunk, the sum of gradients."""

    def alone(row):
        one = jax.tree.map(lambda x: x[row][None], batch)
        return jax.value_and_grad(lambda params: loss(params, one)[0])(params)

    def step(total, chunk):
        rows, weights = chunk
        losses, found = jax.vmap(alone)(rows)
        squares = jax.tree.map(lambda g: jnp.sum(g * g, tuple(range(1, g.ndim))), found)
        total = jax.tree.map(lambda t, g: t + jnp.tensordot(weights.astype(g.dtype), g, 1), total, found)
        return total, (losses, squares)

    total, (losses, squares) = lax.scan(step, jax.tree.map(jnp.zeros_like, params), (rows, weights))
    together = loss(params, jax.tree.map(lambda x: x[rows[0]], batch))
    return together, losses[0], squares, total


def _refuse_mixing(together, alone):
    if together.shape != alone.shape:
        raise ValueError(f"loss gives {together.shape} for {len(alone)} examples; it must give one number for each")
    if len(alone) > 1 and not np.allclose(together, alone, rtol=1e-2, atol=1e-3, equal_nan=True):
        raise ValueError(
            f"the loss of an example depends on the others of its batch (it is {alone[0]:.4g} alone, {together[0]:.4g} "
            "among them), as under BatchNorm in training\nno example then has a gradient of its own: use norm=group, "
            "or train=False"
        )


def _chunks(batch, at_once):
    """The rows (chunks, at most at_once) of a batch and their weights: 0 for those that fill up the last."""
    count = _size(batch)
    at_once = min(at_once, count)
    rows = np.arange(-(-count // at_once) * at_once, dtype=np.int32)
    return np.minimum(rows, count - 1).reshape(-1, at_once), (rows < count).astype(np.float32).reshape(-1, at_once)


def _size(batch):
    sizes = {np.shape(leaf)[0] if np.ndim(leaf) else 0 for leaf in jax.tree.leaves(batch)}
    if len(sizes) != 1 or not min(sizes):
        raise ValueError(f"the arrays of batch have {sorted(sizes)} rows; they must all have as many, one or more")
    return sizes.pop()


def as_partial(loss: Loss) -> Partial:
    """A loss that a program takes as an argument: the arrays in it are inputs."""
    return loss if isinstance(loss, Partial) else Partial(loss)


@dataclasses.dataclass(frozen=True)
class NoiseScale:
    """How noisy gradients are: `trace` of their covariance, squared length of the true one, and `scale`, their ratio.

    Both are estimated without bias, so that `square`, and with it the scale, can be below 0 where examples are few. Of
    about `scale` examples a batch stops to be worth its size (McCandlish 2018).
    """

    trace: float
    square: float
    scale: float


def noise_scale(found: ExampleGradients) -> NoiseScale:
    """The gradient noise scale by the lengths of single examples' gradients, two of them at least."""
    count = len(found.norms)
    if count < 2:
        raise ValueError(f"there is {count} example; a noise scale takes two or more")
    trace = (float(np.sum(found.norms**2)) - count * found.mean_norm**2) / (count - 1)
    return _scale(trace, found.mean_norm**2 - trace / count)


def noise_scale_of_sizes(small: tuple[int, float], big: tuple[int, float]) -> NoiseScale:
    """The noise scale by two (batch size, mean squared length of such a batch's gradient), for what has no single ones.

    Lengths of several batches are averaged before: one pair alone says little.
    """
    (few, shorter), (many, longer) = sorted((small, big))
    if few == many:
        raise ValueError(f"both batches have {few} examples; their sizes must differ")
    return _scale((shorter - longer) / (1 / few - 1 / many), (many * longer - few * shorter) / (many - few))


def _scale(trace, square):
    return NoiseScale(trace, square, trace / square if square else float("inf"))


def gradient_similarity(loss: Loss, params: Any, batch: Any, other: Any, *, at_once: AtLeastOne = 32) -> np.ndarray:
    """Cosines (N, M) between the gradients of N examples of one batch and M of another; 0 where one has no gradient."""
    refuse_misfits(gradient_similarity, {"at_once": at_once})
    products, left, right = _products(loss, params, batch, other, at_once)
    sizes = np.sqrt(left[:, None] * right)
    return np.divide(products, sizes, out=np.zeros_like(products), where=sizes > 0)


def tracin(
    loss: Loss, train: Any, test: Any, checkpoints: Sequence[tuple[Any, float]], *, at_once: AtLeastOne = 32
) -> np.ndarray:
    """How much each of N training examples lowered the loss of each of M others: (N, M), Σ rate · ∇loss · ∇loss′.

    `checkpoints` are (params, learning rate) along a training (Pruthi 2020). Above 0 is helpful, below it harmful.
    """
    refuse_misfits(tracin, {"at_once": at_once})
    return sum(rate * _products(loss, params, train, test, at_once)[0] for params, rate in checkpoints)


def _products(loss, params, batch, other, at_once):
    """Products (N, M) of gradients, and the squared lengths (N,) and (M,) of either side."""
    (rows, _), (more, _) = _chunks(batch, at_once), _chunks(other, at_once)
    count, rest = _size(batch), _size(other)
    found = compiled_program(_gradient_products)(as_partial(loss), params, batch, other, rows, more)
    *compared, products, left, right = (np.asarray(each, np.float64) for each in found)
    _refuse_mixing(*compared)
    products = products.transpose(1, 2, 0, 3).reshape(rows.size, more.size)
    return products[:count, :rest], left[:count], right[:rest]


def _gradient_products(loss, params, batch, other, rows, more):
    def of(batch, row):
        one = jax.tree.map(lambda x: x[row][None], batch)
        return jax.value_and_grad(lambda params: loss(params, one)[0])(params)

    def outer(_, mine):
        _, there = jax.vmap(lambda row: of(other, row))(mine)

        def inner(_, theirs):
            losses, here = jax.vmap(lambda row: of(batch, row))(theirs)
            products = jax.tree.map(lambda a, b: a.reshape(len(a), -1) @ b.reshape(len(b), -1).T, here, there)
            return None, (losses, sum(jax.tree.leaves(products)), _squared(here))

        return None, (*lax.scan(inner, None, rows)[1], _squared(there))

    _, (losses, products, left, right) = lax.scan(outer, None, more)
    together = loss(params, jax.tree.map(lambda x: x[rows[0]], batch))
    return together, losses[0, 0], products, left[0].reshape(-1), right.reshape(-1)


def _squared(gradients):
    return sum(jnp.sum(g * g, tuple(range(1, g.ndim))) for g in jax.tree.leaves(gradients))


def tracin_last_layer(
    features: tuple[np.ndarray, np.ndarray], residuals: tuple[np.ndarray, np.ndarray], *, bias: bool = True
) -> np.ndarray:
    """`tracin` of the last dense layer alone at rate 1, (N, M), without a gradient: (h·h′ + 1) · (p − y)·(p′ − y′).

    `features` h are what the layer reads of N training examples and of M others, (N, D) and (M, D); `residuals` are
    probabilities minus one-hot truth, (N, K) and (M, K). The 1 is that of its `bias`.
    """
    (here, there), (mine, theirs) = features, residuals
    return (np.asarray(here) @ np.asarray(there).T + bias) * (np.asarray(mine) @ np.asarray(theirs).T)
