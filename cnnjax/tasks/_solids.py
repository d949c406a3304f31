"""Turned boxes at every place: which of them answers for which row, and what they cost."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from cnnjax.ops import box_corners, centred_boxes, ciou, giou, solid_iou
from cnnjax.tasks._assigning import Assignment, Truth, matched
from cnnjax.tasks._dense import score_losses

__all__ = ["answers_of_solids", "angle_of", "parts_of", "solid_losses", "with_corners"]

_NEAREST = 32  # places of each row that are compared with it: a turned overlap is dear


class Parts(NamedTuple):
    """Centres y x (…, 2), sides (…, 2), length and width, and headings (…, 2), the sine and cosine of an angle."""

    centres: jax.Array
    sides: jax.Array
    headings: jax.Array


def parts_of(corners: jax.Array) -> Parts:
    """The parts of corners (…, 4, 2), the front first; of those that a move has skewed, of a rectangle like them."""
    a, b, c, d = jnp.moveaxis(corners, -2, 0)
    along, across = (a + b - c - d) / 2, (b + c - a - d) / 2
    sides = jnp.sqrt(jnp.stack([jnp.sum(along**2, -1), jnp.sum(across**2, -1)], -1))
    return Parts(corners.mean(-2), sides, along / jnp.maximum(sides[..., :1], 1e-6))


def angle_of(headings: jax.Array) -> jax.Array:
    """Angles (…,) of headings (…, 2)."""
    return jnp.arctan2(headings[..., 0], headings[..., 1])


def with_corners(outputs: Mapping) -> dict[str, jax.Array]:
    """Outputs with the corners (B, P, 4, 2) that their parts come to."""
    corners = box_corners(outputs["centres"], outputs["sides"], angle_of(outputs["headings"]))
    return {**outputs, "corners": corners}


def answers_of_solids(outputs: Mapping, truth: Truth, heights: jax.Array) -> Assignment:
    """Which place answers for which row, by the overlap in space; no gradient goes through it."""
    outputs = jax.tree.map(jax.lax.stop_gradient, dict(outputs))
    corners, parts, places = with_corners(outputs)["corners"], parts_of(truth.boxes), outputs["places"]
    off = jnp.abs(_ahead(places[:, :, None, :2] - parts.centres[:, None], parts.headings[:, None]))
    reach = (off / (jnp.maximum(parts.sides[:, None], places[:, :, None, 2:]) / 2)).max(-1)  # (B, P, N); 1 at an edge
    _, near = jax.lax.top_k(-reach.swapaxes(1, 2), min(_NEAREST, reach.shape[1]))  # (B, N, k)
    each = jnp.arange(len(near))[:, None, None]
    found = solid_iou(corners[each, near], outputs["heights"][each, near], truth.boxes[:, :, None], heights[:, :, None])
    overlap = jnp.zeros(reach.swapaxes(1, 2).shape)
    overlap = jnp.put_along_axis(overlap, near, found[..., 0], 2, inplace=False).swapaxes(1, 2)
    return matched(jax.nn.sigmoid(outputs["main"]), overlap, reach <= 1, truth)


def solid_losses(
    outputs: Mapping,
    truth: Truth,
    heights: jax.Array,
    answers: Assignment,
    *,
    gamma: jax.Array,
    overlap: jax.Array,
    heading: jax.Array,
    height: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Losses (B,) of scores and solids at all places, and weights (B,): how many rows there are to find.

    Where a box lies and how large it is is compared as though it were turned as the truth is: 1 − complete IoU there.
    So no box shrinks because it is turned wrongly. Headings cost the squares of what sine and cosine are off.
    """
    rows = jnp.concatenate([truth.boxes.reshape(*truth.boxes.shape[:2], 8), heights], -1)
    rows = jnp.take_along_axis(rows, answers.owner[..., None], 1)  # (B, P, 10)
    wanted = parts_of(rows[..., :8].reshape(*rows.shape[:2], 4, 2))
    off = _ahead(outputs["centres"] - wanted.centres, wanted.headings)
    there = centred_boxes(jnp.zeros_like(off), wanted.sides)
    each = overlap * (1 - ciou(centred_boxes(off, outputs["sides"]), there))
    each += heading * jnp.sum((outputs["headings"] - wanted.headings) ** 2, -1)
    each += height * (1 - giou(_lines(outputs["heights"]), _lines(rows[..., 8:])))
    each = jnp.where(answers.share > 0, each * answers.share, 0.0)
    wrong, weights = score_losses(outputs["main"], truth, answers, gamma=gamma)
    return wrong + jnp.sum(each, 1), weights


def _ahead(off, headings):
    """Distances y x (…, 2) as those along and across headings (…, 2)."""
    sine, cosine = headings[..., 0], headings[..., 1]
    return jnp.stack([off[..., 0] * sine + off[..., 1] * cosine, off[..., 0] * cosine - off[..., 1] * sine], -1)


def _lines(heights):
    """Heights z0 z1 (…, 2) as boxes (…, 4) one pixel wide."""
    zero = jnp.zeros_like(heights[..., 0])
    return jnp.stack([heights[..., 0], zero, heights[..., 1], zero + 1], -1)
