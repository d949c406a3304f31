"""What an evaluation of boxes, masks or points says of each class, or each point, as entries and as a table."""

from collections.abc import Mapping

import numpy as np

from cnnjax.fields import Facts
from cnnjax.programs._drawing import name_of
from cnnjax.runs.tables import aligned, readable
from cnnjax.train.examples import Examined

NAMED = ("found", "points")
_WITHIN = (5, 10, 20, 50)  # hundredths of the reference length


def found_by_name(found: Examined, facts: Facts) -> dict[str, list[dict]]:
    """`found`, an entry for each class of boxes, and `points`, one for each point; what a task has no tables of lacks.

    `recall` and `precision` of a class are where their harmonic mean is greatest on its curve at an overlap of a half,
    `reach` the greatest recall of it.
    """
    said = {}
    if np.ndim(found.tables.get("precision")) == 2:
        said["found"] = [_of_class(found, facts, k) for k in range(len(found.tables["precision"]))]
    if np.ndim(found.tables.get("pck")) == 2:
        names = facts.extra.get("point_names", ())
        stages = [name for name in found.tables if name == "pck" or name.startswith("pck_")]
        said["points"] = [
            {"point": name_of(k, names)}
            | {f"{stage[:3]}{at:02}{stage[3:]}": float(found.tables[stage][k, at])
               for stage in stages for at in (_WITHIN if stage == "pck" else _WITHIN[2:3])}
            for k in range(len(found.tables["pck"]))
        ]  # fmt: skip
    return said


def _of_class(found, facts, number):
    name = name_of(number, facts.names)
    entry = {"class": name, "ap": found.metrics.get(f"ap_{name}")}
    for kind in ("", "mask_"):
        curve = found.tables.get(f"{kind}precision", np.zeros((0, 0)))
        if number >= len(curve):
            continue
        precision, recall = curve[number], np.linspace(0, 1, curve.shape[1])
        if np.isnan(precision).all():  # there is nothing of this class to find
            entry |= {f"{kind}ap50": None, f"{kind}precision": None, f"{kind}recall": None, f"{kind}reach": None}
            continue
        best = int(np.argmax(precision * recall / np.maximum(precision + recall, 1e-30)))
        reach = recall[precision > 0].max(initial=0)
        entry |= {f"{kind}ap50": float(precision.mean()), f"{kind}precision": float(precision[best])}
        entry |= {f"{kind}recall": float(recall[best]), f"{kind}reach": float(reach)}
    return entry


def told(said: Mapping) -> set[str]:
    """The metrics of single names, which their tables tell."""
    classes = {f"ap_{entry['class']}" for entry in said.get("found", ())}
    return classes | {f"pck20_{entry['point']}" for entry in said.get("points", ())}


def columns(entries: list[dict]) -> str:
    """A line for each entry, the names first."""
    cells = [["–" if value is None else readable(value) for value in entry.values()] for entry in entries]
    return aligned([name.replace("_", " ") for name in entries[0]], cells, left=1)
