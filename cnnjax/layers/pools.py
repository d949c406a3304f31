"""Pooling by name."""

import functools

from cnnjax import ops
from cnnjax.ops.shapes import choice

__all__ = ["global_pooling", "pooling"]

_KINDS = {"avg": ops.avg_pool, "max": ops.max_pool, "lp": ops.lp_pool}


def pooling(kind: str):
    """The function `(x, window, *, stride, padding, ceil) -> x` of a kind: "max", "avg" or "lp" (the L2 norm)."""
    return _KINDS[choice("pool", kind, tuple(_KINDS))]


def global_pooling(kind: str):
    """The function `x (B, *sizes, C) -> (B, C)` of a kind: "max", "avg" or "lp" (the L2 norm)."""
    return functools.partial(ops.global_pool, kind=choice("pool", kind, tuple(_KINDS)))
