"""What lies between a camera and what it sees: snow, frost, rough glass, its own motion, a lens that bends.

At strength 1 an entry does as much as its options say, or less by a share that it draws of up to `spread`, as in
`corruptions`. They stand before `normalize`; the numbers of CIFAR-10-C for them are in `CIFAR10_C`.
"""

from collections.abc import Mapping
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax.annotations import AtLeastOne, Bounds, Factor, NonNegative, Share
from cnnjax.augment._moving import Move, inverse, product
from cnnjax.augment._options import Border, Method, outside, repainted, signed
from cnnjax.augment._sampling import read_lines
from cnnjax.augment.colors import cut
from cnnjax.augment.corruptions import amount_of, clouds
from cnnjax.fields import Facts

__all__ = ["elastic_transform", "frost", "glass_blur", "motion_blur", "snow"]

_LUMA = (0.299, 0.587, 0.114)
_NEEDLES = 28  # of a pane of frost
_ICE = (0.86, 0.94, 1.0)  # its red, green and blue


def motion_blur(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    radius: AtLeastOne = 8,
    sigma: NonNegative = 2.0,
    degrees: NonNegative = 45.0,
    spread: Share = 1.0,
) -> dict[str, jax.Array]:
    """The picture as a camera sees it that moves, in a direction of up to ±`degrees` from left to right.

    As ImageMagick has it: 2 · `radius` + 1 whole pixels on one side are weighed by half a Gaussian of `sigma` pixels;
    the edge goes on as it is.
    """
    drawn, turn = jax.random.split(key)
    amount, angle = amount_of(drawn, strength, spread), jnp.radians(degrees) * signed(turn)

    def change(x):
        return jnp.where(amount > 0, _smeared(x, radius, sigma * amount, angle), x)

    return repainted(example, change)


def _smeared(x, radius, sigma, angle):
    """`x` (…, H, W, C) summed along a line from each pixel on, by half a Gaussian."""
    frames, (height, width) = x.reshape(-1, *x.shape[-3:]), x.shape[-3:-1]
    reach = 2 * radius
    steps = jnp.arange(reach + 1)
    weights = jnp.exp(-0.5 * (steps / jnp.maximum(sigma, 1e-2)) ** 2)
    weights = (weights / weights.sum()).astype(x.dtype)
    places = jnp.stack([jnp.ceil(steps * way(angle) - 0.5) for way in (jnp.sin, jnp.cos)], 1).astype(int)
    padded = jnp.pad(frames, [(0, 0), (reach, reach), (reach, reach), (0, 0)], mode="edge")

    def step(total, row):
        weight, place = row
        return total + weight * lax.dynamic_slice(
            padded, (0, reach + place[0], reach + place[1], 0), (len(frames), height, width, x.shape[-1])
        ), None

    return lax.scan(step, jnp.zeros_like(frames), (weights, places))[0].reshape(x.shape)


def snow(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    mean: float = 0.15,
    deviation: NonNegative = 0.3,
    flake: Factor = 1.75,
    least: NonNegative = 0.55,
    radius: AtLeastOne = 10,
    sigma: NonNegative = 4.0,
    kept: Share = 0.9,
    spread: Share = 1.0,
) -> dict[str, jax.Array]:
    """Flakes that fall across the picture, which is whitened by all but what is `kept` of it.

    They are normal noise of this mean and deviation, `flake` times as large, of which what is above `least` falls: it
    is smeared as `motion_blur` does, from above, and laid on again upside down.
    """
    drawn, turn, grains = jax.random.split(key, 3)
    amount, angle = amount_of(drawn, strength, spread), jnp.radians(-90 + 45 * signed(turn))

    def change(x):
        height, width = x.shape[-3:-1]
        layer = mean + deviation * jax.random.normal(grains, (height, width, 1))
        layer = read_lines(layer, *(_zoomed(side, flake) for side in (height, width)))
        layer = jnp.clip(jnp.where(layer < least, 0, layer), 0, 1)
        layer = (amount * _smeared(layer, radius, sigma, angle)).astype(x.dtype)
        grey = x @ jnp.asarray(_LUMA, x.dtype) if x.shape[-1] == 3 else x.mean(-1)
        white = jnp.maximum(x, (1.5 * grey + 0.5)[..., None])
        white = x + (1 - kept) * amount * (white - x)
        return jnp.where(amount > 0, cut((white + layer + layer[::-1, ::-1]).astype(x.dtype)), x)

    return repainted(example, change)


