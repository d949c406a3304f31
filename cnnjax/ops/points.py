"""Points (…, 2) are y x; as maps of where they may be, and what the peaks of such maps say."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from cnnjax.ops.dtypes import widened
from cnnjax.ops.shapes import rank

__all__ = ["gaussian_maps", "map_peaks"]


def gaussian_maps(points: jax.Array, sizes: Sequence[int], *, sigma: jax.Array | float = 1.0) -> jax.Array:
    """Distributions (…, h, w, K) over the cells of maps of `sizes` (h, w): Gaussians about points (…, K, 2), in cells.

    Each sums to 1 over its map, also where the map's edge cuts it.
    """
    lines = [
        jax.nn.softmax(-0.5 * jnp.square((jnp.arange(n) - points[..., i, None]) / sigma)) for i, n in enumerate(sizes)
    ]
    return jnp.einsum("...ky,...kx->...yxk", *lines)


def map_peaks(maps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Points (B, K, 2) in cells and values (B, K) of the highest places of maps (B, h, w, K) of logits.

    Between cells along each axis by the parabola through three of them, which finds the middle of a Gaussian from its
    logarithm exactly, at the map's edge too; never further from the highest cell than half a cell.
    """
    rank(maps, (2,))
    maps = jnp.moveaxis(widened(maps), -1, 1)  # (B, K, h, w)
    height, width = maps.shape[2:]
    flat = maps.reshape(*maps.shape[:2], -1)
    top = jnp.argmax(flat, -1)
    y, x = top // width, top % width
    rows = jnp.take_along_axis(maps, y[..., None, None], 2)[:, :, 0]
    columns = jnp.take_along_axis(maps, x[..., None, None], 3)[..., 0]
    points = jnp.stack([_vertex(columns, y, height), _vertex(rows, x, width)], -1)
    return points, jnp.take_along_axis(flat, top[..., None], -1)[..., 0]


def _vertex(line: jax.Array, top: jax.Array, length: int) -> jax.Array:
    """Where (B, K) the parabola through three numbers of lines (B, K, n) about their place `top` is highest."""
    if length < 3:
        return top.astype(line.dtype)
    middle = jnp.clip(top, 1, length - 2)
    low, here, high = (jnp.take_along_axis(line, (middle + i)[..., None], -1)[..., 0] for i in (-1, 0, 1))
    bend = low - 2 * here + high
    shift = 0.5 * (low - high) / jnp.where(bend < 0, bend, 1)
    return jnp.clip(jnp.where(bend < 0, middle + shift, top), top - 0.5, top + 0.5)
