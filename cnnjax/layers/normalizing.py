"""Normalisation layers; every one is called `(x, train)`, its parameters and statistics are float32."""

import math
from typing import Literal, get_args

import flax.linen as nn
import jax.numpy as jnp

from cnnjax import ops
from cnnjax.layers._parameters import parameter
from cnnjax.ops import axes
from cnnjax.refusals import one_of

__all__ = ["BatchNorm", "GroupNorm", "InstanceNorm", "LayerNorm", "LocalResponseNorm", "Norm", "normalizer"]

Norm = Literal["batch", "group", "layer", "channels", "instance", "none"]


def _affine(module, x):
    """Scale and bias (C,) of a normalisation layer."""
    shape = (x.shape[-1],)
    scale = parameter(module, "scale", getattr(nn.initializers, module.scale_init), shape)
    return scale, parameter(module, "bias", nn.initializers.zeros, shape)


class BatchNorm(nn.Module):
    """x (B, …, C) normalised with the statistics of the batch while training, with the running ones otherwise.

    Statistics go over `group` examples of the global batch (0 = all), on one device or several. The running ones (mean
    and unbiased variance, as in the paper and in PyTorch) keep the share `momentum` of themselves at each step.
    `statistics` are those of x where they are known already (`Style.statistics`).
    """

    group: int = 0
    momentum: float = 0.9
    eps: float = 1e-5
    scale_init: Literal["ones", "zeros"] = "ones"

    @nn.compact
    def __call__(self, x, train=False, statistics=()):
        scale, bias = _affine(self, x)
        shape = (x.shape[-1],)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        if not train:
            return ops.batch_norm(x, scale, bias, running_mean.value, running_var.value, eps=self.eps)
        mean, variance = statistics or ops.batch_statistics(x, group=self.group)
        if self.is_mutable_collection("batch_stats") and not self.is_initializing():
            count = (self.group or x.shape[0] * axes.count()) * math.prod(x.shape[1:-1])
            unbiased = variance * (count / max(count - 1, 1))
            for kept, new in ((running_mean, mean), (running_var, unbiased)):
                new = new if new.ndim == 1 else axes.mean(jnp.mean(new, 0))
                kept.value = self.momentum * kept.value + (1 - self.momentum) * new.astype(kept.value.dtype)
        return ops.batch_norm(x, scale, bias, mean, variance, eps=self.eps)


class GroupNorm(nn.Module):
    """x (B, …, C) normalised over places and channel runs; `groups` is lowered to a divisor of C."""

    groups: int = 32
    eps: float = 1e-5
    scale_init: Literal["ones", "zeros"] = "ones"

    @nn.compact
    def __call__(self, x, train=False):
        scale, bias = _affine(self, x)
        return ops.group_norm(x, scale, bias, groups=math.gcd(self.groups, x.shape[-1]), eps=self.eps)


class LayerNorm(nn.Module):
    """x (B, …, C) normalised over the channels of each place, or with `spatial` over everything but the batch."""

    spatial: bool = False
    eps: float = 1e-6
    scale_init: Literal["ones", "zeros"] = "ones"

    @nn.compact
    def __call__(self, x, train=False):
        scale, bias = _affine(self, x)
        return ops.layer_norm(x, scale, bias, spatial=self.spatial, eps=self.eps)


class InstanceNorm(nn.Module):
    """x (B, *sizes, C) normalised over the places of each channel of each example."""

    eps: float = 1e-5
    scale_init: Literal["ones", "zeros"] = "ones"

    @nn.compact
    def __call__(self, x, train=False):
        if x.ndim < 3:  # its own mean taken from every number would leave nothing
            raise ValueError(f"norm is 'instance', but {x.shape} has no places to go over; choose 'layer' or 'group'")
        scale, bias = _affine(self, x)
        return ops.instance_norm(x, scale, bias, eps=self.eps)


class LocalResponseNorm(nn.Module):
    """x divided by a power of the energy in `size` neighbouring channels (Krizhevsky 2012), alpha over size."""

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 2.0

    def __call__(self, x, train=False):
        return ops.local_response_norm(x, self.size, alpha=self.alpha, beta=self.beta, bias=self.bias)


class _Nothing(nn.Module):
    """x as it is: the normalisation called "none"."""

    def __call__(self, x, train=False):
        return x


def normalizer(
    kind: Norm,
    *,
    group: int = 0,
    groups: int = 32,
    momentum: float = 0.9,
    eps: float = 1e-5,
    scale_init: Literal["ones", "zeros"] = "ones",
    name: str = "",
) -> nn.Module:
    """The normalisation layer of a kind, which says what goes into one mean: "batch", "group", "instance" or "none".

    "layer" is a whole example (Wu 2018), "channels" those of one place, as in ConvNeXt and in transformers.
    """
    one_of(kind, get_args(Norm), path="norm")
    named = {"name": name} if name else {}
    if kind == "batch":
        return BatchNorm(group, momentum, eps, scale_init, **named)
    if kind == "group":
        return GroupNorm(groups, eps, scale_init, **named)
    if kind in ("layer", "channels"):
        return LayerNorm(kind == "layer", eps, scale_init, **named)
    return InstanceNorm(eps, scale_init, **named) if kind == "instance" else _Nothing(**named)
