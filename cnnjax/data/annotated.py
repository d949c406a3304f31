"""Pictures with labels of one's own: boxes, masks and joints as COCO and Pascal VOC write them, points in a table."""

import reprlib
from dataclasses import replace
from typing import Annotated, Literal

from cnnjax.annotations import AtLeastOne, Count, Factor, FilePath, Gives, NonNegative, Static, Text
from cnnjax.data import _coco, _voc
from cnnjax.data._boxed import Boxed
from cnnjax.data._files import directory, joined
from cnnjax.data._listing import few
from cnnjax.data._pictures import Budget, Depth, Fit, vet
from cnnjax.data._pointed import Pointed, mirrored, pairs_of, tables
from cnnjax.data.source import DataError, Source
from cnnjax.refusals import refuse_misfits

__all__ = ["coco", "points", "voc"]


def coco(
    *,
    root: FilePath = "",
    annotations: Text = "annotations/instances_{split}.json",
    most: AtLeastOne = 100,
    masks: bool = False,
    points: bool = False,
    around: Static[Factor] = 1.25,
    size: Count = 0,
    width: Count = 0,
    fit: Fit = "pad",
    depth: Depth = 8,
    channels: Literal[1, 3] = 3,
    budget: Budget = -1,
    holdout: Count = 0,
) -> Annotated[Source, Gives(boxes="", classes="", present="", instances="masks=true", points="points=true")]:
    """Pictures and the boxes, masks or joints of COCO's JSON files: boxes, classes, present, ignored of `most` rows.

        root/annotations/instances_train2017.json      {split} stands for train…, val… and test…
        root/annotations/instances_val2017.json
        root/train2017/000000000009.jpg                or images/train2017/, images/, or beside the file
        root/val2017/000000000139.jpg

    Without {split} in `annotations` it is one file, of which every fifth picture, by name, is for testing. Category ids
    become 0, 1, …; crowds are ignored rows. `masks` gives instances too, n for the n-th row: polygons and both kinds of
    run lengths; a pixel of two things is the smaller one's. `points` makes an example of every row with keypoints, cut
    out `around` times as large as its box. A box of no area is passed over, by name and within `budget`; one that is
    inside out or outside, another size than the file says and an unknown category are refused. From `size` on as
    `folder`.
    """
    refuse_misfits(coco, locals(), path="data.")
    vet(size, width)
    if points and not size:
        raise DataError("data.points is true, and people differ in size; set data.size (and data.width)")
    base = directory(root)
    found = {split: _coco.Parsed(base, *file) for split, file in _coco.annotation_files(base, annotations).items()}
    names = found["train"].names
    for parsed in found.values():
        if other := next((number for number, name in parsed.names.items() if names.get(number, name) != name), ()):
            raise DataError(f"{parsed.file}: category {other} is {parsed.names[other]!r}, in training {names[other]!r}")
    about, extra = _pose(found["train"]) if points else (0, {})
    names = {number: name for number, name in names.items() if not points or number == found["train"].posed[0]["id"]}
    kinds = {number: kind for kind, number in enumerate(sorted(names))}
    extra |= {"class_ids": tuple(kinds)}
    parts = {
        split: parsed.people(kinds, about, masks=masks) if points else parsed.pictures(kinds, masks=masks)
        for split, parsed in found.items()
    }
    shape = (size, width or size, channels)
    options = {"shape": shape, "depth": depth, "fit": fit if size else "", "budget": budget}
    options |= {"most": 1 if points else most, "masks": masks, "points": about, "around": around}
    splits = {split: Boxed(base, part, train=split == "train", **options) for split, part in parts.items()}
    return joined(splits, size=size, holdout=holdout, names=tuple(names[number] for number in kinds), extra=extra)


