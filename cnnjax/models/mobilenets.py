"""MobileNet v2 (Sandler 2018) and v3 (Howard 2019)."""

import dataclasses

import flax.linen as nn

from cnnjax import Static
from cnnjax.layers import Style
from cnnjax.models._blocks import ConvNorm
from cnnjax.models._inverted import Inverted, WideHead, rounded
from cnnjax.models._network import Network

__all__ = ["mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"]

# expansion, features, blocks, stride of the first
_V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
# window, expanded, features, gated, activation, stride
_LARGE = (
    (3, 16, 16, False, "relu", 1), (3, 64, 24, False, "relu", 2), (3, 72, 24, False, "relu", 1),
    (5, 72, 40, True, "relu", 2), (5, 120, 40, True, "relu", 1), (5, 120, 40, True, "relu", 1),
    (3, 240, 80, False, "hard_swish", 2), (3, 200, 80, False, "hard_swish", 1), (3, 184, 80, False, "hard_swish", 1),
    (3, 184, 80, False, "hard_swish", 1), (3, 480, 112, True, "hard_swish", 1), (3, 672, 112, True, "hard_swish", 1),
    (5, 672, 160, True, "hard_swish", 2), (5, 960, 160, True, "hard_swish", 1), (5, 960, 160, True, "hard_swish", 1),
)
_SMALL = (
    (3, 16, 16, True, "relu", 2), (3, 72, 24, False, "relu", 2), (3, 88, 24, False, "relu", 1),
    (5, 96, 40, True, "hard_swish", 2), (5, 240, 40, True, "hard_swish", 1), (5, 240, 40, True, "hard_swish", 1),
    (5, 120, 48, True, "hard_swish", 1), (5, 144, 48, True, "hard_swish", 1), (5, 288, 96, True, "hard_swish", 2),
    (5, 576, 96, True, "hard_swish", 1), (5, 576, 96, True, "hard_swish", 1),
)


def mobilenet_v2(
    *, outputs: int, multiplier: Static[float] = 1.0, stride: int = 2, dropout: float = 0.2, drop_path: float = 0.0,
    norm: str = "batch", norm_group: int = 0, momentum: float = 0.9, activation: str = "relu6",
    init: str = "he_fan_out", remat: bool = False,
) -> nn.Module:
    """MobileNet v2, every width times `multiplier` and rounded to multiples of 8.

    `stride` is the stem's: 1 for small images. First weights are torchvision's: He's normal by fan-out, the output
    layer normal with deviation 0.01.
    """
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum)
    first = width = rounded(32 * multiplier)
    plan = []
    for expansion, features, count, step in _V2:
        for i in range(count):
            wide, width = width * expansion, rounded(features * multiplier)
            plan.append(_Unit(3, wide, width, False, activation, step if i == 0 else 1))
    last = rounded(1280 * max(1.0, multiplier))
    return MobileNet(outputs, style, activation, tuple(plan), first, last, 0, stride, dropout, drop_path, remat)


def mobilenet_v3_large(
    *, outputs: int, multiplier: Static[float] = 1.0, stride: int = 2, dropout: float = 0.2, drop_path: float = 0.0,
    norm: str = "batch", norm_group: int = 0, momentum: float = 0.99, eps: Static[float] = 1e-3,
    init: str = "he_fan_out", remat: bool = False,
) -> nn.Module:
    """MobileNet v3 large: gated blocks, hard swish in the deeper half; `stride` is the stem's: 1 for small images.

    First weights as in `mobilenet_v2`.
    """
    style = Style(norm=norm, act="hard_swish", init=init, group=norm_group, momentum=momentum, eps=eps)
    return _third(outputs, style, _LARGE, multiplier, 1280, stride, dropout, drop_path, remat)


def mobilenet_v3_small(
    *, outputs: int, multiplier: Static[float] = 1.0, stride: int = 2, dropout: float = 0.2, drop_path: float = 0.0,
    norm: str = "batch", norm_group: int = 0, momentum: float = 0.99, eps: Static[float] = 1e-3,
    init: str = "he_fan_out", remat: bool = False,
) -> nn.Module:
    """MobileNet v3 small: gated blocks, hard swish in the deeper half; `stride` is the stem's: 1 for small images.

    First weights as in `mobilenet_v2`.
    """
    style = Style(norm=norm, act="hard_swish", init=init, group=norm_group, momentum=momentum, eps=eps)
    return _third(outputs, style, _SMALL, multiplier, 1024, stride, dropout, drop_path, remat)


@dataclasses.dataclass(frozen=True)
class _Unit:
    """One block of the plan."""

    window: int
    expanded: int
    features: int
    gated: bool
    act: str
    stride: int


def _third(outputs, style, rows, multiplier, hidden, stride, dropout, drop_path, remat):
    units = [_Unit(window, rounded(wide * multiplier), rounded(features * multiplier), gated, act, step)
             for window, wide, features, gated, act, step in rows]
    first, last = rounded(16 * multiplier), 6 * units[-1].features
    return MobileNet(outputs, style, "hard_swish", tuple(units), first, last, rounded(hidden * multiplier), stride,
                     dropout, drop_path, remat)


class MobileNet(Network):
    """Stem, inverted residuals and a 1×1 convolution; the maps are the last at each size."""

    outputs: int
    style: Style
    act: str
    plan: tuple[_Unit, ...]
    first: int
    last: int
    hidden: int
    stride: int
    dropout: float
    drop_path: float
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
            setattr(self, f"block{i}", block(unit.features, unit.expanded, unit.window, unit.stride, style, squeezed,
                                             "hard_sigmoid", "relu", rate))
        self.last_conv = ConvNorm(self.last, 1, self.style)
        self.head = WideHead(self.outputs, self.hidden, self.dropout, self.style, "normal_001")

    def features(self, x, train=False):
        kept, maps, x = set(self._kept().values()), {}, self.stem(x, train)
        for i in range(1, len(self.plan) + 1):
            x = getattr(self, f"block{i}")(x, train)
            if f"block{i}" in kept:
                maps[f"block{i}"] = x
        return {**maps, "last": self.last_conv(x, train)}

    def __call__(self, x, train=False):
        return self.head(self.features(x, train)["last"], train)
