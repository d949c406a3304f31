"""Tables of named points, and the splits of pictures that they are of."""

import csv
import os
import re
from typing import NamedTuple

import numpy as np

from cnnjax.archives import text_of
from cnnjax.data._boxed import around, refuse_outside
from cnnjax.data._files import OnDisk
from cnnjax.data._listing import few, split_of, subdirectories
from cnnjax.data.source import DataError

_SIDES = {"left": "right", "Left": "Right", "LEFT": "RIGHT"}
_SIDES |= {right: left for left, right in _SIDES.items()}
_ENDS = ("_x", "_y", "_visible")


class Marks(NamedTuple):
    """One row of a table: the picture, and (K, 3) y x visible."""

    path: str
    marks: np.ndarray


class Pointed(OnDisk):
    """Pictures with points, cut out `around` times as large as the box of those that are visible, where it is not 0."""

    def __init__(self, base, rows, names, *, around, **options):
        super().__init__(base, [row.path for row in rows], **options)
        self.names, self.around = names, around
        self.marks = np.array([row.marks for row in rows], np.float32).reshape(-1, len(names), 3)

    def said(self, place):
        return self.marks[place].tobytes()

    def words(self, place):
        return {"points": self.marks[place, :, :2], "visible": self.marks[place, :, 2]}

    def window(self, place):
        seen = self.marks[place, self.marks[place, :, 2] > 0, :2]
        if not self.around or not len(seen):
            return ()
        return around((*(seen.min(0)), *(seen.max(0) + 1)), self.around, self.shape)

    def vet(self, place, words, size):
        refuse_outside(words["points"], words["visible"], size, self.names)


def tables(base, table):
    """The points' names, and {split: rows} of the one table, or of the one in each split's directory."""
    splits = {split_of(name): name for name in subdirectories(base)} if table else {}
    own = {split: name for split, name in splits.items() if split and os.path.isfile(os.path.join(base, name, table))}
    if os.path.isfile(os.path.join(base, table)):
        names, rows = _read(base, "", table)
        return names, _apart(rows, table)
    if "train" not in own:
        raise DataError(f"{base} has no {table}, nor has a train/ in it; its first line is file,NAME_x,NAME_y,…")
    found = {split: _read(base, name, table) for split, name in own.items()}
    names = found["train"][0]
    for split, (others, _) in found.items():
        if others != names:
            raise DataError(f"{own[split]}/{table} has other points than training: {few(others)}; {few(names)}")
    return names, {split: [row for _, row in rows] for split, (_, rows) in found.items()}


def _apart(rows, table):
    """{split: rows}; all are train's where no split is said."""
    said = {split for split, _ in rows}
    if said == {""}:
        return {"train": [row for _, row in rows]}
    if "train" not in said or "" in said:
        raise DataError(f"{table}: the column split must say train, val or test in every row, and train in some")
    return {split: [row for its, row in rows if its == split] for split in said}


def _read(base, folder, table):
    """Names of points, and (split, Marks) of every row by path, of one table; paths are below its folder."""
    name = os.path.join(folder, table)
    try:
        with text_of(os.path.join(base, name), encoding="utf-8-sig") as file:
            lines = list(csv.DictReader(file, skipinitialspace=True, restkey=""))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{name} is no table that can be read: {error}") from None
    if not lines:
        raise DataError(f"{name} has no rows")
    columns = [column.strip() for column in lines[0] if column]
    names = tuple(column.removesuffix("_x") for column in columns if column.endswith("_x"))
    known = {"file", "split", *(point + end for point in names for end in _ENDS)}
    lacking = [column for point in names for column in (f"{point}_y",) if column not in columns]
    if "file" not in columns or not names or lacking or set(columns) - known:
        wrong = f"lacks {few(lacking)}" if lacking else f"has {few(columns)}"
        raise DataError(
            f"{name} {wrong}; its columns are file, NAME_x, NAME_y, perhaps NAME_visible, of every point, perhaps split"
        )
    made = [_row(name, number, line, names) for number, line in enumerate(lines, 2)]
    prefix = f"{folder}/" if folder else ""
    return names, sorted(
        ((split, Marks(prefix + path, marks)) for split, path, marks in made), key=lambda row: row[1].path
    )


def _row(name, number, line, names):
    over = line.get("")
    over = [text for text in over if text.strip()] if isinstance(over, list) else []
    line = {column.strip(): (text or "").strip() for column, text in line.items() if column}
    where = f"{name}, line {number}, {line['file'] or 'no file'},"
    if over:
        raise DataError(
            f"{where} has more cells than the first line has columns ({few(over)} too many); "
            "take them out, or name their columns there; what has commas in it is written in quotes"
        )
    split = split_of(line.get("split", ""))
    if line.get("split") and not split:
        raise DataError(f"{where} has the split {line['split']!r}; it must be train, val or test")
    marks = np.zeros((len(names), 3))
    for row, point in enumerate(names):
        texts = line[f"{point}_y"], line[f"{point}_x"], line.get(f"{point}_visible", "") or "1"
        if texts[0] == texts[1] == "":
            continue
        try:
            marks[row] = [float(text) for text in texts]
        except ValueError:
            marks[row] = np.nan
        if not np.isfinite(marks[row]).all():
            raise DataError(
                f"{where} has {point} at {', '.join(texts[1::-1])} (visible {texts[2]}); it must be numbers"
            )
        marks[row, 2] = marks[row, 2] > 0
    if not line["file"]:
        raise DataError(f"{where} names no picture")
    return split, line["file"], marks


def mirrored(base, names):
    """{"mirror": the order of points in a mirror} by mirror.txt or the words left and right in names; {} if unknown."""
    swapped = {a: b for pair in _pairs(base, "mirror.txt", names) for a, b in (pair, pair[::-1])}
    if not swapped:
        swapped = {name: _other_side(name) for name in names if _other_side(name) != name}
    if not swapped or not set(swapped.values()) <= set(names):
        return {}
    return {"mirror": tuple(names.index(swapped.get(name, name)) for name in names)}


def pairs_of(base, names):
    """{"skeleton": pairs of numbers of points} by skeleton.txt; {} where there is none."""
    pairs = _pairs(base, "skeleton.txt", names)
    return {"skeleton": tuple((names.index(a), names.index(b)) for a, b in pairs)} if pairs else {}


def _pairs(base, file, names):
    """The pairs of names in a text file, one a line; () where there is no such file."""
    path = os.path.join(base, file)
    if not base or not os.path.exists(path):
        return ()
    try:
        with text_of(path) as lines:
            pairs = [tuple(re.split(r"[\s,]+", line.strip())) for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no list of points that can be read: {error}") from None
    for pair in pairs:
        if len(pair) != 2 or not set(pair) <= set(names):
            raise DataError(f"{path} has the line {' '.join(pair)!r}; a line is two of the points {few(names)}")
    return pairs


def _other_side(name):
    """The name of the same point on the other side of a body."""
    return re.sub("(?<![A-Za-z])(left|right|Left|Right|LEFT|RIGHT)(?![a-z])", lambda found: _SIDES[found[0]], name)
