"""The colours of images: floats in [0, 1] in, floats in [0, 1] out, cut where they would leave it.

An entry whose third parameter is `colors`, an example's image or video (…, C), makes every pixel of that pixel and of
what all have in common: moves before and after it are read together, and it is done then. Each draws once an example,
so that all frames of a video are changed alike. They stand before `normalize`.
"""

from collections.abc import Mapping
from typing import Annotated

import jax
import jax.numpy as jnp

from cnnjax.annotations import Bounds, Elementwise, NonNegative, Share
from cnnjax.augment._options import FLOATING, happens, repainted, signed
from cnnjax.fields import Facts

__all__ = [
    "autocontrast",
    "brightness",
    "contrast",
    "equalize",
    "gamma",
    "greyscale",
    "hue",
    "lighting",
    "normalize",
    "posterize",
    "saturation",
    "solarize",
]

ABOVE = 256 / 255  # a threshold that no value reaches
LUMA = (0.299, 0.587, 0.114)
# Of ImageNet's colours: eigenvalues and eigenvectors (columns) of their covariance (Krizhevsky 2012).
VALUES = (0.2175, 0.0188, 0.0045)
VECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


def luminance(image: jax.Array) -> jax.Array:
    """(…, 1) brightness of an image (…, C) as the eye sees it; the mean of the channels where they are not three."""
    if image.shape[-1] != 3:
        return image.mean(-1, keepdims=True)
    # Slices: a sum over three channels, or a product, is four times slower on CPU.
    return sum(image[..., i : i + 1] * weight for i, weight in enumerate(LUMA))


def mean_luminance(image: jax.Array) -> jax.Array:
    """The mean (1,) of an image's (…, C) luminance: that of its mean colour."""
    while image.ndim > 1:  # one axis at a time, from the first: five times faster on CPU than all at once
        image = image.mean(0)
    return luminance(image)[0]


def blended(image: jax.Array, other: jax.Array, share: jax.Array | float) -> jax.Array:
    """`image` (…, C) where share is 0 and `other`, alike, where it is 1, both exactly; beyond, the difference grows."""
    share = jnp.asarray(share, image.dtype)
    return image * (1 - share) + other * share


def cut(image: jax.Array) -> jax.Array:
    """`image` (…, C) kept in [0, 1]."""
    return jnp.clip(image, 0, 1)


