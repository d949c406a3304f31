"""Moves of the picture plane: each gives a 3×3 matrix (and a displacement field or none), never pixels.

A pipeline multiplies consecutive moves and reads the image once. `border` says what lies outside the image:
"constant" (`fill`), "mean" (the training set's, channel by channel), "edge" or "reflect"; segments are 255 there
unless the border is edge or reflect. "auto" is edge for a training set that is dark on a bright ground (its mean above
2/3 in every channel), so that white pages get no black frames, and constant for any other. `method` is bilinear or
cubic (Keys with a = −1/2, as Pillow and JAX have it; PyTorch's and OpenCV's a is −3/4).
"""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp

from cnnjax.annotations import AtLeastOne, Count, Factor, NonNegative, Rate, Seed, Share
from cnnjax.augment._moving import Move
from cnnjax.augment._options import TRIES, Border, Method, drawn_sides, happens, outside, signed
from cnnjax.fields import Facts

__all__ = [
    "Move",
    "center_crop",
    "crop",
    "elastic",
    "flip",
    "perspective",
    "random_resized_crop",
    "rescale",
    "rotate",
    "shear",
    "shift",
    "translate",
    "zoom",
]


def rows(*lines: Sequence[jax.Array | float]) -> jax.Array:
    """The 3×3 matrix of three rows of numbers, traced or not."""
    return jnp.stack([jnp.stack([jnp.asarray(value, float) for value in line]) for line in lines])


def centred(
    size: tuple[int, int], linear: Sequence, offset: Sequence = (0.0, 0.0), bend: Sequence = (0.0, 0.0)
) -> jax.Array:
    """The 3×3 matrix that does `linear` (2×2 rows) about the centre of an image, then adds `offset` to the source.

    Written so that the identity comes out exactly, whatever the centre.
    """
    (a, b), (c, d) = linear
    (e, f), (y, x) = bend, ((n - 1) / 2 for n in size)
    about = ((1.0, 0.0, y), (0.0, 1.0, x), (0.0, 0.0, 1.0))
    inner = ((a, b, -(a * y + b * x) + offset[0]), (c, d, -(c * y + d * x) + offset[1]), (e, f, 1 - (e * y + f * x)))
    return rows(*[[sum(p * inner[k][j] for k, p in enumerate(row)) for j in range(3)] for row in about])


def _between(draw, low, high):
    """The whole number in low … high (traced, both included) that a draw from 0 … 1 falls on."""
    return jnp.minimum(low + jnp.floor(draw * (high - low + 1)), high)


def flip(
    key: jax.Array,
    facts: Facts,
    size: tuple[int, int],
    strength: jax.Array | float,
    index: jax.Array,
    epoch: jax.Array,
    *,
    probability: Share = 0.5,
    axis: Literal["width", "height"] = "width",
    mode: Literal["random", "alternate"] = "random",
    seed: Seed = 0,
) -> Move:
    """A mirror image (left-right, or top-bottom with `axis="height"`) with the given probability.

    `mode="alternate"`: each example's first epoch is random, by its index and `seed`; after it the two
    orientations take turns, so that any two consecutive epochs show both.
    """
    if mode == "alternate":
        first = happens(jax.random.fold_in(jax.random.key(seed), index), probability)
        turned = (first ^ (epoch % 2 == 1)) & happens(key, strength)
    else:
        turned = happens(key, probability * strength)
    sign = jnp.where(turned, -1.0, 1.0)
    height, width = ((n - 1) * jnp.where(turned, 1.0, 0.0) for n in size)
    if axis == "width":
        return Move(rows((1, 0, 0), (0, sign, width), (0, 0, 1)), whole=True)
    return Move(rows((sign, 0, height), (0, 1, 0), (0, 0, 1)), whole=True)


def shift(
    key: jax.Array,
    facts: Facts,
    size: tuple[int, int],
    strength: jax.Array | float,
    *,
    pixels: Count = 2,
    border: Border = "auto",
    fill: float = 0.0,
) -> Move:
    """The image moved by up to `pixels` whole pixels along both axes; strengths above 1 are 1."""
    most = jnp.round(pixels * jnp.minimum(strength, 1.0))
    y, x = (_between(draw, -most, most) for draw in jax.random.uniform(key, (2,)))
    matrix = rows((1, 0, y), (0, 1, x), (0, 0, 1))
    return Move(matrix, whole=True, upright=True, reach=pixels, **outside(facts, border, fill))


