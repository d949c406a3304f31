"""Kernel gradients for a window of 3 in every dimension by Winograd's F(2, 3): 1.5 times fewer multiplies a dimension.

Tiles of 4 pixels overlap by 2. A tile and the kernel are transformed, multiplied place by place — one matrix product
over the channels for each of the 4ⁿ places — and transformed back to 2 outputs (Lavin and Gray 2016). The transforms
hold only 0, ±1 and ½, so the rounding is that of the direct sum. A loop goes over as much of the batch, or as many rows
of an image, as keeps the transformed tiles in the cache: without it memory traffic eats what the multiplies save.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.ops.shapes import divisor

_CACHE = 9 << 20  # bytes of transformed tiles at a time


def kernel_of(x: jax.Array, y: jax.Array, edges: list[tuple[int, int]], dilation: tuple[int, ...]) -> jax.Array:
    """The kernel (3, …, 3, C, K) that is the sum of x (B, *sizes, C), padded by `edges`, times y (B, *places, K)."""
    n = x.ndim - 2
    if max(dilation) > 1:
        phases = _phases(y, [(0, 0)] * n, dilation)
        return kernel_of(_phases(x, edges, dilation), phases, [(0, 0)] * n, (1,) * n)
    inputs, outputs = x.shape[-1], y.shape[-1]
    frame = _Frame(x.shape[0], y.shape[1:-1], inputs, outputs)
    tiles, pairs = frame.padded(x, [low for low, _ in edges], 2), frame.padded(y, [0] * n, 0)

    def part(sums, i):
        lefts = _nested(frame.part(tiles, i, 2), range(1, n + 1), _mix_tiles)
        rights = _nested(frame.part(pairs, i, 0), range(1, n + 1), _mix_outputs)
        # transposed while it is in the cache: XLA's product of a transposed left side runs at two thirds of the speed
        lefts = [lax.optimization_barrier(left.reshape(-1, inputs).T) for left in lefts]
        products = [left @ right.reshape(-1, outputs) for left, right in zip(lefts, rights, strict=True)]
        return [total + product for total, product in zip(sums, products, strict=True)], ()

    start = [jnp.zeros((inputs, outputs), x.dtype)] * 4**n
    sums = lax.scan(part, start, jnp.arange(frame.parts))[0] if frame.parts > 1 else part(start, 0)[0]
    kernel = jnp.stack(_unmixed(sums, n, _unmix_kernel))
    return kernel.reshape(*(3,) * n, *kernel.shape[1:])


def _phases(x, edges, dilation):
    """x, padded, as the examples of a batch (phase, B) that hold every d-th pixel: dilation is gone."""
    sizes = zip(x.shape[1:-1], edges, dilation, strict=True)
    x = lax.pad(
        x, jnp.zeros((), x.dtype), [(0, 0, 0), *((a, b + -(m + a + b) % d, 0) for m, (a, b), d in sizes), (0, 0, 0)]
    )
    for axis, d in enumerate(dilation, 1):
        x = x.reshape(*x.shape[:axis], -1, d, *x.shape[axis + 1 :])
        x = jnp.moveaxis(x, axis + 1, 0)
        x = x.reshape(-1, *x.shape[2:])
    return x


class _Frame:
    """How the tiles of a batch are cut into parts: several examples, or some rows of tiles of one."""

    def __init__(self, batch, places, inputs, outputs):
        self.tiles = [-(-place // 2) for place in places]
        bytes_each = 4 * 4 ** len(places) * (inputs + outputs) * math.prod(self.tiles)
        room = max(_CACHE, 4 * 4 ** len(places) * inputs * outputs)
        self.examples = divisor(batch, room // bytes_each)
        strips = min(self.tiles[0], -(-bytes_each // room)) if self.examples == 1 else 1
        self.rows = -(-self.tiles[0] // strips)
        self.strips = -(-self.tiles[0] // self.rows)
        self.parts = batch // self.examples * self.strips

    def padded(self, x, low, more):
        """x with `low` zeros before and as many after as fill whole tiles, which reach `more` pixels further."""
        counts = [self.rows * self.strips, *self.tiles[1:]]
        sizes = zip(x.shape[1:-1], low, counts, strict=True)
        edges = [(before, 2 * count + more - size - before, 0) for size, before, count in sizes]
        return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *edges, (0, 0, 0)))

    def part(self, x, i, more):
        start = (i // self.strips * self.examples, i % self.strips * (2 * self.rows), *(0,) * (x.ndim - 2))
        part = lax.dynamic_slice(x, start, (self.examples, 2 * self.rows + more, *x.shape[2:]))
        return lax.optimization_barrier(part)  # fused into the transforms it would cost an index sum a pixel


def _nested(x, axes, mix):
    """`mix` along one axis after the other: a flat list of kⁿ arrays, the first axis slowest."""
    leaves = [x]
    for axis in axes:
        leaves = [mixed for leaf in leaves for mixed in mix(leaf, axis)]
    return leaves


def _unmixed(leaves, n, unmix):
    """`unmix` along one of the n axes of a flat list after the other: the same order, fewer places."""
    for axis in range(n):
        inner = 4 ** (n - 1 - axis)
        groups = [leaves[i : i + 4 * inner] for i in range(0, len(leaves), 4 * inner)]
        leaves = [out for group in groups for out in _across(group, inner, unmix)]
    return leaves


def _across(group, inner, unmix):
    columns = [unmix(*group[i::inner]) for i in range(inner)]
    return [column[j] for j in range(len(columns[0])) for column in columns]


def _mix_tiles(x, axis):
    count = x.shape[axis] // 2 - 1
    a, b, c, d = (lax.slice_in_dim(x, i, i + 2 * count - 1, 2, axis) for i in range(4))
    return a - c, b + c, c - b, b - d


def _mix_outputs(y, axis):
    a, b = (lax.slice_in_dim(y, i, y.shape[axis] - 1 + i, 2, axis) for i in range(2))
    return a, a + b, a - b, -b


def _unmix_kernel(a, b, c, d):
    half, other = (b + c) / 2, (b - c) / 2
    return a + half, other, half + d
