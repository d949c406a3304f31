"""Pooling over windows, whole maps, adaptive bins, pyramids and groups of channels; channels last."""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax.ops.convolution import conv
from cnnjax.ops.dtypes import floating
from cnnjax.ops.shapes import flat, output_size, pad_pairs, per_dimension, rank
from cnnjax.refusals import refuse_misfits

__all__ = [
    "adaptive_pool",
    "avg_pool",
    "blur_pool",
    "channel_pool",
    "gaussian_window",
    "global_pool",
    "lp_pool",
    "max_pool",
    "pyramid_pool",
    "weighted_pool",
]

Ints = int | Sequence[int]
Padding = str | int | Sequence[int] | Sequence[Sequence[int]]
PoolKind = Literal["avg", "max", "lp"]
WindowKind = Literal["avg", "max", "lp", "blur"]
_PLACES = 16  # places of a window up to which a program names each of them


def max_pool(
    x: jax.Array, window: Ints, *, stride: Ints = (), padding: Padding = "valid", dilation: Ints = 1, ceil: bool = False
) -> jax.Array:
    """The largest value in each window of x (B, *sizes, C); of equal ones the first in window order has the gradient.

    Without a stride it is the window, here and below.
    """
    window, stride, dilation, pairs = _frame(x, window, stride, padding, dilation, ceil)
    lowest = -jnp.inf if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.iinfo(x.dtype).min
    return _windowed(x, lowest, _first_largest, window, stride, pairs, dilation)


def avg_pool(
    x: jax.Array,
    window: Ints,
    *,
    stride: Ints = (),
    padding: Padding = "valid",
    dilation: Ints = 1,
    ceil: bool = False,
    count_padding: bool = False,
) -> jax.Array:
    """The mean of each window of x (B, *sizes, C), over real pixels alone or over the padding as well.

    What hangs over the end because of `ceil` never counts.
    """
    window, stride, dilation, pairs = _frame(x, window, stride, padding, dilation, ceil)
    x, sizes = floating(x), x.shape[1:-1]
    asked = pad_pairs(padding, sizes, window, stride, dilation)
    counts = _counts(sizes, window, stride, pairs, dilation, asked if count_padding else ((0, 0),) * len(sizes))
    return _windowed(x, 0, _sum, window, stride, pairs, dilation) * (1 / counts).astype(x.dtype)[..., None]


def lp_pool(
    x: jax.Array,
    window: Ints,
    *,
    p: float = 2.0,
    stride: Ints = (),
    padding: Padding = "valid",
    dilation: Ints = 1,
    ceil: bool = False,
) -> jax.Array:
    """(Σ |x|^p)^(1/p) of each window of x (B, *sizes, C); the gradient of a window of zeros is 0."""
    window, stride, dilation, pairs = _frame(x, window, stride, padding, dilation, ceil)
    return _root(_windowed(_power(x, p), 0, _sum, window, stride, pairs, dilation), p)


def weighted_pool(
    x: jax.Array,
    window: jax.Array,
    *,
    stride: Ints = (),
    padding: Padding = "valid",
    dilation: Ints = 1,
    ceil: bool = False,
) -> jax.Array:
    """Σ weight · x over each window of x (B, *sizes, C); `window` holds the weights, one for each of its places."""
    x = floating(x)
    window = jnp.asarray(window, x.dtype)
    _, stride, dilation, pairs = _frame(x, window.shape, stride, padding, dilation, ceil)
    kernel = jnp.broadcast_to(window[..., None, None], (*window.shape, 1, x.shape[-1]))
    return conv(x, kernel, stride=stride, padding=pairs, dilation=dilation, groups=x.shape[-1])


