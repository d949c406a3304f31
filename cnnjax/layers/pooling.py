"""Pooling by name."""

import difflib

from cnnjax import ops

__all__ = ["pooling"]

_KINDS = {"avg": ops.avg_pool, "max": ops.max_pool, "lp": ops.lp_pool}


def pooling(kind: str):
    """The function `(x, window, *, stride, padding, ceil) -> x` of a kind: "max", "avg" or "lp" (the L2 norm)."""
    if kind not in _KINDS:
        near = difflib.get_close_matches(kind, _KINDS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"pool is {kind!r}; it must be one of {', '.join(_KINDS)}{hint}")
    return _KINDS[kind]
