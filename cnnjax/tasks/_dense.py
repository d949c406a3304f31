"""Boxes at every place: what they cost against a truth, and which of them stay."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from cnnjax.ops import ciou, losses, non_max_suppression
from cnnjax.tasks._assigning import Assignment, Truth, assigned

__all__ = ["answers_of", "best_boxes", "box_losses"]

_CANDIDATES = 4  # boxes of a picture for each that may stay, of which the best are looked for


def answers_of(outputs: Mapping, truth: Truth) -> Assignment:
    """Which place answers for which row; no gradient goes through it."""
    said = jax.nn.sigmoid(outputs["main"]), outputs["boxes"], outputs["places"]
    return assigned(*jax.tree.map(jax.lax.stop_gradient, said), truth)


def box_losses(
    outputs: Mapping, truth: Truth, answers: Assignment, *, gamma: jax.Array, overlap: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Losses (B,) of scores and boxes at all places, and weights (B,): how many rows there are to find."""
    logits, owner = outputs["main"], answers.owner
    kinds = jnp.take_along_axis(truth.classes, owner, 1)
    target = jax.nn.one_hot(kinds, logits.shape[-1]) * answers.share[..., None]
    wrong = losses.focal_sigmoid_cross_entropy(logits, target, gamma=gamma) * answers.counts[..., None]
    wanted = jnp.take_along_axis(truth.boxes, owner[..., None], 1)
    apart = jnp.where(answers.share > 0, (1 - ciou(outputs["boxes"], wanted)) * answers.share, 0.0)
    return jnp.sum(wrong, (1, 2)) + overlap * jnp.sum(apart, 1), jnp.sum(truth.present, 1).astype(jnp.float32)


def best_boxes(outputs: Mapping, *, iou: jax.Array, most: int) -> tuple[dict[str, jax.Array], jax.Array]:
    """Words (B, most, …) of the boxes that stay, the best first, and the place (B, most) that each is of."""
    kinds = outputs["main"].shape[-1]

    def one(scores, boxes):
        scores, flat = jax.lax.top_k(scores.reshape(-1), min(_CANDIDATES * most, scores.size))
        places, classes = flat // kinds, flat % kinds
        rows, kept = non_max_suppression(boxes[places], scores, iou=iou, most=most, classes=classes)
        found = {"boxes": boxes[places][rows], "classes": classes[rows], "scores": jnp.where(kept, scores[rows], 0.0)}
        return found | {"present": kept.astype(jnp.float32)}, places[rows]

    return jax.vmap(one)(jax.nn.sigmoid(outputs["main"]), outputs["boxes"])
