"""GoogLeNet: as published (Szegedy 2014), and with batch normalisation as torchvision defines it."""

import flax.linen as nn
import jax.numpy as jnp

from cnnjax import ops
from cnnjax.annotations import Count, NonNegative, Rate, Static
from cnnjax.layers import Activation, Dense, Dropout, Initializer, LocalResponseNorm, Norm, Style, pooling
from cnnjax.models._blocks import ConvNorm
from cnnjax.models._network import Head, Network
from cnnjax.ops.pooling import WindowKind

__all__ = ["googlenet", "googlenet_2014"]

# maps of the 1×1, of the 3×3 and its reduction, of the 5×5 and its reduction, and after pooling
_BLOCKS = {
    "inception3a": (64, 96, 128, 16, 32, 32),
    "inception3b": (128, 128, 192, 32, 96, 64),
    "inception4a": (192, 96, 208, 16, 48, 64),
    "inception4b": (160, 112, 224, 24, 64, 64),
    "inception4c": (128, 128, 256, 24, 64, 64),
    "inception4d": (112, 144, 288, 32, 64, 64),
    "inception4e": (256, 160, 320, 32, 128, 128),
    "inception5a": (256, 160, 320, 32, 128, 128),
    "inception5b": (384, 192, 384, 48, 128, 128),
}


def googlenet(
    *,
    outputs: int,
    auxiliary: bool = False,
    dropout: Rate = 0.2,
    auxiliary_dropout: Rate = 0.7,
    norm: Norm = "batch",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    eps: Static[NonNegative] = 1e-3,
    activation: Activation = "relu",
    pool: WindowKind = "max",
    init: Initializer = "normal_001",
    remat: bool = False,
) -> nn.Module:
    """GoogLeNet with batch normalisation, 3×3 where the paper has 5×5: torchvision's, without its input transformation.

    With `auxiliary` the outputs in training are {"main", "auxiliary1", "auxiliary2"}, each (B, K). `pool` is
    that between the blocks; `remat` recomputes blocks in the backward pass. First weights: normal with deviation 0.01.
    """
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum, eps=eps)
    return GoogLeNet(outputs, style, 3, False, auxiliary, dropout, auxiliary_dropout, pool, remat)


def googlenet_2014(
    *,
    outputs: int,
    auxiliary: bool = False,
    dropout: Rate = 0.4,
    auxiliary_dropout: Rate = 0.7,
    norm: Norm = "none",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    activation: Activation = "relu",
    pool: WindowKind = "max",
    init: Initializer = "glorot_uniform",
    remat: bool = False,
) -> nn.Module:
    """GoogLeNet as published: true 5×5, biases, local response normalisation round the first two convolutions.

    With `auxiliary` the outputs in training are {"main", "auxiliary1", "auxiliary2"}, each (B, K); the paper adds 0.3
    of their losses. First weights are Glorot's, as in the authors' later release.
    """
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum)
    return GoogLeNet(outputs, style, 5, True, auxiliary, dropout, auxiliary_dropout, pool, remat)


class Inception(nn.Module):
    """Four branches side by side: 1×1; 1×1 then 3×3; 1×1 then the large window; pooling then 1×1."""

    sizes: tuple[int, ...]
    window: int
    style: Style

    @nn.compact
    def __call__(self, x, train=False):
        one, reduce3, three, reduce5, five, pooled = self.sizes

        def unit(features, window, name):
            return ConvNorm(features, window, self.style, padding=window // 2, name=name)

        a = unit(one, 1, "branch1")(x, train)
        b = unit(three, 3, "branch2_2")(unit(reduce3, 1, "branch2_1")(x, train), train)
        c = unit(five, self.window, "branch3_2")(unit(reduce5, 1, "branch3_1")(x, train), train)
        d = unit(pooled, 1, "branch4")(ops.max_pool(x, 3, stride=1, padding=1), train)
        return jnp.concatenate([a, b, c, d], -1)


class Auxiliary(nn.Module):
    """A classifier on a middle map, which helps the gradient on its way."""

    outputs: int
    dropout: float
    style: Style
    published: bool

    @nn.compact
    def __call__(self, x, train=False):
        style = self.style
        if self.published and x.shape[1:3] == (14, 14):
            x = ops.avg_pool(x, 5, stride=3)
        else:
            x = ops.adaptive_pool(x, (4, 4), "avg")
        x = ConvNorm(128, 1, style, name="conv")(x, train)
        bias = "zeros" if self.published else "torch"
        x = style.activate(Dense(1024, kernel_init=style.init, bias_init=bias, name="dense")(ops.flat(x)))
        x = Dropout(self.dropout, name="dropout")(x, train)
        return Dense(self.outputs, kernel_init=style.init, bias_init=bias, name="output")(x)


class GoogLeNet(Network):
    """Three convolutions, nine inception blocks in three groups, and a head."""

    outputs: int
    style: Style
    window: int
    published: bool
    auxiliary: bool
    dropout: float
    auxiliary_dropout: float
    pool: str
    remat: bool

    @property
    def strides(self):
        return (2, 4, 8, 16, 32)

    def setup(self):
        style = self.style
        self.conv1 = ConvNorm(64, 7, style, stride=2, padding=3)
        self.conv2 = ConvNorm(64, 1, style)
        self.conv3 = ConvNorm(192, 3, style, padding=1)
        self.response = LocalResponseNorm(5, alpha=1e-4, beta=0.75, bias=1.0)
        block = nn.remat(Inception, static_argnums=(2,)) if self.remat else Inception
        for name, sizes in _BLOCKS.items():
            setattr(self, name, block(sizes, self.window, style))
        if self.auxiliary and self.outputs:
            self.auxiliary1 = Auxiliary(self.outputs, self.auxiliary_dropout, style, self.published)
            self.auxiliary2 = Auxiliary(self.outputs, self.auxiliary_dropout, style, self.published)
        bias = "zeros" if self.published else "torch"
        self.head = Head(self.outputs, self.dropout, kernel_init=style.init, bias_init=bias)

    def _maps(self, x, train):
        """Every map by name, those that the auxiliary heads read too."""
        pool, respond = pooling(self.pool), self.response if self.published else lambda x: x
        maps = {"conv1": self.conv1(x, train)}
        x = respond(pool(maps["conv1"], 3, stride=2, ceil=True))
        maps["conv3"] = x = self.conv3(self.conv2(x, train), train)
        x = pool(respond(x), 3, stride=2, ceil=True)
        for name in _BLOCKS:
            if name == "inception4a":
                x = pool(x, 3, stride=2, ceil=True)
            elif name == "inception5a":
                window = 3 if self.published else 2
                x = pool(x, window, stride=2, ceil=True)
            x = maps[name] = getattr(self, name)(x, train)
        return maps

    def features(self, x, train=False):
        maps = self._maps(x, train)
        return {name: maps[name] for name in ("conv1", "conv3", "inception3b", "inception4e", "inception5b")}

    def __call__(self, x, train=False):
        maps = self._maps(x, train)
        main = self.head(maps["inception5b"], train)
        if not self.auxiliary or not self.outputs or not (train or self.is_initializing()):
            return main
        return {
            "main": main,
            "auxiliary1": self.auxiliary1(maps["inception4a"], train),
            "auxiliary2": self.auxiliary2(maps["inception4d"], train),
        }
