"""Nets for series (B, T, C): time-delay nets, the residual net of Wang 2017, causal dilated nets, nets of pictures."""

from typing import Annotated, Literal

import flax.linen as nn
import jax.numpy as jnp

from cnnjax.annotations import AtLeastOne, Count, Rate
from cnnjax.layers import Activation, Dense, Dropout, Initializer, Norm, Style
from cnnjax.models._backbones import OnBackbone, backbone_with_maps
from cnnjax.models._network import Head, Network, wholes
from cnnjax.ops.pooling import PoolKind

__all__ = ["pictured", "resnet1d", "tcn", "tdnn"]

Layers = tuple[tuple[AtLeastOne, AtLeastOne, AtLeastOne], ...]


def tdnn(
    *,
    outputs: int,
    layers: Layers = (
        (256, 5, 1),
        (256, 3, 2),
        (256, 3, 3),
        (256, 1, 1),
    ),
    padding: Count = 0,
    dropout: Rate = 0.0,
    norm: Norm = "batch",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    activation: Activation = "relu",
    pool: PoolKind = "avg",
    init: Initializer = "he_normal",
) -> nn.Module:
    """Time-delay net (Waibel 1989): convolutions over time, (features, window, dilation) each, pooled over all of it.

    `padding` is that of every layer; 0 uses only what was heard. First weights: He's normal by fan-in.
    """
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum)
    if not layers or not all(isinstance(layer, tuple | list) and len(layer) == 3 for layer in layers):
        raise ValueError(f"layers is {layers}; it must have (features, window, dilation) for each of one layer or more")
    layers = tuple(wholes("a row of layers", layer) for layer in layers)
    return TDNN(outputs, layers, padding, dropout, pool, style)


class TDNN(Network):
    """The maps are those of every layer."""

    may_be_0 = ("outputs", "padding")

    outputs: int
    layers: tuple
    padding: int
    dropout: float
    pool: str
    style: Style

    @property
    def strides(self):
        return (1,) * len(self.layers)

    def setup(self):
        for i, (features, window, dilation) in enumerate(self.layers, 1):
            conv = self.style.conv(features, window, dilation=dilation, padding=self.padding, bias=True)
            setattr(self, f"conv{i}", conv)
            setattr(self, f"norm{i}", self.style.normalize())
        self.head = Head(self.outputs, self.dropout, pool=self.pool)

    def features(self, x, train=False):
        maps = {}
        for i in range(1, len(self.layers) + 1):
            x = getattr(self, f"norm{i}")(getattr(self, f"conv{i}")(x), train)
            x = maps[f"conv{i}"] = self.style.activate(x)
        return maps

    def __call__(self, x, train=False):
        return self.head(self.features(x, train)[f"conv{len(self.layers)}"], train)


def resnet1d(
    *,
    outputs: int,
    width: AtLeastOne = 64,
    blocks: tuple[AtLeastOne, ...] = (1, 2, 2),
    windows: tuple[AtLeastOne, ...] = (8, 5, 3),
    dropout: Rate = 0.0,
    norm: Norm = "batch",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    activation: Activation = "relu",
    pool: PoolKind = "avg",
    init: Initializer = "he_uniform",
    remat: bool = False,
) -> nn.Module:
    """Residual net for series (Wang 2017): `blocks` are the widths of the blocks, in units of `width`, at full length.

    Each block has a convolution of every window; padding is SAME, so an even window looks further ahead than back.
    `resnet18` and its kin take series as well, and shorten them. `pool` is the head's. First weights: He's uniform by
    fan-in.
    """
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum)
    return ResNet1D(outputs, width, blocks, windows, dropout, pool, style, remat)


class SeriesBlock(nn.Module):
    """act(normalised shortcut + convolutions of every window)."""

    features: int
    windows: tuple[int, ...]
    style: Style

    @nn.compact
    def __call__(self, x, train=False):
        style, y = self.style, x
        for i, window in enumerate(self.windows, 1):
            y = style.conv(self.features, window, padding="same", bias=True, name=f"conv{i}")(y)
            y = style.normalize(f"norm{i}")(y, train)
            y = style.activate(y) if i < len(self.windows) else y
        if x.shape[-1] != self.features:
            x = style.conv(self.features, 1, bias=True, name="shortcut")(x)
        return style.activate(style.normalize("shortcut_norm")(x, train) + y)


