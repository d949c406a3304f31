"""Connected parts of a class as things that were found, against the instances that there are."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.tasks import _matching as matching

__all__ = ["parts_score", "shared_parts"]


def shared_parts(parts: jax.Array, instances: jax.Array, rows: int) -> dict[str, jax.Array]:
    """Pixels (B, M, N) that the M = `rows` largest parts share with N = `rows` instances, and pixels of both.

    Parts (B, H, W) have labels up to H·W, instances (B, H, W) up to `rows`; 0 is none in both.
    """

    def one(each):
        labels, things = (maps.reshape(-1).astype(jnp.int32) for maps in each)
        sizes = jnp.zeros(labels.size + 1, jnp.int32).at[labels].add(1).at[0].set(0)
        areas, largest = jax.lax.top_k(sizes, min(rows, labels.size))
        seats = jnp.zeros(labels.size + 1, jnp.int32).at[largest].set(1 + jnp.arange(len(largest)))
        pairs = jnp.zeros((rows + 1, rows + 1), jnp.int32).at[seats.at[0].set(0)[labels], things].add(1)
        areas = jnp.pad(areas, (0, rows - len(areas)))
        return {"shared": pairs[1:, 1:], "areas": areas, "true_areas": pairs[:, 1:].sum(0)}

    return jax.lax.map(one, (parts, instances))


def parts_score(rows: Mapping[str, np.ndarray]) -> float:
    """The mean over images of DSB 2018's score, of what `shared_parts` gives."""
    shared, own, true = (np.asarray(rows[name], np.float64) for name in ("shared", "areas", "true_areas"))
    nothing = np.zeros(true.shape, bool)
    found = matching.Found(np.zeros(own.shape), np.zeros(own.shape, int), own, own > 0)
    there = matching.Truths(np.zeros(true.shape, int), true, true > 0, nothing)
    return float(matching.dsb(found, there, matching.overlaps(shared, own, true)).mean())
