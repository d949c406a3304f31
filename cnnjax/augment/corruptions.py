"""What spoils pictures on their way: too little light, lenses, fog, compression.

At strength 1 an entry does as much as its options say, or less by a share that it draws of up to `spread`: with a
spread of 0 always as much. They stand before `normalize`.
"""

from collections.abc import Mapping
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.annotations import AtLeastOne, Bounds, Factor, NonNegative, Positive, Share
from cnnjax.augment._options import repainted
from cnnjax.augment._sampling import read_lines
from cnnjax.augment.colors import blended, cut
from cnnjax.fields import Facts

__all__ = [
    "channel_contrast",
    "defocus",
    "fog",
    "hsv_brightness",
    "impulse",
    "jpeg",
    "pixelate",
    "shot",
    "zoom_blur",
]

_LUMA_STEPS = (
    *((16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56)),
    *((14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92)),
    *((49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99)),
)  # fmt: skip
_CHROMA_STEPS = (*((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99)),)  # the rest is 99
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))


def amount_of(key: jax.Array, strength: jax.Array | float, spread: jax.Array | float) -> jax.Array:
    """A strength, less a share of it that is drawn of up to `spread`: a number."""
    return strength * (1 - spread * jax.random.uniform(key))


def shot(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    photons: Positive = 60.0,
) -> dict[str, jax.Array]:
    """The noise of light itself: every number a Poisson draw over the `photons` that white would be."""
    count = photons / jnp.maximum(jnp.asarray(strength) ** 2, 1e-4)

    def change(x):
        drawn = jax.random.poisson(key, jnp.maximum(x, 0).astype(jnp.float32) * count) / count
        return jnp.where(jnp.asarray(strength) > 0, cut(drawn.astype(x.dtype)), x)

    return repainted(example, change)


def impulse(
    key: jax.Array, facts: Facts, example: Mapping[str, jax.Array], strength: jax.Array | float, *, share: Share = 0.05
) -> dict[str, jax.Array]:
    """The given share of all numbers set to 0 or 1, each channel by itself (`salt_and_pepper`: all together)."""

    def change(x):
        draw, now = jax.random.uniform(key, x.shape), share * strength
        return jnp.where(draw < now, (draw < now / 2).astype(x.dtype), x)

    return repainted(example, change)


def defocus(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    radius: NonNegative = 1.5,
    soft: NonNegative = 0.1,
    window: AtLeastOne = 5,
    spread: Share = 1.0,
) -> dict[str, jax.Array]:
    """The picture through a lens out of focus: the mean over a disc of `radius` pixels with an edge `soft` pixels wide.

    The disc is cut off at `window` (odd) pixels; beyond its edge the picture is its mirror image.
    """
    if window % 2 == 0:
        raise ValueError(f"augment.defocus.window is {window}; it must be odd")
    amount, half = amount_of(key, strength, spread), window // 2
    along = jnp.arange(window) - half
    disc = (along[:, None] ** 2 + along**2 <= (radius * amount) ** 2).astype(jnp.float32)
    side = jnp.exp(-0.5 / jnp.maximum(soft * amount, 1e-3) ** 2)
    weights = jnp.stack([side, jnp.ones_like(side), side]) / (1 + 2 * side)
    for axis in (0, 1):
        padded = jnp.pad(disc, [(1, 1) if i == axis else (0, 0) for i in range(2)])
        disc = sum(w * jax.lax.slice_in_dim(padded, i, i + window, axis=axis) for i, w in enumerate(weights))
    disc = disc / disc.sum()

    def change(x):
        widths = [(half, half) if i in (x.ndim - 3, x.ndim - 2) else (0, 0) for i in range(x.ndim)]
        padded, (height, width) = jnp.pad(x, widths, mode="reflect"), x.shape[-3:-1]
        return sum(
            disc[i, j].astype(x.dtype) * padded[..., i : i + height, j : j + width, :]
            for i in range(window)
            for j in range(window)
        )

    return repainted(example, change)


def zoom_blur(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    factor: Factor = 1.1,
    steps: AtLeastOne = 11,
    spread: Share = 1.0,
) -> dict[str, jax.Array]:
    """The mean of the picture and of itself at `steps` sizes from its own up to `factor` times it, as of a zoom."""
    amount = amount_of(key, strength, spread)

    def change(x):
        size = x.shape[-3:-1]
        frames = x.reshape(-1, *x.shape[-3:])

        def at(frame, share):
            places = [((jnp.arange(n) - (n - 1) / 2) / (1 + share) + (n - 1) / 2).astype(x.dtype) for n in size]
            return read_lines(frame, *places)

        def step(total, share):
            return total + jax.vmap(at, (0, None))(frames, share), None

        total, _ = jax.lax.scan(step, frames, (factor - 1) * amount * jnp.linspace(0, 1, steps))
        return jnp.where(amount > 0, (total / (steps + 1)).reshape(x.shape), x)

    return repainted(example, change)


