"""Convolutions with a window of 3 in every dimension by Winograd's F(2, 3): 1.5 times fewer multiplies a dimension.

Tiles of 4 pixels overlap by 2. A tile and the kernel are transformed, multiplied place by place — one matrix product
over the channels for each of the 4ⁿ places — and transformed back to 2 outputs (Lavin and Gray 2016). The transforms
hold only 0, ±1 and ½, so the rounding is that of the direct sum. A loop goes over as much of the batch, or as many rows
of an image, as keeps the transformed tiles in the cache: without it memory traffic eats what the multiplies save.
"""

import itertools
import math

import jax
import jax.numpy as jnp
from jax import lax

_CACHE = 3 << 19  # bytes of transformed tiles at a time


def output_of(
    x: jax.Array, kernel: jax.Array, edges: list[tuple[int, int]], dilation: tuple[int, ...], turned: bool = False
) -> jax.Array:
    """x (B, *sizes, C) padded by `edges` (negative: cut) and convolved with kernel (3, …, 3, C, K).

    With `turned` the kernel is (3, …, 3, K, C) and turned round in space: the input's gradient.
    """
    n = x.ndim - 2
    if max(dilation) > 1:
        places = _places(x, edges, dilation)
        y = output_of(_phases(x, edges, dilation), kernel, [(0, 0)] * n, (1,) * n, turned)
        return _joined_phases(y, dilation)[(slice(None), *(slice(0, place) for place in places))]
    places = _places(x, edges, dilation)
    frame = _Frame(x.shape[0], places, *kernel.shape[-2:])
    tiles = frame.padded(x, [low for low, _ in edges], 2)
    mixed = jnp.stack(_nested(kernel, range(n), _mix_turned if turned else _mix_kernel))
    mixed = mixed.reshape(-1, *kernel.shape[n:])
    contract = ((n + 2,), (2 if turned else 1,)), ((0,), (0,))

    def part(i):
        rows = frame.part(tiles, i, 2)
        leaves = jnp.stack(_nested(rows, range(1, n + 1), _mix_tiles))
        products = lax.dot_general(leaves, mixed, contract)
        return _interleaved(_unmixed(list(products), n, _unmix_outputs), n)

    y = frame.joined(lax.map(part, jnp.arange(frame.parts)) if frame.parts > 1 else part(0)[None])
    return y[(slice(None), *(slice(0, place) for place in places))]


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


def _places(x, edges, dilation):
    return [m + low + high - 2 * d for m, (low, high), d in zip(x.shape[1:-1], edges, dilation, strict=True)]


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


def _joined_phases(y, dilation):
    for axis, d in reversed(list(enumerate(dilation, 1))):
        y = jnp.moveaxis(y.reshape(d, -1, *y.shape[1:]), 0, axis + 1)
        y = y.reshape(*y.shape[:axis], -1, *y.shape[axis + 2 :])
    return y


class _Frame:
    """How the tiles of a batch are cut into parts: several examples, or some rows of tiles of one."""

    def __init__(self, batch, places, inputs, outputs):
        self.batch, self.tiles = batch, [-(-place // 2) for place in places]
        bytes_each = 4 * 4 ** len(places) * (inputs + outputs) * math.prod(self.tiles)
        room = max(_CACHE, 4 * 4 ** len(places) * inputs * outputs)
        self.examples = max(k for k in range(1, batch + 1) if batch % k == 0 and (k == 1 or k * bytes_each <= room))
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

    def joined(self, parts):
        return parts.reshape(self.batch, 2 * self.rows * self.strips, *parts.shape[3:])


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


def _mix_kernel(kernel, axis):
    a, b, c = (lax.slice_in_dim(kernel, i, i + 1, axis=axis) for i in range(3))
    return a, (a + b + c) / 2, (a - b + c) / 2, c


def _mix_turned(kernel, axis):
    a, b, c, d = _mix_kernel(kernel, axis)
    return d, b, c, a


def _unmix_outputs(a, b, c, d):
    return a + b + c, b - c - d


def _unmix_kernel(a, b, c, d):
    half, other = (b + c) / 2, (b - c) / 2
    return a + half, other, half + d


def _interleaved(leaves, n):
    """2ⁿ arrays (B, *tiles, K) of the even and odd places as one (B, *2·tiles, K)."""
    batch, *tiles, channels = leaves[0].shape
    y = jnp.stack(leaves, n + 1).reshape(batch, *tiles, *(2,) * n, channels)
    order = itertools.chain.from_iterable((1 + i, 1 + n + i) for i in range(n))
    return y.transpose(0, *order, 2 * n + 1).reshape(batch, *(2 * tile for tile in tiles), channels)
