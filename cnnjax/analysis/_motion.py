"""Moving images a little in seven ways, with how much as an argument: one program moves in all of them."""

import functools
import math
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.ops import warp

Motion = Literal["down", "right", "rotation", "scale", "shear", "brightness", "contrast"]
"""Down and right are in pixels, rotation in degrees from right to down, scale in doublings, shear in pixels to the
right for each downwards, brightness is added, contrast in doublings of the distance from an image's mean."""

Border = Literal["edge", "constant", "reflect", "circular"]

MOTIONS = ("down", "right", "rotation", "scale", "shear", "brightness", "contrast")
COLORS = MOTIONS[-2:]  # what moves no place


def along(motion: str) -> np.ndarray:
    """The seven numbers of one unit of a motion: of those of all motions, this one's is 1."""
    return np.eye(len(MOTIONS))[MOTIONS.index(motion)]


def generator(motion: str) -> np.ndarray:
    """The velocity of places about the centre: the 3×3 matrix of which a motion is the exponential."""
    down, right, rotation, scale, shear, _, _ = along(motion)
    turn, grow = rotation * math.pi / 180, scale * math.log(2)
    return np.array([[grow, turn, down], [shear - turn, grow, right], [0, 0, 0]])


def origins(numbers: Any, xp: Any = jnp) -> tuple[Any, Any]:
    """(2×2, 2): of places y x about the centre those that came there, by one motion's number among seven."""
    down, right, rotation, scale, shear, _, _ = (numbers[i] for i in range(len(MOTIONS)))
    turn, size = rotation * math.pi / 180, xp.exp2(-scale)
    cos, sin = xp.cos(turn) * size, xp.sin(turn) * size
    matrix = xp.stack([xp.stack([cos, -sin]), xp.stack([sin - shear, cos])])
    return matrix, xp.stack([-down, -right])


def grid(sizes: Sequence[int]) -> np.ndarray:
    """The places (*sizes, 2) of pixels about the centre of their image."""
    lines = [np.arange(size) - (size - 1) / 2 for size in sizes]
    return np.stack(np.meshgrid(*lines, indexing="ij"), -1)


@functools.partial(jax.jit, static_argnames="border")
def moved(images: jax.Array, numbers: jax.Array, border: str) -> jax.Array:
    """Images (B, H, W, C) in [0, 1] moved by numbers (7,), or (B, 7): low-passed where they shrink, and in [0, 1]."""
    if numbers.ndim == 1:
        numbers = jnp.broadcast_to(numbers, (len(images), len(numbers)))
    places = grid(images.shape[1:-1]).astype(images.dtype)
    centre = (np.array(images.shape[1:-1]) - 1) / 2

    def passed(images):
        return jax.vmap(lambda image, numbers: low_passed(image, numbers[3], border))(images, numbers)

    def one(image, numbers):
        matrix, offset = origins(numbers)
        image = read(image, places @ matrix.T + offset + centre, border)
        mean = jnp.mean(image)
        return jnp.clip(mean + (image - mean) * jnp.exp2(numbers[6]) + numbers[5], 0, 1)

    numbers = numbers.astype(images.dtype)
    images = jax.lax.cond((numbers[:, 3] < 0).any(), passed, lambda images: images, images)
    return jax.vmap(one)(images, numbers)


def read(image: jax.Array, places: jax.Array, border: str) -> jax.Array:
    """An image (H, W, C) read bilinearly at places (h, w, 2) in pixels."""
    if border != "circular":
        return warp(image, places, border=border)
    wide = jnp.pad(image, [(0, 1), (0, 1), (0, 0)], "wrap")
    return warp(wide, jnp.mod(places, np.array(image.shape[:-1])), border="edge")


def cubic_taps(places: np.ndarray, sizes: Sequence[int], border: str) -> tuple[np.ndarray, np.ndarray]:
    """The sixteen pixels, in the order of an image of these sizes, that cubic convolution reads at places (*any, 2),
    and their weights: (16, *any) each, as `ops.warp` has them.
    """
    low = np.floor(places).astype(int)
    apart = np.abs(places[None] - low - np.arange(-1, 3).reshape(-1, *[1] * places.ndim))
    near, far = (1.5 * apart - 2.5) * apart**2 + 1, ((-0.5 * apart + 2.5) * apart - 4) * apart + 2
    weights = np.where(apart <= 1, near, np.where(apart < 2, far, 0))
    pairs = [(y, x) for y in range(4) for x in range(4)]
    found = [pixels(low + np.array(pair) - 1, sizes, border) for pair in pairs]
    index, inside = (np.stack(each) for each in zip(*found, strict=True))
    return index, inside * np.stack([weights[y, ..., 0] * weights[x, ..., 1] for y, x in pairs])


def pixels(places: np.ndarray, sizes: Sequence[int], border: str) -> tuple[np.ndarray, np.ndarray]:
    """The pixels that stand for whole places (*any, 2), in the order of an image, and whether they count (*any)."""
    sizes = np.array(sizes)
    inside = ((places >= 0) & (places < sizes)).all(-1)
    if border == "circular":
        places = places % sizes
    elif border == "reflect":
        around = np.maximum(2 * (sizes - 1), 1)
        places = np.minimum(np.abs(places) % around, around - np.abs(places) % around)
    places = np.clip(places, 0, sizes - 1)
    return places[..., 0] * sizes[1] + places[..., 1], inside | (border != "constant")


def gathered(x: jax.Array, taps: tuple[jax.Array, jax.Array]) -> jax.Array:
    """The weighted sums (B, h, w, C) of pixels of x (B, H, W, C), by `index` and `weight` (taps, h, w)."""
    flat = x.reshape(len(x), -1, x.shape[-1])

    def added(total, tap):
        index, weight = tap
        return total + flat[:, index] * weight[..., None], ()

    zero = jnp.zeros((len(x), *taps[0].shape[1:], x.shape[-1]), x.dtype)
    return jax.lax.scan(added, zero, taps)[0]


def deviation(doublings: Any, xp: Any = np) -> Any:
    """Of the Gaussian that takes from an image what a smaller one can't hold, in its pixels; 0 where it grows."""
    return 0.5 * xp.sqrt(xp.maximum(xp.exp2(-2 * doublings) - 1, 0))


def low_passed(image: jax.Array, doublings: Any, border: str) -> jax.Array:
    """An image (H, W, C) without what it can't hold when it shrinks by 2^doublings; where it grows as it is."""
    sigma = jnp.maximum(deviation(doublings, jnp), 1e-3)
    for axis, size in enumerate(image.shape[:-1]):
        apart = np.abs(np.arange(size)[:, None] - np.arange(size))
        apart = np.minimum(apart, size - apart) if border == "circular" else apart
        weights = jnp.exp(-0.5 * (apart / sigma) ** 2)
        weights = (weights / weights.sum(1, keepdims=True)).astype(image.dtype)
        image = jnp.moveaxis(jnp.tensordot(weights, image, (1, axis)), 0, axis)
    return image
