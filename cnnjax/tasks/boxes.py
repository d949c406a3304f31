"""Tasks that predict where things are: one box a picture, or as many as there are, with masks where the net has them."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.annotations import AtLeastOne, NonNegative, Rate, Share
from cnnjax.fields import Facts
from cnnjax.ops import box_iou, ciou, losses, non_max_suppression
from cnnjax.refusals import refuse_misfits
from cnnjax.tasks._assigning import assigned, truth_of
from cnnjax.tasks._found import found_and_true, summary
from cnnjax.tasks.contract import Task, count, main_output, supervised

__all__ = ["detection", "localization"]

_ONE = {"main": "(B, K)", "boxes": "(B, 1, 4)"}, "localizer"
_DENSE = {"main": "(B, P, K)", "boxes": "(B, P, 4)", "places": "(B, P, 3)"}, "detector"
_CANDIDATES = 400  # boxes of a picture of which the best are looked for


def localization(facts: Facts, *, smoothing: Rate = 0.0, overlap: NonNegative = 2.0) -> Task:
    """One class and one box a picture, of the first of its rows that is there; metrics: loss, accuracy, located, iou.

    `located` is the share of pictures of which class and box are right, the box where it overlaps the truth, or another
    row of its class, by a half or more (ILSVRC), `iou` the mean overlap with the nearest such row. The boxes' loss, 1 −
    complete IoU, counts `overlap` times beside the cross-entropy. A picture without a row is classified alone, by its
    `label`.
    """
    refuse_misfits(localization, locals(), path="task.")
    _refuse_without(facts, "localization", "boxes")
    if not {"classes", "label"} & set(facts.fields):
        raise ValueError(
            "task.name is 'localization', which needs a class of each picture (`label`) or box (`classes`); "
            f"the data has {', '.join(facts.fields)}"
        )

    with_box = functools.partial(_with, _ONE, "localization")

    def criterion(outputs, batch):
        box, kind, there = _first(batch)
        wrong = losses.softmax_cross_entropy(main_output(outputs), kind, smoothing=smoothing)
        apart = jnp.where(there, 1 - ciou(outputs["boxes"][:, 0], box), 0.0)
        return wrong + overlap * apart, jnp.ones_like(wrong)

    def tally(outputs, batch):
        _, kind, there = _first(batch)
        each = box_iou(with_box(outputs)["boxes"], batch["boxes"].astype(jnp.float32))[:, 0]
        nearest = jnp.max(jnp.where(_same(batch, kind), each, 0.0), -1)
        right = jnp.argmax(main_output(outputs), -1) == kind
        sums = {"correct": right, "located": right & (nearest >= 0.5), "overlap": nearest, "boxes": there}
        sums["examples"] = jnp.ones_like(right)
        return {name: count(value, batch["valid"]) for name, value in sums.items()}

    def predict(outputs, batch):
        probabilities = jax.nn.softmax(main_output(outputs))
        return {"label": jnp.argmax(probabilities, -1), "probabilities": probabilities, "boxes": outputs["boxes"]}

    def summarize(sums, rows):
        examples, boxes = max(float(sums["examples"]), 1.0), max(float(sums["boxes"]), 1.0)
        found = {"located": float(sums["located"]) / boxes, "iou": float(sums["overlap"]) / boxes}
        return {"accuracy": float(sums["correct"]) / examples} | found

    return Task(
        outputs=facts.classes,
        loss=supervised(lambda outputs, batch: criterion(with_box(outputs), batch)),
        predict=predict,
        tally=tally,
        summarize=summarize,
        metric="located",
        rank=2,
    )


def _first(batch):
    """Box (B, 4) and class (B,) of the first row that is there and not to be ignored, and whether there is one."""
    boxes, there = batch["boxes"].astype(jnp.float32), _real(batch)
    first = jnp.argmax(there, 1)[:, None]
    kinds = jnp.take_along_axis(batch["classes"], first, 1)[:, 0] if "classes" in batch else batch["label"]
    none = ~there.any(1)
    kinds = jnp.where(none, batch.get("label", kinds), kinds)
    return jnp.take_along_axis(boxes, first[..., None], 1)[:, 0], kinds.astype(jnp.int32), ~none


def _real(batch):
    """Which rows (B, N) are there and are to be found."""
    rows = jnp.ones(batch["boxes"].shape[:2])
    return (batch.get("present", rows) > 0) & ~(batch.get("ignored", 0 * rows) > 0)


def _same(batch, kind):
    """Which rows (B, N) are of a class (B,)."""
    there = _real(batch)
    return there & (batch["classes"] == kind[:, None]) if "classes" in batch else there


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
    refuse_misfits(detection, locals(), path="task.")
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
        loss=supervised(lambda outputs, batch: criterion(_with(_DENSE, "detection", outputs), batch)),
        predict=predict,
        tally=tally,
        rows=rows,
        summarize=functools.partial(summary, facts.names),
        metric="ap",
        rank=3,
    )


def _with(wanted, task, outputs):
    """Outputs that have all that a task asks for, or an error; `wanted` are names and their shapes, and a net."""
    needs, net = wanted
    if not isinstance(outputs, Mapping) or not set(needs) <= set(outputs):
        given = f"a dict of {', '.join(outputs)}" if isinstance(outputs, Mapping) else f"an array {outputs.shape}"
        raise ValueError(
            f"the net gives {given}; {task} needs {', '.join(f'{name} {shape}' for name, shape in needs.items())}; "
            f"choose another model.name, such as {net}"
        )
    return outputs


def _best(iou, most, outputs):
    """Words of the boxes that stay, (B, most), the best first, and which place each is of."""
    scores = jax.nn.sigmoid(_with(_DENSE, "detection", outputs)["main"])
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
