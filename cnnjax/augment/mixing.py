"""Examples mixed with their neighbours in the batch; labels become distributions in `target`."""

import jax
import jax.numpy as jnp

from cnnjax.augment._fields import INPUTS
from cnnjax.ops import axes

__all__ = ["mixup"]


def _before(x, steps=1):
    """Row i of the result is row i - steps of the whole batch, around its end, whatever device that stands on."""
    rolled = jnp.roll(x, steps, axis=0)
    devices = axes.count()
    if devices == 1:
        return rolled
    ring = [(device, (device + 1) % devices) for device in range(devices)]
    return rolled.at[:steps].set(jax.lax.ppermute(x[-steps:], "batch", ring))


def _keys(key, rows):
    """A key per row, by its position in the whole batch."""
    return jax.vmap(lambda row: jax.random.fold_in(key, row))(axes.first(rows) + jnp.arange(rows))


def _targets(facts, batch):
    if "target" in batch:
        return batch["target"]
    return jax.nn.one_hot(batch["label"], facts.classes, dtype=jnp.result_type(float))


def _share(key, rows, alpha, strength):
    """(rows,) shares of the partner: at most a half on average, 0 at zero strength or alpha."""
    draw = jax.vmap(lambda one: jax.random.beta(one, jnp.maximum(alpha, 1e-3), jnp.maximum(alpha, 1e-3)))
    return jnp.where(alpha > 0, (1 - draw(_keys(key, rows))) * strength, 0.0)


def _blend(x, other, share):
    share = share.astype(x.dtype).reshape(share.shape + (1,) * (x.ndim - 1))
    return x + share * (other - x)


def mixup(key, facts, batch, strength, *, alpha: float = 0.2):
    """The batch with every input and its target drawn towards those of the example before it (Zhang 2017)."""
    targets = _targets(facts, batch)
    share = _share(key, targets.shape[0], alpha, strength)
    mixed = {name: _blend(batch[name], _before(batch[name]), share) for name in INPUTS if name in batch}
    return {**batch, **mixed, "target": _blend(targets, _before(targets), share)}
