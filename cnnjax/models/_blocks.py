"""Small blocks that several families are made of."""

import flax.linen as nn
import jax.numpy as jnp

from cnnjax.layers import Conv, Style, activation
from cnnjax.ops.dtypes import widened

__all__ = ["ConvNorm", "SqueezeExcite"]


class ConvNorm(nn.Module):
    """Convolution, normalisation and, unless `active` is false, the nonlinearity."""

    features: int
    window: int | tuple[int, ...]
    style: Style
    stride: int | tuple[int, ...] = 1
    padding: int | tuple | str = 0
    groups: int = 1
    active: bool = True
    bias: bool = False

    @nn.compact
    def __call__(self, x, train=False):
        style = self.style
        x = style.conv(
            self.features,
            self.window,
            stride=self.stride,
            padding=self.padding,
            groups=self.groups,
            bias=self.bias,
            name="conv",
        )(x)
        x = style.normalize("norm")(x, train)
        return style.activate(x) if self.active else x


class SqueezeExcite(nn.Module):
    """x times a gate in [0, 1] for each channel, made from the means of all channels (Hu 2018)."""

    squeezed: int
    act: str
    gate: str
    kernel_init: str

    @nn.compact
    def __call__(self, x):
        s = jnp.mean(x, tuple(range(1, x.ndim - 1)), keepdims=True)
        s = activation(self.act)(Conv(self.squeezed, 1, kernel_init=self.kernel_init, name="reduce")(s))
        gate = activation(self.gate)(Conv(x.shape[-1], 1, kernel_init=self.kernel_init, name="expand")(s))
        return (widened(x) * gate).astype(x.dtype)  # its gradient is a sum over the map
