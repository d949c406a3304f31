"""Image files on disk, one directory per class."""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from cnnjax.annotations import AtLeastOne, Count, FilePath
from cnnjax.data._bearable import file_bytes, regular
from cnnjax.data._listing import ENDINGS, classes_of, labelled, split_directories
from cnnjax.data._pictures import (
    Budget,
    Depth,
    Fit,
    Pictures,
    opened,
    picture,
    reason,
    source_of,
    strictly,
    upright_size,
    vet,
)
from cnnjax.data.placing import Placing
from cnnjax.data.source import DataError, Source, every_fifth, within_budget
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
) -> Source:
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
    if not root:
        raise DataError("data.root is empty; name the directory, --config.data.root=DIR")
    base = str(pathlib.Path(root).expanduser())
    if not os.path.isdir(base):
        raise DataError(f"data.root is {root}; there is no such directory")
    found = split_directories(base)
    names = classes_of(found["train"])
    shape = (size, width or size, channels)
    options = {"shape": shape, "depth": depth, "fit": fit if size else "", "budget": budget}
    splits = {
        split: Files(base, *labelled(base, directory, names), train=split == "train", **options)
        for split, directory in found.items()
    }
    if not size:
        with strictly():
            _agree(splits.values())
    if len(splits) == 1:
        splits["train"], splits["test"] = every_fifth(splits["train"])
    test = splits.get("test", splits.get("eval"))
    return source_of(splits["train"], splits.get("eval", test), test, holdout=holdout, names=names)


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


class Files(Pictures):
    """Image files and their labels."""

    def __init__(self, base: str | os.PathLike, paths: list[str], labels: Sequence[int], **options):
        super().__init__(len(paths), **options)
        self.base, self.paths, self.labels = str(base), paths, np.asarray(labels, np.int32)

    def called(self, place: int) -> str:
        return self.paths[place]

    def classes(self) -> np.ndarray:
        return self.labels[self.rows]

    def encoded(self, places: Sequence[int]) -> list[tuple]:
        return [(self._bytes(place), {"label": self.labels[place]}) for place in places]

    def listing(self) -> Iterator[bytes]:
        """Names and sizes of its files, in order: of 100,000 in half a second."""
        for place in self.rows:
            path, size = self.paths[place], -1
            with contextlib.suppress(OSError):
                size = os.stat(os.path.join(self.base, path)).st_size
            yield f"{path}\0{size}\n".encode(errors="surrogateescape")

    def _bytes(self, place):
        try:
            return file_bytes(os.path.join(self.base, self.paths[place])) or ValueError("the file is empty")
        except (OSError, ValueError) as error:
            return error


def _agree(splits):
    """Gives all splits the one shape that their files' headers state; DataError where they differ."""
    first = ()
    for split in splits:
        for index in range(len(split)):
            name = split.name(index)
            try:
                with regular(os.path.join(split.base, name)) as file, opened(file) as image:
                    size = upright_size(image)
            except Exception as error:  # whatever a decoder stumbles over in a damaged file
                split.bad[name] = reason(error)
                within_budget(split)
                continue
            first = first or (name, size)
            if size != first[1]:
                raise DataError(
                    f"the images differ in size: {first[0]} has {first[1][0]}×{first[1][1]} pixels, "
                    f"{name} has {size[0]}×{size[1]}; set data.size, and data.fit=crop, pad or squash"
                )
    if not first:
        raise DataError("not one of the files can be read")
    for split in splits:
        split.shape = (*first[1], split.shape[2])
