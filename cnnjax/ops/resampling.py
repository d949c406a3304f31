"""Reading arrays between their pixels: resizing, warping, regions of interest, pixel shuffles."""

import itertools
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp

from cnnjax.ops.dtypes import widened
from cnnjax.ops.shapes import per_dimension, rank
from cnnjax.refusals import refuse_misfits

__all__ = ["pixel_shuffle", "pixel_unshuffle", "resize", "roi_align", "warp"]

Method = Literal["nearest", "bilinear", "cubic"]


def resize(
    x: jax.Array,
    sizes: int | Sequence[int],
    *,
    method: Method = "bilinear",
    antialias: bool = True,
    corners: bool = False,
) -> jax.Array:
    """x (B, *any, C) resampled to (B, *sizes, C), pixel edges aligned, or pixel centres of the `corners`."""
    refuse_misfits(resize, locals())
    sizes = per_dimension("sizes", sizes, rank(x))
    if corners:
        scales = [(m - 1) / max(n - 1, 1) for m, n in zip(x.shape[1:-1], sizes, strict=True)]
        grid = jnp.stack(
            jnp.meshgrid(*(jnp.arange(n) * s for n, s in zip(sizes, scales, strict=True)), indexing="ij"), -1
        )
        return jax.vmap(lambda image: warp(image, grid, method=method, border="edge"))(x)
    if method == "nearest" and all(n % m == 0 for m, n in zip(x.shape[1:-1], sizes, strict=True)):
        return _repeated(x, [n // m for m, n in zip(x.shape[1:-1], sizes, strict=True)])
    return jax.image.resize(x, (x.shape[0], *sizes, x.shape[-1]), method, antialias=antialias).astype(x.dtype)


def _repeated(x, factors):
    """Whole-number nearest upsampling as a broadcast: its gradient is a sum, not a scatter."""
    shape = [x.shape[0]]
    spread = [x.shape[0]]
    for m, f in zip(x.shape[1:-1], factors, strict=True):
        shape += [m, 1]
        spread += [m, f]
    wide = jnp.broadcast_to(widened(x).reshape(*shape, x.shape[-1]), (*spread, x.shape[-1]))  # its gradient is a sum
    sizes = (m * f for m, f in zip(x.shape[1:-1], factors, strict=True))
    return wide.reshape(x.shape[0], *sizes, x.shape[-1]).astype(x.dtype)


def warp(
    x: jax.Array,
    coordinates: jax.Array,
    *,
    method: Method = "bilinear",
    border: Literal["constant", "edge", "reflect"] = "constant",
    fill: jax.Array | float = 0.0,
) -> jax.Array:
    """x (*sizes, C) read at coordinates (*places, n) in pixels, pixel centres at whole numbers: (*places, C).

    With a batch, x (B, *sizes, C) and coordinates (B, *places, n). Outside, "constant" is `fill`,
    "edge" the nearest pixel, "reflect" the mirror image about the edge pixels' centres.
    """
    refuse_misfits(warp, locals())
    n = coordinates.shape[-1]
    if x.ndim == n + 2 and coordinates.ndim > 1 and coordinates.shape[0] == x.shape[0]:
        return jax.vmap(lambda image, places: _warped(image, places, method, border, fill))(x, coordinates)
    if x.ndim != n + 1:
        raise ValueError(
            f"x {x.shape} must be (*sizes, channels) with {n} sizes, or a batch of them, "
            f"for coordinates {coordinates.shape}"
        )
    return _warped(x, coordinates, method, border, fill)


def _warped(x, places, method, border, fill):
    """One example: the weighted sum of the 1, 2ⁿ or 4ⁿ pixels around each place."""
    n, sizes = places.shape[-1], x.shape[:-1]
    lines = [_taps(places[..., i], method) for i in range(n)]
    out = jnp.zeros((*places.shape[:-1], x.shape[-1]), jnp.promote_types(x.dtype, places.dtype))
    for corner in itertools.product(*lines):
        index, inside = [], jnp.ones(places.shape[:-1], bool)
        for (i, _), size in zip(corner, sizes, strict=True):
            inside &= (i >= 0) & (i < size)
            index.append(_folded(i, size, border))
        value = x[tuple(index)]
        if border == "constant":
            value = jnp.where(inside[..., None], value, fill)
        weight = 1.0
        for _, w in corner:
            weight = weight * w
        out += value * (weight[..., None] if method != "nearest" else 1)
    return out.astype(x.dtype)


def _taps(place, method):
    """(index, weight) of each pixel that a coordinate reads along one dimension."""
    if method == "nearest":
        return [(jnp.floor(place + 0.5).astype(jnp.int32), 1.0)]
    low = jnp.floor(place)
    t = place - low
    low = low.astype(jnp.int32)
    if method == "bilinear":
        return [(low, 1 - t), (low + 1, t)]
    return [(low + i, _keys(t - i)) for i in (-1, 0, 1, 2)]


def _keys(t):
    """The cubic kernel of Keys with a = −1/2, the one of `jax.image.resize`."""
    t = jnp.abs(t)
    near = (1.5 * t - 2.5) * t * t + 1
    far = ((-0.5 * t + 2.5) * t - 4) * t + 2
    return jnp.where(t <= 1, near, jnp.where(t < 2, far, 0))


def _folded(i, size, border):
    if border == "reflect" and size > 1:
        i = jnp.abs(i) % (2 * (size - 1))
        i = jnp.minimum(i, 2 * (size - 1) - i)
    return jnp.clip(i, 0, size - 1)


def pixel_shuffle(x: jax.Array, factor: int) -> jax.Array:
    """x (B, H, W, C · factor²) → (B, H · factor, W · factor, C); the channels run c, row, column as in PyTorch."""
    rank(x, (2,))
    b, h, w, c = x.shape
    if factor < 1 or c % factor**2:
        raise ValueError(f"factor is {factor}; its square must divide the {c} channels of x {x.shape}")
    x = x.reshape(b, h, w, c // factor**2, factor, factor)
    return x.transpose(0, 1, 4, 2, 5, 3).reshape(b, h * factor, w * factor, -1)


def pixel_unshuffle(x: jax.Array, factor: int) -> jax.Array:
    """x (B, H · factor, W · factor, C) → (B, H, W, C · factor²): the inverse of `pixel_shuffle`."""
    rank(x, (2,))
    b, h, w, c = x.shape
    if factor < 1 or h % factor or w % factor:
        raise ValueError(f"factor is {factor}; it must divide the sizes {h}×{w} of x {x.shape}")
    x = x.reshape(b, h // factor, factor, w // factor, factor, c)
    return x.transpose(0, 1, 3, 5, 2, 4).reshape(b, h // factor, w // factor, c * factor**2)


def roi_align(
    x: jax.Array,
    boxes: jax.Array,
    sizes: int | Sequence[int],
    *,
    scale: float = 1.0,
    samples: int = 2,
    aligned: bool = True,
) -> jax.Array:
    """Features (B, H, W, C) pooled bilinearly inside boxes (B, N, 4): (B, N, *sizes, C).

    `scale` takes the boxes' pixels to the features' (1 / stride); each bin is the mean of samples² points;
    `aligned` puts pixel centres at half numbers, without it the original half-pixel shift stays.
    """
    rank(x, (2,))
    if boxes.ndim != 3 or (boxes.shape[0], boxes.shape[2]) != (x.shape[0], 4):
        raise ValueError(f"boxes have shape {boxes.shape}; they must be (batch, boxes, 4) for x {x.shape}")
    rows, columns = per_dimension("sizes", sizes, 2)
    per_dimension("samples", samples, 1)
    _, height, width, _ = x.shape
    dtype = jnp.promote_types(jnp.result_type(x, boxes), jnp.float32)  # places in a large map need their digits

    def one(features, box):
        y0, x0, y1, x1 = box.astype(dtype) * scale - (0.5 if aligned else 0.0)
        tall, wide = (y1 - y0, x1 - x0) if aligned else (jnp.maximum(y1 - y0, 1.0), jnp.maximum(x1 - x0, 1.0))
        ys = y0 + tall * (jnp.arange(rows * samples) + 0.5) / (rows * samples)
        xs = x0 + wide * (jnp.arange(columns * samples) + 0.5) / (columns * samples)
        outside = ((ys < -1) | (ys > height))[:, None] | ((xs < -1) | (xs > width))[None]
        grid = jnp.stack(jnp.meshgrid(jnp.clip(ys, 0, height - 1), jnp.clip(xs, 0, width - 1), indexing="ij"), -1)
        points = jnp.where(outside[..., None], 0, _warped(features, grid, "bilinear", "edge", 0.0))
        return points.reshape(rows, samples, columns, samples, -1).mean((1, 3))

    return jax.vmap(jax.vmap(one, (None, 0)))(x, boxes)
