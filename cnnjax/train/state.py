"""The state of a training: everything that a checkpoint must hold to continue bit for bit."""

import zlib

import jax
import jax.numpy as jnp
from flax import struct

__all__ = ["State", "key_for"]


@struct.dataclass
class State:
    """Parameters, statistics, optimizer memory, averages, numeric options, and the counters of one training.

    `sums` are the metrics since the last report, so that a run resumed in between reports the same line; `watch` is
    what it remembers of its evaluations (`watching.nothing_seen`).
    `streak` counts bad updates in a row (at the plan's limit the state is frozen until it is rolled back), `bad` all of
    them, `skipped` the batches that roll-backs went past, `rollbacks` how many there were.
    """

    step: jax.Array
    seed: jax.Array
    params: dict
    model_state: dict
    opt_state: dict
    ema: dict
    hparams: dict
    sums: dict
    streak: jax.Array
    bad: jax.Array
    skipped: jax.Array
    rollbacks: jax.Array
    watch: dict = struct.field(default_factory=dict)


def key_for(seed: jax.Array, what: str) -> jax.Array:
    """A key: that of one purpose (`init`, `noise`, `augment`) of a run with this seed."""
    return jax.random.fold_in(jax.random.key(seed), jnp.uint32(zlib.crc32(what.encode())))
