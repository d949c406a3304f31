"""Layers with a kernel: convolution, transposed convolution, dense."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnnjax import ops
from cnnjax.layers._parameters import parameter
from cnnjax.layers.initializers import Initializer, initializer
from cnnjax.ops.dtypes import shifted
from cnnjax.ops.shapes import PaddingName

__all__ = ["Conv", "ConvTranspose", "Dense"]


def _window(window, x):
    return (window,) * (x.ndim - 2) if isinstance(window, int) else tuple(window)


def _refuse_integers(module, x):
    """A kernel cast to the dtype of pixels would be all zeros, and nobody would notice."""
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        layer = "/".join(module.path) or type(module).__name__
        raise ValueError(f"{layer} got {x.dtype}; networks read floats: scale and normalise pixels first")


def _bias(module, init, features, fan_in):
    """The bias: zeros, or PyTorch's uniform ±1/√fan-in of the kernel beside it."""
    if init == "torch":
        bound = 1.0 / max(fan_in, 1) ** 0.5

        def uniform(key, shape, dtype):
            return bound * (2.0 * nn.initializers.uniform(1.0)(key, shape, dtype) - 1.0)

        return parameter(module, "bias", uniform, (features,))
    return parameter(module, "bias", initializer(init), (features,))


def _unit(vector):
    return vector / jnp.maximum(jnp.sqrt(jnp.sum(vector * vector)), 1e-12)


def _of_norm_one(module, kernel):
    """The kernel (…, features) over its largest singular value, by a step of power iteration a call (Miyato 2018).

    The direction in which it is largest is kept among the statistics, and moves where these may.
    """
    matrix = kernel.reshape(-1, kernel.shape[-1])

    def first():
        return jax.random.normal(module.make_rng("params"), (matrix.shape[1],), jnp.float32)

    kept, fixed = module.variable("batch_stats", "direction", first), jax.lax.stop_gradient(matrix)
    direction = _unit(kept.value)
    if module.is_mutable_collection("batch_stats") and not module.is_initializing():
        direction = _unit(_unit(fixed @ direction) @ fixed)
        kept.value = direction
    return kernel / jnp.maximum(_unit(fixed @ direction) @ (matrix @ direction), 1e-12)


class Conv(nn.Module):
    """Convolution of (B, *sizes, I) to (B, *sizes', features), in 1, 2 or 3 dimensions by the rank of the input.

    The kernel is (*window, I // groups, features) in float32 and is cast to the dtype of the input; with `spectral` it
    is divided by its largest singular value.
    """

    features: int
    window: int | tuple[int, ...] = 3
    stride: int | tuple[int, ...] = 1
    padding: PaddingName | Literal["circular", "reflect"] | int | tuple = "valid"
    dilation: int | tuple[int, ...] = 1
    groups: int = 1
    bias: bool = True
    kernel_init: Initializer = "he_normal"
    bias_init: Initializer = "zeros"
    spectral: bool = False

    @nn.compact
    def __call__(self, x):
        _refuse_integers(self, x)
        window = _window(self.window, x)
        inputs = x.shape[-1] // self.groups
        kernel = parameter(self, "kernel", initializer(self.kernel_init), (*window, inputs, self.features))
        kernel = _of_norm_one(self, kernel) if self.spectral else kernel
        y = ops.conv(
            x,
            kernel.astype(x.dtype),
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        if self.bias:
            fan_in = inputs
            for size in window:
                fan_in *= size
            y = shifted(y, _bias(self, self.bias_init, self.features, fan_in))
        return y


class ConvTranspose(nn.Module):
    """Transposed convolution of (B, *sizes, I) to (B, *sizes', features) by PyTorch's size rule.

    The kernel is (*window, features // groups, I): that of the convolution of which this is the adjoint.
    """

    features: int
    window: int | tuple[int, ...] = 2
    stride: int | tuple[int, ...] = 2
    padding: int | tuple = 0
    output_padding: int | tuple[int, ...] = 0
    dilation: int | tuple[int, ...] = 1
    groups: int = 1
    bias: bool = True
    kernel_init: Initializer = "he_normal"

    @nn.compact
    def __call__(self, x):
        _refuse_integers(self, x)
        shape = (*_window(self.window, x), self.features // self.groups, x.shape[-1])

        def init(key, shape, dtype):  # fan-in is counted on the side of this layer's inputs
            return jnp.swapaxes(initializer(self.kernel_init)(key, (*shape[:-2], shape[-1], shape[-2]), dtype), -1, -2)

        kernel = parameter(self, "kernel", init, shape)
        y = ops.conv_transpose(
            x,
            kernel.astype(x.dtype),
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        if self.bias:
            y = shifted(y, parameter(self, "bias", nn.initializers.zeros, (self.features,)))
        return y


class Dense(nn.Module):
    """Matrix product of the last axis: (..., I) to (..., features), with a kernel (I, features), `spectral` or not."""

    features: int
    bias: bool = True
    kernel_init: Initializer = "lecun_normal"
    bias_init: Initializer = "zeros"
    spectral: bool = False

    @nn.compact
    def __call__(self, x):
        _refuse_integers(self, x)
        kernel = parameter(self, "kernel", initializer(self.kernel_init), (x.shape[-1], self.features))
        kernel = _of_norm_one(self, kernel) if self.spectral else kernel
        y = jnp.dot(x, kernel.astype(x.dtype))
        if self.bias:
            y = shifted(y, _bias(self, self.bias_init, self.features, x.shape[-1]))
        return y
