"""Which place of a dense prediction answers for which box: those that class and box agree with best (Feng 2021)."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from cnnjax.ops import box_iou

__all__ = ["Assignment", "Truth", "assigned", "matched", "truth_of"]

_PLACES = 10  # that answer for one box
_POWER = 6.0  # of the overlap beside that of the score, 1


class Truth(NamedTuple):
    """What is to be found: boxes (B, N, 4) or corners (B, N, 4, 2), classes, whether they are there, and to ignore."""

    boxes: jax.Array
    classes: jax.Array
    present: jax.Array
    ignored: jax.Array


def truth_of(batch: Mapping[str, jax.Array], word: str = "boxes") -> Truth:
    """The rows of a batch that are to be found, and those that are `ignored`: neither to be found nor a fault."""
    classes = batch["classes"]
    there = batch.get("present", jnp.ones(classes.shape)) > 0
    apart = there & (batch.get("ignored", jnp.zeros(classes.shape)) > 0)
    return Truth(batch[word].astype(jnp.float32), classes.astype(jnp.int32), there & ~apart, apart)


class Assignment(NamedTuple):
    """owner (B, P) is the row that a place answers for, share (B, P) how well it does, 0 where it answers for none.

    counts (B, P) is 0 for places in an ignored row alone. places (B, N, k) are those of each row, the best first, and
    taken (B, N, k) whether they answer for it.
    """

    owner: jax.Array
    share: jax.Array
    counts: jax.Array
    places: jax.Array
    taken: jax.Array


def assigned(scores: jax.Array, boxes: jax.Array, places: jax.Array, truth: Truth) -> Assignment:
    """The assignment of scores (B, P, K), boxes (B, P, 4) at places (B, P, 3) y x stride to a truth of N rows."""
    return matched(scores, box_iou(boxes, truth.boxes), _inside(places, truth.boxes), truth)


def matched(scores: jax.Array, overlap: jax.Array, inside: jax.Array, truth: Truth) -> Assignment:
    """The assignment of scores (B, P, K) to N rows that the places' boxes overlap (B, P, N) and they lie in (B, P, N).

    A row's places are the ten inside its box where score · overlap⁶ is greatest. What a place is worth is that, in
    shares of the row's best, times the row's best overlap: the score that it should learn.
    """
    kinds = jnp.clip(truth.classes, 0, scores.shape[-1] - 1)
    fit = jnp.take_along_axis(scores, jnp.broadcast_to(kinds[:, None], overlap.shape), 2) * overlap**_POWER
    open_to = inside & truth.present[:, None]
    fit = jnp.where(open_to, fit + 1e-20, -1.0)  # where nothing overlaps yet any place inside will do
    best, taken_by = jax.lax.top_k(fit.swapaxes(1, 2), min(_PLACES, fit.shape[1]))  # (B, N, k)
    mine = jnp.zeros(fit.swapaxes(1, 2).shape, bool)
    mine = jnp.put_along_axis(mine, taken_by, best > 0, 2, inplace=False).swapaxes(1, 2)
    # a place in several rows is that of the one that it overlaps most
    owner = jnp.argmax(jnp.where(mine, overlap, -1.0), -1)
    mine &= owner[..., None] == jnp.arange(overlap.shape[-1])
    fit = jnp.where(mine, fit, 0.0)
    most = jnp.max(jnp.where(mine, overlap, 0.0), 1, keepdims=True)
    share = jnp.sum(fit / jnp.maximum(fit.max(1, keepdims=True), 1e-20) * most, -1)
    answers = mine.any(-1)
    ignored = (inside & truth.ignored[:, None]).any(-1) & ~answers
    taken = jnp.take_along_axis(mine.swapaxes(1, 2), taken_by, 2)
    return Assignment(owner, share * answers, 1.0 - ignored, taken_by, taken)


def _inside(places, boxes):
    """(B, P, N) whether a place lies in a box, or next to its middle where the box is smaller than the gaps."""
    centres, sides = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    reach = jnp.maximum(sides[:, None], places[:, :, None, 2:]) / 2
    return (jnp.abs(places[:, :, None, :2] - centres[:, None]) <= reach).all(-1)
