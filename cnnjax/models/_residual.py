"""Residual blocks and the stages that they stand in, in 1, 2 or 3 dimensions."""

import flax.linen as nn
import jax.numpy as jnp

from cnnjax import ops
from cnnjax.layers import Dropout, DropPath, Style
from cnnjax.models._stages import run

__all__ = ["Preactivated", "Residual", "Stage"]


class Shortcut(nn.Module):
    """`x` brought to the shape of the residual branch: by subsampling and zeros (A), or a 1×1 convolution (B, C, D)."""

    kind: str
    features: int
    stride: int
    style: Style
    normalized: bool

    @nn.compact
    def __call__(self, x, train=False):
        if self.kind == "A":
            steps = (slice(None), *[slice(None, None, self.stride)] * (x.ndim - 2))
            if self.features < x.shape[-1]:
                raise ValueError(
                    f"shortcut is 'A', which adds maps of zeros, but a block of {self.features} gets "
                    f"{x.shape[-1]}; choose 'B', or a stem_width up to {self.features}"
                )
            return jnp.pad(x[steps], [(0, 0)] * (x.ndim - 1) + [(0, self.features - x.shape[-1])])
        stride = self.stride
        if self.kind == "D" and stride > 1:
            x, stride = ops.avg_pool(x, stride, stride=stride, ceil=True), 1
        x = self.style.conv(self.features, 1, stride=stride, name="conv")(x)
        return self.style.normalize("norm")(x, train) if self.normalized else x


def _changes(block, x, features):
    return block.stride != 1 or x.shape[-1] != features or block.shortcut == "C"


class Residual(nn.Module):
    """act(x + f(x)), f of two 3×3 convolutions or of a 1×1, 3×3, 1×1 bottleneck, each normalised.

    With shortcut "none" act(f(x)).
    """

    features: int
    stride: int
    style: Style
    drop_path: float
    bottleneck: bool = False
    groups: int = 1
    group_width: int = 64
    shortcut: str = "B"
    zero_init: bool = False
    early: bool = False

    @nn.compact
    def __call__(self, x, train=False):
        style, out = self.style, self.features * (4 if self.bottleneck else 1)
        inner = self.features * self.group_width // 64 * self.groups
        if self.bottleneck:
            first, second = (self.stride, 1) if self.early else (1, self.stride)
            plan = ((inner, 1, first, 1), (inner, 3, second, self.groups), (out, 1, 1, 1))
        else:
            plan = ((out, 3, self.stride, 1), (out, 3, 1, 1))
        y = x
        for i, (features, window, stride, groups) in enumerate(plan, 1):
            last = i == len(plan)
            y = style.conv(features, window, stride=stride, padding=window // 2, groups=groups, name=f"conv{i}")(y)
            y = style.normalize(f"norm{i}", scale_init="zeros" if last and self.zero_init else "ones")(y, train)
            y = y if last else style.activate(y)
        if self.shortcut == "none":
            return style.activate(y)
        if _changes(self, x, out):
            x = Shortcut(self.shortcut, out, self.stride, style, True, name="shortcut")(x, train)
        return style.activate(x + DropPath(self.drop_path, name="drop_path")(y, train))


class Preactivated(nn.Module):
    """x + f(x), f normalising and activating before every convolution (He 2016)."""

    features: int
    stride: int
    style: Style
    drop_path: float
    bottleneck: bool = False
    groups: int = 1
    group_width: int = 64
    shortcut: str = "B"
    block_dropout: float = 0.0

    @nn.compact
    def __call__(self, x, train=False):
        style, out = self.style, self.features * (4 if self.bottleneck else 1)
        inner = self.features * self.group_width // 64 * self.groups
        if self.bottleneck:
            plan = ((inner, 1, 1, 1), (inner, 3, self.stride, self.groups), (out, 1, 1, 1))
        else:
            plan = ((out, 3, self.stride, 1), (out, 3, 1, 1))
        y = x
        for i, (features, window, stride, groups) in enumerate(plan, 1):
            y = style.activate(style.normalize(f"norm{i}")(y, train))
            if i == 1 and self.shortcut != "none" and _changes(self, x, out):
                x = Shortcut(self.shortcut, out, self.stride, style, False, name="shortcut")(y, train)
            if i == len(plan):
                y = Dropout(self.block_dropout, name="dropout")(y, train)
            y = style.conv(features, window, stride=stride, padding=window // 2, groups=groups, name=f"conv{i}")(y)
        return y if self.shortcut == "none" else x + DropPath(self.drop_path, name="drop_path")(y, train)


class Stage(nn.Module):
    """Blocks in a row, the first of which has the stride; `loop` off runs them one by one whatever `stack` says."""

    block: type
    features: int
    stride: int
    style: Style
    shape: tuple[tuple[str, object], ...]
    rates: tuple[float, ...]
    remat: bool = False
    stack: bool = False

    @nn.compact
    def __call__(self, x, train=False, loop=True):
        block = nn.remat(self.block, static_argnums=(2,)) if self.remat else self.block
        blocks = [
            block(self.features, self.stride if i == 1 else 1, self.style, rate, name=f"block{i}", **dict(self.shape))
            for i, rate in enumerate(self.rates, 1)
        ]
        return run(blocks, x, train, stack=self.stack and loop)
