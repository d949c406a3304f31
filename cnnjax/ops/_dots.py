"""Convolutions as matrix products, and depthwise ones as shifted multiplies; each written forwards only.

What they leave to JAX is their transposition: slices become pads, products products, so the gradients are products too.
"""

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.ops._canonical import cut
from cnnjax.ops._plain import kernel_edges, numbers
from cnnjax.ops._trilinear import Geometry
from cnnjax.ops.shapes import divisor


def transposed_input(output_of, kernel, y, geometry):
    """The input's gradient of a lowering that is written forwards."""
    shape = (y.shape[0], *geometry.sizes, kernel.shape[-2] * geometry.groups)
    x = jax.ShapeDtypeStruct(shape, y.dtype)
    return jax.linear_transpose(lambda x: output_of(x, kernel, geometry), x)(y)[0]


def transposed_kernel(output_of, x, y, geometry):
    """The kernel's gradient of a lowering that is written forwards."""
    shape = (*geometry.window, x.shape[-1] // geometry.groups, y.shape[-1])
    kernel = jax.ShapeDtypeStruct(shape, x.dtype)
    return jax.linear_transpose(lambda kernel: output_of(x, kernel, geometry), kernel)(y)[0]


def kernel_by_pieces(kernel_of, x, y, geometry, places):
    """The kernel's gradient from `places` lines or planes of one example's output after the other.

    What `kernel_of` makes of such a piece of the input stays in the cache.
    """
    first = [values[0] for values in (geometry.window, geometry.stride, geometry.padding, geometry.dilation)]
    window, stride, (low, _), dilation = first
    many, tail = geometry.places[0] // places, (0,) * geometry.n
    length, whole = (((run - 1) * stride + (window - 1) * dilation + 1) for run in (places, geometry.places[0]))
    edges = [(0, 0, 0), (low, whole - geometry.sizes[0] - low, 0), *((0, 0, 0) for _ in tail)]
    x, y = lax.optimization_barrier((lax.pad(x, jnp.zeros((), x.dtype), edges), y))
    inner = (length, *geometry.sizes[1:])
    piece = dataclasses.replace(geometry, sizes=inner, padding=((0, 0), *geometry.padding[1:]))

    def add(total, i):
        example, start = i // many, i % many * places
        inputs = lax.dynamic_slice(x, (example, start * stride, *tail), (1, *inner, x.shape[-1]))
        outputs = lax.dynamic_slice(y, (example, start, *tail), (1, places, *y.shape[2:]))
        inputs, outputs = lax.optimization_barrier((inputs, outputs))
        return total + kernel_of(inputs, outputs, piece), ()

    total = jnp.zeros((*geometry.window, x.shape[-1], y.shape[-1]), x.dtype)
    return lax.scan(add, total, jnp.arange(x.shape[0] * many))[0]


def kernel_by_places(x, y, geometry, room):
    """The kernel's gradient at stride 1: a product for each place of the window, a few examples at a time.

    Pixels lie in one line, the channels of x above each other: what a place of the window sees is one stretch of that
    line, and where it runs over the end of an image's line y is zero. As many examples as fit `room` bytes stay in the
    cache for all places.
    """
    inputs, outputs = x.shape[-1], y.shape[-1]
    dims = list(zip(geometry.places, geometry.window, geometry.dilation, strict=True))
    sizes = [place + (k - 1) * d for place, k, d in dims]
    steps = [d * math.prod(sizes[axis + 1 :]) for axis, (_, _, d) in enumerate(dims)]  # to the window's next place
    window = itertools.product(*map(range, geometry.window))
    offsets = [sum(i * step for i, step in zip(at, steps, strict=True)) for at in window]
    each = math.prod(sizes) * (inputs + outputs) * x.dtype.itemsize
    some = divisor(len(x), room // each)
    run = some * math.prod(sizes)
    ends = [(0, size - place, 0) for size, place in zip(sizes, geometry.places, strict=True)]

    def add(total, pair):
        x, y = lax.optimization_barrier(pair)
        y = lax.pad(y, jnp.zeros((), y.dtype), [(0, 0, 0), *ends, (0, 0, 0)]).reshape(run, outputs)
        line = jnp.pad(x.reshape(run, inputs).T, ((0, 0), (0, offsets[-1])))
        line = lax.optimization_barrier(line)  # transposed once, not in each product
        return [part + line[:, i : i + run] @ y for part, i in zip(total, offsets, strict=True)], ()

    parts = [a.reshape(-1, some, *a.shape[1:]) for a in (_framed(x, geometry, sizes), y)]
    total = lax.scan(add, [jnp.zeros((inputs, outputs), x.dtype)] * len(offsets), parts)[0]
    return jnp.stack(total).reshape(*geometry.window, inputs, outputs)


def kernel_by_lines(x, y, geometry):
    """The kernel's gradient at stride 1 where there are few channels: one product.

    The channels of all lines that a window reads lie above each other, once for each place along a line; where that
    runs over the end of a line y is zero.
    """
    batch, inputs, outputs = x.shape[0], x.shape[-1], y.shape[-1]
    *lead, (place, k, d) = zip(geometry.places, geometry.window, geometry.dilation, strict=True)
    sizes = [place + (k - 1) * d for place, k, d in (*lead, (place, k, d))]
    x = _framed(x, geometry, sizes)
    lines = []
    for offset in itertools.product(*(range(k) for _, k, _ in lead)):
        stretches = (slice(i * d, i * d + place) for i, (place, _, d) in zip(offset, lead, strict=True))
        lines.append(x[(slice(None), *stretches)])
    run = batch * math.prod(geometry.places[:-1]) * sizes[-1]
    rows = jnp.moveaxis(jnp.stack(lines), -1, 1).reshape(-1, run)
    rows = lax.optimization_barrier(jnp.pad(rows, ((0, 0), (0, (k - 1) * d))))
    rows = jnp.concatenate([rows[:, i * d : i * d + run] for i in range(k)])
    y = lax.pad(y, jnp.zeros((), y.dtype), [*[(0, 0, 0)] * geometry.n, (0, sizes[-1] - place, 0), (0, 0, 0)])
    kernel = (rows @ y.reshape(run, outputs)).reshape(k, *geometry.window[:-1], inputs, outputs)
    return jnp.moveaxis(kernel, 0, geometry.n - 1)


def _framed(x: jax.Array, geometry: Geometry, lengths: list[int]) -> jax.Array:
    """x with its padding, cut or filled with zeros at the end to these lengths."""
    sizes = zip(geometry.sizes, geometry.padding, lengths, strict=True)
    edges = [(low, length - size - low, 0) for size, (low, _), length in sizes]
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])


