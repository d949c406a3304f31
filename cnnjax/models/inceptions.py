"""Inception v3 (Szegedy 2015, "Rethinking the inception architecture")."""

import flax.linen as nn
import jax.numpy as jnp

from cnnjax import ops
from cnnjax.annotations import Count, NonNegative, Rate, Static
from cnnjax.layers import Activation, Dense, Initializer, Norm, Style, pooling
from cnnjax.models._blocks import ConvNorm
from cnnjax.models._network import Head, Network
from cnnjax.ops.pooling import WindowKind

__all__ = ["inception_v3"]


def inception_v3(
    *,
    outputs: int,
    auxiliary: bool = False,
    dropout: Rate = 0.5,
    norm: Norm = "batch",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    eps: Static[NonNegative] = 1e-3,
    activation: Activation = "relu",
    pool: WindowKind = "max",
    init: Initializer = "normal_01",
    remat: bool = False,
) -> nn.Module:
    """Inception v3 as torchvision defines it, without its input transformation, for 299×299.

    It takes 75×75 or more, with `auxiliary` 299×299; the outputs in training are then {"main", "auxiliary"}, each
    (B, K). `pool` is that between the blocks; `remat` recomputes blocks in the backward pass. First weights: normal
    with deviation 0.1.
    """
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum, eps=eps)
    return InceptionV3(outputs, style, auxiliary, dropout, pool, remat)


def _chain(style, x, train, plan):
    """The units of `plan` in turn: (name, features, window, stride, padding)."""
    for name, features, window, stride, padding in plan:
        x = ConvNorm(features, window, style, stride=stride, padding=padding, name=name)(x, train)
    return x


class InceptionA(nn.Module):
    """35×35: 1×1, 5×5, two 3×3 and average pooling side by side."""

    pooled: int
    style: Style

    @nn.compact
    def __call__(self, x, train=False):
        s = self.style
        a = _chain(s, x, train, [("branch1x1", 64, 1, 1, 0)])
        b = _chain(s, x, train, [("branch5x5_1", 48, 1, 1, 0), ("branch5x5_2", 64, 5, 1, 2)])
        c = _chain(
            s,
            x,
            train,
            [("branch3x3dbl_1", 64, 1, 1, 0), ("branch3x3dbl_2", 96, 3, 1, 1), ("branch3x3dbl_3", 96, 3, 1, 1)],
        )
        p = ops.avg_pool(x, 3, stride=1, padding=1, count_padding=True)
        return jnp.concatenate([a, b, c, _chain(s, p, train, [("branch_pool", self.pooled, 1, 1, 0)])], -1)


class InceptionB(nn.Module):
    """35×35 to 17×17."""

    pool: str
    style: Style

    @nn.compact
    def __call__(self, x, train=False):
        s = self.style
        a = _chain(s, x, train, [("branch3x3", 384, 3, 2, 0)])
        b = _chain(
            s,
            x,
            train,
            [("branch3x3dbl_1", 64, 1, 1, 0), ("branch3x3dbl_2", 96, 3, 1, 1), ("branch3x3dbl_3", 96, 3, 2, 0)],
        )
        return jnp.concatenate([a, b, pooling(self.pool)(x, 3, stride=2)], -1)


class InceptionC(nn.Module):
    """17×17: windows of 7 along one side and then the other."""

    width: int
    style: Style

    @nn.compact
    def __call__(self, x, train=False):
        s, w, across, down = self.style, self.width, ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))
        a = _chain(s, x, train, [("branch1x1", 192, 1, 1, 0)])
        b = _chain(s, x, train, [("branch7x7_1", w, 1, 1, 0), ("branch7x7_2", w, *across), ("branch7x7_3", 192, *down)])
        c = _chain(
            s,
            x,
            train,
            [
                ("branch7x7dbl_1", w, 1, 1, 0),
                ("branch7x7dbl_2", w, *down),
                ("branch7x7dbl_3", w, *across),
                ("branch7x7dbl_4", w, *down),
                ("branch7x7dbl_5", 192, *across),
            ],
        )
        p = ops.avg_pool(x, 3, stride=1, padding=1, count_padding=True)
        return jnp.concatenate([a, b, c, _chain(s, p, train, [("branch_pool", 192, 1, 1, 0)])], -1)


