"""Image files on disk, one directory per class."""

import difflib
import os
import pathlib
from collections.abc import Sequence
from typing import Literal

import numpy as np

from cnnjax.annotations import AtLeastOne, Count, Text
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

ENDINGS = (".jpg", ".jpeg", ".png")
_SPLITS = {"train": ("train", "training"), "eval": ("eval", "val", "valid", "validation"), "test": ("test", "testing")}


def folder(
    *,
    root: Text = "",
    size: Count = 0,
    width: Count = 0,
    fit: Fit = "crop",
    depth: Depth = 8,
    channels: Literal[1, 3] = 3,
    budget: Budget = -1,
    holdout: Count = 0,
) -> Source:
    """The JPEG and PNG files under `root`, one directory per class, as uint8 images.

    `root` has train/, eval/ (or val/) and test/, each with the classes' directories, or just these: then every fifth
    file, by class and name, is the test set. `size` × `width` (0: square) brings photographs to one size by
    `fit` = crop, pad or squash; without it all must be of one. 16 bits are scaled to 8, or with `depth` 16 kept in
    floats in [0, 1]; `channels` is 3 or 1; transparent pixels lie on white; EXIF rotation is applied. Broken files are
    passed over, up to `budget` in a split (-1: 0.1 % of it and at least 10). Sets of up to 256 MiB are read whole.
    """
    refuse_misfits(folder, locals(), path="data.")
    vet(size, width)
    if not root:
        raise DataError("data.root is empty; name the directory, --config.data.root=DIR")
    base = pathlib.Path(root).expanduser()
    if not base.is_dir():
        raise DataError(f"data.root is {root}; there is no such directory")
    found = _directories(base)
    names = _classes(found["train"])
    shape = (size, width or size, channels)
    options = {"shape": shape, "depth": depth, "fit": fit if size else "", "budget": budget}
    splits = {
        split: Files(base, *_labelled(base, directory, names), train=split == "train", **options)
        for split, directory in found.items()
    }
    if not size:
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
                read.append(picture(pathlib.Path(path).read_bytes(), shape=tuple(shape), depth=depth, fit=fit))
        except MemoryError:
            raise
        except Exception as error:  # whatever a decoder stumbles over in a damaged file
            bad[str(path)] = reason(error)
    whole = np.stack([samples for samples, _ in read]) if read else np.zeros((0, *shape), np.uint8)
    return (whole if depth == 8 else whole.astype(np.float32) / 65535), [placing for _, placing in read], bad


class Files(Pictures):
    """Image files and their labels."""

    def __init__(self, base: str | os.PathLike, paths: list[str], labels: np.ndarray, **options):
        super().__init__(len(paths), **options)
        self.base, self.paths, self.labels = str(base), paths, labels

    def called(self, place: int) -> str:
        return self.paths[place]

    def classes(self) -> np.ndarray:
        return self.labels[self.rows]

    def encoded(self, places: Sequence[int]) -> list[tuple]:
        return [(self._bytes(place), {"label": self.labels[place]}) for place in places]

    def _bytes(self, place):
        try:
            return pathlib.Path(self.base, self.paths[place]).read_bytes() or ValueError("the file is empty")
        except OSError as error:
            return error


def _directories(base):
    """The directory of each split that there is; the whole is the training set where there is no train/."""
    inside = {entry.name.lower(): entry for entry in base.iterdir() if entry.is_dir()}
    found = {}
    for split, words in _SPLITS.items():
        there = [inside[word] for word in words if word in inside]
        if len(there) > 1:
            raise DataError(
                f"{base} has both {there[0].name}/ and {there[1].name}/; one directory for {split} is needed"
            )
        if there:
            found[split] = there[0]
    if "train" in found:
        return found
    if found:
        raise DataError(
            f"{base} has {next(iter(found.values())).name}/ but no train/; training needs images of its own"
        )
    return {"train": base}


def _subdirectories(directory):
    return sorted(e.name for e in directory.iterdir() if e.is_dir() and not e.name.startswith((".", "__")))


def _classes(directory):
    names = _subdirectories(directory)
    if not names:
        raise DataError(f"{directory} has no directories; put each class's images into a directory of its name")
    return tuple(names)


def _labelled(base, directory, names):
    """Paths below base, sorted by class and path, and their labels."""
    paths, labels = [], []
    for name in _subdirectories(directory):
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f", did you mean {near[0]}?" if near else ""
            raise DataError(f"{directory / name} is a class that the training set lacks{hint}; it has {_few(names)}")
        files = [
            pathlib.Path(where, file)
            for where, _, here in os.walk(directory / name)
            for file in here
            if not file.startswith(".")
        ]
        pictures = sorted(str(file.relative_to(base)) for file in files if file.suffix.lower() in ENDINGS)
        if not pictures:
            others = _few(sorted({file.suffix or file.name for file in files}))
            raise DataError(f"{directory / name} has no .jpg, .jpeg or .png files{f', only {others}' if files else ''}")
        paths += pictures
        labels += [names.index(name)] * len(pictures)
    return paths, np.array(labels, np.int32)


def _few(names):
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _agree(splits):
    """Gives all splits the one shape that their files' headers state; DataError where they differ."""
    first = ()
    for split in splits:
        for index in range(len(split)):
            name = split.name(index)
            try:
                with strictly(), open(pathlib.Path(split.base, name), "rb") as file, opened(file) as image:
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