def tiled(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """Where windows do not overlap (1×1, patches): cut into tiles, one product."""
    n = geometry.n
    dims = list(zip(geometry.places, geometry.stride, strict=True))
    x = _framed(x, geometry, [place * s for place, s in dims])
    x = x.reshape(x.shape[0], *(size for dim in dims for size in dim), x.shape[-1])
    x = x[(slice(None), *(index for k in geometry.window for index in (slice(None), slice(0, k))))]
    x = x.transpose(0, *range(1, 2 * n, 2), *range(2, 2 * n + 1, 2), 2 * n + 1)
    rows = x.reshape(-1, math.prod(x.shape[n + 1 :]))
    return (rows @ kernel.reshape(rows.shape[-1], -1)).reshape(x.shape[0], *geometry.places, -1)


def banded(x: jax.Array, kernel: jax.Array, geometry: Geometry, block: int) -> jax.Array:
    """Where there are few channels: runs of `block` outputs of a line at a time.

    What such a run reads of each line of the input stands together in memory; all of it times one banded matrix
    (the kernel, moved along by a stride for each output of the run) is one product, wide enough to be fast.
    """
    batch, channels = x.shape[0], x.shape[-1]
    *lead, (places, window, stride, dilation) = zip(
        geometry.places, geometry.window, geometry.stride, geometry.dilation, strict=True
    )
    reach = (block - 1) * stride + (window - 1) * dilation + 1
    step = block * stride
    runs, pieces = -(-places // block), -(-reach // step)
    lengths = [(place - 1) * s + (k - 1) * d + 1 for place, k, s, d in lead]
    x = _framed(x, geometry, [*lengths, (runs + pieces - 1) * step])
    lines = x.reshape(*x.shape[:-2], -1)
    parts = []
    for offset in itertools.product(*(range(k) for _, k, _, _ in lead)):
        part = lines
        for axis, (i, (place, _, s, d)) in enumerate(zip(offset, lead, strict=True), 1):
            part = lax.slice_in_dim(part, i * d, i * d + (place - 1) * s + 1, s, axis)
        for piece in range(pieces):  # what runs read in common is cut once for all of them, and laid side by side
            own = part[..., piece * step * channels : (piece + runs) * step * channels]
            own = own.reshape(*own.shape[:-1], runs, step * channels)
            parts.append(own[..., : (reach - piece * step) * channels])
    patches = jnp.concatenate(parts, -1)
    band = _band(kernel, geometry.n, block, reach, stride, dilation).astype(x.dtype)
    y = patches.reshape(-1, patches.shape[-1]) @ band
    return y.reshape(batch, *geometry.places[:-1], runs * block, -1)[..., :places, :]


def _band(kernel, n, block, reach, stride, dilation):
    """(*lines, reach, inputs, block, outputs), flat: the kernel once for each output of a run, a stride further on."""
    kept = (dilation * (kernel.shape[n - 1] - 1)) + 1
    copies = []
    for j in range(block):
        edges = [(0, 0, 0)] * kernel.ndim
        edges[n - 1] = (j * stride, reach - kept - j * stride, dilation - 1)
        copies.append(lax.pad(kernel, jnp.zeros((), kernel.dtype), edges))
    band = jnp.stack(copies, -2)
    return band.reshape(math.prod(band.shape[: n + 1]), -1)


def shifted(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """Depthwise convolution: for each place of the window the shifted input times its weights, added up."""
    inputs, outputs = x.shape[-1], kernel.shape[-1]
    dims = list(zip(geometry.places, geometry.window, geometry.stride, geometry.dilation, strict=True))
    x = _framed(x, geometry, [(place - 1) * s + (k - 1) * d + 1 for place, k, s, d in dims])
    if outputs > inputs:
        x = jnp.repeat(x, outputs // inputs, -1)
    total = 0
    for offset in itertools.product(*(range(k) for _, k, _, _ in dims)):
        part = x
        for axis, (i, (place, _, s, d)) in enumerate(zip(offset, dims, strict=True), 1):
            part = lax.slice_in_dim(part, i * d, i * d + (place - 1) * s + 1, s, axis)
        total = total + part * kernel[(*offset, 0)]
    return total


def depthwise_kernel(x: jax.Array, y: jax.Array, geometry: Geometry) -> jax.Array:
    """The kernel's gradient of a depthwise convolution: for each example, y as a kernel as large as an image over x.

    XLA's sums over pixels take four to twelve times as long.
    """
    n, channels = geometry.n, x.shape[-1]
    x, edges = cut(x, kernel_edges(geometry))

    def add(total, pair):
        x, y = pair
        kernel = lax.conv_general_dilated(
            x[None], y[..., None, :], geometry.dilation, edges, rhs_dilation=geometry.stride,
            feature_group_count=channels, dimension_numbers=numbers(n, "N*C", "*IO", "N*C"),
        )  # fmt: skip
        return total + kernel[0], ()

    total = jnp.zeros((*geometry.window, channels), x.dtype)
    return lax.scan(add, total, (x, y))[0][..., None, :]
