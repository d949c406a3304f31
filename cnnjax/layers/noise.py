"""Layers that draw from the stream "noise" while training and are the identity otherwise."""

import flax.linen as nn

from cnnjax.ops import randomness

__all__ = ["DropPath", "Dropout"]


def _never(rate) -> bool:
    """Whether the rate is plainly 0, so that a net without noise can be trained without a key for it."""
    return isinstance(rate, int | float) and rate == 0


class Dropout(nn.Module):
    """`x` with each value zeroed with probability `rate`, which may be a traced number, and the rest scaled up."""

    rate: float

    @nn.compact
    def __call__(self, x, train=False):
        if not train or _never(self.rate):
            return x
        return randomness.dropout(self.make_rng("noise"), x, self.rate)


class DropPath(nn.Module):
    """`x` zeroed for whole examples with probability `rate` (stochastic depth), the others scaled up."""

    rate: float

    @nn.compact
    def __call__(self, x, train=False):
        if not train or _never(self.rate):
            return x
        return randomness.drop_path(self.make_rng("noise"), x, self.rate)
