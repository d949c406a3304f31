"""How good an attribution is: by where the object is, by what happens without what it names, by nets drawn anew."""

import dataclasses
from collections.abc import Iterator, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax import lax

from cnnjax import ops
from cnnjax.analysis._functions import Answers, answers, compiled, targets
from cnnjax.analysis.attribution import Target, attribute
from cnnjax.analysis.tapping import map_shapes
from cnnjax.annotations import Bounds, Count, Positive
from cnnjax.config import mode
from cnnjax.refusals import refuse_misfits

__all__ = ["Faithfulness", "Sanity", "faithfulness", "inside_share", "pointing_game", "randomized", "sanity"]


def inside_share(attribution: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The share (B,) of positive attribution (B, *sizes, C) in masks (B, *sizes); NaN where nothing is positive."""
    places, masks = _places(attribution, masks)
    positive = np.maximum(places, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sum(positive * masks, 1) / np.sum(positive, 1)


def pointing_game(attribution: np.ndarray, masks: np.ndarray, *, tolerance: Count = 0) -> np.ndarray:
    """Whether (B,) the largest attribution (B, *sizes, C) lies in masks (B, *sizes), or so few pixels from them.

    Zhang 2018 allows for 15 of them in photographs. Of several largest places the first counts.
    """
    refuse_misfits(pointing_game, {"tolerance": tolerance})
    places, inside = _places(attribution, masks)
    shape, hits = np.shape(masks)[1:], []
    for values, mask in zip(places, inside, strict=True):
        peak = np.array(np.unravel_index(np.argmax(values), shape))
        true = np.argwhere(mask.reshape(shape))
        hits.append(len(true) > 0 and float(np.linalg.norm(true - peak, axis=1).min()) <= tolerance)
    return np.array(hits, bool)


def _places(attribution, masks):
    """Attribution summed over channels and masks as (B, places)."""
    attribution, masks = np.asarray(attribution), np.asarray(masks).astype(bool)
    if attribution.shape[:-1] != masks.shape:
        raise ValueError(
            f"attribution is {attribution.shape}, masks are {masks.shape}; they must be (B, *sizes, C) and (B, *sizes)"
        )
    return attribution.sum(-1).reshape(len(masks), -1), masks.reshape(len(masks), -1)


@dataclasses.dataclass(frozen=True)
class Faithfulness:
    """Probabilities (steps, B) of a class with `shares` (steps,) of the pixels deleted, or inserted, the dearest first.

    A faithful attribution has a small area (B,) under deletion and a large one under insertion.
    """

    shares: np.ndarray
    deletion: np.ndarray
    insertion: np.ndarray
    deletion_area: np.ndarray
    insertion_area: np.ndarray


def faithfulness(
    f: Answers,
    images: jax.Array,
    target: Target,
    attribution: jax.Array,
    *,
    steps: Bounds(2, 10_000) = 31,
    sigma: Positive = 5.0,
) -> Faithfulness:
    """Deletion and insertion (Petsiuk 2018) of images (B, *sizes, C) by an attribution (B, *sizes, C or 1) of `target`.

    What is deleted, or not yet inserted, is the image blurred by `sigma` pixels: black ones would be edges.
    """
    refuse_misfits(faithfulness, {"steps": steps, "sigma": sigma})
    if np.shape(attribution)[:-1] != np.shape(images)[:-1]:
        raise ValueError(
            f"attribution is {np.shape(attribution)}, images are {np.shape(images)}; sizes must be the same"
        )
    shares = np.linspace(0, 1, steps)
    counts = np.rint(shares * np.prod(images.shape[1:-1])).astype(np.int32)
    ranks = _descending_ranks(attribution)
    asked = images, targets(target, len(images)), ranks, counts
    deletion, insertion = (np.asarray(found) for found in compiled(_replaced, f, *asked, sigma=float(sigma)))
    areas = (np.trapezoid(found, shares, axis=0) for found in (deletion, insertion))
    return Faithfulness(shares, deletion, insertion, *areas)


def _descending_ranks(attribution):
    """The place of every pixel (B, *sizes) in the order of falling attribution; of equal ones the first is first."""
    summed = np.asarray(attribution).sum(-1)
    order = np.argsort(-summed.reshape(len(summed), -1), 1, kind="stable")
    return np.argsort(order, 1).reshape(summed.shape).astype(np.int32)


def _replaced(f, images, target, ranks, counts, *, sigma):
    blurred = blur(images, sigma)

    def at(count):
        chosen = (ranks < count)[..., None]
        parts = jnp.where(chosen, blurred, images), jnp.where(chosen, images, blurred)
        return tuple(answers(lambda x: jax.nn.softmax(f(x)), x, target) for x in parts)

    return lax.map(at, counts)


def blur(images: jax.Array, sigma: float) -> jax.Array:
    """Images (B, *sizes, C) under a Gaussian as wide as two sigmas, which at the edge weighs what there is."""
    window = ops.gaussian_window((2 * round(sigma) + 1,) * (images.ndim - 2), sigma)
    summed, weight = (
        ops.weighted_pool(x, window, stride=1, padding="same") for x in (images, jnp.ones_like(images[:1]))
    )
    return summed / weight


def randomized(key: jax.Array, net: nn.Module, variables: Mapping, images: jax.Array) -> Iterator[tuple[str, Mapping]]:
    """(layer, variables) with one layer after the other drawn anew, the last to see images (B, *sizes, C) first.

    What is drawn stays drawn (Adebayo 2018): the last variables are those of a net that has learned nothing.
    """
    options = ops.single_use_options(jax.default_backend())
    draw = jax.jit(lambda key, image: net.init(key, image, **mode(net, False)), compiler_options=options)
    fresh = traverse_util.flatten_dict(draw(key, images[:1]))
    now = traverse_util.flatten_dict(_placed(variables))
    for path, leaf in now.items():  # where the others lie, so that one program takes them all
        fresh[path] = jax.device_put(fresh[path], leaf.sharding) if isinstance(leaf, jax.Array) else fresh[path]
    owners = list(dict.fromkeys("/".join(path[1:-1]) for path in now if path[0] == "params"))
    order = [path for path in map_shapes(net, variables, images) if path in owners]
    for layer in reversed([*(path for path in owners if path not in order), *order]):
        now = {path: fresh[path] if "/".join(path[1:-1]) == layer else leaf for path, leaf in now.items()}
        yield layer, traverse_util.unflatten_dict(now)


def _placed(variables: Mapping) -> Mapping:
    """The same arrays, each bound to where it lies: a program for bound ones is another than for those that are not."""
    return jax.tree.map(
        lambda leaf: jax.device_put(leaf, leaf.sharding) if isinstance(leaf, jax.Array) else leaf, variables
    )


@dataclasses.dataclass(frozen=True)
class Sanity:
    """Rank correlations (L, B) of an attribution with itself after L layers, named from the top, were drawn anew."""

    layers: tuple[str, ...]
    correlation: np.ndarray


def sanity(
    key: jax.Array, f: tuple[nn.Module, Mapping], images: jax.Array, target: Target, *, method: str = "saliency"
) -> Sanity:
    """How much of an attribution of images (B, *sizes, C) is left when the net has forgotten what it learned.

    Of absolute values, summed over channels. An attribution that hardly changes shows the image, not the net.
    """
    net, variables = f[0], _placed(f[1])

    def seen(variables):
        found = np.asarray(attribute((net, variables), images, target, method))
        return np.abs(found).sum(-1).reshape(len(found), -1)

    whole, layers, rows = seen(variables), [], []
    for layer, drawn in randomized(key, net, variables, images):
        layers.append(layer)
        rows.append([rank_correlation(a, b) for a, b in zip(whole, seen(drawn), strict=True)])
    return Sanity(tuple(layers), np.array(rows))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's correlation of a (N,) and b (N,), equal values sharing their ranks; 0 where one is constant."""
    a, b = (_shared_ranks(values) for values in (a, b))
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / size) if size > 0 else 0.0


def _shared_ranks(values):
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place.reshape(-1)]
