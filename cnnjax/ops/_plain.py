"""The three convolutions as XLA's own, for platforms whose compiler chooses the algorithm (GPU, TPU).

Gradients are written as JAX writes them, by dimension numbers, which is the form that XLA recognises and hands to
cuDNN as backward convolutions. Members of a vmap become groups.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.ops._trilinear import Geometry


def numbers(n: int, lhs: str, kernel: str, out: str) -> tuple[str, str, str]:
    """Dimension numbers such as ("NHWC", "HWIO", "NHWC") from the letters around the n sizes: "N*C", "*IO", "N*C"."""
    letters = "DHW"[3 - n :]
    return tuple(each.replace("*", letters) for each in (lhs, kernel, out))


def input_edges(geometry: Geometry) -> list[tuple[int, int]]:
    """The padding of the output's cotangent, dilated by the stride, with which it convolves back to the input."""
    dims = zip(
        geometry.sizes,
        geometry.window,
        geometry.stride,
        geometry.padding,
        geometry.dilation,
        geometry.places,
        strict=True,
    )
    return [((k - 1) * d - low, size + low - (places - 1) * s - 1) for size, k, s, (low, _), d, places in dims]


def kernel_edges(geometry: Geometry) -> list[tuple[int, int]]:
    """The padding of the input with which it convolves with the output's cotangent to the kernel; may be negative."""
    dims = zip(
        geometry.sizes,
        geometry.window,
        geometry.stride,
        geometry.padding,
        geometry.dilation,
        geometry.places,
        strict=True,
    )
    return [(low, (k - 1) * d + (places - 1) * s + 1 - size - low) for size, k, s, (low, _), d, places in dims]


def swapped(kernel: jax.Array, groups: int) -> jax.Array:
    """A kernel (*window, C // groups, outputs) as (*window, outputs // groups, C)."""
    *window, inputs, outputs = kernel.shape
    kernel = kernel.reshape(*window, inputs, groups, outputs // groups)
    return jnp.moveaxis(kernel, -1, -3).swapaxes(-1, -2).reshape(*window, outputs // groups, groups * inputs)


def output_of(x: jax.Array, kernel: jax.Array, *, geometry: Geometry) -> jax.Array:
    if x.ndim > geometry.n + 2:
        many = x.shape[0]
        out = output_of(_beside(x), _beside(kernel), geometry=_grouped(geometry, many))
        return _apart(out, many)
    return lax.conv_general_dilated(
        x, kernel, geometry.stride, geometry.padding, rhs_dilation=geometry.dilation,
        feature_group_count=geometry.groups, dimension_numbers=numbers(geometry.n, "N*C", "*IO", "N*C"),
    )  # fmt: skip


def input_of(kernel: jax.Array, y: jax.Array, *, geometry: Geometry) -> jax.Array:
    n, groups = geometry.n, geometry.groups
    if y.ndim > n + 2:
        many = y.shape[0]
        return _apart(input_of(_beside(kernel), _beside(y), geometry=_grouped(geometry, many)), many)
    kernel, letters = (swapped(kernel, groups), "*IO") if groups > 1 else (kernel, "*OI")
    return lax.conv_general_dilated(
        y, lax.rev(kernel, range(n)), (1,) * n, input_edges(geometry), lhs_dilation=geometry.stride,
        rhs_dilation=geometry.dilation, feature_group_count=groups, dimension_numbers=numbers(n, "N*C", letters, "N*C"),
    )  # fmt: skip


def kernel_of(x: jax.Array, y: jax.Array, *, geometry: Geometry) -> jax.Array:
    if y.ndim > geometry.n + 2:
        many = y.shape[0]
        return _apart(kernel_of(_beside(x), _beside(y), geometry=_grouped(geometry, many)), many)
    return lax.conv_general_dilated(
        x, y, geometry.dilation, kernel_edges(geometry), rhs_dilation=geometry.stride,
        batch_group_count=geometry.groups, dimension_numbers=numbers(geometry.n, "C*N", "I*O", "*NC"),
    )  # fmt: skip


def _grouped(geometry, many):
    return dataclasses.replace(geometry, groups=geometry.groups * many)


def _beside(a):
    """Members (M, …, C) as channels (…, M · C)."""
    a = jnp.moveaxis(a, 0, -2)
    return a.reshape(*a.shape[:-2], -1)


def _apart(a, many):
    a = a.reshape(*a.shape[:-1], many, -1)
    return jnp.moveaxis(a, -2, 0)
