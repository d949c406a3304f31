"""Mask files as planes of whole numbers, and what these numbers mean."""

import io
import re
from typing import NamedTuple

import numpy as np

from cnnjax.archives import text_of
from cnnjax.data._bearable import refuse_bombs
from cnnjax.data._pictures import opened, orientation_of, upright
from cnnjax.data._png16 import is_deep
from cnnjax.data.source import DataError
from cnnjax.fields import IGNORE

_NUMBERS = r"(\d+)(?:[\s,;]+(\d+)[\s,;]+(\d+))?"
_SEPARATED = r"[\s,;]+"
_UNKNOWN = IGNORE - 1  # in a table of look-ups: no class has this number


class Table(NamedTuple):
    """Which class a value means: sorted values (n,), the class of each, all names, and whether values are colours."""

    file: str
    values: np.ndarray
    kinds: np.ndarray
    names: tuple[str, ...]
    coloured: bool


def table_of(path, name):
    """The table in a text file: lines of a value, or of red green blue, and a name, or the other way round.

    Values of the same name are of one class; "ignore" is none. A first line without numbers is a heading.
    """
    try:
        with text_of(path) as file:
            lines = [(number, line.strip()) for number, line in enumerate(file, 1) if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"data.colors is {name}, which can't be read: {error}") from None
    found, names = {}, []
    for place, (number, line) in enumerate(lines):
        match = re.fullmatch(f"{_NUMBERS}{_SEPARATED}(.+)", line) or re.fullmatch(f"(.+?){_SEPARATED}{_NUMBERS}", line)
        if not match and place == 0:
            continue
        parts = match.groups() if match else ()
        digits = tuple(int(part) for part in (parts if line[0].isdigit() else parts[1:])[:3] if part and part.isdigit())
        text = (parts[-1] if line[0].isdigit() else parts[0]) if match else ""
        if not match or max(digits) > (255 if len(digits) == 3 else 65535):
            raise DataError(f"{name}, line {number}, is {line!r}; a line is VALUE NAME or RED GREEN BLUE NAME")
        if digits in found:
            raise DataError(f"{name}, line {number}, gives {' '.join(map(str, digits))} a second meaning")
        if text != "ignore" and text not in names:
            names.append(text)
        found[digits] = IGNORE if text == "ignore" else names.index(text)
    lengths = {len(digits) for digits in found}
    if len(lengths) != 1 or not 0 < len(names) <= _UNKNOWN:
        what = "has both values and colours" if len(lengths) > 1 else f"names {len(names)} classes"
        raise DataError(
            f"{name} {what}; it needs lines of one kind, VALUE NAME or RED GREEN BLUE NAME, of 1 to {_UNKNOWN}"
        )
    codes = {
        int(coded(np.array([[digits]]))[0, 0]) if len(digits) == 3 else digits[0]: kind
        for digits, kind in found.items()
    }
    values = np.array(sorted(codes), np.int64)
    return Table(name, values, np.array([codes[int(v)] for v in values], np.uint8), tuple(names), lengths == {3})


def plane(data, coloured=False):
    """(H, W) or (H, W, 3) whole numbers of a mask file's bytes, as it is seen: values, palette indices, or colours.

    `coloured` makes colours of all.
    """
    image = opened(io.BytesIO(data))
    refuse_bombs(image, data)
    if image.format == "JPEG":
        raise DataError("is a JPEG file, which blurs the borders of classes; write masks as PNG")
    if is_deep(data[:26]) or image.mode == "F":
        raise DataError("has colours of 16 bits, or floats; write whole numbers in one channel")
    image.load()
    if coloured or image.mode in ("RGBA", "PA"):
        image = image.convert("RGB")
    elif image.mode == "LA":
        image = image.convert("L")
    return upright(np.asarray(image), orientation_of(image)).astype(np.int32)


def grey(values):
    """(H, W) of a plane (H, W) or (H, W, 3), which then must be grey."""
    if values.ndim == 3 and (values != values[..., :1]).any():
        raise DataError("has colours, of which nobody knows which class they are; say it in a file, data.colors")
    return values if values.ndim == 2 else values[..., 0]


def coded(values):
    """(H, W) of a plane (H, W) or (H, W, 3): one number for each colour."""
    return values if values.ndim == 2 else values[..., 0] << 16 | values[..., 1] << 8 | values[..., 2]


def classes(values, table):
    """(H, W) uint8 classes of a plane, by the table, or as they stand where it is ()."""
    if not table:
        wrong, allowed = (values < 0) | (values > IGNORE), f"without a table (data.colors) they go from 0 to {IGNORE}"
        kinds = values.astype(np.uint8)
    else:
        place = np.minimum(np.searchsorted(table.values, values), len(table.values) - 1)
        wrong, kinds = table.values[place] != values, table.kinds[place]
        allowed = f"{table.file} has {', '.join(_written(value, table.coloured) for value in table.values[:12])}"
    if wrong.any():
        y, x = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        value = _written(values[y, x], bool(table) and table.coloured)
        raise DataError(f"has the value {value} at line {y}, column {x}; {allowed}")
    return kinds


def parts(kinds):
    """(H, W) one number for each part, connected by edges, of every class but 0 and what is ignored."""
    begins = np.ones(kinds.shape, bool)
    begins[:, 1:] = kinds[:, 1:] != kinds[:, :-1]
    runs = np.cumsum(begins).reshape(kinds.shape)  # along the lines: far fewer than pixels
    touch = kinds[1:] == kinds[:-1]
    above, below = runs[:-1][touch], runs[1:][touch]
    root = np.arange(runs[-1, -1] + 1)
    while (root[above] != root[below]).any():
        ends = root[above], root[below]
        np.minimum.at(root, np.maximum(*ends), np.minimum(*ends))
        while (root[root] != root).any():
            root = root[root]
    return np.where((kinds != 0) & (kinds != IGNORE), root[runs], 0)


def things(values, most):
    """(H, W) instances of a plane of one number for each thing, 0 for none, and the words of their `most` boxes."""
    numbers, place = np.unique(values, return_inverse=True)
    count = int((numbers != 0).sum())
    rows = np.arange(count) + (np.arange(count) >= IGNORE - 1)  # there 255 means that nobody knows
    if count and rows[-1] >= most:
        raise DataError(f"has {rows[-1] + 1} things, more than data.most={most}; set data.most={rows[-1] + 1}")
    seats = np.zeros(len(numbers), np.uint16)
    seats[numbers != 0] = 1 + rows
    instances = seats[place.reshape(values.shape)]
    low, high = np.full((most, 2), 2**30), np.zeros((most, 2), np.int64)
    y, x = np.nonzero(instances)
    row = instances[y, x].astype(np.int64) - 1
    for axis, where in enumerate((y, x)):
        np.minimum.at(low[:, axis], row, where)
        np.maximum.at(high[:, axis], row, where + 1)
    present = np.zeros(most, np.float32)
    present[rows] = 1
    boxes = np.where(present[:, None] > 0, np.concatenate([low, high], 1), 0).astype(np.float32)
    words = {"instances": instances, "boxes": boxes, "classes": np.zeros(most, np.int32), "present": present}
    areas = np.bincount(row, minlength=most).astype(np.float32)
    return words | {"areas": areas, "pixel_area": np.float32(1)}


def _written(value, coloured):
    value = int(value)
    return f"({value >> 16} {value >> 8 & 255} {value & 255})" if coloured else str(value)
