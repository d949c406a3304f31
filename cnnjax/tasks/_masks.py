"""Masks as sums of prototypes (Bolya 2019): what they cost, how they are drawn, what they share with a truth."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from cnnjax.fields import IGNORE
from cnnjax.ops import losses, resize
from cnnjax.tasks._aligned import laid_out
from cnnjax.tasks._assigning import Assignment, Truth

__all__ = ["areas_of", "draw", "mask_losses", "shared_pixels"]

_PLACES = 3  # of each row, the best, whose masks are trained
_ROWS = 100  # of a picture whose masks are trained, the first that are there


def mask_losses(outputs: Mapping, instances: jax.Array, truth: Truth, answers: Assignment) -> jax.Array:
    """Losses (B,), summed over rows, of the masks of each row's best places: the mean binary cross-entropy in its box.

    `instances` (B, H, W) are compared as shares of the prototypes' cells. Of more than a hundred rows the first hundred
    that are there stand for all.
    """
    there, rows = jax.lax.top_k(truth.present.astype(jnp.float32), min(_ROWS, truth.present.shape[1]))
    boxes, places, taken = (
        jnp.take_along_axis(each, rows.reshape(*rows.shape, *(1 for _ in each.shape[2:])), 1)
        for each in (truth.boxes, answers.places[..., :_PLACES], answers.taken[..., :_PLACES].astype(jnp.float32))
    )
    prototypes = outputs["prototypes"]
    coefficients = jnp.take_along_axis(outputs["coefficients"], places.reshape(len(places), -1)[..., None], 1)
    coefficients = coefficients.reshape(*places.shape, prototypes.shape[-1])
    logits = jnp.einsum("bnkm,bhwm->bnkhw", coefficients, prototypes)
    target, known = _cells(instances, rows, prototypes.shape[1:3])
    weights = known[:, None] * _inside(boxes, prototypes.shape[1:3], instances.shape[1:])
    each = (
        losses.sigmoid_cross_entropy(logits, jnp.broadcast_to(target[:, :, None], logits.shape)) * weights[:, :, None]
    )
    each = each.sum((3, 4)) / jnp.maximum(weights.sum((2, 3)), 1)[..., None]
    each = (each * taken).sum(2) / jnp.maximum(taken.sum(2), 1)
    share = jnp.sum(truth.present, 1) / jnp.maximum(there.sum(1), 1)
    return jnp.sum(each * there, 1) * share


def _cells(instances, rows, size):
    """The share (B, n, h, w) of each cell that is of each of the `rows` (B, n), and the share (B, h, w) known."""
    each = (instances[..., None] == 1 + rows[:, None, None]).astype(jnp.float32)
    known = (instances != IGNORE).astype(jnp.float32)[..., None]
    found = resize(jnp.concatenate([each, known], -1), size)
    return jnp.moveaxis(found[..., :-1], -1, 1), found[..., -1]


def _inside(boxes, shape, size):
    """Whether the middle of each cell of a map of `shape` over a picture of `size` lies in boxes (…, 4): (…, h, w)."""
    y, x = ((jnp.arange(m) + 0.5) * (n / m) for m, n in zip(shape, size, strict=True))
    y0, x0, y1, x1 = (boxes[..., i, None] for i in range(4))
    rows, columns = (y >= y0) & (y <= y1), (x >= x0) & (x <= x1)
    return rows[..., :, None] & columns[..., None, :]


def draw(outputs: Mapping, found: Mapping, places: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Masks (B, M, H, W) bool of boxes found, each of a place (B, M), cut to its box; with some room where a net
    draws box by box."""
    wanted = (_said(outputs), found["boxes"], found["present"], places)
    return jax.lax.map(lambda each: _drawn(*each, size), wanted)  # one by one: a hundred masks a picture are large


def _said(outputs):
    """What a net says of masks: prototypes and coefficients, or what is in each box."""
    return {name: outputs[name] for name in ("prototypes", "coefficients", "crops") if name in outputs}


def _drawn(said, boxes, present, places, size):
    if "crops" in said:
        return laid_out(said["crops"], boxes, size) & (present > 0)[:, None, None]
    logits = said["prototypes"] @ said["coefficients"][places].T  # (h, w, M)
    drawn = jnp.moveaxis(resize(logits[None], size)[0], -1, 0) > 0
    return drawn & _inside(boxes, size, size) & (present > 0)[:, None, None]


def shared_pixels(outputs: Mapping, found: Mapping, places: jax.Array, instances: jax.Array, rows: int) -> tuple:
    """Pixels (B, M, N) that masks of boxes found share with each of `rows` instances, and pixels (B, M) of the masks.

    Where instances are 255 nothing counts.
    """
    size = instances.shape[1:]

    def one(each):
        *wanted, instances = each
        flat = instances.reshape(-1).astype(jnp.int32)
        masks = _drawn(*wanted, size).reshape(-1, flat.size) & (flat != IGNORE)
        masks = masks.astype(jnp.float32)
        return masks @ jax.nn.one_hot(flat - 1, rows), masks.sum(-1)

    wanted = (_said(outputs), found["boxes"], found["present"], places)
    return jax.lax.map(one, (*wanted, instances))


def areas_of(instances: jax.Array, rows: int) -> jax.Array:
    """The pixels (B, N) of each of `rows` instances of maps (B, H, W)."""
    return jnp.stack([(instances == 1 + row).sum((1, 2)) for row in range(rows)], -1).astype(jnp.float32)
