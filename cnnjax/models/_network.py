"""The form of every net: a backbone of named maps and a head."""

import dataclasses
import math
import numbers
from typing import ClassVar

import flax.linen as nn
import jax

from cnnjax.layers import Dense, Dropout, global_pooling

__all__ = ["Head", "Network", "positive", "whole", "wholes"]


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
    number = value if isinstance(value, numbers.Real | jax.Array) and not isinstance(value, bool) else math.nan
    if not 0 < number <= most or math.isinf(number):
        raise ValueError(f"{name} is {value!r}; it must be above 0" + f" and at most {most:g}" * (most < math.inf))
    return float(number)


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
    Those that `may_be_0` names start at 0, the others at 1.
    """

    may_be_0: ClassVar[tuple[str, ...]] = ("outputs",)

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if field.type in (int, tuple[int, ...]):
                check = whole if field.type is int else wholes
                value = check(field.name, getattr(self, field.name), 0 if field.name in self.may_be_0 else 1)
                object.__setattr__(self, field.name, value)
        for name in ("blocks", "windows"):
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
