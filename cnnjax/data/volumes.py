"""Grids of voxels on disk: an array of solids for each class."""

import os
from typing import Annotated, Literal

import numpy as np

from cnnjax.annotations import Count, FilePath, Gives
from cnnjax.archives import array_in
from cnnjax.data._files import directory
from cnnjax.data._listing import few
from cnnjax.data._pictures import Budget
from cnnjax.data.source import DataError, Memory, Source, assemble, within_budget
from cnnjax.refusals import refuse_misfits

__all__ = ["voxels"]

_ENDINGS = (".npy", ".npy.gz")


def voxels(
    *,
    root: FilePath = "",
    upright: Literal["first", "second", "last"] = "last",
    budget: Budget = -1,
    holdout: Count = 0,
) -> Annotated[Source, Gives(label="")]:
    """The solids in `root`, a file for each class (chair.npy, or chair.npy.gz), as videos (T, H, W, 1) of slices.

    A file holds an array (N, X, Y, Z) or (N, 1, X, Y, Z) of occupancy: bytes, truth values, or numbers from 0 to 1.
    `upright` is which of the three axes points up: slices are level and go from the ground to the top, so that `rotate`
    turns a solid about its upright axis. Every fifth of a class is for testing. Grids of which no voxel is filled are
    passed over by file and place, within `budget` (-1: 0.1 % and at least 10).
    """
    refuse_misfits(voxels, locals(), path="data.")
    base = directory(root)
    files = {name: ending for name in sorted(os.listdir(base)) for ending in _ENDINGS if name.endswith(ending)}
    if not files:
        raise DataError(f"data.root is {root}, where no file ends in {' or '.join(_ENDINGS)}, one for each class")
    names = tuple(name.removesuffix(ending) for name, ending in files.items())
    if len(set(names)) < len(names):
        raise DataError(f"data.root is {root}, which has a class twice: {few(list(files))}")
    parts, bad = {"train": [], "test": []}, {}
    for label, name in enumerate(files):
        grids = _read(base, name, ("first", "second", "last").index(upright))
        if parts["train"] and grids.shape[1:] != parts["train"][0]["video"].shape[1:]:
            sizes = ["×".join(map(str, each.shape[1:4])) for each in (grids, parts["train"][0]["video"])]
            raise DataError(f"{name} has grids of {sizes[0]}, the others of {sizes[1]}; bring all to one size")
        there = grids.any((1, 2, 3, 4))
        bad |= {f"{name}[{place}]": "no voxel is filled" for place in np.flatnonzero(~there)}
        for split, places in (("train", np.arange(len(grids)) % 5 != 0), ("test", np.arange(len(grids)) % 5 == 0)):
            some = grids[places & there]
            parts[split].append({"video": some, "label": np.full(len(some), label, np.int32)})
    splits = {split: _joined(each) for split, each in parts.items()}
    splits["train"].bad = bad
    count = sum(map(len, splits.values()))
    splits["train"].budget = max(10, count // 1000) if budget < 0 else budget
    within_budget(splits["train"])
    return assemble(splits["train"], splits["test"], splits["test"], holdout=holdout, names=names, input="video")


def _joined(parts):
    return Memory({word: np.concatenate([part[word] for part in parts]) for word in parts[0]})


def _read(base, name, upright):
    """(N, T, H, W, 1) uint8 of the grids in a file, the axis that points up first."""
    try:
        grids = array_in(os.path.join(base, name))
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: {error}") from None
    if grids.ndim == 5 and grids.shape[1] == 1:
        grids = grids[:, 0]
    if grids.ndim != 4 or not grids.size:
        raise DataError(f"{name} has shape {grids.shape}; it must be (N, X, Y, Z), or (N, 1, X, Y, Z)")
    if grids.dtype.kind not in "bfiu" or not (0 <= grids.min() and grids.max() <= (255 if grids.dtype == "u1" else 1)):
        raise DataError(f"{name} has {grids.dtype} from {grids.min()} to {grids.max()}; give 0 to 1, or bytes")
    if grids.dtype != np.uint8 or grids.max() <= 1:
        grids = np.rint(255.0 * grids.astype(np.float32)).astype(np.uint8)
    return np.moveaxis(grids, 1 + upright, 1)[..., None]
