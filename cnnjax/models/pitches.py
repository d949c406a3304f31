"""CREPE (Kim 2018): how high a tone is, from the waveform."""

import flax.linen as nn
import jax.numpy as jnp

from cnnjax import ops
from cnnjax.annotations import AtLeastOne, Count, Rate
from cnnjax.layers import Activation, Dense, Dropout, Initializer, Norm, Style, pooling
from cnnjax.models._network import Network
from cnnjax.ops.pooling import WindowKind

__all__ = ["crepe"]

_WIDTHS = (32, 4, 4, 4, 8, 16)  # of the layers, in units of `width`
_WINDOWS = (512, 64, 64, 64, 64, 64)


def crepe(
    *,
    outputs: int,
    width: AtLeastOne = 4,
    dropout: Rate = 0.25,
    norm: Norm = "batch",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    activation: Activation = "relu",
    pool: WindowKind = "max",
    init: Initializer = "he_normal",
) -> nn.Module:
    """CREPE: six convolutions over frames of 1,024 samples at 16 kHz, each activated, normalised and halved.

    `width` is 4 for tiny, 8 small, 16 medium, 24 large, 32 full. The frame is brought to mean 0 and deviation 1. With
    360 outputs they are those published: logits of pitches 20 cents apart, of which `analysis.pitch_track` makes hertz.
    """
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum, eps=1e-3)
    return Crepe(outputs, width, dropout, pool, style)


class Crepe(Network):
    """The maps are those of every layer, before they are halved."""

    outputs: int
    width: int
    dropout: float
    pool: str
    style: Style

    @property
    def strides(self):
        return tuple(4 * 2**place for place in range(len(_WIDTHS)))

    def setup(self):
        for i, (times, window) in enumerate(zip(_WIDTHS, _WINDOWS, strict=True), 1):
            conv = self.style.conv(times * self.width, window, stride=4 if i == 1 else 1, padding="same", bias=True)
            setattr(self, f"conv{i}", conv)
            setattr(self, f"norm{i}", self.style.normalize())
        self.drop = Dropout(self.dropout)
        if self.outputs:
            self.head = Dense(self.outputs)

    def _run(self, x, train):
        wide = x.astype(jnp.float32)
        spread = jnp.sqrt(jnp.var(wide, 1, keepdims=True))
        x = ((wide - wide.mean(1, keepdims=True)) / jnp.maximum(spread, 1e-10)).astype(x.dtype)
        maps = {}
        for i in range(1, len(_WIDTHS) + 1):
            x = self.style.activate(getattr(self, f"conv{i}")(x))
            x = maps[f"conv{i}"] = getattr(self, f"norm{i}")(x, train)
            x = self.drop(pooling(self.pool)(x, 2), train)
        return maps, ops.flat(x)

    def features(self, x, train=False):
        return self._run(x, train)[0]

    def __call__(self, x, train=False):
        x = self._run(x, train)[1]
        return self.head(x) if self.outputs else x
