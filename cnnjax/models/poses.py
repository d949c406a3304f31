"""Nets that find the points of a picture: as coordinates, refined in stages, and as maps of where each may be."""

from collections.abc import Sequence
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnnjax import ops
from cnnjax.annotations import AtLeastOne, Count, NonNegative, Positive, Rate
from cnnjax.layers import Activation, Conv, Dense, Dropout, Initializer, Norm, Style, activation
from cnnjax.models._backbones import backbone_net
from cnnjax.models._blocks import ConvNorm
from cnnjax.models._network import Network
from cnnjax.ops.dtypes import widened
from cnnjax.refusals import refuse_misfits

__all__ = ["deeppose", "heatmaps"]

_LEAST = 0.25  # of the picture's longer side: the least size that a figure is taken to have


def heatmaps(
    *,
    outputs: int,
    backbone: Annotated[str, "models"] = "resnet18",
    stride: AtLeastOne = 4,
    width: AtLeastOne = 64,
    norm: Norm = "batch",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    activation: Activation = "relu",
    dropout: Rate = 0.0,
    init: Initializer = "he_normal",
) -> nn.Module:
    """Maps (B, h, w, K) of logits of where each of K points is, `stride` times smaller than the picture.

    `backbone` names any net of this room. From its coarsest map down to the first of `stride` or more, maps `width`
    wide are brought up and joined with what a 1×1 convolution makes of the backbone's own. Dropout stands before the
    last layer.
    """
    refuse_misfits(heatmaps, locals())
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum)
    return HeatMaps(outputs, _in_plane(backbone), stride, width, dropout, style)


def deeppose(
    *,
    outputs: int,
    backbone: Annotated[str, "models"] = "resnet18",
    refine: Annotated[str, "models"] = "",
    stages: AtLeastOne = 3,
    crop: AtLeastOne = 32,
    share: Positive = 0.5,
    jitter: NonNegative = 0.0,
    shrink: AtLeastOne = 1,
    hidden: tuple[AtLeastOne, ...] = (256,),
    activation: Activation = "relu",
    dropout: Rate = 0.0,
    init: Initializer = "he_normal",
) -> nn.Module:
    """DeepPose (Toshev 2014): K points (B, K, 2) in shares of the picture, y x, by a cascade of `stages`.

    The first stage sees the picture, made `shrink` times smaller. Each further one sees, for every point, a square of
    the whole picture about where the stage before it found that point, `share` times as long as the figure found,
    read at `crop`² places, and says how far off the point is; no gradient goes from a stage to the one before. While
    training, squares are off by `jitter` of their side, a standard deviation. Where there are several stages the answer
    is a dict: "main" the last, "stage1", "stage2" … those before it.

    `backbone` names any net of this room, `refine` that of the further stages, of which each has its own ("": one like
    the backbone). Their coarsest map, flattened, goes through `hidden` layers. Before training all points are in the
    middle, and further stages leave them there. Answers are float32 whatever the input: half precision is pixels.
    """
    refuse_misfits(deeppose, locals())
    first = _in_plane(backbone)
    second = _in_plane(refine, "refine") if refine else first
    refiners = tuple(second.clone() for _ in range(stages - 1)) if outputs else ()
    return DeepPose(outputs, first, refiners, crop, share, jitter, shrink, hidden, activation, dropout, init)


def _in_plane(backbone, option="backbone"):
    """The net of a name, or that net, whose maps lie in the plane of the picture."""
    net = backbone_net(backbone)
    if net is None or not net.strides or 0 in net.strides:
        named = type(net).__name__ if isinstance(backbone, nn.Module) else backbone
        raise ValueError(f"{option} is {named!r}; it must be a net whose features lie in the image plane")
    return net


