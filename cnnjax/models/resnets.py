"""Residual nets for ImageNet and CIFAR (He 2015, 2016): wide (Zagoruyko 2016), ResNeXt (Xie 2017), D (He 2019) too."""

from typing import Literal

import flax.linen as nn

from cnnjax.annotations import AtLeastOne, Count, Rate, Static
from cnnjax.layers import Activation, Initializer, Norm, Style, pooling
from cnnjax.models._network import Head, Network, whole
from cnnjax.models._preset import preset
from cnnjax.models._residual import Preactivated, Residual, Stage
from cnnjax.ops.pooling import WindowKind
from cnnjax.refusals import refuse_misfits


def resnet(
    *,
    outputs: int,
    blocks: tuple[AtLeastOne, ...] = (2, 2, 2, 2),
    bottleneck: bool = False,
    width: AtLeastOne = 64,
    stem: Literal["imagenet", "deep", "cifar"] = "imagenet",
    stem_width: Count = 0,
    version: Literal["1", "1.5", "2"] = "1.5",
    shortcut: Literal["A", "B", "C", "D", "none"] = "B",
    groups: AtLeastOne = 1,
    group_width: AtLeastOne = 64,
    zero_init: bool = False,
    drop_path: Static[Rate] = 0.0,
    block_dropout: Static[Rate] = 0.0,
    dropout: Rate = 0.0,
    norm: Norm = "batch",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    activation: Activation = "relu",
    pool: WindowKind = "max",
    init: Initializer = "he_fan_out",
    remat: bool = False,
    stack: bool = False,
) -> nn.Module:
    """Residual net with `blocks` residual blocks a stage, the width doubling and the size halving from stage to stage.

    stem: "imagenet" 7×7/2 and pooling, "deep" three 3×3, "cifar" one 3×3 at full size. version: "1" strides in the
    first 1×1 of a bottleneck, "1.5" in its 3×3, "2" activates before the convolutions. shortcut where the shape
    changes: "A" subsampling and zeros, "B" 1×1 convolution, "C" that everywhere, "D" average pooling and a 1×1; "none"
    leaves them all out, a plain net of the same depth.
    The rate of `drop_path` grows linearly over the blocks. `remat` recomputes blocks in the backward pass; `stack` runs
    the equal blocks of a stage as one loop, which compiles faster. First weights: He's normal by fan-out, the output
    layer uniform in ±1/√fan-in (torchvision's); the nets for CIFAR count fan-in, as the paper does.
    """
    refuse_misfits(resnet, locals())
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum)
    shape = {
        "bottleneck": bottleneck,
        "groups": groups,
        "group_width": group_width,
        "shortcut": shortcut,
        "zero_init": zero_init,
        "version": version,
        "block_dropout": block_dropout,
    }
    shape = tuple(shape.items())  # a module's fields are hashed where it is a static argument
    return ResNet(
        outputs, style, blocks, width, stem, stem_width or width, shape, drop_path, dropout, pool, remat, stack
    )


