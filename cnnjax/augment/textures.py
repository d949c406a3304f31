"""Neighbouring pixels together, and grain: sharpness, blur, noise, and resizing to another size."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from cnnjax import ops
from cnnjax.annotations import AtLeastOne, NonNegative, Seed, Share
from cnnjax.augment._moving import vet
from cnnjax.augment._options import plane, refuse, repainted, signed
from cnnjax.augment.colors import blended, cut
from cnnjax.fields import Facts
from cnnjax.ops.resampling import Method as ResizeMethod

__all__ = ["blur", "noise", "permute", "resize", "salt_and_pepper", "sharpness"]


def _correlated(image, weights, axis):
    """`image` (…, H, W, C) correlated with an odd number of weights along one axis, its edge pixels repeated."""
    half = len(weights) // 2
    widths = [(half, half) if i == axis % image.ndim else (0, 0) for i in range(image.ndim)]
    padded, length = jnp.pad(image, widths, mode="edge"), image.shape[axis]
    return sum(
        w.astype(image.dtype) * jax.lax.slice_in_dim(padded, i, i + length, axis=axis) for i, w in enumerate(weights)
    )


def smoothed(image: jax.Array) -> jax.Array:
    """`image` (…, H, W, C) under Pillow's smoothing kernel (5 in the middle, 1 around, over 13), not at its edge."""
    box = [jnp.asarray(1.0)] * 3
    smooth = (_correlated(_correlated(image, box, -3), box, -2) + 4 * image) / 13
    edge = jnp.ones(image.shape[-3:-1], bool).at[1:-1, 1:-1].set(False)[..., None]
    return jnp.where(edge, image, smooth)


def sharpness(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    amount: NonNegative = 0.5,
) -> dict[str, jax.Array]:
    """The image's distance to its smoothed self times a factor in 1 ± amount; the outermost pixels stay."""
    factor = jnp.maximum(1 + amount * strength * signed(key), 0)
    return repainted(example, lambda x: cut(blended(smoothed(x), x, factor)))


def blur(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    sigma: NonNegative = 1.0,
    window: AtLeastOne = 7,
) -> dict[str, jax.Array]:
    """The image smoothed by a Gaussian of up to `sigma` pixels, cut off at `window` (odd) pixels.

    The image's edge is repeated beyond it; torchvision reflects it.
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"augment.blur.window is {window}; it must be odd and positive")
    width = jnp.maximum(sigma * strength * jax.random.uniform(key), 1e-3)
    weights = jnp.exp(-((jnp.arange(window) - window // 2) ** 2) / (2 * width**2))
    weights = weights / weights.sum()
    return repainted(example, lambda x: _correlated(_correlated(x, weights, -3), weights, -2))


def noise(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    sigma: NonNegative = 0.05,
) -> dict[str, jax.Array]:
    """The input plus independent Gaussian noise of the given standard deviation; pictures stay in [0, 1]."""

    def change(x):
        return x + (sigma * strength * jax.random.normal(key, x.shape, x.dtype)).astype(x.dtype)

    example = repainted(example, lambda x: cut(change(x)))
    return repainted(example, change, ("series",))


def salt_and_pepper(
    key: jax.Array, facts: Facts, example: Mapping[str, jax.Array], strength: jax.Array | float, *, share: Share = 0.02
) -> dict[str, jax.Array]:
    """The given share of the pixels set to black or white, all channels together."""

    def change(x):
        draw = jax.random.uniform(key, (*x.shape[:-1], 1))
        share_now = share * strength
        return jnp.where(draw < share_now, (draw < share_now / 2).astype(x.dtype), x)

    return repainted(example, change)


def permute(key: jax.Array, facts: Facts, example: Mapping[str, jax.Array], *, seed: Seed = 0) -> dict[str, jax.Array]:
    """The picture and its segments with their pixels in another order, the same for every picture.

    Neighbourhood is lost, nothing else: what a convolutional net knows beforehand, and one of dense layers does not.
    Points and boxes have no place then and are refused. It has no strength.
    """
    size = plane("permute", example)
    order = jax.random.permutation(jax.random.key(seed), size[0] * size[1])
    moved = dict(example)
    for name, treatment in vet("permute", facts, example, verb="permute").items():
        value = example[name]
        if treatment == "sampled":
            moved[name] = value.reshape(*value.shape[:-3], -1, value.shape[-1])[..., order, :].reshape(value.shape)
        elif treatment == "nearest":
            moved[name] = value.reshape(*value.shape[:-2], -1)[..., order].reshape(value.shape)
        elif treatment not in ("stays", "spread"):
            refuse("permute", name, "which has no place among permuted pixels")
    return moved


def resize(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    *,
    height: AtLeastOne = 224,
    width: AtLeastOne = 224,
    method: ResizeMethod = "bilinear",
) -> dict[str, jax.Array]:
    """The picture, and what has a place in it, at another size; shrinking is antialiased. It has no strength."""
    old, new = plane("resize", example), (height, width)
    scale = jnp.array([n / o for n, o in zip(new, old, strict=True)])
    resized = dict(example)
    for name, treatment in vet("resize", facts, example, "resize", verb="resize").items():
        value = example[name]
        if treatment == "smoothed":
            frames = value[None] if value.ndim == 3 else value
            resized[name] = ops.resize(frames, new, method=method).reshape(*value.shape[:-3], *new, value.shape[-1])
        elif treatment == "nearest":
            frames = value.reshape(-1, *value.shape[-2:], 1)
            resized[name] = ops.resize(frames, new, method="nearest").reshape(*value.shape[:-2], *new)
        elif treatment == "centres":
            resized[name] = (value + 0.5) * scale - 0.5
        elif treatment == "edges":
            resized[name] = (value.reshape(*value.shape[:1], -1, 2) * scale).reshape(value.shape)
        elif treatment == "spread":
            resized[name] = value / jnp.prod(scale)
    return resized