def voc(
    *,
    root: FilePath = "",
    most: AtLeastOne = 100,
    first: Literal[0, 1] = 1,
    size: Count = 0,
    width: Count = 0,
    fit: Fit = "pad",
    depth: Depth = 8,
    channels: Literal[1, 3] = 3,
    budget: Budget = -1,
    holdout: Count = 0,
) -> Annotated[Source, Gives(boxes="", classes="", present="")]:
    """Pictures and the boxes of Pascal VOC's XML files: boxes, classes, present, ignored of `most` rows.

        root/Annotations/000005.xml
        root/JPEGImages/000005.jpg
        root/ImageSets/Main/train.txt                  names without ending; val.txt, test.txt, trainval.txt

    `root` may be a folder above (VOCdevkit/VOC2012/). Without lists every fifth picture, by name, is for testing.
    Pixels count from `first` on: from 1 on as VOC has it, or 0 where xmin … ymax are edges. `difficult` makes an
    ignored row. A box of no area, and with first=1 one that begins at 0, is passed over, by name and within `budget`;
    one that is inside out or outside is refused. From `size` on as `folder`.
    """
    refuse_misfits(voc, locals(), path="data.")
    vet(size, width)
    base = _voc.devkit(directory(root))
    found = {split: _voc.parsed(base, names, first) for split, names in _voc.named(base).items()}
    names = tuple(sorted({row.kind for picture in found["train"][0] for row in picture.rows}))
    if not names:
        raise DataError(f"{base} has no objects in its training pictures")
    shape = (size, width or size, channels)
    options = {"shape": shape, "depth": depth, "fit": fit if size else "", "budget": budget, "most": most}
    splits = {
        split: Boxed(base, _classed(pictures, names), bad=bad, train=split == "train", **options)
        for split, (pictures, bad) in found.items()
    }
    return joined(splits, size=size, holdout=holdout, names=names)


def points(
    *,
    root: FilePath = "",
    table: Text = "points.csv",
    around: Static[NonNegative] = 0.0,
    size: Count = 0,
    width: Count = 0,
    fit: Fit = "pad",
    depth: Depth = 8,
    channels: Literal[1, 3] = 3,
    budget: Budget = -1,
    holdout: Count = 0,
) -> Annotated[Source, Gives(points="", visible="")]:
    """Pictures with named points from a table: points (K, 2) and visible (K,), joints of a figure or marks of a face.

        root/points.csv                                file,nose_x,nose_y,left_eye_x,left_eye_y,left_eye_visible,…
        root/images/0001.jpg                           images/0001.jpg,31.5,40,22,38.5,1,…
        root/mirror.txt, root/skeleton.txt             may be there: two names a line

    Pixels are counted from 0, whole numbers at their centres. Empty cells, or 0 in a column _visible, are points that
    are not seen. A column `split` says train, val or test; or train/ and test/ have a table each; else every fifth row,
    by name, is for testing. The order in a mirror follows from `left_` and `right_`, or from mirror.txt. With `around`
    pictures are cut out, so many times as large as the box of their visible points. From `size` on as `folder`.
    """
    refuse_misfits(points, locals(), path="data.")
    vet(size, width)
    if around and not size:
        raise DataError("data.around cuts pictures of many sizes; set data.size (and data.width)")
    base = directory(root)
    names, found = tables(base, table)
    extra = {"point_names": names} | mirrored(base, names) | pairs_of(base, names)
    shape = (size, width or size, channels)
    options = {"shape": shape, "depth": depth, "fit": fit if size else "", "budget": budget, "around": around}
    splits = {split: Pointed(base, rows, names, train=split == "train", **options) for split, rows in found.items()}
    return joined(splits, size=size, holdout=holdout, extra=extra)


def _pose(parsed):
    """How many points a person has, and what facts.extra says of them."""
    if len(parsed.posed) != 1:
        raise DataError(
            f"{parsed.file} has {len(parsed.posed)} categories with keypoints, and data.points wants one; "
            "set data.annotations to a file of keypoints (annotations/person_keypoints_{split}.json)"
        )
    points, bones = parsed.posed[0]["keypoints"], parsed.posed[0].get("skeleton") or []
    if not isinstance(points, list):
        raise DataError(f"{parsed.file}: a category has the keypoints {points!r}; they must be a list of their names")
    names, ends = tuple(map(str, points)), range(1, len(points) + 1)
    pairs = isinstance(bones, list) and all(isinstance(bone, list) and len(bone) == 2 for bone in bones)
    if not pairs or any(end not in ends for bone in bones for end in bone):
        raise DataError(
            f"{parsed.file}: the skeleton is {reprlib.repr(bones)}; it must be pairs of points, from 1 to "
            f"{len(names)}, or left out"
        )
    bones = tuple((int(a) - 1, int(b) - 1) for a, b in bones)
    return len(names), {"point_names": names, "skeleton": bones} | mirrored("", names)


def _classed(pictures, names):
    """Pictures of which the kinds of rows are numbers."""
    known = {name: kind for kind, name in enumerate(names)}
    return [replace(its, rows=[replace(row, kind=_number(known, its, row)) for row in its.rows]) for its in pictures]


def _number(known, picture, row):
    if row.kind not in known:
        raise DataError(
            f"{picture.file}: {row.name} is a {row.kind!r}, which the training set lacks: {few(list(known))}; "
            "correct its name, or list a picture of it in training"
        )
    return known[row.kind]
