"""VGG (Simonyan 2015): stages of 3×3 convolutions, each pooled, and three dense layers."""

import flax.linen as nn

from cnnjax import ops
from cnnjax.annotations import AtLeastOne, Count, Rate
from cnnjax.layers import Activation, Dense, Dropout, Initializer, Norm, Style, pooling
from cnnjax.models._network import Network
from cnnjax.models._preset import preset
from cnnjax.ops.pooling import WindowKind


def vgg(
    *,
    outputs: int,
    blocks: tuple[AtLeastOne, ...] = (1, 1, 2, 2, 2),
    width: AtLeastOne = 64,
    hidden: AtLeastOne = 4096,
    dropout: Rate = 0.5,
    norm: Norm = "none",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    activation: Activation = "relu",
    pool: WindowKind = "max",
    init: Initializer = "he_fan_out",
) -> nn.Module:
    """VGG with `blocks` convolutions a stage, the width doubling up to 8 times; maps are pooled to 7×7 before the head.

    First weights are torchvision's: He's normal by fan-out, dense layers normal with deviation 0.01.
    """
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum)
    return VGG(outputs, blocks, width, hidden, dropout, pool, style)


class VGG(Network):
    """The maps are those of the last convolution of each stage, and the last pooled one."""

    outputs: int
    blocks: tuple[int, ...]
    width: int
    hidden: int
    dropout: float
    pool: str
    style: Style

    @property
    def strides(self):
        return tuple(2**i for i in range(len(self.blocks) + 1))

    def setup(self):
        for i, count in enumerate(self.blocks, 1):
            for j in range(1, count + 1):
                features = self.width * 2 ** min(i - 1, 3)
                setattr(self, f"conv{i}_{j}", self.style.conv(features, 3, padding=1, bias=True))
                setattr(self, f"norm{i}_{j}", self.style.normalize())
        if self.outputs:
            self.dropout1, self.dropout2 = Dropout(self.dropout), Dropout(self.dropout)
            self.dense1 = Dense(self.hidden, kernel_init="normal_001")
            self.dense2 = Dense(self.hidden, kernel_init="normal_001")
            self.head = Dense(self.outputs, kernel_init="normal_001")

    def features(self, x, train=False):
        maps = {}
        for i, count in enumerate(self.blocks, 1):
            for j in range(1, count + 1):
                x = getattr(self, f"norm{i}_{j}")(getattr(self, f"conv{i}_{j}")(x), train)
                x = self.style.activate(x)
            maps[f"stage{i}"] = x
            x = pooling(self.pool)(x, 2)
        return {**maps, f"pool{i}": x}

    def __call__(self, x, train=False):
        x = self.features(x, train)[f"pool{len(self.blocks)}"]
        if not self.outputs:
            return ops.global_pool(x, "avg")
        x = ops.adaptive_pool(x, (7, 7), "avg") if x.shape[1:3] != (7, 7) else x
        x = self.dropout1(self.style.activate(self.dense1(ops.flat(x))), train)
        x = self.dropout2(self.style.activate(self.dense2(x)), train)
        return self.head(x)


_BLOCKS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def _depth(depth, norm="none"):
    name, text = f"vgg{depth}{'_bn' * (norm == 'batch')}", " with batch normalisation" * (norm == "batch")
    return preset(
        vgg,
        name,
        f"VGG-{depth}{text}: blocks {_BLOCKS[depth]}; maps at strides 1 to 32.",
        blocks=_BLOCKS[depth],
        norm=norm,
    )


vgg11, vgg13, vgg16, vgg19 = (_depth(depth) for depth in _BLOCKS)
vgg11_bn, vgg13_bn, vgg16_bn, vgg19_bn = (_depth(depth, "batch") for depth in _BLOCKS)

__all__ = ["vgg", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"]
