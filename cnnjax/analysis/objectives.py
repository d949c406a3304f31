"""What an image may be made to excite: a channel, a unit, a direction, a class; and what combines these."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from cnnjax.analysis._functions import main
from cnnjax.analysis.tapping import tapped
from cnnjax.annotations import NonNegative
from cnnjax.config import mode
from cnnjax.refusals import refuse_misfits

__all__ = [
    "blended_objective",
    "channel_objective",
    "direction_objective",
    "diverse_objective",
    "dream_objective",
    "map_of",
    "unit_objective",
]

Maps = Callable[[jax.Array], jax.Array]
"""A function of images (N, H, W, C) in [0, 1] to what is asked of them: maps (N, *sizes, K), or outputs (N, K)."""


def map_of(
    net: nn.Module,
    variables: Mapping,
    path: str = "",
    *,
    mean: Sequence[float] | float = 0.0,
    std: Sequence[float] | float = 1.0,
) -> Partial:
    """A function of images (N, H, W, C) in [0, 1] to the map at a path of the net in evaluation, or to its outputs.

    The path is that of a module ("stage4/block2") or the name of one of `net.features`, which alone then are computed,
    so that the images may be of a size that the head would refuse. `mean` and `std` are those that the net's images are
    normalised with. The variables are leaves of the function: programs have them as inputs.
    """
    return Partial(_MapOf(net, path), variables, jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32))


@dataclasses.dataclass(frozen=True)
class _MapOf:
    """A map of a net, of variables, mean, deviation and images."""

    net: nn.Module
    path: str

    def __call__(self, variables: Mapping, mean: jax.Array, std: jax.Array, images: jax.Array) -> jax.Array:
        seen = (images - mean) / std
        if not self.path:
            return main(self.net.apply(variables, seen, **mode(self.net, False)))
        if hasattr(self.net, "features"):
            maps = self.net.apply(variables, seen, method="features", **mode(self.net, False, "features"))
            if self.path in maps:
                return maps[self.path]
        return tapped(self.net, self.path)[0](variables, seen)


def channel_objective(f: Maps, channels: Sequence[int]) -> Partial:
    """For image n of N the mean of channel `channels[n]` over its map's places; of outputs (N, K), that logit."""
    return Partial(_channel, f, _indices(channels))


def _channel(f, channels, images):
    return jax.vmap(lambda found, channel: jnp.mean(found[..., channel]))(f(images), channels)


def unit_objective(f: Maps, channels: Sequence[int], *, place: tuple[int, ...] = ()) -> Partial:
    """For image n of N the unit of channel `channels[n]` at one place of its map, the middle one unless given."""
    return Partial(_Unit(place), f, _indices(channels))


@dataclasses.dataclass(frozen=True)
class _Unit:
    place: tuple[int, ...]

    def __call__(self, f, channels, images):
        return jax.vmap(lambda found, channel: found[channel])(middle(f(images), self.place), channels)


def direction_objective(f: Maps, directions: np.ndarray, *, power: NonNegative = 1.0) -> Partial:
    """For image n of N how far its map's mean over places lies along directions[n], (N, K): dot · max(cos, 0.1)^power.

    The cosine keeps the image to what the direction says alone, where the dot product would take whatever is largest.
    """
    refuse_misfits(direction_objective, {"power": power})
    return Partial(_direction, f, jnp.asarray(directions, jnp.float32), jnp.float32(power))


def _direction(f, directions, power, images):
    found = f(images)
    found = found.reshape(len(found), -1, found.shape[-1]).mean(1)
    dot = jnp.sum(found * directions, -1)
    cosine = dot / (1e-6 + jnp.sqrt(jnp.sum(found**2, -1) * jnp.sum(directions**2, -1) + 1e-12))
    return dot * jnp.maximum(cosine, 0.1) ** power


def dream_objective(f: Maps) -> Partial:
    """The mean square of all that a map says of an image: whatever is there becomes more of it (Mordvintsev 2015)."""
    return Partial(_dream, f)


def _dream(f, images):
    found = f(images)
    return jnp.mean(found.reshape(len(found), -1) ** 2, -1)


def blended_objective(first: Callable, second: Callable, shares: Sequence[float]) -> Partial:
    """For image n of N the share `shares[n]` of the second objective and the rest of the first: a way between two."""
    return Partial(_blended, first, second, jnp.asarray(shares, jnp.float32))


def _blended(first, second, shares, images):
    return (1 - shares) * first(images) + shares * second(images)


def diverse_objective(objective: Callable, f: Maps, *, weight: NonNegative = 1.0) -> Partial:
    """The objective less `weight` · how alike an image's map is to those of the others: sides of one unit (Olah 2017).

    Alike is the mean cosine of Gram matrices, of which channels answer together.
    """
    refuse_misfits(diverse_objective, {"weight": weight})
    return Partial(_diverse, objective, f, jnp.float32(weight))


def _diverse(objective, f, weight, images):
    found = f(images)
    count = len(found)
    flat = found.reshape(count, -1, found.shape[-1])
    gram = jnp.einsum("npi,npj->nij", flat, flat).reshape(count, -1)
    gram = gram / jnp.sqrt(jnp.sum(gram**2, -1, keepdims=True) + 1e-12)
    alike = (jnp.sum(gram @ gram.T, -1) - jnp.sum(gram**2, -1)) / max(count - 1, 1)
    return objective(images) - weight * alike


def middle(found: jax.Array, place: tuple[int, ...] = ()) -> jax.Array:
    """The units (N, K) of maps (N, *sizes, K) at a place, or in the middle; outputs (N, K) as they are."""
    place = place or tuple(size // 2 for size in found.shape[1:-1])
    return found[(slice(None), *place)]


def _indices(channels):
    channels = np.asarray(channels)
    if channels.ndim != 1 or not np.issubdtype(channels.dtype, np.integer):
        raise ValueError(f"channels are {channels.tolist()}; they must be whole numbers, one for each image")
    return jnp.asarray(channels, jnp.int32)