def normalize(key: jax.Array, facts: Facts, example: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """The input less the training set's mean, divided by its standard deviation, channel by channel.

    No strength: a network wants it always.
    """

    def change(x):
        return (x - jnp.asarray(facts.mean, x.dtype)) / jnp.asarray(facts.std, x.dtype)

    return repainted(example, change, FLOATING)


def brightness(
    key: jax.Array,
    facts: Facts,
    colors: Elementwise[jax.Array],
    strength: jax.Array | float,
    *,
    amount: NonNegative = 0.4,
) -> jax.Array:
    """The image times a factor in 1 ± amount."""
    factor = jnp.maximum(1 + amount * strength * signed(key), 0)
    return cut(colors * factor.astype(colors.dtype))


def contrast(
    key: jax.Array, facts: Facts, colors: jax.Array, strength: jax.Array | float, *, amount: NonNegative = 0.4
) -> jax.Array:
    """The image's distance to its mean luminance times a factor in 1 ± amount."""
    factor = jnp.maximum(1 + amount * strength * signed(key), 0)
    return cut(blended(mean_luminance(colors), colors, factor))


def saturation(
    key: jax.Array, facts: Facts, colors: jax.Array, strength: jax.Array | float, *, amount: NonNegative = 0.4
) -> jax.Array:
    """Every pixel's distance to its own grey times a factor in 1 ± amount."""
    factor = jnp.maximum(1 + amount * strength * signed(key), 0)
    return cut(blended(luminance(colors), colors, factor))


def hue(
    key: jax.Array, facts: Facts, colors: jax.Array, strength: jax.Array | float, *, turn: NonNegative = 0.1
) -> jax.Array:
    """Colours turned about the grey axis by up to `turn` of the circle either way; grey images stay.

    A rotation of RGB, which keeps the mean of the channels; torchvision and timm turn the H of HSV, which keeps the
    greatest and the least of them.
    """
    if colors.shape[-1] != 3:
        return colors
    angle = 2 * jnp.pi * turn * strength * signed(key)
    # Rodrigues' rotation about (1, 1, 1): unlike a trip to HSV and back it is exact at zero, and linear.
    rest, slant = (1 - jnp.cos(angle)) / 3, jnp.sin(angle) / jnp.sqrt(3.0)
    red, green, blue = colors[..., 0], colors[..., 1], colors[..., 2]
    turned = jnp.stack([blue - green, red - blue, green - red], -1)
    return cut(colors + rest * (colors.sum(-1, keepdims=True) - 3 * colors) + slant * turned)


def gamma(
    key: jax.Array,
    facts: Facts,
    colors: Elementwise[jax.Array],
    strength: jax.Array | float,
    *,
    amount: NonNegative = 0.4,
) -> jax.Array:
    """The image to the power of g, log-uniform in 1/(1 + amount) … 1 + amount."""
    power = jnp.exp(jnp.log1p(amount) * strength * signed(key))
    bent = jnp.maximum(colors, 1e-6) ** power.astype(colors.dtype)  # the floor keeps the derivative at 0 finite
    return jnp.where(power == 1, colors, jnp.where(colors > 0, bent, 0))


def lighting(
    key: jax.Array,
    facts: Facts,
    colors: jax.Array,
    strength: jax.Array | float,
    *,
    sigma: NonNegative = 0.1,
    values: tuple[float, ...] = VALUES,
    vectors: tuple[tuple[float, ...], ...] = VECTORS,
) -> jax.Array:
    """A Gaussian step along the principal axes of natural colours, the same for every pixel (AlexNet).

    `values` and the columns of `vectors` are the axes' standard deviations and directions, ImageNet's by default;
    images without three channels stay as they are.
    """
    if colors.shape[-1] != 3:
        return colors
    steps = sigma * strength * jax.random.normal(key, (3,)) * jnp.array(values)
    return cut(colors + jnp.sum(jnp.array(vectors) * steps, axis=1).astype(colors.dtype))


def solarized(image: jax.Array, level: jax.Array | float) -> jax.Array:
    """`image` (…, C) with the values at or above `level` inverted."""
    return jnp.where(image >= jnp.asarray(level, image.dtype), 1 - image, image)


def posterized(image: jax.Array, bits: jax.Array | float) -> jax.Array:
    """`image` (…, C) in 256 steps, cut to its `bits` highest (a traced, rounded number); at 8 bits as it is."""
    step = jnp.asarray(2.0 ** (8 - jnp.round(bits)), image.dtype)
    return jnp.where(step > 1, jnp.floor(jnp.round(image * 255) / step) * step / 255, image)


def stretched(image: jax.Array) -> jax.Array:
    """`image` (…, C) with each channel's darkest value at 0 and its brightest at 1; a flat channel as it is."""
    spots = tuple(range(image.ndim - 1))
    low, high = image.min(spots), image.max(spots)
    flat = high <= low
    return jnp.where(flat, image, (image - low) / jnp.where(flat, 1, high - low))


def equalized(image: jax.Array) -> jax.Array:
    """`image` (…, C) with each channel's 256 values spread so that all are about as frequent, as Pillow does."""

    def channel(x):
        levels = jnp.clip(jnp.round(x * 255), 0, 255).astype(jnp.int32).ravel()
        counts = jnp.zeros(256, jnp.int32).at[levels].add(1)
        step = (levels.size - counts[levels.max()]) // 255
        below = jnp.cumsum(counts) - counts
        table = jnp.clip((below + step // 2) // jnp.maximum(step, 1), 0, 255)
        return jnp.where(step > 0, table[levels].reshape(x.shape).astype(x.dtype) / 255, x)

    return jax.vmap(channel, -1, -1)(image)


def solarize(
    key: jax.Array,
    facts: Facts,
    colors: Elementwise[jax.Array],
    strength: jax.Array | float,
    *,
    threshold: Share = 0.5,
    probability: Share = 1.0,
) -> jax.Array:
    """Values at or above the threshold inverted; strength lowers it from above white to `threshold`."""
    level = jnp.where(happens(key, probability), ABOVE - strength * (ABOVE - threshold), ABOVE)
    return solarized(colors, level)


def posterize(
    key: jax.Array,
    facts: Facts,
    colors: Elementwise[jax.Array],
    strength: jax.Array | float,
    *,
    bits: Annotated[float, Bounds(0, 8)] = 4.0,
    probability: Share = 1.0,
) -> jax.Array:
    """Values in 256 steps cut to their `bits` highest bits; strength takes them away from eight."""
    kept = jnp.where(happens(key, probability), 8 - strength * (8 - bits), 8)
    return posterized(colors, kept)


def autocontrast(
    key: jax.Array, facts: Facts, colors: jax.Array, strength: jax.Array | float, *, probability: Share = 1.0
) -> jax.Array:
    """Each channel stretched so that its darkest value is 0 and its brightest 1; strength blends it in."""
    share = strength * happens(key, probability)
    return blended(colors, stretched(colors), share)


def equalize(
    key: jax.Array, facts: Facts, colors: jax.Array, strength: jax.Array | float, *, probability: Share = 1.0
) -> jax.Array:
    """Each channel's 256 values spread so that all are about as frequent (as Pillow does); strength blends it in."""
    share = strength * happens(key, probability)
    return blended(colors, equalized(colors), share)


def greyscale(key: jax.Array, facts: Facts, colors: jax.Array, *, probability: Share = 1.0) -> jax.Array:
    """Luminance in every channel, with the given probability; it has no strength."""
    on = happens(key, probability)
    return jnp.where(on, jnp.broadcast_to(luminance(colors), colors.shape), colors)