def blur_pool(
    x: jax.Array,
    window: Ints = 1,
    *,
    stride: Ints = (),
    padding: Padding = "valid",
    ceil: bool = False,
    blur: int = 3,
) -> jax.Array:
    """The largest value around each place of x (B, *sizes, C), blurred before places are left out (Zhang 2019).

    It has the sizes of `max_pool` and changes less with shifts that are no multiple of the stride. `blur` is the
    side of the binomial window; beyond the border it sees the map mirrored. With `window` 1 it blurs alone.
    """
    n = rank(x)
    window = per_dimension("window", window, n)
    stride = per_dimension("stride", stride or window, n)
    pairs = pad_pairs(padding, x.shape[1:-1], window, stride, (1,) * n)
    dims = zip(x.shape[1:-1], window, stride, pairs, strict=True)
    sizes = [output_size(size, k, s, pair, 1, ceil) for size, k, s, pair in dims]
    if blur < 1:
        raise ValueError(f"blur is {blur}; it must be at least 1")
    dense = floating(max_pool(x, window, stride=1, padding=pairs))
    low, border = (blur - 1) // 2, [(0, 0)]
    for size, s, have in zip(sizes, stride, dense.shape[1:-1], strict=True):
        border.append((low, max((size - 1) * s + blur - low - have, 0)))
    mirrored = all(max(pair) < have for pair, have in zip(border[1:], dense.shape[1:-1], strict=True))
    dense = jnp.pad(dense, [*border, (0, 0)], "reflect" if mirrored else "edge")
    weights = np.array([math.comb(blur - 1, i) for i in range(blur)], np.float64) / 2.0 ** (blur - 1)
    kernel = functools.reduce(np.multiply.outer, [weights] * n)
    pooled = weighted_pool(dense, kernel, stride=stride)
    return pooled[(slice(None), *(slice(size) for size in sizes))]


def gaussian_window(size: Ints, sigma: float | Sequence[float]) -> jax.Array:
    """Window weights (*size) of a Gaussian with this width in pixels, summing to 1."""
    size = per_dimension("size", size, len(size) if isinstance(size, Sequence) else 1)
    sigma = (sigma,) * len(size) if not isinstance(sigma, Sequence) else sigma
    if len(sigma) != len(size) or min(sigma) <= 0:
        raise ValueError(f"sigma is {sigma}; it must be one width > 0, or one for each of the sizes {size}")
    weights = jnp.ones(())
    for k, width in zip(size, sigma, strict=True):
        bell = jnp.exp(-0.5 * ((jnp.arange(k) - (k - 1) / 2) / width) ** 2)
        weights = weights[..., None] * (bell / bell.sum())
    return weights


def global_pool(x: jax.Array, kind: PoolKind = "avg", *, p: float = 2.0) -> jax.Array:
    """The mean, maximum or p-norm (B, C) over all places of x (B, *sizes, C)."""
    refuse_misfits(global_pool, locals())
    rank(x, (0, 1, 2, 3))
    if 0 in x.shape[1:-1]:
        raise ValueError(f"x is {x.shape}: an empty map has no {kind}; it needs a place")
    places = x.reshape(x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1])
    if kind == "max":
        return _first_max(places, 1)
    return jnp.mean(places, 1) if kind == "avg" else _root(jnp.sum(_power(places, p), 1), p)


