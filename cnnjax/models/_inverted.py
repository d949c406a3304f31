"""Inverted residuals: narrow, wide depthwise, narrow again; MobileNet and EfficientNet are made of them."""

import flax.linen as nn

from cnnjax.layers import Dense, Dropout, DropPath, Style, global_pooling
from cnnjax.models._blocks import ConvNorm, SqueezeExcite

__all__ = ["Inverted", "WideHead", "rounded"]


def rounded(width: float, *, least: int = 8) -> int:
    """A width as a multiple of 8 that is at least nine tenths of it."""
    whole = max(least, int(width + 4) // 8 * 8)
    return whole + 8 if whole < 0.9 * width else whole


class Inverted(nn.Module):
    """1×1 to `expanded` maps (left out where x has as many), depthwise, a gate, 1×1 to `features`, added to x."""

    features: int
    expanded: int
    window: int
    stride: int
    style: Style
    squeezed: int = 0
    gate: str = "sigmoid"
    gate_act: str = "relu"
    drop_path: float = 0.0
    same: bool = False

    @nn.compact
    def __call__(self, x, train=False):
        y = x
        if self.expanded != x.shape[-1]:
            y = ConvNorm(self.expanded, 1, self.style, name="expand")(y, train)
        y = ConvNorm(
            self.expanded,
            self.window,
            self.style,
            stride=self.stride,
            padding="same" if self.same else self.window // 2,
            groups=self.expanded,
            name="depthwise",
        )(y, train)
        if self.squeezed:
            y = SqueezeExcite(self.squeezed, self.gate_act, self.gate, self.style.init, name="gate")(y)
        y = ConvNorm(self.features, 1, self.style, active=False, name="project")(y, train)
        if self.stride > 1 or self.features != x.shape[-1]:
            return y
        return x + DropPath(self.drop_path, name="drop_path")(y, train)


class WideHead(nn.Module):
    """Global pooling, a hidden layer where `hidden` is not 0, dropout and the output layer."""

    outputs: int
    hidden: int
    dropout: float
    pool: str
    style: Style
    kernel_init: str

    @nn.compact
    def __call__(self, x, train=False):
        x = global_pooling(self.pool)(x)
        if not self.outputs:
            return x
        if self.hidden:
            x = self.style.activate(Dense(self.hidden, kernel_init=self.kernel_init, name="hidden")(x))
        x = Dropout(self.dropout, name="dropout")(x, train)
        return Dense(self.outputs, kernel_init=self.kernel_init, name="output")(x)