def _zoomed(side, factor):
    """Where `side` pixels are read of a line that is so many times as large: as SciPy's zoom of its middle has it."""
    left = jnp.ceil(side / factor)
    large = jnp.round(left * factor)
    first = jnp.floor((side - left) / 2)
    return first + (jnp.arange(side) + jnp.floor((large - side) / 2)) * (left - 1) / jnp.maximum(large - 1, 1)


def frost(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    kept: Share = 0.85,
    amount: Share = 0.4,
    spread: Share = 1.0,
) -> dict[str, jax.Array]:
    """What is `kept` of the picture behind a pane of frost, which adds `amount` of its light.

    The frost of CIFAR-10-C are five photographs, which are not here: this one is drawn, needles of ice in six
    directions about one that is drawn too, on clouds of rime. With the published numbers it is as strong, not the same.
    """
    drawn, pane = jax.random.split(key)
    now = amount_of(drawn, strength, spread)

    def change(x):
        ice = _frosted(pane, *x.shape[-3:-1])[..., None].astype(x.dtype)
        ice = ice * jnp.asarray(_ICE, x.dtype) if x.shape[-1] == 3 else ice
        return jnp.where(now > 0, cut(x * (1 - (1 - kept) * now) + amount * now * ice), x)

    return repainted(example, change)


def _frosted(key, height, width):
    """A pane (H, W) of frost in [0, 1]: the brightest of needles that taper, over rime."""
    rime, turn, place, way, size = jax.random.split(key, 5)
    side = max(height, width)
    y, x = jnp.arange(height)[:, None] / side, jnp.arange(width) / side
    starts = jax.random.uniform(place, (_NEEDLES, 2)) * jnp.array([height, width]) / side
    angles = jax.random.uniform(turn, maxval=jnp.pi / 3) + jnp.pi / 3 * jax.random.randint(way, (_NEEDLES,), 0, 6)
    lengths = jax.random.uniform(size, (_NEEDLES,), minval=0.2, maxval=0.7)

    def needle(most, row):
        start, angle, length = row
        down, right = y - start[0], x - start[1]
        along, aside = right * jnp.cos(angle) + down * jnp.sin(angle), down * jnp.cos(angle) - right * jnp.sin(angle)
        taper = jnp.clip(1 - along / length, 0, 1) * (along > -0.02)
        return jnp.maximum(most, taper * jnp.exp(-((aside / (0.012 + 0.02 * taper)) ** 2))), None

    needles, _ = lax.scan(needle, jnp.zeros((height, width)), (starts, angles, lengths))
    return jnp.clip(0.7 * clouds(rime, side, 1.7)[:height, :width] + 0.6 * needles, 0, 1)


