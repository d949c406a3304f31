"""Tasks that predict where things are: one box a picture, or as many as there are, with masks where the net has them."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.annotations import AtLeastOne, NonNegative, Share
from cnnjax.fields import Facts
from cnnjax.ops import ciou, losses, non_max_suppression
from cnnjax.tasks._assigning import assigned, truth_of
from cnnjax.tasks._found import found_and_true, summary
from cnnjax.tasks.contract import Task, count, main_output, supervised

__all__ = ["detection"]

_CANDIDATES = 400  # boxes of a picture of which the best are looked for


def detection(
    facts: Facts,
    *,
    gamma: NonNegative = 0.0,
    overlap: NonNegative = 5.0,
    iou: Share = 0.6,
    most: AtLeastOne = 100,
    threshold: Share = 0.3,
) -> Task:
    """Boxes of `facts.classes` kinds, from a net that says one at every place; metrics: loss, COCO's AP and AR, VOC's.

    A place's score is to be how well its box fits, in a binary cross-entropy (a focal one with `gamma` above 0), and
    the boxes' loss, 1 − complete IoU, counts `overlap` times. Of boxes of one class that overlap by more than `iou` the
    best stays, up to `most` a picture. Those of a score above `threshold` are predicted; AP counts all of them.
    """
    _refuse_without(facts, "detection", "boxes", "classes")

    def criterion(outputs, batch):
        truth = truth_of(batch)
        logits, boxes = outputs["main"], outputs["boxes"]
        found = jax.tree.map(jax.lax.stop_gradient, (jax.nn.sigmoid(logits), boxes, outputs["places"]))
        answers = jax.tree.map(jax.lax.stop_gradient, assigned(*found, truth))
        kinds = jnp.take_along_axis(truth.classes, answers.owner, 1)
        target = jax.nn.one_hot(kinds, logits.shape[-1]) * answers.share[..., None]
        wrong = losses.focal_sigmoid_cross_entropy(logits, target, gamma=gamma) * answers.counts[..., None]
        wanted = jnp.take_along_axis(truth.boxes, answers.owner[..., None], 1)
        apart = jnp.where(answers.share > 0, (1 - ciou(boxes, wanted)) * answers.share, 0.0)
        return jnp.sum(wrong, (1, 2)) + overlap * jnp.sum(apart, 1), jnp.sum(truth.present, 1).astype(jnp.float32)

    def tally(outputs, batch):
        return {"objects": count(truth_of(batch).present.sum(1), batch["valid"])}

    best = functools.partial(_best, iou, most)

    def rows(outputs, batch):
        return found_and_true(best(outputs)[0], truth_of(batch))

    def predict(outputs, batch):
        found = best(outputs)[0]
        return found | {"present": (found["scores"] > threshold).astype(jnp.float32)}

    return Task(
        outputs=facts.classes,
        loss=supervised(lambda outputs, batch: criterion(_dense(outputs, "detection"), batch)),
        predict=predict,
        tally=tally,
        rows=rows,
        summarize=functools.partial(summary, facts.names),
        metric="ap",
        rank=3,
    )


def _dense(outputs, task):
    """Outputs that have a box at every place, or an error."""
    if not isinstance(outputs, Mapping) or not {"boxes", "places"} <= set(outputs):
        given = f"a dict of {', '.join(outputs)}" if isinstance(outputs, Mapping) else f"an array {outputs.shape}"
        raise ValueError(
            f"the net gives {given}; {task} needs main (B, P, K), boxes (B, P, 4) and places (B, P, 3); "
            "choose another model.name, such as detector"
        )
    return outputs


def _best(iou, most, outputs):
    """Words of the boxes that stay, (B, most), the best first, and which place each is of."""
    scores = jax.nn.sigmoid(main_output(outputs))
    kinds = scores.shape[-1]

    def one(scores, boxes):
        scores, flat = jax.lax.top_k(scores.reshape(-1), min(_CANDIDATES, scores.size))
        places, classes = flat // kinds, flat % kinds
        rows, kept = non_max_suppression(boxes[places], scores, iou=iou, most=most, classes=classes)
        found = {"boxes": boxes[places][rows], "classes": classes[rows], "scores": jnp.where(kept, scores[rows], 0.0)}
        return found | {"present": kept.astype(jnp.float32)}, places[rows]

    return jax.vmap(one)(scores, outputs["boxes"])


def _refuse_without(facts, task, *words):
    missing = [word for word in words if word not in facts.fields]
    if missing or not facts.classes:
        raise ValueError(
            f"task.name is {task!r}, which needs {', '.join(words)} and names of the classes; the data has "
            f"{', '.join(facts.fields) or 'none of them'}\nshapes gives them with data.boxes=True; "
            "choose a data.name that has them, or another task.name"
        )
