"""Tasks that predict where things are: one box a picture, or as many as there are, with masks where a net has them."""

import functools

import jax
import jax.numpy as jnp

from cnnjax.annotations import AtLeastOne, NonNegative, Rate, Share
from cnnjax.fields import Facts
from cnnjax.ops import box_iou, ciou, losses
from cnnjax.refusals import refuse_misfits
from cnnjax.tasks._aligned import asked_of, crop_losses, roomy
from cnnjax.tasks._assigning import truth_of
from cnnjax.tasks._dense import answers_of, best_boxes, box_losses
from cnnjax.tasks._found import found_and_true, summary
from cnnjax.tasks._masks import areas_of, draw, mask_losses, shared_pixels
from cnnjax.tasks._needs import outputs_with
from cnnjax.tasks.contract import Task, count, main_output, refuse_without, supervised

__all__ = ["detection", "localization"]

_ONE = {"main": "(B, K)", "boxes": "(B, 1, 4)"}, "localizer"
_DENSE = {"main": "(B, P, K)", "boxes": "(B, P, 4)", "places": "(B, P, 3)"}, "detector with model.turned=false"


def localization(facts: Facts, *, smoothing: Rate = 0.0, overlap: NonNegative = 2.0) -> Task:
    """One class and one box a picture, of the first of its rows that is there; metrics: loss, accuracy, located, iou.

    `located` is the share of pictures of which class and box are right, the box where it overlaps the truth, or another
    row of its class, by a half or more (ILSVRC), `iou` the mean overlap with the nearest such row. The boxes' loss, 1 −
    complete IoU, counts `overlap` times beside the cross-entropy. A picture without a row is classified alone, by its
    `label`.
    """
    refuse_misfits(localization, locals(), path="task.")
    refuse_without(facts, "localization", "boxes", named=True)
    if not {"classes", "label"} & set(facts.fields):
        raise ValueError(
            "task.name is 'localization', which needs a class of each picture (`label`) or box (`classes`); "
            f"the data has {', '.join(facts.fields)}"
        )

    with_box = functools.partial(outputs_with, _ONE, "localization")

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
    masks: NonNegative = 3.0,
    iou: Share = 0.6,
    most: AtLeastOne = 100,
    threshold: Share = 0.3,
) -> Task:
    """Boxes of `facts.classes` kinds, from a net that says one at every place; metrics: loss, COCO's AP and AR, VOC's.

    A place's score is to be how well its box fits, in a binary cross-entropy (a focal one with `gamma` above 0), and
    the boxes' loss, 1 − complete IoU, counts `overlap` times. Of boxes of one class that overlap by more than `iou` the
    best stays, up to `most` a picture. Those of a score above `threshold` are predicted. Those below count too: in AP,
    as in COCO's, the 100 surest of a picture and class, in VOC's all.

    From a net that gives prototypes, or draws in boxes (model.aligned), there is a mask for each box, trained by
    `instances`, whose loss counts `masks` times: `mask_ap` and its like, and the score of DSB 2018 for what is
    predicted. What is `ignored` is neither to be found nor a fault. Small, medium and large are so in the pixels of the
    file where the data say its `areas` and `pixel_area`, else in those that the net sees, by `instances` or by boxes.
    """
    refuse_misfits(detection, locals(), path="task.")
    refuse_without(facts, "detection", "boxes", "classes", named=True)
    dense = functools.partial(outputs_with, _DENSE, "detection")

    def best(outputs, batch):
        return best_boxes(dense(outputs), batch[facts.input].shape[1:3], iou=iou, most=most)

    forward = functools.partial(_drawn_in, dense, best)

    def loss(net, params, batch, key):
        def drawn(outputs, boxes):
            return net(params, (outputs["maps"], roomy(boxes)), key, part="aligned_masks")[0]

        def criterion(outputs, batch):
            truth = truth_of(batch)
            answers = answers_of(dense(outputs), truth)
            lost, weights = box_losses(outputs, truth, answers, gamma=gamma, overlap=overlap)
            if _has_masks(outputs, facts):
                lost += masks * _of_masks(outputs, batch["instances"], truth, answers, drawn)
            return lost, weights

        return supervised(criterion, forward)(net, params, batch, key)

    loss.forward = forward

    return Task(
        outputs=facts.classes,
        loss=loss,
        forward=forward,
        predict=functools.partial(_predicted, facts.input, best, threshold),
        tally=lambda outputs, batch: {"objects": count(truth_of(batch).present.sum(1), batch["valid"])},
        rows=functools.partial(_rows, facts, best, threshold),
        summarize=functools.partial(summary, facts.names),
        metric="ap",
        rank=3,
    )


def _rows(facts, best, threshold, outputs, batch):
    found, places = best(outputs, batch)
    kept = found_and_true(found, truth_of(batch)) | {"predicted": found["scores"] > threshold}
    return kept | _sizes(facts, outputs, batch, found, places)


def _predicted(word, best, threshold, outputs, batch):
    found, places = best(outputs, batch)
    found |= {"present": (found["scores"] > threshold).astype(jnp.float32)}
    if "prototypes" in outputs or "crops" in outputs:
        found["masks"] = draw(outputs, found, places, batch[word].shape[1:3])
    return found


def _drawn_in(dense, best, net, params, batch, key):
    """A call of the net, and of its part that draws in the boxes found, where it has one; training needs no such."""
    outputs, state = net(params, batch, key)
    if "maps" in dense(outputs) and not net.train:
        wanted = outputs["maps"], roomy(best(outputs, batch)[0]["boxes"])
        outputs = {**outputs, "crops": net(params, wanted, key, part="aligned_masks")[0]}
    return outputs, state


def _of_masks(outputs, instances, truth, answers, drawn):
    """Losses (B,) of masks: of prototypes, or `drawn` (B, n, s, s) in boxes (B, n, 4)."""
    if "prototypes" in outputs:
        return mask_losses(outputs, instances, truth, answers)
    boxes, rows, there = asked_of(outputs, truth, answers)
    return crop_losses(drawn(outputs, boxes), boxes, rows, there, instances, truth)


def _sizes(facts, outputs, batch, found, places):
    """Rows of evaluation in pixels: of the true instances, of the masks found, what they share, and the file's own."""
    kept = {f"true_{name}": batch[name] for name in ("areas", "pixel_area") if name in batch}
    if "instances" not in batch and not _has_masks(outputs, facts):
        return kept
    count = batch["boxes"].shape[1]
    kept["true_pixels"] = areas_of(batch["instances"], count)
    if _has_masks(outputs, facts):
        several = shared_pixels(outputs, found, places, batch["instances"], count)
        kept |= dict(zip(("shared", "areas"), several, strict=True))
    return kept


def _has_masks(outputs, facts):
    """Whether a net gives masks, which data must have then."""
    option = "masks" if "prototypes" in outputs else "aligned" if "maps" in outputs else ""
    if option and "instances" not in facts.fields:
        raise ValueError(
            f"model.{option} is more than 0, but the data has no instances to learn masks from; "
            f"set model.{option}=0, or choose data that have them"
        )
    return bool(option)