class ResNet1D(Network):
    """Residual blocks without any shortening."""

    outputs: int
    width: int
    blocks: tuple[int, ...]
    windows: tuple[int, ...]
    dropout: float
    pool: str
    style: Style
    remat: bool

    @property
    def strides(self):
        return (1,) * len(self.blocks)

    def setup(self):
        block = nn.remat(SeriesBlock, static_argnums=(2,)) if self.remat else SeriesBlock
        for i, times in enumerate(self.blocks, 1):
            setattr(self, f"block{i}", block(self.width * times, self.windows, self.style))
        self.head = Head(self.outputs, self.dropout, pool=self.pool)

    def features(self, x, train=False):
        maps = {}
        for i in range(1, len(self.blocks) + 1):
            x = maps[f"block{i}"] = getattr(self, f"block{i}")(x, train)
        return maps

    def __call__(self, x, train=False):
        return self.head(self.features(x, train)[f"block{len(self.blocks)}"], train)


def tcn(
    *,
    outputs: int,
    width: AtLeastOne = 64,
    blocks: AtLeastOne = 6,
    window: AtLeastOne = 3,
    patch: AtLeastOne = 1,
    linear: bool = False,
    dropout: Rate = 0.0,
    norm: Literal["batch", "channels", "none"] = "batch",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    activation: Activation = "relu",
    pool: Literal["last", "avg", "max", "lp"] = "last",
    init: Initializer = "he_normal",
) -> nn.Module:
    """Causal dilated net (Bai 2018): residual blocks of two convolutions, of dilation 1, 2, 4, …, that see no future.

    A step of the last map has seen itself and the 2 · (window - 1) · (2^blocks - 1) before it. `pool` is what the head
    reads: the last step, as to forecast, or all of them. `dropout` is that of every block. A first convolution makes
    one step of every `patch`, which so many times fewer are then, the last one whole. `linear` adds a linear map of all
    of the series to what is said, both from 0 on: what a regression would find need not be learnt by the blocks.
    """
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum)
    return TCN(outputs, width, blocks, window, patch, linear, dropout, pool, style)


class CausalBlock(nn.Module):
    """act(shortcut + two causal convolutions of one dilation)."""

    features: int
    window: int
    dilation: int
    dropout: float
    style: Style

    @nn.compact
    def __call__(self, x, train=False):
        style, y = self.style, x
        past = (((self.window - 1) * self.dilation, 0),)
        for i in (1, 2):
            y = style.conv(self.features, self.window, padding=past, dilation=self.dilation, name=f"conv{i}")(y)
            y = style.activate(style.normalize(f"norm{i}")(y, train))
            y = Dropout(self.dropout, name=f"dropout{i}")(y, train)
        if x.shape[-1] != self.features:
            x = style.conv(self.features, 1, bias=True, name="shortcut")(x)
        return style.activate(x + y)


class TCN(Network):
    """The maps are those of every block."""

    outputs: int
    width: int
    blocks: int
    window: int
    patch: int
    linear: bool
    dropout: float
    pool: str
    style: Style

    @property
    def strides(self):
        return (self.patch,) * self.blocks

    def setup(self):
        if self.patch > 1:
            self.stem = self.style.conv(self.width, self.patch, stride=self.patch, bias=True)
        if self.linear and self.outputs:
            self.regression = Dense(self.outputs, kernel_init="zeros")
        for i in range(self.blocks):
            block = CausalBlock(self.width, self.window, 2**i, self.dropout, self.style)
            setattr(self, f"block{i + 1}", block)
        if self.pool != "last":
            self.head = Head(self.outputs, pool=self.pool)
        elif self.outputs:
            self.head = Dense(self.outputs, kernel_init="zeros" if self.linear else "lecun_normal")

    def features(self, x, train=False):
        if self.patch > 1:
            x = self.stem(jnp.pad(x, ((0, 0), (-x.shape[1] % self.patch, 0), (0, 0))))
        maps = {}
        for i in range(1, self.blocks + 1):
            x = maps[f"block{i}"] = getattr(self, f"block{i}")(x, train)
        return maps

    def __call__(self, x, train=False):
        last = self.features(x, train)[f"block{self.blocks}"]
        if self.pool != "last":
            found = self.head(last, train)
        else:
            found = self.head(last[:, -1]) if self.outputs else last[:, -1]
        return found + self.regression(x.reshape(len(x), -1)) if self.linear and self.outputs else found


def pictured(*, outputs: int, backbone: Annotated[str, "models"] = "resnet18", dropout: Rate = 0.0) -> nn.Module:
    """A net of pictures on a series, taken for a grey one: steps down, channels across, as in a spectrogram.

    `backbone` names any net of this room that is built without its head. Behind `log_mel` its windows see
    bands that are neighbours, so that what is spoken lower looks the same elsewhere.
    """
    return Pictured(outputs, backbone_with_maps(backbone, "pictured"), dropout)


class Pictured(OnBackbone):
    """The maps are those of the backbone, (B, t, c, features)."""

    def features(self, x, train=False):
        return self.backbone.features(x[..., None], train)