class Stem(nn.Module):
    """The first convolutions with their normalisation."""

    kind: str
    width: int
    style: Style
    active: bool

    @nn.compact
    def __call__(self, x, train=False):
        style = self.style
        if self.kind == "deep":
            for i, features in ((1, self.width // 2), (2, self.width // 2)):
                x = style.conv(features, 3, stride=3 - i, padding=1, name=f"conv{i}")(x)
                x = style.activate(style.normalize(f"norm{i}")(x, train))
            x = style.conv(self.width, 3, padding=1, name="conv")(x)
        elif self.kind == "imagenet":
            x = style.conv(self.width, 7, stride=2, padding=3, name="conv")(x)
        else:
            x = style.conv(self.width, 3, padding=1, name="conv")(x)
        # a pre-activated net normalises in its first block
        return style.activate(style.normalize("norm")(x, train)) if self.active else x


class ResNet(Network):
    """Stem, stages of residual blocks, and a head."""

    outputs: int
    style: Style
    blocks: tuple[int, ...]
    width: int
    stem_kind: str
    stem_width: int
    shape: tuple[tuple[str, object], ...]
    drop_path: float
    dropout: float
    pool: str
    remat: bool
    stack: bool

    def __post_init__(self):
        super().__post_init__()
        shape = dict(self.shape)
        whole("groups", shape["groups"])
        whole("group_width", shape["group_width"])
        given = shape | {"drop_path": self.drop_path, "pool": self.pool}
        for name, default, without, needs in (
            ("block_dropout", 0.0, shape["version"] != "2", "version '2', whose blocks have dropout"),
            ("zero_init", False, shape["version"] == "2", "version '1' or '1.5', whose blocks end in a normalisation"),
            ("drop_path", 0.0, shape["shortcut"] == "none", "a shortcut that is left when a block is dropped"),
            ("groups", 1, not shape["bottleneck"], "bottleneck=True, whose 3×3 has them"),
            ("group_width", 64, not shape["bottleneck"], "bottleneck=True, whose 3×3 has it"),
            ("pool", "max", self.stem_kind == "cifar", "stem 'imagenet' or 'deep', which pool"),
        ):
            if without and given[name] != default:
                raise ValueError(f"{name} is {given[name]!r}, which has no effect here: it needs {needs}")
        if shape["bottleneck"] and self.width * shape["group_width"] < 64:
            raise ValueError(
                f"width is {self.width}: with group_width {shape['group_width']} a bottleneck's 3×3 has "
                f"{self.width} · {shape['group_width']} // 64 = 0 maps in each group"
            )
        if self.stem_kind == "deep" and self.stem_width == 1:
            raise ValueError("stem_width is 1; the first convolutions of a deep stem have half of it, so it must be 2")

    @property
    def strides(self):
        stages = len(self.blocks)
        if self.stem_kind == "cifar":
            return tuple(2**i for i in range(stages))
        return (2, *(4 * 2**i for i in range(stages)))

    def setup(self):
        shape = dict(self.shape)
        version = shape.pop("version")
        active = version != "2"
        self.stem = Stem(self.stem_kind, self.stem_width, self.style, active)
        if active:
            shape["early"] = version == "1"
            del shape["block_dropout"]
        else:
            del shape["zero_init"]
        total, done = max(sum(self.blocks) - 1, 1), 0
        for i, count in enumerate(self.blocks):
            rates = tuple(self.drop_path * (done + j) / total for j in range(count))
            stage = Stage(
                Residual if active else Preactivated,
                self.width * 2**i,
                1 if i == 0 else 2,
                self.style,
                tuple(shape.items()),
                rates,
                self.remat,
                self.stack,
            )
            setattr(self, f"stage{i + 1}", stage)
            done += count
        if not active:
            self.norm = self.style.normalize()
        self.head = Head(self.outputs, self.dropout, kernel_init="torch", bias_init="torch")

    def features(self, x, train=False):
        maps, x = {}, self.stem(x, train)
        if self.stem_kind != "cifar":
            maps["stem"] = x
            x = pooling(self.pool)(x, 3, stride=2, padding=1)
        for i in range(1, len(self.blocks) + 1):
            x = maps[f"stage{i}"] = getattr(self, f"stage{i}")(x, train)
        if dict(self.shape)["version"] == "2":
            maps[f"stage{i}"] = self.style.activate(self.norm(x, train))
        return maps

    def __call__(self, x, train=False):
        return self.head(self.features(x, train)[f"stage{len(self.blocks)}"], train)


def _imagenet(name, depth, text="", **changes):
    blocks = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}[depth]
    text = f"{text or f'ResNet-{depth} (He 2015)'}: blocks {blocks}; maps at strides 2 to 32."
    return preset(resnet, name, text, blocks=blocks, bottleneck=depth >= 50, **changes)


def _cifar(depth, **changes):
    n = (depth - 2) // 6
    text = f"CIFAR's ResNet-{depth} (He 2015): three stages of {n} blocks, widths 16 to 64; maps at strides 1, 2, 4."
    return preset(
        resnet,
        f"resnet{depth}",
        text,
        blocks=(n, n, n),
        width=16,
        stem="cifar",
        shortcut="A",
        init="he_normal",
        **changes,
    )


def _wide(depth, widening):
    n = (depth - 4) // 6
    text = f"WRN-{depth}-{widening} (Zagoruyko 2016): pre-activated blocks, widths {16 * widening} to {64 * widening}."
    return preset(
        resnet,
        f"wrn{depth}_{widening}",
        text,
        blocks=(n, n, n),
        width=16 * widening,
        stem="cifar",
        stem_width=16,
        version="2",
        init="he_fan_out",
    )


resnet18 = _imagenet("resnet18", 18)
resnet34 = _imagenet("resnet34", 34)
resnet50 = _imagenet("resnet50", 50)
resnet101 = _imagenet("resnet101", 101)
resnet152 = _imagenet("resnet152", 152)

resnet18_v2 = _imagenet("resnet18_v2", 18, "Pre-activated ResNet-18 (He 2016)", version="2")
resnet34_v2 = _imagenet("resnet34_v2", 34, "Pre-activated ResNet-34 (He 2016)", version="2")
resnet50_v2 = _imagenet("resnet50_v2", 50, "Pre-activated ResNet-50 (He 2016)", version="2")
resnet101_v2 = _imagenet("resnet101_v2", 101, "Pre-activated ResNet-101 (He 2016)", version="2")
resnet152_v2 = _imagenet("resnet152_v2", 152, "Pre-activated ResNet-152 (He 2016)", version="2")

resnet18d = _imagenet("resnet18d", 18, "ResNet-18-D (He 2019)", stem="deep", shortcut="D")
resnet34d = _imagenet("resnet34d", 34, "ResNet-34-D (He 2019)", stem="deep", shortcut="D")
resnet50d = _imagenet("resnet50d", 50, "ResNet-50-D (He 2019)", stem="deep", shortcut="D")
resnet101d = _imagenet("resnet101d", 101, "ResNet-101-D (He 2019)", stem="deep", shortcut="D")
resnet152d = _imagenet("resnet152d", 152, "ResNet-152-D (He 2019)", stem="deep", shortcut="D")

wide_resnet50_2 = _imagenet("wide_resnet50_2", 50, "Wide ResNet-50-2 (Zagoruyko 2016)", group_width=128)
wide_resnet101_2 = _imagenet("wide_resnet101_2", 101, "Wide ResNet-101-2 (Zagoruyko 2016)", group_width=128)
resnext50_32x4d = _imagenet("resnext50_32x4d", 50, "ResNeXt-50 32×4d (Xie 2017)", groups=32, group_width=4)
resnext101_32x8d = _imagenet("resnext101_32x8d", 101, "ResNeXt-101 32×8d (Xie 2017)", groups=32, group_width=8)
resnext101_64x4d = _imagenet("resnext101_64x4d", 101, "ResNeXt-101 64×4d (Xie 2017)", groups=64, group_width=4)

resnet20 = _cifar(20)
resnet32 = _cifar(32)
resnet44 = _cifar(44)
resnet56 = _cifar(56)
resnet110 = _cifar(110)

wrn16_4 = _wide(16, 4)
wrn16_8 = _wide(16, 8)
wrn28_2 = _wide(28, 2)
wrn28_10 = _wide(28, 10)
wrn40_2 = _wide(40, 2)
wrn40_4 = _wide(40, 4)

__all__ = [
    "resnet",
    "resnet18",
    "resnet18_v2",
    "resnet18d",
    "resnet34",
    "resnet34_v2",
    "resnet34d",
    "resnet50",
    "resnet50_v2",
    "resnet50d",
    "resnet101",
    "resnet101_v2",
    "resnet101d",
    "resnet152",
    "resnet152_v2",
    "resnet152d",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet110",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
    "wrn16_4",
    "wrn16_8",
    "wrn28_2",
    "wrn28_10",
    "wrn40_2",
    "wrn40_4",
]