def glass_blur(
    key: jax.Array,
    facts: Facts,
    example: Mapping[str, jax.Array],
    strength: jax.Array | float,
    *,
    sigma: NonNegative = 0.4,
    times: AtLeastOne = 2,
    window: AtLeastOne = 5,
    spread: Share = 1.0,
) -> dict[str, jax.Array]:
    """The picture through rough glass: blurred by `sigma`, each pixel taken from beside or above it, blurred again.

    So many `times` every pixel but those of the first two rows and columns becomes, with even chances, itself or its
    neighbour above, left, or above and left. (The published code means to swap the two; what it does is to copy.) A
    Gaussian ends at 4 `sigma`, and at `window` (odd) pixels.
    """
    if window % 2 == 0:
        raise ValueError(f"augment.glass_blur.window is {window}; it must be odd")
    drawn, *keys = jax.random.split(key, 1 + times)
    amount = amount_of(drawn, strength, spread)

    def change(x):
        seen = _softened(x, sigma * amount, window // 2)
        size = x.shape[-3:-1]
        inner = (jnp.arange(size[0])[:, None] > 1) & (jnp.arange(size[1]) > 1)
        for each in keys:
            back = (jax.random.uniform(each, (2, *size)) < 0.5 * amount) & inner
            rows, columns = (jnp.arange(n).reshape(shape) for n, shape in zip(size, ((-1, 1), (1, -1)), strict=True))
            seen = seen[..., rows - back[0], columns - back[1], :]
        return jnp.where(amount > 0, cut(_softened(seen, sigma * amount, window // 2)), x)

    return repainted(example, change)


def _softened(x, sigma, half):
    """`x` (…, H, W, C) under a Gaussian that ends where scikit-image's does; beyond the edge it is as at the edge."""
    apart = jnp.arange(-half, half + 1)
    weights = jnp.exp(-0.5 * (apart / jnp.maximum(sigma, 1e-3)) ** 2) * (jnp.abs(apart) <= jnp.floor(4 * sigma + 0.5))
    weights = (weights / weights.sum()).astype(x.dtype)
    for axis in (x.ndim - 3, x.ndim - 2):
        padded = jnp.pad(x, [(half, half) if i == axis else (0, 0) for i in range(x.ndim)], mode="edge")
        x = sum(w * lax.slice_in_dim(padded, i, i + x.shape[axis], axis=axis) for i, w in enumerate(weights))
    return x


def elastic_transform(
    key: jax.Array,
    facts: Facts,
    size: tuple[int, int],
    strength: jax.Array | float,
    *,
    shift: NonNegative = 0.08,
    smooth: NonNegative = 0.06,
    jitter: Annotated[float, Bounds(0, 0.16)] = 0.06,
    border: Border = "reflect",
    fill: float = 0.0,
    method: Method = "bilinear",
) -> Move:
    """Stretched and sheared as three points are moved by up to ±`jitter`, then rippled by noise of up to ±`shift`.

    All three in sides of the picture; the noise is smoothed by a Gaussian of `smooth`, which leaves little of it.
    CIFAR-10-C samples the picture for one after the other, this one once for both.
    """
    points, noise = jax.random.split(key)
    side = min(size)
    low, high = (np.array(size) // 2 - side // 3), (np.array(size) // 2 + side // 3)
    corners = np.array([high, (low[0], high[1]), low], float)  # y x
    known = np.linalg.inv(np.concatenate([corners, np.ones((3, 1))], 1).T)
    apart = strength * jitter * side * signed(points, (3, 2))
    forth = jnp.eye(3) + product(jnp.concatenate([apart.T, jnp.zeros((1, 3))]), jnp.asarray(known, float))
    back = inverse(forth)
    tall, wide = (_reflecting(n, smooth * side) for n in size)
    ripples = jnp.einsum("ih,chw,jw->ijc", tall, signed(noise, (2, *size)), wide, precision="highest")
    ripples = strength * shift * side * ripples
    field = jnp.stack([sum(back[i, j] * ripples[..., j] for j in (0, 1)) for i in (0, 1)], -1)
    return Move(back, field, upright=True, **outside(facts, border, fill, method))


def _reflecting(length, sigma):
    """(length, length) weights of a Gaussian that ends at 3 sigma, beyond the edge of what mirrors itself there."""
    place = jnp.arange(length)
    mirrored = [place + 2 * length * turn for turn in (-1, 0, 1)] + [-1 - place + 2 * length * turn for turn in (0, 1)]
    gaps = jnp.stack([place[:, None] - each for each in mirrored])
    weights = jnp.exp(-0.5 * (gaps / jnp.maximum(sigma, 1e-3)) ** 2) * (jnp.abs(gaps) <= jnp.floor(3 * sigma + 0.5))
    weights = weights.sum(0)
    return weights / weights.sum(1, keepdims=True)
