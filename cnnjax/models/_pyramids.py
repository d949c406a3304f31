"""Feature pyramids (Lin 2017): maps of one width at several strides, each of which has seen the coarser ones."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnnjax import ops
from cnnjax.layers import Style
from cnnjax.models._network import Network

__all__ = ["Pyramid", "pyramid", "spread"]


def pyramid(backbone: nn.Module, levels: tuple[int, ...], width: int, style: Style) -> nn.Module:
    """A pyramid on a backbone with maps at the strides `levels`, or an error that says which strides there may be.

    It has all strides of the backbone from the finest of `levels` on, and may go on beyond its coarsest by doublings.
    """
    strides = tuple(dict.fromkeys(backbone.strides))
    levels = tuple(levels)
    beyond = [strides[-1] * 2**i for i in range(1, 8)]
    if not levels or list(levels) != sorted(set(levels)) or not set(levels) <= {*strides, *beyond}:
        known = " ".join(map(str, strides))
        raise ValueError(
            f"levels is {levels}; they are strides of the backbone's maps, {known}, from fine to coarse, "
            f"or go on from there by doublings: {beyond[0]} {beyond[1]} …"
        )
    return Pyramid(backbone, levels, width, style)


class Pyramid(Network):
    """Maps `level8`, `level16`, …, all `width` wide, of a backbone's maps brought together from coarse to fine."""

    backbone: nn.Module
    levels: tuple[int, ...]
    width: int
    style: Style

    @property
    def strides(self):
        return self.levels

    def setup(self):
        style, coarsest = self.style, self.backbone.strides[-1]
        for stride in self._met():
            setattr(self, f"lateral{stride}", style.conv(self.width, 1, bias=True))
        for stride in self._made():
            step = 2 if stride > coarsest else 1
            setattr(self, f"level{stride}", style.conv(self.width, 3, stride=step, padding=1))
            setattr(self, f"norm{stride}", style.normalize())

    def _met(self):
        """The backbone's strides that the pyramid reads."""
        finest = min(self.levels[0], self.backbone.strides[-1])
        return tuple(sorted({stride for stride in self.backbone.strides if stride >= finest}))

    def _made(self):
        """The strides of its own maps: the levels, and what leads to those beyond the backbone's coarsest."""
        coarsest = self.backbone.strides[-1]
        beyond = [coarsest * 2**i for i in range(1, 8) if coarsest * 2**i <= self.levels[-1]]
        return tuple(sorted({*self.levels, *beyond}))

    def features(self, x, train=False):
        maps = self.backbone.features(x, train)
        by_stride = dict(zip(self.backbone.strides, maps.values(), strict=True))  # of equal ones the last
        joined = {}
        for stride in reversed(self._met()):
            y = getattr(self, f"lateral{stride}")(by_stride[stride])
            if joined:
                y = y + ops.resize(joined[min(joined)], y.shape[1:-1], method="nearest")
            joined[stride] = y
        found, top = {}, joined[max(joined)]
        for stride in self._made():
            y = getattr(self, f"level{stride}")(joined.get(stride, top))
            y = self.style.activate(getattr(self, f"norm{stride}")(y, train))
            top = y if stride >= max(joined) else top
            if stride in self.levels:
                found[f"level{stride}"] = y
        return found

    def __call__(self, x, train=False):
        return next(iter(self.features(x, train).values()))


def spread(size: tuple[int, int], shape: tuple[int, int], stride: int) -> jax.Array:
    """Places (h·w, 3) y x stride in pixels of a picture of `size` for which a map of `shape` (h, w) stands.

    Where a net pads nothing its maps show the middle of the picture.
    """
    lines = [max(n - m * stride, 0) / 2 + stride * (jnp.arange(m) + 0.5) for n, m in zip(size, shape, strict=True)]
    y, x = jnp.meshgrid(*lines, indexing="ij")
    return jnp.stack([y, x, jnp.full_like(y, stride)], -1).reshape(-1, 3)
