"""DenseNet (Huang 2017): every layer reads the maps of all layers before it in its block."""

from typing import Annotated, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnnjax import ops
from cnnjax.annotations import AtLeastOne, Bounds, Count, Rate, Static
from cnnjax.layers import Activation, Dropout, Initializer, Norm, Style, pooling
from cnnjax.models._network import Head, Network, positive
from cnnjax.models._preset import preset
from cnnjax.ops.pooling import WindowKind
from cnnjax.refusals import refuse_misfits


def densenet(
    *,
    outputs: int,
    blocks: tuple[AtLeastOne, ...] = (6, 12, 24, 16),
    growth: AtLeastOne = 32,
    stem: Literal["imagenet", "cifar"] = "imagenet",
    stem_width: AtLeastOne = 64,
    bottleneck: Count = 4,
    compression: Static[Annotated[float, Bounds(0, 1, above=True)]] = 0.5,
    layer_dropout: Static[Rate] = 0.0,
    dropout: Rate = 0.0,
    norm: Norm = "batch",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    activation: Activation = "relu",
    pool: WindowKind = "avg",
    init: Initializer = "he_normal",
    remat: bool = False,
) -> nn.Module:
    """DenseNet with `blocks` layers a block, each adding `growth` maps.

    A layer is a 1×1 convolution to `bottleneck · growth` maps (left out where `bottleneck` is 0) and a 3×3. Between
    blocks a 1×1 keeps the share `compression` of the maps and pooling halves them. `stem` is "imagenet" (7×7/2, pooled)
    or "cifar" (3×3). `remat` recomputes layers in the backward pass, which stores the maps once. First weights: He's
    normal by fan-in, as in the paper; the output layer uniform in ±1/√fan-in.
    """
    refuse_misfits(densenet, locals())
    positive("compression", compression, 1)
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum)
    return DenseNet(
        outputs, blocks, growth, stem, stem_width, bottleneck, compression, layer_dropout, dropout, pool, style, remat
    )


class Layer(nn.Module):
    """The new maps of one layer."""

    growth: int
    bottleneck: int
    dropout: float
    style: Style

    @nn.compact
    def __call__(self, x, train, known):
        style, last = self.style, 2 if self.bottleneck else 1
        x = style.activate(style.normalize("norm1")(x, train, **known))
        if self.bottleneck:
            x = style.conv(self.bottleneck * self.growth, 1, name="conv1")(x)
            x = style.activate(style.normalize("norm2")(x, train))
        x = style.conv(self.growth, 3, padding=1, name=f"conv{last}")(x)
        return Dropout(self.dropout, name="dropout")(x, train)


class Block(nn.Module):
    """Maps and the new ones of every layer, one after the other; batch statistics of each are computed once."""

    count: int
    growth: int
    bottleneck: int
    dropout: float
    style: Style
    remat: bool

    @nn.compact
    def __call__(self, x, train=False):
        layer = nn.remat(Layer, static_argnums=(2,)) if self.remat else Layer
        known = self.style.statistics(x, train)
        for i in range(1, self.count + 1):
            new = layer(self.growth, self.bottleneck, self.dropout, self.style, name=f"layer{i}")(x, train, known)
            x, known = jax.tree.map(_joined, (x, known), (new, self.style.statistics(new, train)))
        return x


def _joined(a, b):
    return jnp.concatenate([a, b], -1)


class Transition(nn.Module):
    """Fewer maps at half the size."""

    features: int
    pool: str
    style: Style

    @nn.compact
    def __call__(self, x, train=False):
        x = self.style.activate(self.style.normalize("norm")(x, train))
        return pooling(self.pool)(self.style.conv(self.features, 1, name="conv")(x), 2)