class InceptionD(nn.Module):
    """17×17 to 8×8."""

    pool: str
    style: Style

    @nn.compact
    def __call__(self, x, train=False):
        s = self.style
        a = _chain(s, x, train, [("branch3x3_1", 192, 1, 1, 0), ("branch3x3_2", 320, 3, 2, 0)])
        b = _chain(
            s,
            x,
            train,
            [
                ("branch7x7x3_1", 192, 1, 1, 0),
                ("branch7x7x3_2", 192, (1, 7), 1, (0, 3)),
                ("branch7x7x3_3", 192, (7, 1), 1, (3, 0)),
                ("branch7x7x3_4", 192, 3, 2, 0),
            ],
        )
        return jnp.concatenate([a, b, pooling(self.pool)(x, 3, stride=2)], -1)


class InceptionE(nn.Module):
    """8×8: the 3×3 split into 1×3 and 3×1 side by side."""

    style: Style

    @nn.compact
    def __call__(self, x, train=False):
        s = self.style

        def fork(y, name):
            across = _chain(s, y, train, [(f"{name}a", 384, (1, 3), 1, (0, 1))])
            return jnp.concatenate([across, _chain(s, y, train, [(f"{name}b", 384, (3, 1), 1, (1, 0))])], -1)

        a = _chain(s, x, train, [("branch1x1", 320, 1, 1, 0)])
        b = fork(_chain(s, x, train, [("branch3x3_1", 384, 1, 1, 0)]), "branch3x3_2")
        c = _chain(s, x, train, [("branch3x3dbl_1", 448, 1, 1, 0), ("branch3x3dbl_2", 384, 3, 1, 1)])
        p = ops.avg_pool(x, 3, stride=1, padding=1, count_padding=True)
        p = _chain(s, p, train, [("branch_pool", 192, 1, 1, 0)])
        return jnp.concatenate([a, b, fork(c, "branch3x3dbl_3"), p], -1)


class Auxiliary(nn.Module):
    """A classifier on the last 17×17 map."""

    outputs: int
    style: Style

    @nn.compact
    def __call__(self, x, train=False):
        x = ops.avg_pool(x, 5, stride=3)
        x = ConvNorm(128, 1, self.style, name="conv0")(x, train)
        x = ConvNorm(768, 5, self.style, name="conv1")(x, train)
        x = ops.global_pool(x, "avg")
        return Dense(self.outputs, kernel_init="normal_0001", bias_init="torch", name="output")(x)


class InceptionV3(Network):
    """Five convolutions, eleven blocks, and a head."""

    outputs: int
    style: Style
    auxiliary: bool
    dropout: float
    pool: str
    remat: bool

    @property
    def strides(self):
        return (2, 4, 8, 16, 32)

    def setup(self):
        s = self.style
        self.stem1 = ConvNorm(32, 3, s, stride=2)
        self.stem2 = ConvNorm(32, 3, s)
        self.stem3 = ConvNorm(64, 3, s, padding=1)
        self.stem4 = ConvNorm(80, 1, s)
        self.stem5 = ConvNorm(192, 3, s)
        blocks = (InceptionA, InceptionB, InceptionC, InceptionD, InceptionE)
        a, b, c, d, e = (nn.remat(block, static_argnums=(2,)) if self.remat else block for block in blocks)
        self.mixed5b, self.mixed5c, self.mixed5d = a(32, s), a(64, s), a(64, s)
        self.mixed6a = b(self.pool, s)
        self.mixed6b, self.mixed6c, self.mixed6d, self.mixed6e = c(128, s), c(160, s), c(160, s), c(192, s)
        self.mixed7a = d(self.pool, s)
        self.mixed7b, self.mixed7c = e(s), e(s)
        if self.auxiliary and self.outputs:
            self.auxiliary_head = Auxiliary(self.outputs, s)
        self.head = Head(self.outputs, self.dropout, kernel_init=s.init, bias_init="torch")

    def features(self, x, train=False):
        pool = pooling(self.pool)
        maps = {"stem3": self.stem3(self.stem2(self.stem1(x, train), train), train)}
        maps["stem5"] = self.stem5(self.stem4(pool(maps["stem3"], 3, stride=2), train), train)
        x = pool(maps["stem5"], 3, stride=2)
        for names in (("5b", "5c", "5d"), ("6a", "6b", "6c", "6d", "6e"), ("7a", "7b", "7c")):
            for name in names:
                x = getattr(self, f"mixed{name}")(x, train)
            maps[f"mixed{names[-1]}"] = x
        return maps

    def __call__(self, x, train=False):
        maps = self.features(x, train)
        main = self.head(maps["mixed7c"], train)
        if not self.auxiliary or not self.outputs or not (train or self.is_initializing()):
            return main
        return {"main": main, "auxiliary": self.auxiliary_head(maps["mixed6e"], train)}
