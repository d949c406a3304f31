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
    """COCO's and VOC's numbers of boxes, and the table `precision` (K, 101) at an overlap of a half."""
    found = {"objects": float(sums["objects"])}
    if not rows:
        return found
    rows = {name: np.asarray(value) for name, value in rows.items()}
    shared, own, true = matching.box_overlaps(rows["boxes"], rows["true_boxes"])
    return found | _precisions(names, rows, shared, own, rows.get("true_areas", true))


def _precisions(names, rows, shared, own, areas):
    was = matching.Found(rows["scores"], rows["classes"], own, rows["present"] > 0)
    ignored = rows["true_ignored"] > 0
    true = matching.Truths(rows["true_classes"], areas, (rows["true_present"] > 0) | ignored, ignored)
    scores = matching.coco(was, true, shared, len(names))
    old, new = matching.voc(was, true, shared, len(names))
    found = named(scores) | {"voc_2007": _mean(old), "voc_2010": _mean(new)}
    found |= {f"ap_{name}": _mean(scores.precision[:, :, k, 0]) for k, name in enumerate(names)}
    tables = {"precision": np.where(scores.precision[0, :, :, 0] < 0, np.nan, scores.precision[0, :, :, 0]).T}
    return {name: value for name, value in found.items() if value == value} | tables


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
