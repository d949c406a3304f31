"""Nets for video (B, T, H, W, C): C3D (Tran 2015), R3D and R(2+1)D (Tran 2018), and any net on every frame."""

from typing import Annotated

import flax.linen as nn

from cnnjax import ops
from cnnjax.annotations import AtLeastOne, Count, Rate
from cnnjax.layers import Activation, Dense, Dropout, Initializer, Norm, Style, pooling
from cnnjax.models._backbones import OnBackbone, backbone_with_maps
from cnnjax.models._network import Head, Network, wholes
from cnnjax.models._preset import preset
from cnnjax.ops.pooling import PoolKind, WindowKind


def c3d(
    *,
    outputs: int,
    stages: tuple[tuple[AtLeastOne, ...], ...] = ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    hidden: tuple[AtLeastOne, ...] = (4096, 4096),
    keep_time: bool = True,
    dropout: Rate = 0.5,
    norm: Norm = "none",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    activation: Activation = "relu",
    pool: WindowKind = "max",
    init: Initializer = "he_normal",
) -> nn.Module:
    """C3D: 3×3×3 convolutions, every stage pooled by 2, the first over space alone (`keep_time`); 16×112×112 is usual.

    The dense layers of `hidden` see the flattened map, one pixel of padding making 8×8 of 7×7; with none of them the
    map is averaged. First weights: He's normal by fan-in.
    """
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum)
    if not stages or not all(isinstance(stage, tuple | list) and stage for stage in stages):
        raise ValueError(f"stages is {stages}; it must have a row of widths for each, as in ((8,), (8, 8))")
    stages = tuple(wholes("a row of stages", stage) for stage in stages)
    return C3D(outputs, stages, hidden, keep_time, dropout, pool, style)


class C3D(Network):
    """The maps are those of the last convolution of every stage; strides are those of space."""

    outputs: int
    stages: tuple
    hidden: tuple[int, ...]
    keep_time: bool
    dropout: float
    pool: str
    style: Style

    @property
    def strides(self):
        return tuple(2**i for i in range(len(self.stages)))

    def setup(self):
        for i, widths in enumerate(self.stages, 1):
            for j, features in enumerate(widths, 1):
                setattr(self, f"conv{i}_{j}", self.style.conv(features, 3, padding=1))
                setattr(self, f"norm{i}_{j}", self.style.normalize())
        if self.outputs:
            for i, features in enumerate(self.hidden, 1):
                setattr(self, f"dense{i}", Dense(features, kernel_init=self.style.init))
                setattr(self, f"dropout{i}", Dropout(self.dropout))
            self.head = Dense(self.outputs)

    def features(self, x, train=False):
        maps = {}
        for i, widths in enumerate(self.stages, 1):
            for j in range(1, len(widths) + 1):
                x = getattr(self, f"norm{i}_{j}")(getattr(self, f"conv{i}_{j}")(x), train)
                x = self.style.activate(x)
            maps[f"stage{i}"] = x
            if i < len(self.stages):
                x = pooling(self.pool)(x, (1, 2, 2) if self.keep_time and i == 1 else 2)
        return maps

    def __call__(self, x, train=False):
        x = self.features(x, train)[f"stage{len(self.stages)}"]
        x = pooling(self.pool)(x, 2, padding=(0, 1, 1) if self.hidden else 0)
        if not self.hidden or not self.outputs:
            x = ops.global_pool(x, "avg")
            return self.head(x) if self.outputs else x
        x = ops.flat(x)
        for i in range(1, len(self.hidden) + 1):
            x = getattr(self, f"dropout{i}")(self.style.activate(getattr(self, f"dense{i}")(x)), train)
        return self.head(x)


c3d_small = preset(
    c3d,
    "c3d_small",
    "Three stages of 32, 64 and 128 maps with batch normalisation, averaged.",
    stages=((32,), (64,), (128,)),
    hidden=(),
    keep_time=False,
    norm="batch",
)


def video_resnet(
    *,
    outputs: int,
    blocks: tuple[AtLeastOne, ...] = (2, 2, 2, 2),
    width: AtLeastOne = 64,
    factored: bool = False,
    zero_init: bool = False,
    dropout: Rate = 0.0,
    norm: Norm = "batch",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    activation: Activation = "relu",
    pool: PoolKind = "avg",
    init: Initializer = "he_fan_out",
    remat: bool = False,
) -> nn.Module:
    """Residual net over space and time; `factored` splits every 3×3×3 into space and time with a nonlinearity between.

    Time is halved wherever space is, but not by the stem. 16×112×112 is usual. `pool` is the head's; `remat` recomputes
    blocks in the backward pass. First weights are torchvision's: He's normal by fan-out, the output layer normal with
    deviation 0.01.
    """
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum)
    return VideoResNet(outputs, blocks, width, factored, zero_init, dropout, pool, style, remat)


