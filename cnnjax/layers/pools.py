"""Pooling by name."""

import functools
from collections.abc import Callable
from typing import get_args

from cnnjax import ops
from cnnjax.ops.pooling import PoolKind, WindowKind
from cnnjax.refusals import one_of

__all__ = ["global_pooling", "pooling"]

_KINDS = {kind: getattr(ops, f"{kind}_pool") for kind in get_args(WindowKind)}


def pooling(kind: WindowKind) -> Callable:
    """The function `(x, window, *, stride, padding, ceil) -> x` of a kind: max, avg, lp (the L2 norm) or blur."""
    return _KINDS[one_of(kind, _KINDS, path="pool")]


def global_pooling(kind: PoolKind) -> Callable:
    """The function `x (B, *sizes, C) -> (B, C)` of a kind: "max", "avg" or "lp" (the L2 norm)."""
    return functools.partial(ops.global_pool, kind=one_of(kind, get_args(PoolKind), path="pool"))
