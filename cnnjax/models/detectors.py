"""Nets that say where things are: one box of a picture, or boxes at every place of a feature pyramid."""

import dataclasses
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnnjax import ops
from cnnjax.annotations import AtLeastOne, Count, Rate
from cnnjax.layers import Activation, Conv, Dense, Initializer, Norm, Style
from cnnjax.models._backbones import backbone_net
from cnnjax.models._network import Network
from cnnjax.models._pyramids import pyramid, spread
from cnnjax.refusals import refuse_misfits

__all__ = ["detector", "localizer"]

_RARE = 4.6  # the logit of a hundredth: at first nothing is anywhere (Lin 2017)
_SIDE = 4  # strides that the side of a box has at first
_LARGEST = 4.0  # the exponent up to which sides grow: 55 times that


def localizer(
    *,
    outputs: int,
    backbone: Annotated[str, "models"] = "resnet18",
    level: AtLeastOne = 8,
    width: AtLeastOne = 64,
    norm: Norm = "batch",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    activation: Activation = "relu",
    init: Initializer = "he_normal",
) -> nn.Module:
    """One class and one box a picture: {main: logits (B, K), boxes: (B, 1, 4) in pixels}, from any backbone.

    Every place of a feature pyramid's map at stride `level` says a box, and how much it is to be believed: the answer
    is the mean of the boxes by that softmax, and its class is read off the features' mean by the same. Position is not
    pooled away, and pictures may have any size.
    """
    refuse_misfits(localizer, locals())
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum)
    return Localizer(outputs, pyramid(_found(backbone), (level,), width, style))


def detector(
    *,
    outputs: int,
    backbone: Annotated[str, "models"] = "resnet18",
    levels: tuple[AtLeastOne, ...] = (8, 16, 32),
    width: AtLeastOne = 64,
    depth: Count = 2,
    masks: Count = 0,
    aligned: Count = 0,
    turned: bool = False,
    norm: Norm = "batch",
    norm_group: Count = 0,
    momentum: Rate = 0.9,
    activation: Activation = "relu",
    init: Initializer = "he_normal",
) -> nn.Module:
    """A class and a box at every place of a feature pyramid with maps at the strides `levels`, from any backbone.

    {main: logits (B, P, K), boxes: (B, P, 4) and places: (B, P, 3) y x stride, both in pixels}, all levels one after
    the other. Classes and boxes have a tower each of `depth` convolutions, the same at all levels but for their
    normalisation. With `masks` there are that many prototypes (B, h, w, M) at half the finest stride, and at every
    place coefficients (B, P, M): their products are the logits of its mask (Bolya 2019). With `aligned` there is `maps`
    (B, h, w, width) instead, at half the finest stride too, and the part `aligned_masks`, which reads it at so many
    places squared in each box that it is asked for, and gives a mask twice as fine (He 2017).

    With `turned` there are, for boxes, solids that stand upright in what is seen from above: centres (B, P, 2) y x and
    sides (B, P, 2), length and width, in pixels, headings (B, P, 2), the sine and cosine of where the front looks, of
    any length, and heights (B, P, 2) z0 z1.
    """
    refuse_misfits(detector, locals())
    if turned and masks:
        raise ValueError(f"masks is {masks} and turned is True; masks are cut to boxes that are not turned: give one")
    if aligned and (turned or masks):
        other = "turned is True" if turned else f"masks is {masks}"
        raise ValueError(f"aligned is {aligned} and {other}; give one of masks, aligned and turned")
    style = Style(norm=norm, act=activation, init=init, group=norm_group, momentum=momentum)
    return Detector(outputs, pyramid(_found(backbone), levels, width, style), depth, masks, aligned, turned, style)


def _found(backbone):
    net = backbone_net(backbone)
    if net is None:
        raise ValueError("backbone is ''; it must be the name of a net, such as resnet18")
    if not getattr(net, "strides", ()) or 0 in net.strides:
        named = backbone if isinstance(backbone, str) else type(net).__name__
        raise ValueError(f"backbone is {named!r}; its features lie in no image plane, so nothing can be found in them")
    return net


def _boxed(raw: jax.Array, places: jax.Array) -> jax.Array:
    """Boxes (B, P, 4) in pixels of what a net says at places (P, 3): how far the centre is off, and log sides."""
    raw, stride = raw.astype(jnp.float32), places[:, 2:]
    sides = _SIDE * stride * jnp.exp(jnp.minimum(raw[..., 2:4], _LARGEST))
    return ops.centred_boxes(places[:, :2] + stride * raw[..., :2], sides)


def _turned(raw: jax.Array, places: jax.Array) -> dict[str, jax.Array]:
    """Solids in pixels of what a net says (B, P, 8) at places (P, 3): centre, log sides, heading, base, log height."""
    raw, stride = raw.astype(jnp.float32), places[:, 2:]
    sizes = _SIDE * jnp.exp(jnp.minimum(raw[..., jnp.array([2, 3, 7])], _LARGEST))
    return {
        "centres": places[:, :2] + stride * raw[..., :2],
        "sides": stride * sizes[..., :2],
        "headings": raw[..., 4:6],
        "heights": raw[..., 6:7] + sizes[..., 2:] * jnp.arange(2),  # heights know no stride
    }


