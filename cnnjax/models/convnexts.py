"""ConvNeXt (Liu 2022): a residual net with the habits of transformers."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp

from cnnjax.annotations import AtLeastOne, Count, NonNegative, Rate, Static
from cnnjax.layers import Activation, Dense, Dropout, DropPath, Initializer, Norm, Style, global_pooling
from cnnjax.models._network import Network, whole
from cnnjax.models._preset import preset
from cnnjax.models._stages import run
from cnnjax.ops.dtypes import widened
from cnnjax.ops.pooling import PoolKind


def convnext(
    *,
    outputs: int,
    blocks: tuple[AtLeastOne, ...] = (3, 3, 9, 3),
    width: AtLeastOne = 96,
    window: AtLeastOne = 7,
    patch: AtLeastOne = 4,
    drop_path: Rate = 0.1,
    dropout: Rate = 0.0,
    layer_scale: Static[NonNegative] = 1e-6,
    norm: Norm = "channels",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    eps: Static[NonNegative] = 1e-6,
    activation: Activation = "gelu",
    pool: PoolKind = "avg",
    init: Initializer = "normal_002",
    remat: bool = False,
    stack: bool = False,
) -> nn.Module:
    """ConvNeXt with `blocks` a stage, the width doubling from stage to stage; `patch` is the stem's window and stride.

    The rate of `drop_path` grows linearly over the blocks; `layer_scale` is the first value of the trainable gain of
    each block. `pool` is the head's; its vector is normalised over its channels where `norm` is "instance", for which
    it is too small. First weights: normal with deviation 0.02.
    """
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum, eps=eps)
    if whole("window", window) % 2 == 0:
        raise ValueError(f"window is {window}; a block's output has the size of its input, so it must be odd")
    return ConvNeXt(outputs, blocks, width, window, patch, drop_path, dropout, layer_scale, pool, style, remat, stack)


class Block(nn.Module):
    """x + gain · (depthwise 7×7, normalisation, to four times the width and back)."""

    features: int
    window: int
    drop_path: float
    layer_scale: float
    style: Style

    @nn.compact
    def __call__(self, x, train=False):
        style = self.style
        y = style.conv(
            self.features, self.window, bias=True, padding=self.window // 2, groups=self.features, name="depthwise"
        )(x)
        y = style.normalize("norm")(y, train)
        y = style.activate(Dense(4 * self.features, kernel_init=style.init, name="expand")(y))
        y = Dense(self.features, kernel_init=style.init, name="project")(y)
        gain = self.param("gain", nn.initializers.constant(self.layer_scale), (self.features,), jnp.float32)
        return x + DropPath(self.drop_path, name="drop_path")((widened(y) * gain).astype(y.dtype), train)


class Stage(nn.Module):
    """Normalisation and a strided convolution, except in the first stage, and blocks; `loop` as in residual nets."""

    features: int
    window: int
    down: bool
    rates: tuple[float, ...]
    layer_scale: float
    style: Style
    remat: bool
    stack: bool

    @nn.compact
    def __call__(self, x, train=False, loop=True):
        if self.down:
            x = self.style.normalize("norm")(x, train)
            x = self.style.conv(self.features, 2, bias=True, stride=2, name="down")(x)
        block = nn.remat(Block, static_argnums=(2,)) if self.remat else Block
        blocks = [
            block(self.features, self.window, rate, self.layer_scale, self.style, name=f"block{i}")
            for i, rate in enumerate(self.rates, 1)
        ]
        return run(blocks, x, train, stack=self.stack and loop)


class ConvNeXt(Network):
    """A stem of patches, stages, and a normalised head."""

    outputs: int
    blocks: tuple[int, ...]
    width: int
    window: int
    patch: int
    drop_path: float
    dropout: float
    layer_scale: float
    pool: str
    style: Style
    remat: bool
    stack: bool

    @property
    def strides(self):
        return tuple(self.patch * 2**i for i in range(len(self.blocks)))

    def setup(self):
        style = self.style
        self.stem = style.conv(self.width, self.patch, bias=True, stride=self.patch)
        self.stem_norm = style.normalize()
        total, done = max(sum(self.blocks) - 1, 1), 0
        for i, count in enumerate(self.blocks):
            rates = tuple(self.drop_path * (done + j) / total for j in range(count))
            stage = Stage(self.width * 2**i, self.window, i > 0, rates, self.layer_scale, style, self.remat, self.stack)
            setattr(self, f"stage{i + 1}", stage)
            done += count
        if self.outputs:
            self.norm = (dataclasses.replace(style, norm="channels") if style.norm == "instance" else style).normalize()
            self.head_dropout = Dropout(self.dropout)
            self.head = Dense(self.outputs, kernel_init=style.init)

    def features(self, x, train=False):
        maps, x = {}, self.stem_norm(self.stem(x), train)
        for i in range(1, len(self.blocks) + 1):
            x = maps[f"stage{i}"] = getattr(self, f"stage{i}")(x, train)
        return maps

    def __call__(self, x, train=False):
        x = global_pooling(self.pool)(self.features(x, train)[f"stage{len(self.blocks)}"])
        return self.head(self.head_dropout(self.norm(x, train), train)) if self.outputs else x


def _size(name, blocks, width, drop_path):
    text = f"ConvNeXt-{name.title()}: blocks {blocks}, {width} maps in the first stage; maps at strides 4 to 32."
    return preset(convnext, f"convnext_{name}", text, blocks=blocks, width=width, drop_path=drop_path)


convnext_tiny = _size("tiny", (3, 3, 9, 3), 96, 0.1)
convnext_small = _size("small", (3, 3, 27, 3), 96, 0.4)
convnext_base = _size("base", (3, 3, 27, 3), 128, 0.5)
convnext_large = _size("large", (3, 3, 27, 3), 192, 0.5)

__all__ = ["convnext", "convnext_base", "convnext_large", "convnext_small", "convnext_tiny"]
