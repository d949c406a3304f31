"""MobileNet v2 (Sandler 2018) and v3 (Howard 2019)."""

import dataclasses

import flax.linen as nn

from cnnjax.annotations import AtLeastOne, Count, NonNegative, Positive, Rate, Static
from cnnjax.layers import Activation, Initializer, Norm, Style
from cnnjax.models._blocks import ConvNorm
from cnnjax.models._inverted import Inverted, WideHead, rounded
from cnnjax.models._network import Network, positive
from cnnjax.ops.pooling import PoolKind

__all__ = ["mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"]

# expansion, features, blocks, stride of the first
_V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
# window, expanded, features, gated, in the deeper half (by its activation), stride
_LARGE = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)
_SMALL = (
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)


def mobilenet_v2(
    *,
    outputs: int,
    multiplier: Static[Positive] = 1.0,
    stride: AtLeastOne = 2,
    dropout: Rate = 0.2,
    drop_path: Rate = 0.0,
    norm: Norm = "batch",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    activation: Activation = "relu6",
    pool: PoolKind = "avg",
    init: Initializer = "he_fan_out",
    remat: bool = False,
) -> nn.Module:
    """MobileNet v2, every width times `multiplier` and rounded to multiples of 8.

    `stride` is the stem's: 1 for small images. `pool` is the head's. First weights are torchvision's: He's normal by
    fan-out, the output layer normal with deviation 0.01.
    """
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum)
    positive("multiplier", multiplier)
    first = width = rounded(32 * multiplier)
    plan = []
    for expansion, features, count, step in _V2:
        for i in range(count):
            wide, width = width * expansion, rounded(features * multiplier)
            plan.append(_Unit(3, wide, width, False, activation, step if i == 0 else 1))
    last = rounded(1280 * max(1.0, multiplier))
    return MobileNet(outputs, style, tuple(plan), first, last, 0, stride, dropout, drop_path, pool, remat)


def mobilenet_v3_large(
    *,
    outputs: int,
    multiplier: Static[Positive] = 1.0,
    stride: AtLeastOne = 2,
    dropout: Rate = 0.2,
    drop_path: Rate = 0.0,
    norm: Norm = "batch",
    norm_group: Count = 0,
    momentum: Rate = 0.99,
    eps: Static[NonNegative] = 1e-3,
    activation: Activation = "hard_swish",
    shallow_activation: Activation = "relu",
    pool: PoolKind = "avg",
    init: Initializer = "he_fan_out",
    remat: bool = False,
) -> nn.Module:
    """MobileNet v3 large: gated blocks, hard swish in the deeper half; `stride` is the stem's: 1 for small images.

    `activation` is that of the stem, the deeper half and the head, `shallow_activation` that of the blocks before;
    gates keep their own. `pool` is the head's. First weights as in `mobilenet_v2`.
    """
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum, eps=eps)
    return _third(outputs, style, shallow_activation, _LARGE, multiplier, 1280, stride, dropout, drop_path, pool, remat)


def mobilenet_v3_small(
    *,
    outputs: int,
    multiplier: Static[Positive] = 1.0,
    stride: AtLeastOne = 2,
    dropout: Rate = 0.2,
    drop_path: Rate = 0.0,
    norm: Norm = "batch",
    norm_group: Count = 0,
    momentum: Rate = 0.99,
    eps: Static[NonNegative] = 1e-3,
    activation: Activation = "hard_swish",
    shallow_activation: Activation = "relu",
    pool: PoolKind = "avg",
    init: Initializer = "he_fan_out",
    remat: bool = False,
) -> nn.Module:
    """MobileNet v3 small: gated blocks, hard swish in the deeper half; `stride` is the stem's: 1 for small images.

    `activation` is that of the stem, the deeper half and the head, `shallow_activation` that of the blocks before;
    gates keep their own. `pool` is the head's. First weights as in `mobilenet_v2`.
    """
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum, eps=eps)
    return _third(outputs, style, shallow_activation, _SMALL, multiplier, 1024, stride, dropout, drop_path, pool, remat)


@dataclasses.dataclass(frozen=True)
class _Unit:
    """One block of the plan."""

    window: int
    expanded: int
    features: int
    gated: bool
    act: str
    stride: int


def _third(outputs, style, shallow, rows, multiplier, hidden, stride, dropout, drop_path, pool, remat):
    positive("multiplier", multiplier)
    units = [
        _Unit(
            window,
            rounded(wide * multiplier),
            rounded(features * multiplier),
            gated,
            style.act if deep else shallow,
            step,
        )
        for window, wide, features, gated, deep, step in rows
    ]
    first, last = rounded(16 * multiplier), 6 * units[-1].features
    return MobileNet(
        outputs, style, tuple(units), first, last, rounded(hidden * multiplier), stride, dropout, drop_path, pool, remat
    )


class MobileNet(Network):
    """Stem, inverted residuals and a 1×1 convolution; the maps are the last at each size."""

    may_be_0 = ("outputs", "penultimate")

    outputs: int
    style: Style
    plan: tuple[_Unit, ...]
    first: int
    last: int
    penultimate: int  # features of the layer before the output layer; 0 where there is none
    stride: int
    dropout: float
    drop_path: float
    pool: str
    remat: bool

    def _kept(self):
        """The blocks whose maps are features, with their strides: the last before each halving, and the head's map."""
        total, kept = self.stride, {}
        for i, unit in enumerate(self.plan, 1):
            total *= unit.stride
            kept[total] = f"block{i}"
        kept[total] = "last"
        return kept

    @property
    def strides(self):
        return tuple(self._kept())

    def setup(self):
        block = nn.remat(Inverted, static_argnums=(2,)) if self.remat else Inverted
        self.stem = ConvNorm(self.first, 3, self.style, stride=self.stride, padding=1)
        for i, unit in enumerate(self.plan, 1):
            style = dataclasses.replace(self.style, act=unit.act)
            squeezed = rounded(unit.expanded // 4) if unit.gated else 0
            rate = self.drop_path * (i - 1) / len(self.plan)
            setattr(
                self,
                f"block{i}",
                block(
                    unit.features,
                    unit.expanded,
                    unit.window,
                    unit.stride,
                    style,
                    squeezed,
                    "hard_sigmoid",
                    "relu",
                    rate,
                ),
            )
        self.last_conv = ConvNorm(self.last, 1, self.style)
        self.head = WideHead(self.outputs, self.penultimate, self.dropout, self.pool, self.style, "normal_001")

    def features(self, x, train=False):
        kept, maps, x = set(self._kept().values()), {}, self.stem(x, train)
        for i in range(1, len(self.plan) + 1):
            x = getattr(self, f"block{i}")(x, train)
            if f"block{i}" in kept:
                maps[f"block{i}"] = x
        return {**maps, "last": self.last_conv(x, train)}

    def __call__(self, x, train=False):
        return self.head(self.features(x, train)["last"], train)
