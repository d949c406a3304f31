"""The three convolutions in the one layout that XLA's CPU backend hands to its blocked matrix kernels.

Features last, kernels (*window, inputs, outputs), transposes written out. Any other layout falls back to a naive loop
nest inside scans and other loops; these forms do not.
"""

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.ops._plain import input_edges, kernel_edges, numbers, swapped
from cnnjax.ops._trilinear import Geometry


def output_of(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    return lax.conv_general_dilated(
        x, kernel, geometry.stride, geometry.padding, rhs_dilation=geometry.dilation,
        feature_group_count=geometry.groups, dimension_numbers=numbers(geometry.n, "N*C", "*IO", "N*C"),
    )  # fmt: skip


def input_of(kernel: jax.Array, y: jax.Array, geometry: Geometry) -> jax.Array:
    n = geometry.n
    return lax.conv_general_dilated(
        y, lax.rev(swapped(kernel, geometry.groups), range(n)), (1,) * n, input_edges(geometry),
        lhs_dilation=geometry.stride, rhs_dilation=geometry.dilation, feature_group_count=geometry.groups,
        dimension_numbers=numbers(n, "N*C", "*IO", "N*C"),
    )  # fmt: skip


def kernel_of(x: jax.Array, y: jax.Array, geometry: Geometry) -> jax.Array:
    n = geometry.n
    x = x.transpose(n + 1, *range(1, n + 1), 0)
    y = y.transpose(*range(1, n + 1), 0, n + 1)
    kernel = lax.conv_general_dilated(
        x, y, geometry.dilation, kernel_edges(geometry), rhs_dilation=geometry.stride,
        batch_group_count=geometry.groups, dimension_numbers=numbers(n, "N*C", "*IO", "N*C"),
    )  # fmt: skip
    return jnp.moveaxis(kernel, 0, n)
