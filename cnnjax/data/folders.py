"""Image files on disk, one directory per class."""

import os
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np

from cnnjax.annotations import AtLeastOne, Count, FilePath, Gives
from cnnjax.data._bearable import file_bytes
from cnnjax.data._files import OnDisk, directory, joined
from cnnjax.data._listing import ENDINGS, classes_of, labelled, split_directories
from cnnjax.data._pictures import Budget, Depth, Fit, picture, reason, strictly, vet
from cnnjax.data.placing import Placing
from cnnjax.data.source import Source
from cnnjax.refusals import refuse_misfits

__all__ = ["ENDINGS", "folder", "pictures"]


def folder(
    *,
    root: FilePath = "",
    size: Count = 0,
    width: Count = 0,
    fit: Fit = "crop",
    depth: Depth = 8,
    channels: Literal[1, 3] = 3,
    budget: Budget = -1,
    holdout: Count = 0,
) -> Annotated[Source, Gives(label="")]:
    """The JPEG, PNG, WebP, BMP, TIFF and GIF files under `root`, one directory per class, as uint8 images.

    `root` has train/, eval/ (or val/) and test/, each with the classes' directories, or just these: then every fifth
    file, by class and name, is the test set. Names such as Training_Set/ and val2017/ are understood. `size` × `width`
    (0: square) brings photographs to one size by `fit` = crop, pad or squash; without it all must be of one. 16 bits
    are scaled to 8, or with `depth` 16 kept in floats in [0, 1]; `channels` is 3 or 1; transparent pixels lie on white;
    EXIF rotation is applied; of animations the first picture counts. Broken files are passed over, up to `budget` in a
    split (-1: 0.1 % of it and at least 10). Sets of up to 256 MiB are read whole.
    """
    refuse_misfits(folder, locals(), path="data.")
    vet(size, width)
    base = directory(root)
    found = split_directories(base)
    names = classes_of(found["train"])
    shape = (size, width or size, channels)
    options = {"shape": shape, "depth": depth, "fit": fit if size else "", "budget": budget}
    splits = {
        split: Files(base, *labelled(base, where, names), train=split == "train", **options)
        for split, where in found.items()
    }
    return joined(splits, size=size, holdout=holdout, names=names)


def pictures(
    paths: Sequence[str | os.PathLike],
    shape: tuple[AtLeastOne, AtLeastOne, Literal[1, 3]],
    *,
    fit: Fit = "crop",
    depth: Depth = 8,
) -> tuple[np.ndarray, list[Placing], dict[str, str]]:
    """Image files as (N, *shape), as `folder` reads them, where each lies in its file, and why others can't be read.

    Uint8, or with `depth` 16 floats in [0, 1]. Files that can't be read are left out.
    """
    refuse_misfits(pictures, locals(), path="data.")
    read, bad = [], {}
    for path in paths:
        try:
            with strictly():
                read.append(picture(file_bytes(path), shape=tuple(shape), depth=depth, fit=fit))
        except MemoryError:
            raise
        except Exception as error:  # whatever a decoder stumbles over in a damaged file
            bad[str(path)] = reason(error)
    whole = np.stack([samples for samples, _ in read]) if read else np.zeros((0, *shape), np.uint8)
    return (whole if depth == 8 else whole.astype(np.float32) / 65535), [placing for _, placing in read], bad


class Files(OnDisk):
    """Image files and their classes."""

    def __init__(self, base: str | os.PathLike, paths: list[str], labels: Sequence[int], **options):
        super().__init__(base, paths, **options)
        self.labels = np.asarray(labels, np.int32)

    def words(self, place: int) -> dict[str, np.ndarray]:
        return {"label": self.labels[place]}

    def classes(self) -> np.ndarray:
        return self.labels[self.rows]
