"""Masks that a net draws box by box (He 2017): in which boxes, what they cost, and how they are laid out."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from cnnjax.fields import IGNORE
from cnnjax.ops import box_iou, losses
from cnnjax.tasks._assigning import Assignment, Truth

__all__ = ["asked_of", "crop_losses", "laid_out", "roomy"]

_ROWS = 32  # of a picture whose masks are trained, the first that are there
_ROOM = 1.2  # times as large as a box is what is looked at: boxes that were found may cut a little off
_NEAR = 0.5  # from this overlap on the box that was found is trained, else the true one


def roomy(boxes: jax.Array) -> jax.Array:
    """Boxes (…, 4) with some room around them."""
    middle, half = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]) * (_ROOM / 2)
    return jnp.concatenate([middle - half, middle + half], -1)


def asked_of(outputs: Mapping, truth: Truth, answers: Assignment) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Boxes (B, n, 4) to train masks in, the row (B, n) that each is of, and whether it is there.

    A row's box is that of its best place, as evaluation will ask for it, where that is near, else its own.
    """
    there, rows = jax.lax.top_k(truth.present.astype(jnp.float32), min(_ROWS, truth.present.shape[1]))
    own = jnp.take_along_axis(truth.boxes, rows[..., None], 1)
    best = jnp.take_along_axis(answers.places[..., 0], rows, 1)
    found = jax.lax.stop_gradient(jnp.take_along_axis(outputs["boxes"], best[..., None], 1))
    taken = jnp.take_along_axis(answers.taken[..., 0], rows, 1)
    overlap = jax.vmap(jax.vmap(lambda a, b: box_iou(a[None], b[None])[0, 0]))(found, own)
    return jnp.where((taken & (overlap >= _NEAR))[..., None], found, own), rows, there


def crop_losses(
    logits: jax.Array, boxes: jax.Array, rows: jax.Array, there: jax.Array, instances: jax.Array, truth: Truth
) -> jax.Array:
    """Losses (B,), summed over rows: the mean binary cross-entropy of logits (B, n, s, s) in the boxes with room.

    Each is compared with its row's pixel in `instances` (B, H, W); those outside the picture are not its. Where a
    picture has more rows than are trained, these stand for all.
    """
    side, size = logits.shape[-1], instances.shape[1:]
    boxes = roomy(boxes)
    steps = (jnp.arange(side) + 0.5) / side
    low, sides = boxes[..., :2, None], boxes[..., 2:, None] - boxes[..., :2, None]
    at = jnp.floor(low + sides * steps).astype(jnp.int32)  # (B, n, 2, s)
    inside = (at >= 0) & (at < jnp.array(size)[:, None])
    y, x = (jnp.clip(at[..., axis, :], 0, size[axis] - 1) for axis in (0, 1))
    met = jax.vmap(lambda things, y, x: things[y[..., :, None], x[..., None, :]])(instances, y, x)
    inside = inside[..., 0, :, None] & inside[..., 1, None, :]
    target = inside & (met == 1 + rows[..., None, None])
    known = ((met != IGNORE) | ~inside).astype(jnp.float32)
    each = losses.sigmoid_cross_entropy(logits, target.astype(jnp.float32)) * known
    each = each.sum((2, 3)) / jnp.maximum(known.sum((2, 3)), 1)
    share = jnp.sum(truth.present, 1) / jnp.maximum(there.sum(1), 1)
    return jnp.sum(each * there, 1) * share


def laid_out(logits: jax.Array, boxes: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Masks (N, H, W) bool of logits (N, s, s) in boxes (N, 4) with room, read between their places (bilinear)."""
    boxes = roomy(boxes)
    down, along = (_weights(boxes[:, axis], boxes[:, axis + 2], logits.shape[-1], size[axis]) for axis in (0, 1))
    return jnp.einsum("nhs,nst,nwt->nhw", down, logits, along) > 0


def _weights(low, high, side, count):
    """(N, count, side) how much each of `side` places between two edges (N,) counts at each of `count` pixels."""
    pixels = jnp.arange(count) + 0.5
    place = (pixels - low[:, None]) / jnp.maximum(high - low, 1e-3)[:, None] * side - 0.5
    inside = (place > -0.5) & (place < side - 0.5)
    place = jnp.clip(place, 0, side - 1)
    weights = jnp.maximum(1 - jnp.abs(place[..., None] - jnp.arange(side)), 0)
    return weights * inside[..., None]
