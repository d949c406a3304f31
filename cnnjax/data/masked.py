"""Pictures with mask files beside them: a class for each pixel, or one thing for each number."""

import contextlib
import os
from typing import Annotated, Literal

import numpy as np

from cnnjax.annotations import AtLeastOne, Count, FilePath, Gives, Text
from cnnjax.data._files import OnDisk, contents, directory, joined
from cnnjax.data._paired import pairs
from cnnjax.data._pictures import Budget, Depth, Fit, opened, reason, upright_size, vet
from cnnjax.data._planes import classes, coded, grey, parts, plane, table_of, things
from cnnjax.data.source import DataError, Source
from cnnjax.fields import IGNORE
from cnnjax.refusals import refuse_misfits

__all__ = ["masks"]

_OF_THINGS = ("instances", "boxes", "classes", "present")
_LOOKED_AT = 16  # masks from which is guessed whether they are black and white


def masks(
    *,
    root: FilePath = "",
    images: Text = "images",
    labels: Text = "masks",
    word: Literal["segments", "instances", "both"] = "segments",
    colors: FilePath = "",
    most: AtLeastOne = 100,
    size: Count = 0,
    width: Count = 0,
    fit: Fit = "pad",
    depth: Depth = 8,
    channels: Literal[1, 3] = 3,
    budget: Budget = -1,
    holdout: Count = 0,
) -> Annotated[Source, Gives(segments="", **dict.fromkeys(_OF_THINGS, "word=instances"))]:
    """Pictures and the mask file of each: `segments`, the class of every pixel, `instances` with their boxes, or both.

        root/images/0001.jpg              or images/train/ and masks/train/, or train/images/ and train/masks/
        root/masks/0001.png               of the same name, or 0001_mask.png
        root/val.txt, root/test.txt       may be there: names without ending
        root/colors.txt                   data.colors=colors.txt: lines as "0 ground", "255 cell", "128 0 64 car"

    A mask is a PNG (or other lossless file) of palette indices, grey values or, with `colors`, RGB colours; 255, or
    the name "ignore" in the table, counts nowhere. Without a table the values are the classes. `word`=instances takes
    every number or colour but 0 for one thing, up to `most`; then each picture may also have a directory of its own,
    ID/images/ID.png with a mask for each thing in ID/masks/. `word`=both gives the pixels of all these things a class
    too, or with a table makes a thing of every connected part of each class but the first. Without lists or directories
    every fifth picture, by name, is for testing. A missing partner, another size than the picture's and a value that is
    no class are refused by name. From `size` on as `folder`.
    """
    refuse_misfits(masks, locals(), path="data.")
    vet(size, width)
    base = directory(root)
    table = table_of(os.path.join(base, os.path.expanduser(colors)), colors) if colors and word != "instances" else ()
    if colors and not table:
        raise DataError(
            "data.colors says which class a colour is, and data.word=instances has no classes; leave it out"
        )
    if table and word == "both" and len(table.names) == 1:
        raise DataError(f"{colors} names {table.names[0]} alone, the ground; things are of the classes after it")
    found = pairs(base, images, labels)
    several = next((path for part in found.values() for path, files in part if len(files) != 1), "")
    if several and (table or word == "segments"):
        raise DataError(f"{several} has one mask for each thing in it; set data.word=instances")
    shape = (size, width or size, channels)
    options = {"shape": shape, "depth": depth, "fit": fit if size else "", "budget": budget}
    make, more = {
        "segments": (Segmented, {"table": table}),
        "instances": (Instanced, {"most": most}),
        "both": (Parted, {"table": table, "most": most}) if table else (Grounded, {"most": most}),
    }[word]
    splits = {split: make(base, part, train=split == "train", **more, **options) for split, part in found.items()}
    if word == "segments" and not table:
        _refuse_black_and_white(splits["train"])
    kinds = table.names if table else ("ground", "thing") if word == "both" else ()
    names = () if word == "segments" else kinds[1:] or ("thing",)
    return joined(splits, size=size, holdout=holdout, names=names, extra={"segment_names": kinds} if kinds else {})


def _refuse_black_and_white(split):
    """Refuses masks that are 0 and 255 alone: the second would count nowhere."""
    seen = set()
    for index in range(min(len(split), _LOOKED_AT)):
        with contextlib.suppress(Exception):  # what can't be read is noted when it is
            seen |= set(np.unique(split.planes(split.rows[index])[0]).tolist())
    if seen == {0, IGNORE}:
        raise DataError(
            f"the masks hold 0 and {IGNORE} alone, and {IGNORE} counts nowhere; say what they mean in a file, "
            f"--config.data.colors=FILE, with the lines '0 background' and '{IGNORE} foreground'"
        )