def adaptive_pool(x: jax.Array, sizes: Ints, kind: PoolKind = "avg") -> jax.Array:
    """x (B, *any, C) pooled to (B, *sizes, C): bin i of n reaches from ⌊i·m/n⌋ to ⌈(i+1)·m/n⌉."""
    refuse_misfits(adaptive_pool, locals())
    sizes = per_dimension("sizes", sizes, rank(x))
    for axis, n in enumerate(sizes, 1):
        m = x.shape[axis]
        bins = [(i * m // n, -(-(i + 1) * m // n)) for i in range(n)]
        parts = [_over(lax.slice_in_dim(x, low, high, axis=axis), axis, kind) for low, high in bins]
        x = jnp.stack(parts, axis)
    return x


def pyramid_pool(x: jax.Array, levels: Sequence[int] = (1, 2, 4), kind: PoolKind = "max") -> jax.Array:
    """Adaptive pools of x (B, *sizes, C) at each level, flat and side by side: (B, Σ levelⁿ · C), any size in."""
    if not levels:
        raise ValueError("levels is empty; it must name a grid, as in (1, 2, 4)")
    return jnp.concatenate([flat(adaptive_pool(x, level, kind)) for level in levels], -1)


def channel_pool(x: jax.Array, groups: int, kind: PoolKind = "max") -> jax.Array:
    """x (…, groups · n) pooled over the n neighbouring channels of each group: (…, groups). `max` is maxout."""
    refuse_misfits(channel_pool, locals())
    if groups < 1 or x.shape[-1] % groups:
        raise ValueError(f"groups is {groups}; it must divide the {x.shape[-1]} channels of x {x.shape}")
    return _over(x.reshape(*x.shape[:-1], groups, -1), x.ndim, kind)


def _frame(x, window, stride, padding, dilation, ceil):
    """Window, stride, dilation and padding pairs of a pool, the ragged last window of `ceil` padded for."""
    n = rank(x)
    window, dilation = per_dimension("window", window, n), per_dimension("dilation", dilation, n)
    stride = window if isinstance(stride, tuple) and not stride else per_dimension("stride", stride, n)
    pairs = []
    for size, k, s, pair, d in zip(
        x.shape[1:-1],
        window,
        stride,
        pad_pairs(padding, x.shape[1:-1], window, stride, dilation),
        dilation,
        strict=True,
    ):
        places = output_size(size, k, s, pair, d, ceil)
        over = (places - 1) * s + (k - 1) * d + 1 - size - sum(pair)
        pairs.append((pair[0], pair[1] + max(over, 0)))
    return window, stride, dilation, tuple(pairs)


def _windowed(x, fill, combined, window, stride, pairs, dilation):
    """What `combined` makes of the places of each window, along the last dimension first, then the others.

    Slices and elementwise sums of them: `reduce_window` has a gradient ten times as slow on CPU. Windows that do not
    overlap are combined in all dimensions at once, which reads and writes the large map once.
    """
    x = lax.pad(x, jnp.asarray(fill, x.dtype), [(0, 0, 0), *((low, high, 0) for low, high in pairs), (0, 0, 0)])
    if window == stride and set(dilation) == {1} and math.prod(window) <= _PLACES:
        return _OF_TILES[combined](_tiles(x, window))
    for axis in reversed(range(1, x.ndim - 1)):
        parts = _line_parts(x, axis, window[axis - 1], stride[axis - 1], dilation[axis - 1])
        x = combined(parts)
        if window[axis - 1] > stride[axis - 1] or axis == 1:
            # what the gradient sums over is computed once, not for each of the windows' places anew
            x = lax.optimization_barrier(x)
    return x


def _line_parts(x, axis, k, s, d):
    """What stands first, second, … in the windows along one axis: k arrays."""
    places = (x.shape[axis] - (k - 1) * d - 1) // s + 1
    if k == s and d == 1:  # no overlap: the gradient of a split is a concatenation
        tiles = lax.slice_in_dim(x, 0, places * k, axis=axis)
        tiles = tiles.reshape(*x.shape[:axis], places, k, *x.shape[axis + 1 :])
        return [jnp.squeeze(part, axis + 1) for part in lax.split(tiles, (1,) * k, axis + 1)]
    return [lax.slice_in_dim(x, i * d, i * d + (places - 1) * s + 1, s, axis) for i in range(k)]


def _tiles(x, window):
    """x (B, *sizes, C) cut into windows: (B, places, k, places, k, …, C), what is left over at the ends cut off."""
    places = [size // k for size, k in zip(x.shape[1:-1], window, strict=True)]
    for axis, (count, k) in enumerate(zip(places, window, strict=True), 1):
        x = lax.slice_in_dim(x, 0, count * k, axis=axis)
    return x.reshape(x.shape[0], *(size for pair in zip(places, window, strict=True) for size in pair), x.shape[-1])


def _tile_parts(tiles):
    """What stands first, second, … in each window of tiles, the last dimension fastest: arrays (B, *places, C)."""
    windows = itertools.product(*map(range, tiles.shape[2:-1:2]))
    return [tiles[(slice(None), *(index for i in at for index in (slice(None), i)))] for at in windows]


def _tile_axes(tiles):
    return tuple(range(2, tiles.ndim - 1, 2))


@jax.custom_jvp
def _tile_sum(tiles):
    return _sum(_tile_parts(tiles))


@_tile_sum.defjvp
def _(primals, tangents):
    return _tile_sum(*primals), jnp.sum(*tangents, _tile_axes(*tangents))  # transposed, a broadcast


@jax.custom_jvp
def _tile_largest(tiles):
    return _winner(_tile_parts(tiles))[0]


@_tile_largest.defjvp
def _(primals, tangents):
    (tiles,), (tangent,) = primals, tangents
    axes = _tile_axes(tiles)
    best, number = lax.optimization_barrier(_winner(_tile_parts(tiles)))
    place = 0
    for axis in axes:
        shape = [tiles.shape[axis] if other == axis else 1 for other in range(tiles.ndim)]
        place = place * tiles.shape[axis] + lax.broadcasted_iota(number.dtype, shape, axis)
    return best, jnp.sum(jnp.where(jnp.expand_dims(number, axes) == place, tangent, 0), axes)


def _sum(parts):
    return functools.reduce(jnp.add, parts)


def _winner(parts):
    """The largest elements, or NaN, and the number of the part that each stands in: of equal ones the first."""
    best, number = parts[0], jnp.zeros(parts[0].shape, jnp.int16)
    for i, part in enumerate(parts[1:], 1):
        won = (part > best) | (part != part)
        best, number = jnp.where(won, part, best), jnp.where(won, jnp.int16(i), number)
    return best, number


def _first_largest(parts):
    """The largest elements; all of the gradient goes to the first of equal ones, by its number alone."""
    number = lax.optimization_barrier(_winner([lax.stop_gradient(part) for part in parts])[1])
    largest = parts[0]
    for i, part in enumerate(parts[1:], 1):
        largest = jnp.where(number == i, part, largest)
    return lax.optimization_barrier(largest)


_OF_TILES = {_sum: _tile_sum, _first_largest: _tile_largest}


def _counts(sizes, window, stride, pairs, dilation, counted):
    """How many pixels (or counted padding) stand under each place of the window."""
    counts = np.ones(())
    for size, k, s, (low, high), d, (left, right) in zip(sizes, window, stride, pairs, dilation, counted, strict=True):
        real = np.zeros(low + size + high)
        real[low - left : low + size + right] = 1
        places = (len(real) - (k - 1) * d - 1) // s + 1
        line = np.array([real[i * s : i * s + (k - 1) * d + 1 : d].sum() for i in range(places)])
        counts = counts[..., None] * line
    return np.maximum(counts, 1)


def _power(x, p):
    if isinstance(p, (int, float)) and p <= 0:
        raise ValueError(f"p is {p}; a norm needs p > 0")
    x = floating(x)
    return jnp.square(x) if p == 2 else jnp.abs(x) ** p


def _root(total, p):
    zero = total == 0
    return jnp.where(zero, 0, jnp.where(zero, 1, total) ** (1 / p))


def _first_max(x, axis):
    return jnp.take_along_axis(x, jnp.argmax(x, axis, keepdims=True), axis).squeeze(axis)


def _over(x, axis, kind):
    if kind == "max":
        return _first_max(x, axis)
    return jnp.mean(x, axis) if kind == "avg" else _root(jnp.sum(_power(x, 2.0), axis), 2.0)