def fog(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    amount: NonNegative = 0.5,
    decay: Factor = 3.0,
) -> dict[str, jax.Array]:
    """Clouds of light added, as much as `amount` where they are thickest, and all darkened by as much.

    They are made by halving squares and diamonds, each step's roughness the last one's over `decay`.
    """
    now = amount * strength

    def change(x):
        height, width = x.shape[-3:-1]
        light = clouds(key, max(height, width), decay)[:height, :width, None].astype(x.dtype)
        brightest = x.max()
        total = brightest + now
        return cut((x + now * light) * jnp.where(total > 0, brightest / jnp.where(total > 0, total, 1), 1))

    return repainted(example, change)


def clouds(key: jax.Array, side: int, decay: jax.Array | float) -> jax.Array:
    """A square of numbers from 0 to 1 (n, n), n a power of two and `side` at least, by diamonds and squares."""
    steps = max(1, (side - 1).bit_length())
    draws = jax.random.uniform(key, (4**steps,), minval=-1.0, maxval=1.0)  # once: each draw is a program of its own
    clouds, rough = jnp.zeros((1, 1)), 100.0
    for step in range(steps):
        size = 4**step
        noise = rough**2 * draws[size : 4 * size].reshape(3, *clouds.shape)
        total = clouds + jnp.roll(clouds, -1, 0)
        middle = (total + jnp.roll(total, -1, 1)) / 4 + noise[0]
        across = (middle + jnp.roll(middle, 1, 0) + clouds + jnp.roll(clouds, -1, 1)) / 4 + noise[1]
        down = (middle + jnp.roll(middle, 1, 1) + clouds + jnp.roll(clouds, -1, 0)) / 4 + noise[2]
        rows = jnp.stack([clouds, across], -1), jnp.stack([down, middle], -1)
        clouds, rough = jnp.stack(rows, 1).reshape(2 * len(clouds), -1), rough / decay
    clouds = clouds - clouds.min()
    return clouds / clouds.max()


def hsv_brightness(
    key: jax.Array,
    facts: Facts,
    colors: jax.Array,
    strength: jax.Array | float,
    *,
    amount: NonNegative = 0.2,
    spread: Share = 1.0,
) -> jax.Array:
    """The value of HSV, the greatest of the channels, raised by `amount` at most to 1; hue and saturation stay."""
    value = colors.max(-1, keepdims=True)
    raised = jnp.clip(value + (amount * amount_of(key, strength, spread)).astype(colors.dtype), 0, 1)
    scale = raised / jnp.where(value > 0, value, 1)
    return jnp.where(raised == value, colors, jnp.where(value > 0, colors * scale, raised))


def channel_contrast(
    key: jax.Array,
    facts: Facts,
    colors: jax.Array,
    strength: jax.Array | float,
    *,
    kept: Share = 0.4,
    spread: Share = 1.0,
) -> jax.Array:
    """Each channel's distance to its own mean times what is `kept` of it, so that the mean colour stays."""
    mean = colors.mean(tuple(range(colors.ndim - 1)))
    return cut(blended(mean, colors, 1 - (1 - kept) * amount_of(key, strength, spread)))


def pixelate(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    share: Annotated[float, Bounds(0, 1, above=True)] = 0.5,
    spread: Share = 1.0,
) -> dict[str, jax.Array]:
    """The picture with a `share` of its pixels along each side, each the mean of what it covers, then large again."""
    kept = 1 - (1 - share) * amount_of(key, strength, spread)

    def change(x):
        height, width = (_coarse(n, kept).astype(x.dtype) for n in x.shape[-3:-1])
        exact = jax.lax.Precision.HIGHEST
        coarse = jnp.einsum("ih,...hwc,jw->...ijc", height, x, width, precision=exact)
        return jnp.where(kept < 1, cut(coarse), x)

    return repainted(example, change)


