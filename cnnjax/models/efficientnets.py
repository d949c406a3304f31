"""EfficientNet (Tan 2019): one small net, made wider, deeper and finer together; and Lite, for phones without gates."""

import math
from typing import Literal

import flax.linen as nn

from cnnjax.annotations import AtLeastOne, Count, NonNegative, Positive, Rate, Static
from cnnjax.layers import Activation, Initializer, Norm, Style
from cnnjax.models._blocks import ConvNorm
from cnnjax.models._inverted import Inverted, WideHead, rounded
from cnnjax.models._network import Network, positive
from cnnjax.models._preset import preset
from cnnjax.ops.pooling import PoolKind

# expansion, window, stride, features, blocks
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


def efficientnet(
    *,
    outputs: int,
    multiplier: Static[Positive] = 1.0,
    depth: Static[Positive] = 1.0,
    stride: AtLeastOne = 2,
    dropout: Rate = 0.2,
    drop_path: Rate = 0.2,
    norm: Norm = "batch",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    eps: Static[NonNegative] = 1e-5,
    activation: Activation = "silu",
    gates: bool = True,
    ends: Literal["scaled", "fixed"] = "scaled",
    padding: Literal["symmetric", "same"] = "symmetric",
    pool: PoolKind = "avg",
    init: Initializer = "he_fan_out",
    remat: bool = False,
) -> nn.Module:
    """EfficientNet with every width times `multiplier` and every stage `depth` times as long.

    With `ends` "fixed" the stem and the last convolution keep their width, the first and the last stage their length.
    `padding` "same" is TensorFlow's, in which one more row and column lie behind where a stride needs an odd number.
    The rate of `drop_path` grows linearly over the blocks. `stride` is the stem's: 1 for small images. `pool` is the
    head's. First weights are torchvision's: He's normal by fan-out, the output layer uniform in ±1/√outputs.
    """
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum, eps=eps)
    positive("multiplier", multiplier)
    positive("depth", depth)
    fixed = ends == "fixed"
    return EfficientNet(
        outputs, style, multiplier, depth, stride, dropout, drop_path, pool, remat, gates, fixed, padding == "same"
    )


class EfficientNet(Network):
    """Stem, seven stages of inverted residuals and a 1×1 convolution; the maps are the last at each size."""

    outputs: int
    style: Style
    multiplier: float
    depth: float
    stride: int
    dropout: float
    drop_path: float
    pool: str
    remat: bool
    gates: bool
    fixed_ends: bool
    same: bool

    def _plan(self):
        """Name, stride, expansion, window, features and place of every block."""
        plan = []
        for s, (expansion, window, stride, features, count) in enumerate(_STAGES, 1):
            kept = self.fixed_ends and s in (1, len(_STAGES))
            for i in range(count if kept else math.ceil(count * self.depth)):
                plan.append(
                    (
                        f"stage{s}_block{i + 1}",
                        stride if i == 0 else 1,
                        expansion,
                        window,
                        rounded(features * self.multiplier),
                    )
                )
        return plan

    def _kept(self):
        total, kept = self.stride, {}
        for name, stride, *_ in self._plan():
            total *= stride
            kept[total] = name
        return {**kept, total: "last"}

    @property
    def strides(self):
        return tuple(self._kept())

    def setup(self):
        block = nn.remat(Inverted, static_argnums=(2,)) if self.remat else Inverted
        width = 32 if self.fixed_ends else rounded(32 * self.multiplier)
        self.stem = ConvNorm(width, 3, self.style, stride=self.stride, padding="same" if self.same else 1)
        plan = self._plan()
        for i, (name, stride, expansion, window, features) in enumerate(plan):
            setattr(
                self,
                name,
                block(
                    features,
                    rounded(width * expansion),
                    window,
                    stride,
                    self.style,
                    max(1, width // 4) if self.gates else 0,
                    "sigmoid",
                    self.style.act,
                    self.drop_path * i / len(plan),
                    self.same,
                ),
            )
            width = features
        self.last_conv = ConvNorm(1280 if self.fixed_ends else 4 * width, 1, self.style)
        self.head = WideHead(self.outputs, 0, self.dropout, self.pool, self.style, "fan_out_uniform")

    def features(self, x, train=False):
        kept, maps, x = set(self._kept().values()), {}, self.stem(x, train)
        for name, *_ in self._plan():
            x = getattr(self, name)(x, train)
            if name in kept:
                maps[name] = x
        return {**maps, "last": self.last_conv(x, train)}

    def __call__(self, x, train=False):
        return self.head(self.features(x, train)["last"], train)


def _size(number, multiplier, depth, pixels, dropout):
    text = f"EfficientNet-B{number}: width × {multiplier}, depth × {depth}, meant for {pixels}×{pixels}."
    return preset(efficientnet, f"efficientnet_b{number}", text, multiplier=multiplier, depth=depth, dropout=dropout)


efficientnet_b0 = _size(0, 1.0, 1.0, 224, 0.2)
efficientnet_b1 = _size(1, 1.0, 1.1, 240, 0.2)
efficientnet_b2 = _size(2, 1.1, 1.2, 288, 0.3)
efficientnet_b3 = _size(3, 1.2, 1.4, 300, 0.3)
efficientnet_b4 = _size(4, 1.4, 1.8, 380, 0.4)


def _lite(number, multiplier, depth, pixels, dropout):
    text = (
        f"EfficientNet-Lite{number}, as published for TensorFlow: no gates, ReLU6, stem and head of one size; "
        f"meant for {pixels}×{pixels}, of which the published weights read (255·x − 127)/128."
    )
    return preset(
        efficientnet, f"efficientnet_lite{number}", text, multiplier=multiplier, depth=depth, dropout=dropout,
        activation="relu6", eps=1e-3, gates=False, ends="fixed", padding="same",
    )  # fmt: skip


efficientnet_lite0 = _lite(0, 1.0, 1.0, 224, 0.2)
efficientnet_lite1 = _lite(1, 1.0, 1.1, 240, 0.2)
efficientnet_lite2 = _lite(2, 1.1, 1.2, 260, 0.3)

__all__ = [
    "efficientnet",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
]
