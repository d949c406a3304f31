"""The form of every net: a backbone of named maps and a head."""

import dataclasses
import math

import flax.linen as nn

from cnnjax.layers import Dense, Dropout, global_pooling

__all__ = ["Head", "Network", "positive", "whole", "wholes"]

_NOUGHT = ("outputs", "padding", "bottleneck", "penultimate", "responses")  # of which there may be none


def whole(name: str, value: int, least: int = 1) -> int:
    """`value`, or an error that names the option, where it is no whole number from `least` on."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < least:
        raise ValueError(f"{name} is {value!r}; it must be a whole number from {least} on")
    return int(value)


def wholes(name: str, value, least: int = 1) -> tuple[int, ...]:
    """`value` as a tuple, or an error that names the option, where it is no row of whole numbers."""
    try:
        return tuple(whole(name, entry, least) for entry in value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r}; it must be whole numbers from {least} on, as in (2, 2)") from None


def positive(name: str, value: float, most: float = math.inf) -> float:
    """`value`, or an error that names the option, where it is no number above 0 and up to `most`."""
    if not isinstance(value, int | float) or not 0 < value <= most:
        raise ValueError(f"{name} is {value!r}; it must be above 0" + f" and at most {most:g}" * (most < math.inf))
    return value


class Head(nn.Module):
    """Global pooling, dropout and the output layer: maps (B, *sizes, C) to outputs (B, K), or to (B, C) where K = 0."""

    outputs: int
    dropout: float = 0.0
    kernel_init: str = "lecun_normal"
    bias_init: str = "zeros"
    pool: str = "avg"

    @nn.compact
    def __call__(self, x, train=False):
        x = global_pooling(self.pool)(x)
        if not self.outputs:
            return x
        x = Dropout(self.dropout, name="dropout")(x, train)
        return Dense(self.outputs, kernel_init=self.kernel_init, bias_init=self.bias_init, name="output")(x)


class Network(nn.Module):
    """A net with `features(x, train)`: named maps, finest to coarsest, whose total strides are `strides`.

    Fields that are whole numbers, or rows of them, are checked: they carry the names of the options they come from.
    """

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if field.type in (int, tuple[int, ...]):
                check = whole if field.type is int else wholes
                value = check(field.name, getattr(self, field.name), 0 if field.name in _NOUGHT else 1)
                object.__setattr__(self, field.name, value)
        for name in ("blocks", "windows", "widths"):
            if getattr(self, name, True) == ():
                raise ValueError(f"{name} is (); it must be whole numbers from 1 on, one or more")
        super().__post_init__()

    @property
    def strides(self) -> tuple[int, ...]:
        """Total stride of every map of `features`, in its order."""
        raise NotImplementedError

    def features(self, x, train=False):
        raise NotImplementedError

    def __call__(self, x, train=False):
        raise NotImplementedError
