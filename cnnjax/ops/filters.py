"""Filters made by hand: kernels (*window, 1, 1) for `conv`, one channel at a time; `filtered` takes all channels."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.ops.convolution import conv
from cnnjax.ops.pooling import gaussian_window
from cnnjax.refusals import refuse_misfits

__all__ = ["box", "edge", "emboss", "filtered", "gabor", "gaussian", "laplacian", "prewitt", "sharpen", "sobel"]

Axis = Literal["y", "x"]
_SLOPE = np.array([-1.0, 0.0, 1.0])


def filtered(x: jax.Array, kernel: jax.Array, *, padding: str = "same") -> jax.Array:
    """Every channel of x (B, *sizes, C) cross-correlated with a kernel (*window, 1, 1)."""
    kernel = jnp.broadcast_to(kernel, (*kernel.shape[:-1], x.shape[-1]))
    return conv(x, kernel, padding=padding, groups=x.shape[-1])


def edge(axis: Axis = "x") -> jax.Array:
    """The difference of neighbours (2, 1, 1, 1) or (1, 2, 1, 1): what rises along an axis is positive."""
    refuse_misfits(edge, locals())
    return _along(np.array([[-1.0, 1.0]]), axis)


def sobel(axis: Axis = "x") -> jax.Array:
    """The slope along an axis (3, 3, 1, 1), smoothed across it by 1 2 1."""
    refuse_misfits(sobel, locals())
    return _along(np.outer([1.0, 2.0, 1.0], _SLOPE), axis)


def prewitt(axis: Axis = "x") -> jax.Array:
    """The slope along an axis (3, 3, 1, 1), smoothed across it by 1 1 1."""
    refuse_misfits(prewitt, locals())
    return _along(np.outer(np.ones(3), _SLOPE), axis)


def laplacian() -> jax.Array:
    """The sum of second differences (3, 3, 1, 1): what is darker than its four neighbours is positive."""
    return _kernel([[0, 1, 0], [1, -4, 1], [0, 1, 0]])


def box(size: int = 3) -> jax.Array:
    """The mean of a square (size, size, 1, 1)."""
    return _kernel(np.full((size, size), 1 / size**2))


def gaussian(sigma: float, *, reach: float = 4.0) -> jax.Array:
    """A Gaussian (2r + 1, 2r + 1, 1, 1) of a width in pixels, cut at r = `reach` · sigma, whose sum is 1."""
    side = 2 * int(reach * sigma + 0.5) + 1
    return gaussian_window((side, side), sigma)[..., None, None]


def sharpen(amount: float = 1.0) -> jax.Array:
    """The picture less its Laplacian (3, 3, 1, 1): what stands out stands out more."""
    return _kernel([[0, 0, 0], [0, 1, 0], [0, 0, 0]]) - amount * laplacian()


def emboss() -> jax.Array:
    """Light from the upper left (3, 3, 1, 1): slopes along the diagonal on the picture itself."""
    return _kernel([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])


def gabor(
    size: int,
    *,
    frequency: float,
    angle: float = 0.0,
    phase: float = 0.0,
    sigma: float = 0.0,
    aspect: float = 1.0,
) -> jax.Array:
    """A wave under a Gaussian (size, size, 1, 1): e^(−(u² + aspect² v²)/2σ²) cos(2π frequency u + phase).

    u runs in the direction of `angle`, from x towards y. `sigma` is in pixels, a sixth of the size by default.
    """
    sigma = sigma or size / 6
    place = np.arange(size) - (size - 1) / 2
    u = place * math.cos(angle) + place[:, None] * math.sin(angle)
    v = place[:, None] * math.cos(angle) - place * math.sin(angle)
    return _kernel(np.exp(-(u**2 + (aspect * v) ** 2) / (2 * sigma**2)) * np.cos(2 * np.pi * frequency * u + phase))


def _along(kernel, axis):
    return _kernel(kernel if axis == "x" else kernel.T)


def _kernel(values):
    return jnp.asarray(values, jnp.float32)[..., None, None]
