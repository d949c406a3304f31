"""Normalisation; statistics are computed in float32 at least, whatever the dtype of the features."""

import math

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.ops import axes
from cnnjax.ops.dtypes import affine, floating, widened
from cnnjax.ops.shapes import divisor, rank

__all__ = [
    "batch_norm",
    "batch_statistics",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "local_response_norm",
    "weight_standardize",
]

_RUN = 8  # a sum of more pixels is made an element at a time


def batch_statistics(x: jax.Array, *, group: int = 0) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance of each channel of x (B, …, C) over the global batch: two arrays (C,).

    With `group`, over every `group` neighbouring examples of the global batch, on one device or across several:
    two arrays (N, C), each row for B / N neighbouring examples of this device.
    """
    if x.ndim < 2:
        raise ValueError(f"x has shape {x.shape}; it must be (batch, …, channels)")
    batch = x.shape[0]
    if 0 in x.shape[:-1]:
        raise ValueError(f"x is {x.shape}: nothing has no statistics; it needs an example and a place")
    whole = batch * axes.count()
    if group < 0 or (group and whole % group):
        raise ValueError(f"group is {group}; it must be 0 or divide the global batch of {whole} examples")
    part = math.gcd(batch, group) if group else batch
    rows = x.reshape(batch // part, part, *x.shape[1:])
    mean, variance = _moments(rows)
    if group == 0:
        middle = axes.mean(mean)
        variance = axes.mean(variance + jnp.square(mean - middle))
        return middle[0], variance[0]
    if part < group:
        mean, variance = _merged(mean, variance, group // part)
    return mean, variance


def _moments(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and variance (N, C) of rows (N, …, C) in one pass, about a point near the mean.

    The result does not depend on the point, which only keeps the squares small: it has no gradient, and the variance's
    gradient needs no sum over the features as that of two passes does.
    """
    few = rows[(slice(None), slice(0, 1), *(slice(None, None, -(-size // 4)) for size in rows.shape[2:-1]))]
    point = lax.stop_gradient(jnp.mean(widened(few), tuple(range(1, rows.ndim - 1))))

    @jax.vmap
    @jax.checkpoint  # distances are computed again in the backward pass, not written out, nor rows in float32
    def from_point(rows, point):
        return _sums(widened(rows) - point)

    away, squares = (value / math.prod(rows.shape[1:-1]) for value in from_point(rows, point))
    return point + away, jnp.maximum(squares - jnp.square(away), 0)


@jax.custom_jvp
def _sums(x):
    """The sums of x and of its squares over all axes but the last."""
    return lax.platform_dependent(x, cpu=_sums_together, default=_sums_apart)


@_sums.defjvp
def _(operands, tangents):
    (x,), (change,) = operands, tangents
    over = tuple(range(x.ndim - 1))
    return _sums(x), (jnp.sum(change, over), 2 * jnp.sum(x * change, over))


def _sums_apart(x):
    over = tuple(range(x.ndim - 1))
    return jnp.sum(x, over), jnp.sum(jnp.square(x), over)


def _sums_together(x):
    """Both sums in one reading, first of `_RUN` neighbouring pixels: XLA's backend for CPUs unrolls that many."""
    pixels = math.prod(x.shape[:-1])
    run = divisor(pixels, _RUN) if isinstance(pixels, int) else 1  # an export for any batch
    if run == 1:
        return _sums_apart(x)
    x = x.reshape(pixels // run, run, x.shape[-1])
    zero = jnp.zeros((), x.dtype)
    parts = lax.reduce((x, jnp.square(x)), (zero, zero), lambda p, q: (p[0] + q[0], p[1] + q[1]), (1,))
    return tuple(jnp.sum(part, 0) for part in parts)


def _merged(mean: jax.Array, variance: jax.Array, many: int) -> tuple[jax.Array, jax.Array]:
    """The statistics of groups made of `many` parts each, repeated for every part of this device."""
    n = mean.shape[0]
    means = axes.gathered(mean).reshape(-1, many, mean.shape[-1])
    variances = axes.gathered(variance).reshape(means.shape)
    middle = jnp.mean(means, 1, keepdims=True)
    variance = jnp.mean(variances + jnp.square(means - middle), 1)
    spread = [jnp.repeat(value, many, 0) for value in (middle[:, 0], variance)]
    return tuple(lax.dynamic_slice_in_dim(value, axes.first(n), n) for value in spread)


def batch_norm(
    x: jax.Array,
    scale: jax.Array | float,
    bias: jax.Array | float,
    mean: jax.Array,
    variance: jax.Array,
    *,
    eps: float = 1e-5,
) -> jax.Array:
    """x (B, …, C) normalised with given statistics (C,), or (N, C) for N runs of neighbouring examples, then scaled."""
    _channels(x, scale=scale, bias=bias, mean=mean, variance=variance)
    x = floating(x)
    factor = scale * lax.rsqrt(variance + eps)
    offset = bias - mean * factor
    if factor.ndim < 2:
        return affine(x, factor, offset)
    if x.shape[0] % factor.shape[0]:
        raise ValueError(f"mean has shape {mean.shape}: its rows must divide the {x.shape[0]} examples of x {x.shape}")
    rows = x.reshape(factor.shape[0], -1, x.shape[-1])
    return affine(rows, factor[:, None], offset[:, None]).reshape(x.shape)


def layer_norm(
    x: jax.Array, scale: jax.Array | float, bias: jax.Array | float, *, spatial: bool = False, eps: float = 1e-6
) -> jax.Array:
    """x (B, …, C) normalised over its channels at each place, or with `spatial` over everything but the batch."""
    _channels(x, scale=scale, bias=bias)
    return _standard(x, tuple(range(1, x.ndim)) if spatial else (x.ndim - 1,), eps, scale, bias)


def group_norm(
    x: jax.Array, scale: jax.Array | float, bias: jax.Array | float, *, groups: int = 32, eps: float = 1e-5
) -> jax.Array:
    """x (B, …, C) normalised over the places and channels of each of `groups` runs of channels."""
    _channels(x, scale=scale, bias=bias)
    channels = x.shape[-1]
    if groups < 1 or channels % groups:
        raise ValueError(f"groups is {groups}; it must divide the {channels} channels of x {x.shape}")
    parted = x.reshape(x.shape[0], math.prod(x.shape[1:-1]), groups, channels // groups)
    scale, bias = (jnp.broadcast_to(value, (channels,)).reshape(groups, -1) for value in (scale, bias))
    return _standard(parted, (1, 3), eps, scale, bias).reshape(x.shape)


def instance_norm(x: jax.Array, scale: jax.Array | float, bias: jax.Array | float, *, eps: float = 1e-5) -> jax.Array:
    """x (B, …, C) normalised over the places of each channel of each example."""
    rank(x)
    _channels(x, scale=scale, bias=bias)
    return _standard(x, tuple(range(1, x.ndim - 1)), eps, scale, bias)


def _channels(x, **values):
    """Refuses features without channels, and factors for another number of channels."""
    if x.ndim < 2:
        raise ValueError(f"x has shape {x.shape}; it must be (batch, …, channels)")
    for name, value in values.items():
        shape = jnp.shape(value)
        if shape and shape[-1] not in (1, x.shape[-1]):
            raise ValueError(f"{name} has shape {shape}; x {x.shape} has {x.shape[-1]} channels")


def _standard(x, over, eps, scale, bias):
    wide = widened(x)
    mean = jnp.mean(wide, over, keepdims=True)
    variance = jnp.mean(jnp.square(wide - mean), over, keepdims=True)
    return ((wide - mean) * (lax.rsqrt(variance + eps) * scale) + bias).astype(floating(x).dtype)


def local_response_norm(
    x: jax.Array, size: int = 5, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> jax.Array:
    """x (…, C) / (bias + alpha / size · Σ x² over `size` neighbours)^beta; an even size looks further back."""
    _channels(x)
    if size < 1:
        raise ValueError(f"size is {size}; it must be at least 1 channel")
    wide = widened(x)
    window = (1,) * (x.ndim - 1) + (size,)
    edges = ((0, 0),) * (x.ndim - 1) + ((size // 2, (size - 1) // 2),)
    around = lax.reduce_window(jnp.square(wide), 0.0, lax.add, window, (1,) * x.ndim, edges)
    return (wide * (bias + alpha / size * around) ** -beta).astype(floating(x).dtype)


def weight_standardize(kernel: jax.Array, *, eps: float = 1e-5) -> jax.Array:
    """A kernel (*window, inputs, outputs) with mean 0 and variance 1 for each output."""
    if kernel.ndim < 2:
        raise ValueError(f"kernel has shape {kernel.shape}; it must be (*window, inputs, outputs)")
    return _standard(kernel, tuple(range(kernel.ndim - 1)), eps, 1.0, 0.0)