class HeatMaps(Network):
    """A backbone, lateral connections from its coarsest map to that of a stride, and a map for each point."""

    outputs: int
    backbone: nn.Module
    stride: int
    width: int
    dropout: float
    style: Style

    @property
    def used(self) -> tuple[int, ...]:
        """The numbers of the backbone's maps that are met again: those of the stride or more, or the coarsest."""
        strides = self.backbone.strides
        return tuple(i for i, n in enumerate(strides) if n >= self.stride) or (len(strides) - 1,)

    @property
    def strides(self):
        return tuple(self.backbone.strides[i] for i in self.used)

    def setup(self):
        for i in self.used:
            setattr(self, f"lateral{i}", ConvNorm(self.width, 1, self.style))
            setattr(self, f"merge{i}", ConvNorm(self.width, 3, self.style, padding=1))
        self.head_dropout = Dropout(self.dropout)
        if self.outputs:
            self.head = Conv(self.outputs, 1, kernel_init="lecun_normal")

    def features(self, x, train=False):
        maps = list(self.backbone.features(x, train).items())
        risen, y = {}, None
        for i in reversed(self.used):
            name, own = maps[i]
            own = getattr(self, f"lateral{i}")(own, train)
            y = own if y is None else own + ops.resize(y, own.shape[1:-1])
            y = risen[name] = getattr(self, f"merge{i}")(y, train)
        return dict(reversed(risen.items()))

    def __call__(self, x, train=False):
        y = next(iter(self.features(x, train).values()))
        sizes = [-(-n // self.strides[0]) for n in x.shape[1:-1]]
        gaps = [max(0, n - m) for n, m in zip(sizes, y.shape[1:-1], strict=True)]  # of a backbone that pads nothing
        if any(gaps):
            around = [(0, 0), *((gap // 2, gap - gap // 2) for gap in gaps), (0, 0)]
            y = jnp.pad(widened(y), around, "edge").astype(y.dtype)  # its gradient is a sum
        y = self.head_dropout(y, train)
        return self.head(y) if self.outputs else y


class DeepPose(Network):
    """A first stage that sees the picture, and further ones that see a square about every point."""

    may_be_0 = ("outputs", "hidden")

    outputs: int
    backbone: nn.Module
    refiners: tuple[nn.Module, ...]
    crop: int
    share: float
    jitter: float
    shrink: int
    hidden: tuple[int, ...]
    act: str
    dropout: float
    kernel_init: str

    @property
    def strides(self):
        return tuple(self.shrink * stride for stride in self.backbone.strides)

    def setup(self):
        def regressor():
            return Regressor(self.outputs, self.hidden, self.act, self.dropout, self.kernel_init)

        self.head = regressor()
        self.heads = [regressor() for _ in self.refiners]

    def features(self, x, train=False):
        x = ops.avg_pool(x, self.shrink) if self.shrink > 1 else x
        return self.backbone.features(x, train)

    def __call__(self, x, train=False):
        y = self.head(_coarsest(self.features(x, train)), train)
        if not self.outputs:
            return y
        found = [0.5 + y]
        for refiner, head in zip(self.refiners, self.heads, strict=True):
            found.append(self._refined(refiner, head, x, jax.lax.stop_gradient(found[-1]), train))
        before = {f"stage{i}": points for i, points in enumerate(found[:-1], 1)}
        return {"main": found[-1], **before} if before else found[-1]

    def _refined(self, refiner, head, x, points, train):
        """The points (B, K, 2) moved by what a stage says of a square about each."""
        sizes = jnp.array(x.shape[1:3], jnp.float32)
        centre = points * sizes
        figure = jnp.max(jnp.ptp(centre, 1), -1)
        side = self.share * jnp.maximum(figure, _LEAST * max(x.shape[1:3]))[:, None, None]
        if train:
            keys = ops.example_keys(self.make_rng("noise"), x.shape[0])
            centre += self.jitter * side * jax.vmap(lambda key: jax.random.normal(key, centre.shape[1:]))(keys)
        boxes = jnp.concatenate([centre - side / 2, centre + side / 2], -1)
        seen = ops.roi_align(x, boxes, self.crop, samples=1)
        maps = refiner.features(seen.reshape(-1, *seen.shape[2:]), train)
        off = head(_coarsest(maps), train).reshape(x.shape[0], self.outputs, self.outputs, 2)
        own = jnp.moveaxis(jnp.diagonal(off, axis1=1, axis2=2), -1, 1)  # each square says where its own point is
        return (centre + side * own) / sizes


def _coarsest(maps):
    return list(maps.values())[-1]


class Regressor(nn.Module):
    """Hidden layers on a map (B, h, w, C), flattened, and K pairs of numbers (B, K, 2) made of them, if K is not 0."""

    outputs: int
    hidden: Sequence[int]
    act: str
    dropout: float
    kernel_init: str

    @nn.compact
    def __call__(self, x, train=False):
        x = x.reshape(x.shape[0], -1)
        for i, width in enumerate(self.hidden, 1):
            x = activation(self.act)(Dense(width, kernel_init=self.kernel_init, name=f"hidden{i}")(x))
        x = Dropout(self.dropout, name="dropout")(x, train)
        if not self.outputs:
            return x
        # from 0: answers that begin far off first push down whatever says them, and every hidden unit dies of it
        x = Dense(2 * self.outputs, kernel_init="zeros", name="output")(x)
        return x.astype(jnp.promote_types(x.dtype, jnp.float32)).reshape(x.shape[0], self.outputs, 2)
