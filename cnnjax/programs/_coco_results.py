"""Predictions as COCO's tools take results: an entry for each box, mask or figure, of every score that there is."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cnnjax.data import Placing, image_ids, run_lengths
from cnnjax.fields import Facts
from cnnjax.programs._written import Written
from cnnjax.refusals import ConfigError

ENDING = ".coco.json"


class Results(Written):
    """One list of all entries; `ids` are those of the pictures, by file."""

    def __init__(self, path: str, facts: Facts, ids: Mapping[Path, int | str]):
        super().__init__(path, facts, 0)
        self.ids, self.entries = ids, []

    def _add(self, said):
        if said.error:
            return
        kinds = self.facts.extra.get("class_ids", range(1, self.facts.classes + 1))
        image = self.ids.get(said.path, said.name)
        self.entries += [{"image_id": image, **entry} for entry in entries_of(said, kinds, self.path)]

    def _close(self):
        lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in self.entries)
        self.partial.write_text(f"[{lines}]\n")


def entries_of(said, kinds, path) -> list[dict]:
    """What COCO's results say of one picture, in its file's pixels; `kinds` are the categories' ids."""
    found, words = said.found, said.words
    if "points" in words:
        return [_figure(words, kinds)]
    if "boxes" not in words:
        raise ConfigError(
            f"--output is {str(path)!r}, but COCO's results hold boxes, masks or joints; the network predicts "
            f"{', '.join(words)}: give another ending"
        )
    boxes = _edges(np.asarray(found["boxes"], np.float64), said.placing)
    rows, made = np.flatnonzero(np.asarray(found.get("present", np.ones(len(boxes)))) > 0), []
    for row in rows:
        y0, x0, y1, x1 = boxes[row].tolist()
        kind = found["classes"][row] if "classes" in found else found.get("label", 0)
        entry = {"category_id": kinds[int(kind)] if len(kinds) else 1, "bbox": [x0, y0, x1 - x0, y1 - y0]}
        if "masks" in words:
            entry["segmentation"] = run_lengths(words["masks"][row] > 0.5)
        made.append(entry | {"score": _score(found, row)})
    return made


def _edges(boxes, placing: Placing | tuple):
    """Boxes in the file's pixels as the net says them, not cut at its border: so they are measured in evaluation."""
    if not placing:
        return boxes
    return boxes * [*placing.scale, *placing.scale] + [*placing.offset, *placing.offset]


def _score(found, row):
    if "scores" in found:
        return float(found["scores"][row])
    return float(np.max(found["probabilities"])) if "probabilities" in found else 1.0


def _figure(words, kinds):
    """The joints of a picture as those of one figure: its score is their mean."""
    visible = np.asarray(words.get("visible", np.ones(len(words["points"])))) > 0
    joints = [part for (y, x), seen in zip(words["points"], visible, strict=True) for part in (x, y, 2 * seen)]
    score = np.mean(words["scores"]) if "scores" in words else 1.0
    return {"category_id": kinds[0] if len(kinds) else 1, "keypoints": list(map(float, joints)), "score": float(score)}


def ids_of(files: list[Path], data: Mapping) -> tuple[dict, str]:
    """An id for every picture file, and in words where they are from: the annotations of the run, else the names."""
    known, why = {}, "the run's data are none of COCO's"
    if data.get("name") == "coco":
        try:
            known, why = image_ids(files, data["root"], data["annotations"]), f"not all are in {data['annotations']}"
        except ValueError as error:
            why = str(error).partition("\n")[0]
    by_name = {path: int(path.stem) if path.stem.isdecimal() else path.name for path in files}
    ids = by_name | known
    if len(set(map(str, ids.values()))) < len(ids):
        seen: dict = {}
        twice = next((seen[key], path) for path, key in ids.items() if seen.setdefault(key, path) != path)
        raise ConfigError(
            f"{twice[0]} and {twice[1]} would have the same image_id {ids[twice[0]]}; ask about them apart"
        )
    told = f"image ids are those of {data.get('annotations', '')}" if len(known) == len(files) else ""
    return ids, told or f"image ids are the names of {len(files) - len(known)} files: {why}"
