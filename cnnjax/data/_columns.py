"""Tables of numbers in text files, a line for each step: what is read, and where a line or a value is missing."""

import csv
import datetime
import itertools
import math
import os
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cnnjax.archives import regular
from cnnjax.data.source import DataError
from cnnjax.refusals import on_disk, one_of

_MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-", "."}
_TIMES = {"date", "time", "datetime", "timestamp", "ds", "day", "week", "month", "year", "hour"}
_LONGEST = 2**28  # bytes of a file
_MOST = 2**24  # steps, those between lines that are missing too
_SAMPLE = 20  # lines by which is seen what separates them


class Table(NamedTuple):
    """Values (T, C), not a number where there is none, the line (T,) of each step, and the columns' names."""

    values: np.ndarray
    lines: np.ndarray
    names: tuple[str, ...]

    def first_gap(self) -> str:
        """Where the first value is missing, "" where none is."""
        holes = ~np.isfinite(self.values)
        if not holes.any():
            return ""
        step, column = np.argwhere(holes)[0]
        count = int(holes.any(1).sum())
        more = f", and {count - 1} more after it" if count > 1 else ""
        if self.lines[step] in self.lines[step + 1 : step + 2]:  # it was put in
            return f"no line for a step of time before line {self.lines[step]}{more}"
        return f"no value in line {self.lines[step]}, column {self.names[column]!r}{more}"


def table_of(path: str | os.PathLike, columns: Sequence[str] = (), time: str = "") -> Table:
    """The columns of a text file, all but that of time where none are named; steps are as far apart as most are."""
    file = on_disk(str(path), "data.path").expanduser()
    name = file.name
    try:
        with regular(file) as opened:
            data = opened.read(_LONGEST + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{name}, line {line}: it is no text in UTF-8; save the table as CSV, in UTF-8") from None
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    if len(data) > _LONGEST:
        raise DataError(f"{name} has more than {_LONGEST >> 20} MiB; cut it into parts")
    rows = _rows(name, text)
    header = rows.pop(0)[1] if not any(_is_number(cell) for cell in rows[0][1]) else ()
    told = [row for row in rows if row[1]]
    if not told:
        raise DataError(f"{name} has a header, but no line of numbers")
    names = tuple(header) or tuple(f"column {number}" for number in range(1, len(told[0][1]) + 1))
    for line, cells in told:
        if len(cells) != len(names):
            raise DataError(f"{name}, line {line}: {len(cells)} columns, where the first line has {len(names)}")
    clock = _clock(name, names, told, time)
    # where times stand beside values an empty line takes none; without them it is a step of which nothing is known
    rows = told if clock >= 0 else [(line, cells or [""] * len(names)) for line, cells in rows]
    chosen = [names.index(one_of(column, names, path="data.columns")) for column in columns]
    chosen = chosen or [place for place in range(len(names)) if place != clock]
    values = np.array([[_number(name, line, names[at], cells[at]) for at in chosen] for line, cells in rows])
    lines = np.array([line for line, _ in rows])
    if clock >= 0:
        values, lines = _regular(name, values, lines, [_moment(name, line, cells[clock]) for line, cells in rows])
    return Table(values, lines, tuple(names[place] for place in chosen))


def _rows(name, text):
    """(line, cells) of every line from the first to the last that says something; no cells of an empty one between."""
    head = [line for line in text.split("\n")[:_SAMPLE] if line.strip()]
    separator = max(",;\t", key=lambda letter: min((line.count(letter) for line in head), default=0))
    reader = csv.reader(text.rstrip("\r\n ").splitlines(), delimiter=separator, skipinitialspace=True)
    try:
        read = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise DataError(f"{name}, line {reader.line_num}: {error}") from None
    rows = [(line, [] if cells == [""] else cells) for line, cells in read]
    rows = list(itertools.dropwhile(lambda row: not row[1], rows))
    if not rows:
        raise DataError(f"{name} is empty; it must be a table of numbers, a line for each step of time")
    return rows


def _is_number(cell):
    return bool(re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", cell))


def _number(name, line, column, cell):
    if cell.lower() in _MISSING:
        return math.nan
    if not _is_number(cell):
        hint = "; decimals are written with a point" if re.fullmatch(r"[-+]?\d+,\d+", cell) else ""
        raise DataError(f"{name}, line {line}, column {column!r}: {cell[:40]!r} is no number{hint}")
    return float(cell)


def _clock(name, names, rows, time):
    """The place of the column of time, -1 where there is none."""
    if time:
        return names.index(one_of(time, names, path="data.time"))
    first = rows[0][1][0]
    dated = names[0].lower() in _TIMES or not (_is_number(first) or first.lower() in _MISSING)
    if dated and len(names) == 1:
        raise DataError(f"{name} has one column, {names[0]!r}, of times; values are needed beside them")
    return 0 if dated else -1


def _moment(name, line, cell):
    """A time as a number: seconds, or whatever the file counts."""
    if _is_number(cell) and not re.fullmatch(r"[12]\d{7}", cell):
        return float(cell)
    for text in (cell, f"{cell}-01"):  # a month alone
        try:
            found = datetime.datetime.fromisoformat(text)
        except ValueError:
            continue
        zone = found.tzinfo or datetime.UTC
        return found.replace(tzinfo=zone).timestamp()
    raise DataError(f"{name}, line {line}: {cell[:40]!r} is no time; write 2024-01-31, 2024-01-31T12:00, or a number")


def _regular(name, values, lines, times):
    """Values and lines with a step of nothing wherever a line is missing between two."""
    apart = np.diff(np.array(times))
    if len(apart) and (apart <= 0).any():
        place = int(np.argmax(apart <= 0)) + 1
        raise DataError(f"{name}, line {lines[place]}: its time is not after that of line {lines[place - 1]}; sort it")
    usual = np.median(apart) if len(apart) else 1.0
    ahead = np.maximum(np.rint(apart / usual), 1)
    if ahead.sum() > _MOST:
        raise DataError(f"{name}: its times are too far apart, {ahead.sum():,.0f} steps of {usual:g} in all")
    place = np.concatenate([[0], np.cumsum(ahead)]).astype(int)
    whole = np.full((place[-1] + 1, values.shape[1]), math.nan)
    whole[place] = values
    return whole, lines[np.searchsorted(place, np.arange(len(whole)))]