class _Masked(OnDisk):
    """Pictures with mask files; one whose mask can't be read stands aside as if it could not be read itself."""

    def __init__(self, base, part, **options):
        super().__init__(base, [path for path, _ in part], **options)
        self.files = [files for _, files in part]

    def files_of(self, place):
        return self.paths[place], *self.files[place]

    def encoded(self, places):
        return [self._with_masks(place) for place in places]

    def vet(self, place, words, size):
        drawn = next(words[word].shape for word in ("segments", "instances") if word in words)
        if drawn != tuple(size):
            turned = " (as it is seen, turned by its EXIF)" if drawn == tuple(size)[::-1] else ""
            raise ValueError(
                f"{size[0]}×{size[1]} pixels{turned}, but its mask {self.files[place][0]} has {drawn[0]}×{drawn[1]}; "
                "write the mask in the size of its picture"
            )

    def planes(self, place, coloured=False):
        """The planes of a picture's mask files."""
        made = []
        for file in self.files[place]:
            data = contents(self.base, file)
            try:
                if isinstance(data, Exception):
                    raise data
                made.append(plane(data, coloured))
            except MemoryError:
                raise
            except DataError as error:
                raise DataError(f"{file} {error}") from None
            except Exception as error:  # whatever a decoder stumbles over in a damaged file
                raise OSError(f"{file}: {reason(error)}") from None
        return made

    def _with_masks(self, place):
        data = contents(self.base, self.paths[place])
        try:
            return data, self.words(place)
        except OSError as error:
            return error, self.nothing()


class Segmented(_Masked):
    """Pictures with the class of every pixel."""

    def __init__(self, base: str, part: list, *, table: tuple, **options):
        super().__init__(base, part, **options)
        self.table = table

    def words(self, place: int) -> dict[str, np.ndarray]:
        coloured = bool(self.table) and self.table.coloured
        values = self.planes(place, coloured)[0]
        try:
            return {"segments": classes(coded(values) if coloured else grey(values), self.table)}
        except DataError as error:
            raise DataError(f"{self.files[place][0]} {error}") from None

    def nothing(self) -> dict[str, np.ndarray]:
        return {"segments": np.full((1, 1), IGNORE, np.uint8)}


class Instanced(_Masked):
    """Pictures with the number of the thing at every pixel, and the things' boxes."""

    def __init__(self, base: str, part: list, *, most: int, **options):
        super().__init__(base, part, **options)
        self.most = most

    def words(self, place: int) -> dict[str, np.ndarray]:
        planes = [coded(values) for values in self.planes(place)]
        for file, values in zip(self.files[place], planes, strict=True):
            if values.shape != planes[0].shape:
                one, other = ("×".join(map(str, each.shape)) for each in (planes[0], values))
                raise DataError(
                    f"the masks of {self.paths[place]} differ in size: {self.files[place][0]} has {one} pixels, "
                    f"{file} has {other}; write them in the size of the picture"
                )
        try:
            return things(planes[0] if len(planes) == 1 else self._together(place, planes), self.most)
        except DataError as error:
            raise DataError(f"{self.paths[place]} {error}") from None

    def _together(self, place, planes):
        """One plane of those of single things; the later ones lie on the earlier."""
        if planes:
            whole = np.zeros(planes[0].shape, np.int32)
        else:
            with opened(os.path.join(self.base, self.paths[place])) as image:
                whole = np.zeros(upright_size(image), np.int32)
        for number, values in enumerate(planes, 1):
            whole[values != 0] = number
        return whole

    def nothing(self) -> dict[str, np.ndarray]:
        return things(np.zeros((1, 1), np.int32), self.most)


class Grounded(Instanced):
    """Pictures with the number of the thing at every pixel, which is of the class of things, 1, there."""

    def words(self, place: int) -> dict[str, np.ndarray]:
        found = super().words(place)
        return found | {"segments": (found["instances"] > 0).astype(np.uint8)}

    def nothing(self) -> dict[str, np.ndarray]:
        return super().nothing() | {"segments": np.full((1, 1), IGNORE, np.uint8)}


class Parted(Segmented):
    """Pictures with the class of every pixel, of which connected parts are things."""

    def __init__(self, base: str, part: list, *, most: int, **options):
        super().__init__(base, part, **options)
        self.most = most

    def words(self, place: int) -> dict[str, np.ndarray]:
        kinds = super().words(place)["segments"]
        try:
            found = things(parts(kinds), self.most)
        except DataError as error:
            raise DataError(f"{self.paths[place]} {error}") from None
        inside = found["instances"] > 0
        found["classes"][found["instances"][inside].astype(np.int64) - 1] = kinds[inside].astype(np.int32) - 1
        return found | {"segments": kinds}

    def nothing(self) -> dict[str, np.ndarray]:
        return things(np.zeros((1, 1), np.int32), self.most) | super().nothing()
