"""U-Net (Ronneberger 2015): an encoder, and a decoder that meets its maps again."""

from collections.abc import Sequence
from typing import Annotated, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnnjax import ops
from cnnjax.annotations import AtLeastOne, Count, Rate
from cnnjax.layers import Activation, Conv, ConvTranspose, Dropout, Initializer, Norm, Style, pooling
from cnnjax.models._backbones import backbone_net
from cnnjax.models._network import Network, whole
from cnnjax.models._preset import preset
from cnnjax.ops.dtypes import widened
from cnnjax.ops.pooling import WindowKind
from cnnjax.refusals import refuse_misfits

__all__ = ["unet", "unet_2015"]


def unet(
    *,
    outputs: int,
    width: AtLeastOne = 64,
    depth: Count = 4,
    backbone: Annotated[str, "models"] = "",
    padding: Literal["same", "valid"] = "same",
    up: Literal["transpose", "resize"] = "transpose",
    norm: Norm = "batch",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    activation: Activation = "relu",
    pool: WindowKind = "max",
    dropout: Rate = 0.0,
    init: Initializer = "he_normal",
    remat: bool = False,
) -> nn.Module:
    """U-Net of any depth: a map (B, H, W, K) of logits, of the size of the input where padding is "same".

    `backbone` names any net of this room as the encoder (`depth` and `pool` are then its own affair); without it the
    encoder has `depth` poolings and two 3×3 convolutions a level. The decoder is `width` wide at the finest map and
    twice as wide a level down, 16 times at most. `up` is "transpose" (learned 2×2) or "resize". With padding "valid"
    skips are cropped to their middle and the output shows the middle of the input. Dropout stands at the coarsest map.
    `remat` recomputes the levels in the backward pass (a backbone has an option of its own). First weights: He's normal
    by fan-in, as in the paper.
    """
    refuse_misfits(unet, locals())
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum)
    whole("width", width)
    net = backbone_net(backbone) or Encoder(width, depth, padding, pool, style, remat)
    if 0 in net.strides or not net.strides:
        named = backbone if isinstance(backbone, str) else type(backbone).__name__
        raise ValueError(f"backbone is {named!r}; its features lie in no image plane, so they can't be met again")
    widths = tuple(width * 2 ** min(i, 4) for i in range(len(net.strides) - 1))
    return UNet(outputs, net, widths, padding, up, dropout, style, remat)


unet_2015 = preset(
    unet,
    "unet_2015",
    "U-Net as published: valid convolutions, no normalisation, cropped skips, 572×572 → 388×388.",
    padding="valid",
    norm="none",
    dropout=0.5,
)


class Double(nn.Module):
    """Two 3×3 convolutions, each normalised and activated."""

    features: int
    padding: str
    style: Style

    @nn.compact
    def __call__(self, x, train=False):
        pad = 1 if self.padding == "same" else 0
        for i in (1, 2):
            x = self.style.conv(self.features, 3, padding=pad, name=f"conv{i}")(x)
            x = self.style.activate(self.style.normalize(f"norm{i}")(x, train))
        return x


class Encoder(Network):
    """The contracting path: pooling and two convolutions a level."""

    may_be_0 = ("depth",)

    width: int
    depth: int
    padding: str
    pool: str
    style: Style
    remat: bool

    @property
    def strides(self):
        return tuple(2**i for i in range(self.depth + 1))

    def setup(self):
        double = nn.remat(Double, static_argnums=(2,)) if self.remat else Double
        for i in range(self.depth + 1):
            setattr(self, f"level{i}", double(self.width * 2**i, self.padding, self.style))

    def features(self, x, train=False):
        maps = {}
        for i in range(self.depth + 1):
            x = getattr(self, f"level{i}")(pooling(self.pool)(x, 2) if i else x, train)
            maps[f"level{i}"] = x
        return maps

    def __call__(self, x, train=False):
        return ops.global_pool(self.features(x, train)[f"level{self.depth}"], "avg")


class Rise(nn.Module):
    """A coarse map brought up to a skip, joined to it, and two convolutions."""

    features: int
    padding: str
    up: str
    style: Style

    @nn.compact
    def __call__(self, x, skip, train=False):
        if self.up == "transpose":
            x = ConvTranspose(self.features, 2, 2, kernel_init=self.style.init, name="up")(x)
        else:
            sizes = skip.shape[1:-1] if self.padding == "same" else tuple(2 * size for size in x.shape[1:-1])
            x = Conv(self.features, 1, kernel_init=self.style.init, name="up")(ops.resize(x, sizes))
        if self.padding == "valid":
            sizes = tuple(map(min, x.shape[1:-1], skip.shape[1:-1]))  # a coarse map may reach over the edge
            x, skip = crop_middle(x, sizes), crop_middle(skip, sizes)
        elif x.shape[1:-1] != skip.shape[1:-1]:  # strides are not always powers of two
            x = ops.resize(x, skip.shape[1:-1])
        return Double(self.features, self.padding, self.style, name="merge")(jnp.concatenate([skip, x], -1), train)


def crop_middle(x: jax.Array, sizes: Sequence[int]) -> jax.Array:
    """The middle of a map (B, *any, C), (B, *sizes, C); of an odd remainder the larger half is cut at the end."""
    starts = [(m - n) // 2 for m, n in zip(x.shape[1:-1], sizes, strict=True)]
    return x[(slice(None), *(slice(a, a + n) for a, n in zip(starts, sizes, strict=True)))]


class UNet(Network):
    """An encoder and a decoder with a step for every map of the encoder but the coarsest."""

    outputs: int
    backbone: nn.Module
    widths: tuple[int, ...]
    padding: str
    up: str
    dropout: float
    style: Style
    remat: bool

    @property
    def strides(self):
        return self.backbone.strides

    def setup(self):
        rise = nn.remat(Rise, static_argnums=(3,)) if self.remat else Rise
        for i, width in enumerate(self.widths):
            setattr(self, f"rise{i}", rise(width, self.padding, self.up, self.style))
        self.bottom_dropout = Dropout(self.dropout)
        if self.outputs:
            self.head = Conv(self.outputs, 1, kernel_init="lecun_normal")

    def features(self, x, train=False):
        maps = self.backbone.features(x, train)
        names = list(maps)
        x = self.bottom_dropout(maps[names[-1]], train)
        risen = {names[-1]: x}
        for i in reversed(range(len(self.widths))):
            x = risen[names[i]] = getattr(self, f"rise{i}")(x, maps[names[i]], train)
        return {name: risen[name] for name in names}

    def __call__(self, x, train=False):
        y = next(iter(self.features(x, train).values()))
        y = self.head(y) if self.outputs else y
        return _as_fine(y, x.shape[1:-1], self.strides[0], self.padding)


def _as_fine(y, sizes, stride, padding):
    """y of a total stride, as fine as an input of `sizes`: as large, or where padding is "valid" its middle."""
    if padding == "valid":
        return ops.resize(y, tuple(stride * size for size in y.shape[1:-1])) if stride > 1 else y
    if stride > 1:
        return ops.resize(y, sizes)
    gaps = [max(0, n - m) for n, m in zip(sizes, y.shape[1:-1], strict=True)]  # of a backbone that pads nothing
    around = [(0, 0), *((gap // 2, gap - gap // 2) for gap in gaps), (0, 0)]
    return jnp.pad(widened(y), around, "edge").astype(y.dtype) if any(gaps) else y  # its gradient is a sum
