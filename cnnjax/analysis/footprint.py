"""What a training holds in a device's memory, before it is there."""

import math

import jax
import numpy as np

from cnnjax.train.job import PreparedRun

__all__ = ["footprint_bytes"]


def footprint_bytes(prepared: PreparedRun, values: int) -> dict[str, int]:
    """Bytes on each device by what they hold; `values` are the numbers that a network's layers give for one example.

    Activations are a rough figure: the compiler keeps some twice for the backward pass and others not at all.
    """
    state, plan = prepared.outline(), prepared.plan
    share = math.ceil(plan.batch / plan.devices / plan.accumulate)
    width = {"bfloat16": 2, "float64": 8}.get(plan.precision, 4)
    return {
        "parameters": _bytes(state.params),
        "optimizer": _bytes(state.opt_state),
        "averages": _bytes(state.ema),
        "data": _split_bytes(prepared),
        "activations, about": values * share * width,
    }


def _bytes(tree) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _split_bytes(prepared: PreparedRun) -> int:
    """What the training split takes on the device, where it sits there."""
    if not prepared.source.train.resident:
        return 0
    example = prepared.source.train.read(np.zeros(1, int))
    return sum(np.asarray(value).nbytes for value in example.values()) * len(prepared.source.train)
