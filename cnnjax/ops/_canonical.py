"""The three convolutions in the one layout that XLA's CPU backend hands to a library or to its blocked kernels.

Features last, kernels (*window, inputs, outputs), no base dilation, no negative padding, transposes written out. Any
other form falls back to a naive loop nest inside scans and other loops, and never reaches oneDNN; these forms do.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.ops._plain import input_edges, kernel_edges, numbers, swapped
from cnnjax.ops._trilinear import Geometry


def output_of(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    return _convolved(x, kernel, geometry.padding, geometry.stride, geometry.dilation, geometry.groups)


def input_of(kernel: jax.Array, y: jax.Array, geometry: Geometry) -> jax.Array:
    n, groups = geometry.n, geometry.groups
    kernel = swapped(kernel, groups)
    if max(geometry.stride) == 1:
        return _convolved(y, _turned(kernel, n), input_edges(geometry), (1,) * n, geometry.dilation, groups)
    if max(geometry.dilation) == 1:
        return _input_by_phases(kernel, y, geometry)
    return lax.conv_general_dilated(
        y, _turned(kernel, n), (1,) * n, input_edges(geometry), lhs_dilation=geometry.stride,
        rhs_dilation=geometry.dilation, feature_group_count=groups, dimension_numbers=numbers(n, "N*C", "*IO", "N*C"),
    )  # fmt: skip


def kernel_of(x: jax.Array, y: jax.Array, geometry: Geometry) -> jax.Array:
    n = geometry.n
    if _is_wide(geometry):  # as a window over x that is larger than x it takes 15 to 40 times as long
        x, geometry = _padded(x, geometry)
    x, y = lax.optimization_barrier((x, y))  # what made them, fused into the transposes, is computed against the grain
    x = x.transpose(n + 1, *range(1, n + 1), 0)
    y = y.transpose(*range(1, n + 1), 0, n + 1)
    kernel = _convolved(x, y, kernel_edges(geometry), geometry.dilation, geometry.stride, 1)
    return jnp.moveaxis(kernel, 0, n)


def _is_wide(geometry: Geometry) -> bool:
    """Whether the padding reads more places than the input has ("full")."""
    dims = zip(geometry.window, geometry.padding, geometry.dilation, strict=True)
    return any(low + high > (k - 1) * d for k, (low, high), d in dims)


def _padded(x: jax.Array, geometry: Geometry) -> tuple[jax.Array, Geometry]:
    """x with its padding written out, and the geometry of what is left to do; what negative edges cut off is cut."""
    edges = [(0, 0, 0), *((low, high, 0) for low, high in geometry.padding), (0, 0, 0)]
    x = lax.optimization_barrier(lax.pad(x, jnp.zeros((), x.dtype), edges))  # else it is folded back into the window
    return x, dataclasses.replace(geometry, sizes=x.shape[1:-1], padding=((0, 0),) * geometry.n)


def cut(x: jax.Array, edges) -> tuple[jax.Array, list[tuple[int, int]]]:
    """x without what negative edges take away, and the edges that are left: none below zero."""
    if min(min(pair) for pair in edges) < 0:
        taken = [(min(low, 0), min(high, 0), 0) for low, high in edges]
        x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *taken, (0, 0, 0)])
    return x, [(max(low, 0), max(high, 0)) for low, high in edges]


def _convolved(x, kernel, edges, stride, dilation, groups):
    x, edges = cut(x, edges)
    return lax.conv_general_dilated(
        x, kernel, stride, edges, rhs_dilation=dilation, feature_group_count=groups,
        dimension_numbers=numbers(x.ndim - 2, "N*C", "*IO", "N*C"),
    )  # fmt: skip


def _turned(kernel, n):
    # kept apart: XLA would fold the reversal into the convolution, a form that the library does not know
    return lax.optimization_barrier(lax.rev(kernel, range(n)))


def _input_by_phases(kernel, y, geometry):
    """The input's gradient of a strided convolution: pixels of each phase of the stride see every s-th kernel entry.

    For each phase a dense convolution of stride 1, two to six times faster than one with zeros between the outputs.
    """
    n = geometry.n
    dims = list(zip(geometry.sizes, geometry.stride, geometry.padding, geometry.places, strict=True))
    lengths = [-(-size // s) for size, s, _, _ in dims]
    parts = []
    for phase in itertools.product(*(range(s) for s in geometry.stride)):
        first = [(r + low) % s for r, (_, s, (low, _), _) in zip(phase, dims, strict=True)]
        part = kernel[tuple(slice(a, None, s) for a, s in zip(first, geometry.stride, strict=True))]
        if 0 in part.shape:  # a stride above the window: nothing reads these pixels
            parts.append(jnp.zeros((y.shape[0], *lengths, kernel.shape[-1]), y.dtype))
            continue
        starts = [(r + low) // s for r, (_, s, (low, _), _) in zip(phase, dims, strict=True)]
        edges = [
            (k - 1 - start, length + start - places)
            for k, start, length, (*_, places) in zip(part.shape[:n], starts, lengths, dims, strict=True)
        ]
        parts.append(_convolved(y, _turned(part, n), edges, (1,) * n, (1,) * n, geometry.groups))
    x = jnp.stack(parts, -2)
    x = x.reshape(*x.shape[: n + 1], *geometry.stride, x.shape[-1])
    order = itertools.chain.from_iterable((1 + i, 1 + n + i) for i in range(n))
    whole = [length * s for length, s in zip(lengths, geometry.stride, strict=True)]
    x = x.transpose(0, *order, 2 * n + 1).reshape(x.shape[0], *whole, -1)
    return x[(slice(None), *(slice(0, size) for size in geometry.sizes))]
