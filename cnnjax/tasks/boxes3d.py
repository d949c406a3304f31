"""Tasks that predict boxes in space, in what is seen from above: turned in the plane, upright, with a front."""

import functools

import jax.numpy as jnp
import numpy as np

from cnnjax.annotations import AtLeastOne, NonNegative, Share
from cnnjax.fields import Facts
from cnnjax.ops import quad_area, quad_iou, solid_iou, solid_volume
from cnnjax.refusals import refuse_misfits
from cnnjax.tasks import _matching as matching
from cnnjax.tasks._assigning import truth_of
from cnnjax.tasks._dense import best_boxes
from cnnjax.tasks._needs import outputs_with
from cnnjax.tasks._solids import angle_of, answers_of_solids, parts_of, solid_losses, with_corners
from cnnjax.tasks.contract import Task, count, refuse_without, supervised

__all__ = ["detection_3d"]

_TURNED = {
    "main": "(B, P, K)",
    "centres": "(B, P, 2)",
    "sides": "(B, P, 2)",
    "headings": "(B, P, 2)",
    "heights": "(B, P, 2)",
    "places": "(B, P, 3)",
}
_WORDS = ("corners", "heights")


def detection_3d(
    facts: Facts,
    *,
    gamma: NonNegative = 0.0,
    overlap: NonNegative = 5.0,
    heading: NonNegative = 2.0,
    height: NonNegative = 2.0,
    iou: Share = 0.2,
    most: AtLeastOne = 50,
    threshold: Share = 0.3,
) -> Task:
    """Boxes in space of `facts.classes` kinds, from a net that says one at every place; metrics: loss, KITTI's.

    A place's score is to be how well its box fits in space, and `overlap`, `heading` and `height` are how often the
    losses of place and sides, of where the front looks, and of the heights count beside that. Of boxes of one class
    whose outlines from above overlap by more than `iou` the best stays, up to `most` a picture. Those of a score above
    `threshold` are predicted; what is measured counts all of them.

    `ap70` is the average precision at 40 recalls where boxes in space overlap by 0.7, `bev_ap70` that of outlines from
    above, `r11_ap70` at eleven recalls, as before 2019, and `aos70` the average orientation similarity, `axis_aos70`
    the same where front and back are alike; each with 50 too, `ap` and `bev_ap` of each class too. `heading_error` is
    the mean of all found at 0.5 in degrees, `axis_error` the same where front and back are alike.
    """
    refuse_misfits(detection_3d, locals(), path="task.")
    refuse_without(facts, "detection_3d", *_WORDS, "classes", named=True)
    turned = functools.partial(outputs_with, (_TURNED, "detector with model.turned=true"), "detection_3d")
    options = {"gamma": gamma, "overlap": overlap, "heading": heading, "height": height}

    def criterion(outputs, batch):
        outputs, truth, heights = turned(outputs), truth_of(batch, "corners"), batch["heights"].astype(jnp.float32)
        return solid_losses(outputs, truth, heights, answers_of_solids(outputs, truth, heights), **options)

    def found_in(outputs):
        return best_boxes(with_corners(turned(outputs)), iou=iou, most=most, words=_WORDS)[0]

    def predict(outputs, batch):
        found = found_in(outputs)
        return found | {"present": (found["scores"] > threshold).astype(jnp.float32)}

    return Task(
        outputs=facts.classes,
        loss=supervised(criterion),
        predict=predict,
        tally=lambda outputs, batch: {"objects": count(truth_of(batch, "corners").present.sum(1), batch["valid"])},
        rows=lambda outputs, batch: _compared(found_in(outputs), batch),
        summarize=functools.partial(_summary, facts.names),
        metric="ap70",
        rank=3,
    )


def _compared(found, batch):
    """Rows of evaluation: what was found, what there is, and the overlap (B, D, N) and turn of every pair."""
    truth, heights = truth_of(batch, "corners"), batch["heights"].astype(jnp.float32)
    plane = quad_iou(found["corners"], truth.boxes)
    space = solid_iou(found["corners"], found["heights"], truth.boxes, heights)
    sizes = quad_area(found["corners"]), quad_area(truth.boxes)
    volumes = solid_volume(found["corners"], found["heights"]), solid_volume(truth.boxes, heights)
    angles = [angle_of(parts_of(corners).headings) for corners in (found["corners"], truth.boxes)]
    return {
        **{name: found[name] for name in ("scores", "classes", "present")},
        **{f"true_{name}": getattr(truth, name) for name in ("classes", "present", "ignored")},
        "plane": _covered(plane, *sizes, truth.ignored),
        "space": _covered(space, *volumes, truth.ignored),
        "turn": angles[0][:, :, None] - angles[1][:, None],
    }


def _covered(overlap, found, true, ignored):
    """Overlaps (B, D, N), with what is to be ignored over the size of what was found alone, as COCO's with crowds."""
    shared = overlap * (found[:, :, None] + true[:, None]) / (1 + overlap)
    own = jnp.where(found > 0, found, 1)[:, :, None]
    return jnp.where(ignored[:, None], shared / own, overlap)


def _summary(names, sums, rows):
    """KITTI's numbers; `precision` (K, 41) by recall is that of each class at an overlap of 0.7 in space."""
    found = {"objects": float(sums["objects"])}
    if not rows:
        return found
    rows = {name: np.asarray(value) for name, value in rows.items()}
    ignored = rows["true_ignored"] > 0
    sizes = [np.zeros(rows[name].shape) for name in ("classes", "true_classes")]  # of which none is too small
    was = matching.Found(rows["scores"], rows["classes"], sizes[0], rows["present"] > 0)
    true = matching.Truths(rows["true_classes"], sizes[1], (rows["true_present"] > 0) | ignored, ignored)
    space, plane = (
        matching.kitti(was, true, rows[name].astype(np.float64), rows["turn"].astype(np.float64), len(names))
        for name in ("space", "plane")
    )
    since, before = slice(1, None), slice(None, None, 4)  # 2019
    curves = {"ap": (space.precision, since), "bev_ap": (plane.precision, since)}
    curves |= {"r11_ap": (space.precision, before), "r11_bev_ap": (plane.precision, before)}
    curves |= {"aos": (space.headings, since), "axis_aos": (space.axes, since)}
    for near, digits in enumerate(("50", "70")):
        for name, (curve, recalls) in curves.items():
            each = _known(curve[near, :, recalls]).mean(-1)
            found[f"{name}{digits}"] = float(np.nanmean(each)) if (each == each).any() else np.nan
            if name in ("ap", "bev_ap"):
                found |= {f"{name}{digits}_{kind}": float(value) for kind, value in zip(names, each, strict=True)}
    if space.turns.size:
        found |= dict(zip(("heading_error", "axis_error"), map(float, np.degrees(space.turns).mean(1)), strict=True))
    found["precision"] = _known(space.precision[1])
    return {name: value for name, value in found.items() if np.ndim(value) or value == value}


def _known(curves):
    """Curves with nan where there is nothing to find."""
    return np.where(curves < 0, np.nan, curves)