class Conv3x3x3(nn.Module):
    """A 3×3×3 convolution, whole, or 1×3×3 and 3×1×1 with as many parameters together."""

    features: int
    middle: int  # maps between the two; 0 where it is whole
    stride: int
    style: Style

    @nn.compact
    def __call__(self, x, train=False):
        style, s = self.style, self.stride
        if not self.middle:
            return style.conv(self.features, 3, stride=s, padding=1, name="conv")(x)
        x = style.conv(self.middle, (1, 3, 3), stride=(1, s, s), padding=(0, 1, 1), name="space")(x)
        x = style.activate(style.normalize("norm")(x, train))
        return style.conv(self.features, (3, 1, 1), stride=(s, 1, 1), padding=(1, 0, 0), name="time")(x)


class VideoBlock(nn.Module):
    """act(x + two convolutions)."""

    features: int
    stride: int
    factored: bool
    zero_init: bool
    style: Style

    @nn.compact
    def __call__(self, x, train=False):
        style, inputs, k = self.style, x.shape[-1], self.features
        middle = inputs * k * 27 // (inputs * 9 + 3 * k) if self.factored else 0  # the same in both convolutions
        y = Conv3x3x3(k, middle, self.stride, style, name="conv1")(x, train)
        y = style.activate(style.normalize("norm1")(y, train))
        y = Conv3x3x3(k, middle, 1, style, name="conv2")(y, train)
        y = style.normalize("norm2", scale_init="zeros" if self.zero_init else "ones")(y, train)
        if self.stride != 1 or inputs != k:
            x = style.conv(k, 1, stride=self.stride, name="shortcut")(x)
            x = style.normalize("shortcut_norm")(x, train)
        return style.activate(x + y)


class VideoStem(nn.Module):
    """3×7×7, or 1×7×7 to 45 maps and 3×1×1."""

    features: int
    factored: bool
    style: Style

    @nn.compact
    def __call__(self, x, train=False):
        style = self.style
        if not self.factored:
            x = style.conv(self.features, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), name="conv")(x)
            return style.activate(style.normalize("norm")(x, train))
        x = style.conv(45, (1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), name="space")(x)
        x = style.activate(style.normalize("space_norm")(x, train))
        x = style.conv(self.features, (3, 1, 1), padding=(1, 0, 0), name="time")(x)
        return style.activate(style.normalize("norm")(x, train))


class VideoResNet(Network):
    """Stem, stages and a head; strides are those of space."""

    outputs: int
    blocks: tuple[int, ...]
    width: int
    factored: bool
    zero_init: bool
    dropout: float
    pool: str
    style: Style
    remat: bool

    @property
    def strides(self):
        return tuple(2 * 2**i for i in range(len(self.blocks)))

    def setup(self):
        block = nn.remat(VideoBlock, static_argnums=(2,)) if self.remat else VideoBlock
        self.stem = VideoStem(self.width, self.factored, self.style)
        for i, count in enumerate(self.blocks, 1):
            for j in range(1, count + 1):
                stride = 2 if i > 1 and j == 1 else 1
                made = block(self.width * 2 ** (i - 1), stride, self.factored, self.zero_init, self.style)
                setattr(self, f"stage{i}_block{j}", made)
        self.head = Head(self.outputs, self.dropout, kernel_init="normal_001", pool=self.pool)

    def features(self, x, train=False):
        maps, x = {}, self.stem(x, train)
        for i, count in enumerate(self.blocks, 1):
            for j in range(1, count + 1):
                x = getattr(self, f"stage{i}_block{j}")(x, train)
            maps[f"stage{i}"] = x
        return maps

    def __call__(self, x, train=False):
        return self.head(self.features(x, train)[f"stage{len(self.blocks)}"], train)


r3d_18 = preset(video_resnet, "r3d_18", "R3D-18 (Tran 2018): every convolution over space and time at once.")
r2plus1d_18 = preset(
    video_resnet, "r2plus1d_18", "R(2+1)D-18 (Tran 2018): space and time one after the other.", factored=True
)


def frames(*, outputs: int, backbone: Annotated[str, "models"] = "resnet18", dropout: Rate = 0.0) -> nn.Module:
    """A net of pictures on every frame, whose answers are averaged: the order of the frames is nothing to it.

    `backbone` names any net of this room that is built without its head.
    """
    return Frames(outputs, backbone_with_maps(backbone, "frames"), dropout)


class Frames(OnBackbone):
    """The backbone's maps with a time axis, (B, T, h, w, C); its last is pooled over space and time before the head."""

    def features(self, x, train=False):
        found = self.backbone.features(x.reshape(-1, *x.shape[2:]), train)
        return {name: each.reshape(*x.shape[:2], *each.shape[1:]) for name, each in found.items()}


__all__ = ["c3d", "c3d_small", "frames", "r2plus1d_18", "r3d_18", "video_resnet"]