def _coarse(side, kept):
    """What each of `side` pixels is made of, (side, side), when a share of as many is left: as Pillow's box has it."""
    count = jnp.maximum(jnp.floor(side * kept + 1e-4), 1)
    scale = side / count
    cell = jnp.minimum(jnp.floor((jnp.arange(side) + 0.5) / scale), count - 1)
    place = (jnp.arange(side) + 0.5 - (cell[:, None] + 0.5) * scale) / scale
    inside = ((place > -0.5) & (place <= 0.5)).astype(jnp.float32)
    return inside / inside.sum(1, keepdims=True)


def jpeg(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    quality: Annotated[float, Bounds(1, 100)] = 40.0,
    spread: Share = 1.0,
) -> dict[str, jax.Array]:
    """The picture as a JPEG file of this `quality` brings it back; colours are kept at half the pixels, as is usual.

    A picture of three channels has colours; any other's channels are kept each as a grey one.
    """
    amount = amount_of(key, strength, spread)
    now = 100 - (100 - quality) * amount
    percent = jnp.where(now < 50, 5000 / now, 200 - 2 * now)

    def change(x):
        return jnp.where(amount > 0, _compressed(x, percent), x)

    return repainted(example, change)


def _compressed(x, percent):
    """`x` (…, H, W, C) after a JPEG whose tables are these percent of the standard's."""
    height, width, channels = x.shape[-3:]
    unit = 16 if channels == 3 else 8
    widths = [(0, 0)] * (x.ndim - 3) + [(0, -height % unit), (0, -width % unit), (0, 0)]
    planes = jnp.moveaxis(jnp.pad(jnp.round(x.astype(jnp.float32) * 255), widths, mode="edge"), -1, 0)
    luma, chroma = np.array(_LUMA_STEPS, np.float32), np.full((8, 8), 99, np.float32)
    chroma[:4, :4] = _CHROMA_STEPS
    luma, chroma = (jnp.clip(jnp.floor((table * percent + 50) / 100), 1, 255) for table in (luma, chroma))
    if channels != 3:
        planes = jnp.clip(jnp.round(_quantized(planes - 128, luma)) + 128, 0, 255)
    else:
        into = np.array(_TO_YCC, np.float32)
        y, *rest = (jnp.round(sum(w * plane for w, plane in zip(row, planes, strict=True))) for row in into)
        y = jnp.clip(jnp.round(_quantized(y - 128, luma)), -128, 127) + 128
        rest = [_quantized(jnp.round(_halved(each)), chroma) for each in rest]
        rest = [_twice(jnp.clip(jnp.round(each), -128, 127)) for each in rest]
        back = np.linalg.inv(into)
        planes = jnp.stack([sum(w * plane for w, plane in zip(row, (y, *rest), strict=True)) for row in back])
    out = jnp.clip(jnp.round(planes), 0, 255)[..., :height, :width] / 255
    return jnp.moveaxis(out, 0, -1).astype(x.dtype)


def _quantized(plane, table):
    """Numbers (…, H, W) whose cosines in blocks of 8×8 are whole multiples of a table's steps."""
    grid = np.arange(8)
    cosines = np.cos((2 * grid + 1) * grid[:, None] * np.pi / 16) / 2
    cosines[0] /= 2**0.5
    cosines, exact = cosines.astype(np.float32), jax.lax.Precision.HIGHEST
    *rest, height, width = plane.shape
    blocks = plane.reshape(*rest, height // 8, 8, width // 8, 8)
    found = jnp.einsum("ui,...aibj,vj->...aubv", cosines, blocks, cosines, precision=exact)
    steps = table[:, None, :]
    found = jnp.round(found / steps) * steps
    return jnp.einsum("ui,...aubv,vj->...aibj", cosines, found, cosines, precision=exact).reshape(plane.shape)


def _halved(plane):
    """Means of every 2×2 of (…, H, W)."""
    return (plane[..., ::2, ::2] + plane[..., 1::2, ::2] + plane[..., ::2, 1::2] + plane[..., 1::2, 1::2]) / 4


def _twice(plane):
    """(…, H, W) twice as large, each pixel three parts of the nearest and one of the next, as libjpeg does."""
    for axis in (-2, -1):
        length = plane.shape[axis]
        first, last = (jax.lax.slice_in_dim(plane, i, i + 1, axis=axis % plane.ndim) for i in (0, length - 1))
        padded = jnp.concatenate([first, plane, last], axis)
        before, after = (jax.lax.slice_in_dim(padded, i, i + length, axis=axis % plane.ndim) for i in (0, 2))
        shape = list(plane.shape)
        shape[axis] *= 2
        plane = jnp.stack([0.75 * plane + 0.25 * before, 0.75 * plane + 0.25 * after], axis).reshape(shape)
    return plane