def crop(
    key: jax.Array,
    facts: Facts,
    size: tuple[int, int],
    strength: jax.Array | float,
    *,
    padding: Count = 4,
    side: Count = 0,
    border: Border = "auto",
    fill: float = 0.0,
) -> Move:
    """A window of `side` pixels (0: the size of the image) cut at random from the image padded on every side.

    Strength, at most 1, scales how far the window strays from the centre.
    """
    out, spare = _window("crop", size, side, padding)
    strength = jnp.minimum(strength, 1.0)
    starts = []
    for draw, room in zip(jax.random.uniform(key, (2,)), spare, strict=True):
        middle = room // 2
        low, high = middle - jnp.round(strength * middle), middle + jnp.round(strength * (room - middle))
        starts.append(_between(draw, low, high) - padding)
    matrix = rows((1, 0, starts[0]), (0, 1, starts[1]), (0, 0, 1))
    return Move(matrix, size=out, whole=True, upright=True, reach=padding, **outside(facts, border, fill))


def center_crop(key: jax.Array, facts: Facts, size: tuple[int, int], *, side: AtLeastOne = 224) -> Move:
    """The middle `side`×`side` pixels, for evaluation; it has no strength."""
    out, spare = _window("center_crop", size, side, 0)
    return Move(rows((1, 0, spare[0] // 2), (0, 1, spare[1] // 2), (0, 0, 1)), size=out, whole=True, upright=True)


def _window(entry, size, side, padding):
    out = (side, side) if side else tuple(size)
    spare = [length + 2 * padding - new for length, new in zip(size, out, strict=True)]
    if min(spare) < 0:
        padded = f" padded by {padding}" if padding else ""
        raise ValueError(f"augment.{entry}.side is {side}; the image{padded} has only {size[0]}×{size[1]} pixels")
    return out, spare


def random_resized_crop(
    key: jax.Array,
    facts: Facts,
    size: tuple[int, int],
    strength: jax.Array | float,
    *,
    side: Count = 0,
    smallest: Share = 0.08,
    largest: Share = 1.0,
    aspect: Factor = 4 / 3,
    method: Method = "bilinear",
) -> Move:
    """A random window of `smallest` … `largest` of the area as `side`×`side` pixels (0: the image's size).

    The window's width / height in pixels is log-uniform in 1/aspect … aspect (Szegedy 2014). One that does not fit
    into the image is drawn again, ten times; then it is the largest in the middle that keeps to the aspect. Strength
    goes from the whole image at 0 to this at 1.
    """
    out = (side, side) if side else tuple(size)
    draws, places = jax.random.split(key)
    area, ratio = jax.random.uniform(draws, (2, TRIES))
    share = jnp.clip(1 - strength * (1 - smallest - (largest - smallest) * area), 1e-4, 1)
    whole, most = jnp.log(size[1] / size[0]), strength * jnp.log(aspect)  # of width / height, as logarithms
    tall, wide, found = drawn_sides(size, share, (1 - strength) * whole + most * (2 * ratio - 1))
    nearest = jnp.exp(jnp.clip(whole, (1 - strength) * whole - most, (1 - strength) * whole + most))
    widest = (jnp.minimum(size[0], size[1] / nearest), jnp.minimum(size[1], size[0] * nearest))
    scales, starts = [], []
    draws = jax.random.uniform(places, (2,))
    for draw, drawn, middle, length, new in zip(draws, (tall, wide), widest, size, out, strict=True):
        part = jnp.where(found, drawn, jnp.round(middle))
        start = jnp.where(found, jnp.floor(draw * (length - part + 1)), jnp.floor((length - part) / 2))
        scales.append(length / new - (length - part) / new)  # exact where the window is the whole picture
        starts.append(jnp.minimum(start, length - part) + (scales[-1] - 1) / 2)
    matrix = rows((scales[0], 0, starts[0]), (0, scales[1], starts[1]), (0, 0, 1))
    samples = max(1, round(max(length / new for length, new in zip(size, out, strict=True))))
    return Move(matrix, size=out, method=method, samples=samples, straight=True, upright=True)


def rotate(
    key: jax.Array,
    facts: Facts,
    size: tuple[int, int],
    strength: jax.Array | float,
    *,
    degrees: NonNegative = 15.0,
    border: Border = "auto",
    fill: float = 0.0,
    method: Method = "bilinear",
) -> Move:
    """The image turned about its centre by up to `degrees` either way."""
    angle = jnp.deg2rad(degrees * strength * signed(key))
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    matrix = centred(size, ((cosine, sine), (-sine, cosine)))
    return Move(matrix, upright=True, **outside(facts, border, fill, method))


def translate(
    key: jax.Array,
    facts: Facts,
    size: tuple[int, int],
    strength: jax.Array | float,
    *,
    share: NonNegative = 0.1,
    border: Border = "auto",
    fill: float = 0.0,
    method: Method = "bilinear",
) -> Move:
    """The image moved by up to `share` of its height and width, between pixels too (`shift`: whole pixels)."""
    y, x = (n * share * strength * draw for n, draw in zip(size, signed(key, (2,)), strict=True))
    matrix = rows((1, 0, y), (0, 1, x), (0, 0, 1))
    return Move(matrix, straight=True, upright=True, **outside(facts, border, fill, method))


def zoom(
    key: jax.Array,
    facts: Facts,
    size: tuple[int, int],
    strength: jax.Array | float,
    *,
    factor: Factor = 1.25,
    border: Border = "auto",
    fill: float = 0.0,
    method: Method = "bilinear",
) -> Move:
    """The image enlarged about its centre, log-uniformly in 1/factor … factor, height and width alike."""
    scale = jnp.exp(-jnp.log(factor) * strength * signed(key))
    matrix = centred(size, ((scale, 0.0), (0.0, scale)))
    return Move(matrix, straight=True, upright=True, **outside(facts, border, fill, method))


def rescale(
    key: jax.Array,
    facts: Facts,
    size: tuple[int, int],
    strength: jax.Array | float,
    *,
    factor: Factor = 1.25,
    border: Border = "auto",
    fill: float = 0.0,
    method: Method = "bilinear",
) -> Move:
    """Height and width stretched about the centre, each log-uniformly in 1/factor … factor on its own."""
    tall, wide = jnp.exp(-jnp.log(factor) * strength * signed(key, (2,)))
    matrix = centred(size, ((tall, 0.0), (0.0, wide)))
    return Move(matrix, straight=True, upright=True, **outside(facts, border, fill, method))


def shear(
    key: jax.Array,
    facts: Facts,
    size: tuple[int, int],
    strength: jax.Array | float,
    *,
    degrees: NonNegative = 10.0,
    axis: Literal["both", "width", "height"] = "both",
    fit: bool = False,
    border: Border = "auto",
    fill: float = 0.0,
    method: Method = "bilinear",
) -> Move:
    """The image slanted about its centre by up to `degrees` along its width, its height or both.

    `fit` keeps the size of the picture: what is slanted shrinks until all of it stays in the frame.
    """
    slants = jnp.tan(jnp.deg2rad(degrees * strength * signed(key, (2,))))
    down = slants[0] if axis != "width" else jnp.zeros_like(slants[0])
    along = slants[1] if axis != "height" else jnp.zeros_like(slants[1])
    # The content moves by (1 + down·along, down; along, 1): the source is read through the inverse of that.
    (height, width), bend = size, 1 + down * along
    tall = jnp.abs(bend) + jnp.abs(down) * width / height if fit else 1.0
    wide = 1 + jnp.abs(along) * height / width if fit else 1.0
    linear = ((tall, -down * wide), (-along * tall, bend * wide))
    return Move(centred(size, linear), upright=True, **outside(facts, border, fill, method))


def perspective(
    key: jax.Array,
    facts: Facts,
    size: tuple[int, int],
    strength: jax.Array | float,
    *,
    tilt: Rate = 0.2,
    border: Border = "auto",
    fill: float = 0.0,
    method: Method = "bilinear",
) -> Move:
    """The image as seen from the side: at its edges it is larger or smaller by up to `tilt` along each axis."""
    y, x = (2 * tilt * strength * draw / n for n, draw in zip(size, signed(key, (2,)), strict=True))
    matrix = centred(size, ((1.0, 0.0), (0.0, 1.0)), bend=(y, x))
    return Move(matrix, upright=True, **outside(facts, border, fill, method))


def elastic(
    key: jax.Array,
    facts: Facts,
    size: tuple[int, int],
    strength: jax.Array | float,
    *,
    pixels: NonNegative = 1.0,
    smooth: NonNegative = 4.0,
    border: Border = "auto",
    fill: float = 0.0,
    method: Method = "bilinear",
) -> Move:
    """Every pixel displaced by smooth noise of `pixels` standard deviation along each axis (Simard 2003).

    The noise is smoothed by a Gaussian of `smooth` pixels; Simard's α = 34, σ = 4 are `pixels=1.4, smooth=4`.
    """
    field = signed(key, (2, *size)) * jnp.sqrt(3.0)
    tall, wide = (_smoother(n, smooth) for n in size)
    field = jnp.einsum("ih,chw,jw->ijc", tall, field, wide, precision="highest")
    return Move(
        jnp.eye(3, dtype=float),
        pixels * strength * field,
        upright=True,
        **outside(facts, border, fill, method),
    )


def _smoother(length, width):
    """(length, length) Gaussian weights whose rows keep the variance of independent noise."""
    gaps = jnp.arange(length)[:, None] - jnp.arange(length)[None, :]
    weights = jnp.exp(-(gaps**2) / (2 * jnp.maximum(width, 1e-3) ** 2))
    return weights / jnp.sqrt(jnp.sum(weights**2, axis=1, keepdims=True))