class Stem(nn.Module):
    """The first convolution; ImageNet's is normalised here, CIFAR's in the first layer."""

    kind: str
    width: int
    style: Style

    @nn.compact
    def __call__(self, x, train=False):
        if self.kind == "cifar":
            return self.style.conv(self.width, 3, padding=1, name="conv")(x)
        x = self.style.conv(self.width, 7, stride=2, padding=3, name="conv")(x)
        return self.style.activate(self.style.normalize("norm")(x, train))


class DenseNet(Network):
    """Stem, dense blocks with transitions between, a last normalisation, and a head."""

    may_be_0 = ("outputs", "bottleneck")

    outputs: int
    blocks: tuple[int, ...]
    growth: int
    stem_kind: str
    stem_width: int
    bottleneck: int
    compression: float
    layer_dropout: float
    dropout: float
    pool: str
    style: Style
    remat: bool

    @property
    def strides(self):
        first = 1 if self.stem_kind == "cifar" else 4
        blocks = tuple(first * 2**i for i in range(len(self.blocks)))
        return blocks if first == 1 else (2, *blocks)

    def setup(self):
        self.stem, width = Stem(self.stem_kind, self.stem_width, self.style), self.stem_width
        for i, count in enumerate(self.blocks, 1):
            block = Block(count, self.growth, self.bottleneck, self.layer_dropout, self.style, self.remat)
            setattr(self, f"block{i}", block)
            width += count * self.growth
            if i < len(self.blocks):
                width = int(width * self.compression)
                setattr(self, f"transition{i}", Transition(width, self.pool, self.style))
        self.norm = self.style.normalize()
        self.head = Head(self.outputs, self.dropout, kernel_init="torch")

    def features(self, x, train=False):
        maps, x = {}, self.stem(x, train)
        if self.stem_kind == "imagenet":
            maps["stem"] = x
            x = ops.max_pool(x, 3, stride=2, padding=1)
        for i in range(1, len(self.blocks) + 1):
            x = maps[f"block{i}"] = getattr(self, f"block{i}")(x, train)
            if i < len(self.blocks):
                x = getattr(self, f"transition{i}")(x, train)
        maps[f"block{i}"] = self.style.activate(self.norm(x, train))
        return maps

    def __call__(self, x, train=False):
        return self.head(self.features(x, train)[f"block{len(self.blocks)}"], train)


def _imagenet(depth, blocks, **changes):
    text = f"DenseNet-{depth}: blocks {blocks}; maps at strides 2 to 32."
    return preset(densenet, f"densenet{depth}", text, blocks=blocks, **changes)


def _cifar(depth, growth, compressed):
    count = (depth - 4) // (6 if compressed else 3)
    name = f"densenet_bc{depth}_{growth}" if compressed else f"densenet{depth}_{growth}"
    kind = "BC-" * compressed
    text = f"CIFAR's DenseNet-{kind}{depth} (k = {growth}): three blocks of {count} layers; maps at strides 1, 2, 4."
    return preset(
        densenet,
        name,
        text,
        blocks=(count,) * 3,
        growth=growth,
        stem="cifar",
        stem_width=2 * growth if compressed else 16,
        bottleneck=4 * compressed,
        compression=0.5 if compressed else 1.0,
    )


densenet121 = _imagenet(121, (6, 12, 24, 16))
densenet161 = _imagenet(161, (6, 12, 36, 24), growth=48, stem_width=96)
densenet169 = _imagenet(169, (6, 12, 32, 32))
densenet201 = _imagenet(201, (6, 12, 48, 32))
densenet40_12 = _cifar(40, 12, False)
densenet100_12 = _cifar(100, 12, False)
densenet100_24 = _cifar(100, 24, False)
densenet_bc100_12 = _cifar(100, 12, True)
densenet_bc190_40 = _cifar(190, 40, True)
densenet_bc250_24 = _cifar(250, 24, True)

__all__ = [
    "densenet",
    "densenet40_12",
    "densenet100_12",
    "densenet100_24",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
    "densenet_bc100_12",
    "densenet_bc190_40",
    "densenet_bc250_24",
]
