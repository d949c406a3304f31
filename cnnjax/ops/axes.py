"""Sums over every device that shares the batch, and this device's place in it.

The axis is named "batch". `train/parallel.py` alone binds it, to devices; where nothing binds it
(one device, plain jit, a notebook) these functions see the whole batch already.
"""

from typing import Any

import jax
from jax import lax

__all__ = ["count", "first", "gathered", "mean", "place", "total"]

_AXIS = "batch"


def count() -> int:
    """The number of devices that share the batch (static; 1 where the axis is not bound)."""
    try:
        return lax.axis_size(_AXIS)
    except NameError:
        return 1


def _bound() -> bool:
    try:
        lax.axis_size(_AXIS)
    except NameError:
        return False
    return True


def total(x: Any) -> Any:
    """The sum of every device's `x`, leaf by leaf."""
    return lax.psum(x, _AXIS) if _bound() else x


def mean(x: Any) -> Any:
    """The mean of every device's `x`, leaf by leaf."""
    return lax.pmean(x, _AXIS) if _bound() else x


def place() -> jax.Array | int:
    """This device's number along the batch."""
    return lax.axis_index(_AXIS) if _bound() else 0


def first(n: int) -> jax.Array | int:
    """The position in the global batch of this device's first example, where each device holds `n`."""
    return place() * n


def gathered(x: jax.Array) -> jax.Array:
    """Every device's `x`, (N, …), one after the other along the first axis: (devices · N, …)."""
    return lax.all_gather(x, _AXIS, axis=0, tiled=True) if _bound() else x
