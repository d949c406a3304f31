"""Rows of evaluation of what was found and of what there is, and the metrics and tables that are made of them."""

from collections.abc import Mapping

import jax
import numpy as np

from cnnjax.tasks import _matching as matching
from cnnjax.tasks._assigning import Truth

__all__ = ["found_and_true", "summary"]

_FOUND, _TRUE = ("boxes", "scores", "classes", "present"), ("boxes", "classes", "present", "ignored")


def found_and_true(found: Mapping[str, jax.Array], truth: Truth) -> dict[str, jax.Array]:
    """Rows (B, …) of what was found and of what there is, as `summary` reads them."""
    return {name: found[name] for name in _FOUND} | {f"true_{name}": getattr(truth, name) for name in _TRUE}


def summary(names: tuple[str, ...], sums: Mapping, rows: Mapping) -> dict:
    """COCO's and VOC's numbers of boxes, COCO's and DSB's of masks where there are any, and tables.

    `precision` (K, 101) is that of each class at COCO's recalls, at an overlap of a half, nan where it has no truth;
    `mask_precision` likewise.
    """
    found = {"objects": float(sums["objects"])}
    if not rows:
        return found
    rows = {name: np.asarray(value) for name, value in rows.items()}
    shared, own, areas = matching.box_areas(rows["boxes"], rows["true_boxes"])
    was, true = _split(rows, own, rows.get("true_pixels", areas))
    scores = matching.coco(was, true, matching.overlaps(shared, own, areas, true.ignored), len(names))
    found |= named(scores) | {f"ap_{name}": _mean(scores.precision[:, :, k, 0]) for k, name in enumerate(names)}
    old, new = matching.voc(was, true, matching.overlaps(shared, own, areas), len(names))
    found |= {"voc_2007": _mean(old), "voc_2010": _mean(new), "precision": _curves(scores)}
    if "shared" in rows:
        found |= _of_masks(rows, len(names))
    return {name: value for name, value in found.items() if np.ndim(value) or value == value}


def _of_masks(rows, classes):
    shared, own, areas = (rows[name].astype(np.float64) for name in ("shared", "areas", "true_pixels"))
    was, true = _split(rows, own, areas)
    iou = matching.overlaps(shared, own, areas, true.ignored)
    scores = matching.coco(was, true, iou, classes)
    predicted, _ = _split(rows | {"present": rows["present"] * rows["predicted"]}, own, areas)
    found = {f"mask_{name}": value for name, value in named(scores).items()}
    return found | {"dsb": float(matching.dsb(predicted, true, iou).mean()), "mask_precision": _curves(scores)}


def _split(rows, own, areas):
    """What was found and what there is, sized by areas in pixels that the net saw, or by those of the file."""
    ignored = rows["true_ignored"] > 0
    a_pixel = rows.get("true_pixel_area", np.ones(len(own)))[:, None].astype(np.float64)
    own, areas = own * a_pixel, rows.get("true_areas", areas * a_pixel)
    found = matching.Found(rows["scores"], rows["classes"], own, rows["present"] > 0)
    return found, matching.Truths(rows["true_classes"], areas, (rows["true_present"] > 0) | ignored, ignored)


def _curves(scores):
    precision = scores.precision[0, :, :, 0]
    return np.where(precision < 0, np.nan, precision).T


def named(scores: matching.Scores) -> dict[str, float]:
    """COCO's twelve numbers by name, nan where there is nothing to find."""
    precision, recall = scores
    found = {"ap": precision[..., 0], "ap50": precision[0, ..., 0], "ap75": precision[5, ..., 0]}
    found |= {f"ar{most}": recall[:, :, 0, m] for m, most in enumerate(matching.MOST)}
    for area, name in enumerate(("small", "medium", "large"), 1):
        found |= {f"ap_{name}": precision[..., area], f"ar_{name}": recall[:, :, area, -1]}
    return {name: _mean(values) for name, values in found.items()}


def _mean(values):
    """Over all that there is something to find of."""
    values = np.asarray(values)
    known = values > -1
    return float(values[known].mean()) if known.any() else float("nan")
