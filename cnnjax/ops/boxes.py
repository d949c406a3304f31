"""Boxes are (…, 4) arrays y0 x0 y1 x1, in pixels."""

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.ops.turned import quad_iou

__all__ = ["box_area", "box_iou", "centred_boxes", "ciou", "giou", "non_max_suppression"]


def box_area(boxes: jax.Array) -> jax.Array:
    """The areas (…,) of boxes (…, 4); a box that is inside out has none."""
    sides = jnp.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return sides[..., 0] * sides[..., 1]


def centred_boxes(centres: jax.Array, sides: jax.Array) -> jax.Array:
    """Boxes (…, 4) of centres (…, 2) and sides (…, 2), both y x."""
    return jnp.concatenate([centres - sides / 2, centres + sides / 2], -1)


def box_iou(a: jax.Array, b: jax.Array) -> jax.Array:
    """Intersection over union (…, N, M) of every box of `a` (…, N, 4) with every box of `b` (…, M, 4)."""
    return _overlap(a[..., :, None, :], b[..., None, :, :])[0]


def giou(a: jax.Array, b: jax.Array) -> jax.Array:
    """Generalized overlaps (…) of boxes `a` (…, 4) with `b` (…, 4), one by one, from −1 to 1 (Rezatofighi 2019).

    The intersection over union less the share of the box around both that neither covers: also boxes that lie apart
    have a slope. A loss is 1 − it.
    """
    overlap, union = _overlap(a, b)
    around = box_area(_around(a, b))
    return overlap - (around - union) / _not_zero(around)


def ciou(a: jax.Array, b: jax.Array) -> jax.Array:
    """Complete overlaps (…) of boxes `a` (…, 4) with `b` (…, 4), one by one (Zheng 2020).

    The intersection over union less the distance of the centres in diagonals of the box around both, squared, and less
    a term for unlike aspects, through whose weight no gradient goes.
    """
    overlap, _ = _overlap(a, b)
    corner, other = _halves(_around(a, b))
    diagonal = jnp.sum((other - corner) ** 2, -1)
    apart = jnp.sum((sum(_halves(a)) - sum(_halves(b))) ** 2, -1) / 4
    aspects = [jnp.arctan2(*jnp.moveaxis(jnp.maximum(high - low, 1e-6), -1, 0)) for low, high in map(_halves, (a, b))]
    unlike = 4 / np.pi**2 * (aspects[0] - aspects[1]) ** 2
    weight = jax.lax.stop_gradient(unlike / _not_zero(1 - overlap + unlike))
    return overlap - apart / _not_zero(diagonal) - weight * unlike


def non_max_suppression(
    boxes: jax.Array,
    scores: jax.Array,
    *,
    iou: jax.Array | float = 0.5,
    most: int = 100,
    classes: jax.Array | tuple = (),
) -> tuple[jax.Array, jax.Array]:
    """(rows, kept): which of N boxes (N, 4) are left, (most,), best first, and whether there is one, (most,) bool.

    The best box stays, those that overlap it by more than `iou` go, and so on; with `classes` (N,) only those of its
    own class go. Turned boxes are given as corners (N, 4, 2). Of equal scores the first is the better. A score of −inf
    is no box. Rows that are not there are 0.
    """
    boxes, scores, classes = jnp.asarray(boxes), jnp.asarray(scores), jnp.asarray(classes)
    rows, overlap = jnp.arange(len(boxes)), quad_iou if boxes.ndim == 3 else box_iou

    def step(scores, _):
        best = jnp.argmax(scores)
        near = overlap(boxes[best][None], boxes)[0] > iou
        if classes.size:
            near &= classes == classes[best]
        there = scores[best] > -jnp.inf
        # itself too: a box without area overlaps nothing
        scores = jnp.where((near | (rows == best)) & there, -jnp.inf, scores)
        return scores, (jnp.where(there, best, 0), there)

    if not len(rows):
        return jnp.zeros(most, jnp.int32), jnp.zeros(most, bool)
    return jax.lax.scan(step, scores, length=most)[1]


def _overlap(a, b):
    """Intersection over union, and union, of boxes one by one."""
    low = jnp.maximum(a[..., :2], b[..., :2])
    high = jnp.minimum(a[..., 2:], b[..., 2:])
    shared = box_area(jnp.concatenate([low, high], -1))
    union = box_area(a) + box_area(b) - shared
    return shared / _not_zero(union), union


def _around(a, b):
    return jnp.concatenate([jnp.minimum(a[..., :2], b[..., :2]), jnp.maximum(a[..., 2:], b[..., 2:])], -1)


def _halves(boxes):
    return boxes[..., :2], boxes[..., 2:]


def _not_zero(values):
    return jnp.where(values > 0, values, 1)
