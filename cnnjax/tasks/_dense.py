"""Boxes at every place: what they cost against a truth, and which of them stay."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from cnnjax.ops import ciou, losses, non_max_suppression
from cnnjax.tasks._assigning import Assignment, Truth, assigned

__all__ = ["answers_of", "best_boxes", "box_losses", "score_losses"]

_CANDIDATES = 4  # boxes of a picture for each that may stay, of which the best are looked for


def answers_of(outputs: Mapping, truth: Truth) -> Assignment:
    """Which place answers for which row; no gradient goes through it."""
    said = jax.nn.sigmoid(outputs["main"]), outputs["boxes"], outputs["places"]
    return assigned(*jax.tree.map(jax.lax.stop_gradient, said), truth)


def box_losses(
    outputs: Mapping, truth: Truth, answers: Assignment, *, gamma: jax.Array, overlap: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Losses (B,) of scores and boxes at all places, and weights (B,): how many rows there are to find."""
    wanted = jnp.take_along_axis(truth.boxes, answers.owner[..., None], 1)
    apart = jnp.where(answers.share > 0, (1 - ciou(outputs["boxes"], wanted)) * answers.share, 0.0)
    wrong, weights = score_losses(outputs["main"], truth, answers, gamma=gamma)
    return wrong + overlap * jnp.sum(apart, 1), weights


def score_losses(
    logits: jax.Array, truth: Truth, answers: Assignment, *, gamma: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Losses (B,) of logits (B, P, K), which are to say what each place is worth, and weights (B,): rows to find."""
    kinds = jnp.take_along_axis(truth.classes, answers.owner, 1)
    target = jax.nn.one_hot(kinds, logits.shape[-1]) * answers.share[..., None]
    wrong = losses.focal_sigmoid_cross_entropy(logits, target, gamma=gamma) * answers.counts[..., None]
    return jnp.sum(wrong, (1, 2)), jnp.sum(truth.present, 1).astype(jnp.float32)


def best_boxes(
    outputs: Mapping,
    size: tuple[int, ...] = (),
    *,
    iou: jax.Array,
    most: int,
    words: tuple[str, ...] = ("boxes",),
) -> tuple[dict[str, jax.Array], jax.Array]:
    """Words (B, most, …) of the boxes that stay, the best first, and the place (B, most) that each is of.

    By the overlap of the first of `words`, which are outputs of every place, is told what stays. Boxes are cut at the
    border of a picture of `size` (height, width), where it is given; what is then nothing does not stay.
    """
    kinds = outputs["main"].shape[-1]

    def one(scores, *said):
        scores, flat = jax.lax.top_k(scores.reshape(-1), min(_CANDIDATES * most, scores.size))
        places, classes = flat // kinds, flat % kinds
        first = said[0][places]
        if size:
            first = jnp.clip(first, 0.0, jnp.array([*size, *size], jnp.float32))
        rows, kept = non_max_suppression(first, scores, iou=iou, most=most, classes=classes)
        if size:
            kept &= (first[rows, 2:] > first[rows, :2]).all(-1)
        others = {word: values[places][rows] for word, values in zip(words[1:], said[1:], strict=True)}
        found = {words[0]: first[rows], **others, "classes": classes[rows]}
        found["scores"] = jnp.where(kept, scores[rows], 0.0)
        return found | {"present": kept.astype(jnp.float32)}, places[rows]

    return jax.vmap(one)(jax.nn.sigmoid(outputs["main"]), *(outputs[word] for word in words))
