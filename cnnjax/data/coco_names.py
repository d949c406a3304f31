"""What COCO's files call pictures by, and how they write a mask."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cnnjax.data._coco import Parsed, annotation_files
from cnnjax.data._files import directory
from cnnjax.data._rasters import text_of_runs

__all__ = ["image_ids", "run_lengths"]


def image_ids(files: Sequence[Path], root: str, annotations: str) -> dict[Path, int | str]:
    """The ids of those picture files that the annotations of `coco(root=…, annotations=…)` know.

    A file is known by where it lies, or, copied elsewhere, by its name, if that is the name of one picture alone.
    """
    base = os.path.realpath(directory(root))
    known, named = {}, {}
    for file in annotation_files(base, annotations).values():
        for path, number in Parsed(base, *file).ids().items():
            known[os.path.normpath(os.path.join(base, path))] = number
            named.setdefault(os.path.basename(path), set()).add(number)
    alone = {name: next(iter(numbers)) for name, numbers in named.items() if len(numbers) == 1}
    found = {path: known.get(os.path.realpath(path), alone.get(path.name)) for path in files}
    return {path: number for path, number in found.items() if number is not None}


def run_lengths(mask: np.ndarray) -> dict:
    """A mask (H, W) as COCO writes it: its size, and as a text the lengths of its runs down the columns."""
    flat = np.asarray(mask, bool).T.ravel()
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], ends, [flat.size]]))
    first = [0] if flat[:1].any() else []  # the first run is of what is outside
    return {"size": list(map(int, np.shape(mask))), "counts": text_of_runs([*first, *runs.tolist()])}