class Tower(nn.Module):
    """Convolutions that all levels share, each level with a normalisation of its own, as their statistics differ."""

    width: int
    depth: int
    levels: tuple[str, ...]
    style: Style

    @nn.compact
    def __call__(self, maps, train=False):
        found = dict(maps)
        for i in range(1, self.depth + 1):
            conv = self.style.conv(self.width, 3, padding=1, name=f"conv{i}")
            for name in self.levels:
                y = self.style.normalize(f"norm{i}_{name}")(conv(found[name]), train)
                found[name] = self.style.activate(y)
        return found


class Finer(nn.Module):
    """Maps (B, 2h, 2w, M) of a map (B, h, w, C): prototypes that masks are sums of, or masks themselves."""

    count: int
    width: int
    style: Style

    @nn.compact
    def __call__(self, x, train=False):
        for i in (1, 2):
            x = self.style.conv(self.width, 3, padding=1, name=f"conv{i}")(x)
            x = self.style.activate(self.style.normalize(f"norm{i}")(x, train))
            x = ops.resize(x, tuple(2 * n for n in x.shape[1:-1])) if i == 1 else x
        return Conv(self.count, 1, kernel_init="lecun_normal", name="output")(x)


class Detector(Network):
    """A pyramid, two towers on each of its levels, and the layers that read them."""

    may_be_0 = ("outputs", "depth", "masks", "aligned")

    outputs: int
    pyramid: nn.Module
    depth: int
    masks: int
    aligned: int
    turned: bool
    style: Style

    @property
    def strides(self):
        return self.pyramid.levels

    def setup(self):
        if not self.outputs:
            return
        width, levels = self.pyramid.width, tuple(f"level{stride}" for stride in self.strides)
        self.class_tower = Tower(width, self.depth, levels, self.style)
        self.box_tower = Tower(width, self.depth, levels, self.style)
        self.head = Conv(self.outputs, 1, kernel_init="lecun_normal")
        self.box_head = Conv(8 if self.turned else 4, 1, kernel_init="lecun_normal")
        if self.masks:
            self.mask_head = Conv(self.masks, 1, kernel_init="lecun_normal")
            self.prototypes = Finer(self.masks, width, self.style)
        if self.aligned:
            self.maps = Finer(width, width, self.style)
            # boxes that only pad would be in the statistics of a batch
            self.mask_tower = Finer(1, width, dataclasses.replace(self.style, norm="none"))

    def features(self, x, train=False):
        return self.pyramid.features(x, train)

    def __call__(self, x, train=False):
        maps = self.features(x, train)
        finest = next(iter(maps.values()))
        if not self.outputs:
            return finest
        places = [spread(x.shape[1:3], y.shape[1:3], s) for y, s in zip(maps.values(), self.strides, strict=True)]
        places = jnp.concatenate(places)
        kinds, where = self.class_tower(maps, train), self.box_tower(maps, train)
        raw = _rows(self.box_head, where)
        found = {
            "main": _rows(self.head, kinds) - _RARE,
            **(_turned(raw, places) if self.turned else {"boxes": _boxed(raw, places)}),
            "places": jnp.broadcast_to(places, (x.shape[0], *places.shape)),
        }
        if self.masks:
            found["coefficients"] = jnp.tanh(_rows(self.mask_head, where))
            found["prototypes"] = self.prototypes(finest, train)
        if self.aligned:
            found["maps"] = self.maps(finest, train)
            if self.is_initializing():
                self.aligned_masks(found["maps"], found["boxes"][:, :1], train)
        return found

    def aligned_masks(self, maps: jax.Array, boxes: jax.Array, train: bool = False) -> jax.Array:
        """Logits (B, N, s, s) of the mask in each of the boxes (B, N, 4), in pixels, by what `maps` has there."""
        seen = ops.roi_align(maps, boxes, self.aligned, scale=2 / self.strides[0], samples=1)
        drawn = self.mask_tower(seen.reshape(-1, *seen.shape[2:]).astype(maps.dtype), train)
        return drawn.reshape(*boxes.shape[:2], *drawn.shape[1:3])


def _rows(layer, maps):
    """What a layer says (B, P, K) at all places of maps (B, h, w, C), one map after the other."""
    each = [layer(x) for x in maps.values()]
    return jnp.concatenate([y.reshape(y.shape[0], -1, y.shape[-1]) for y in each], 1)


class Localizer(Network):
    """A pyramid with one map, and a mean over its places."""

    outputs: int
    pyramid: nn.Module

    @property
    def strides(self):
        return self.pyramid.levels

    def setup(self):
        self.trust = Conv(1, 1, kernel_init="lecun_normal")
        if self.outputs:
            self.head = Dense(self.outputs)
            self.box_head = Conv(4, 1, kernel_init="lecun_normal")

    def features(self, x, train=False):
        return self.pyramid.features(x, train)

    def __call__(self, x, train=False):
        maps = self.features(x, train)
        (seen,) = maps.values()
        share = nn.softmax(_rows(self.trust, maps).astype(jnp.float32), 1)
        rows = seen.reshape(seen.shape[0], -1, seen.shape[-1])
        mean = jnp.sum(share * rows, 1).astype(x.dtype)
        if not self.outputs:
            return mean
        places = spread(x.shape[1:3], seen.shape[1:3], self.strides[0])
        boxes = jnp.sum(share * _boxed(_rows(self.box_head, maps), places), 1, keepdims=True)
        return {"main": self.head(mean), "boxes": boxes}
