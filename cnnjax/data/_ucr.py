"""Files of the UCR and UEA archives: .ts of sktime, .tsv and .txt with the class in front, all of them gzipped too."""

import gzip
import math
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnnjax.archives import regular
from cnnjax.data.source import DataError

ENDINGS = (".ts", ".tsv", ".txt", ".ts.gz", ".tsv.gz", ".txt.gz")
_LONGEST = 2**29  # bytes of a text
_MISSING = {"?", "nan", ""}


class Labelled(NamedTuple):
    """Series (T, C), NaN where a value is missing, the class and the line of each, the classes that the file names."""

    series: list[np.ndarray]
    labels: list[str]
    lines: list[int]
    names: tuple[str, ...]


def labelled(path: Path) -> Labelled:
    """The series of one file."""
    lines = _text(path).splitlines()
    found = _sktime(path.name, lines) if ".ts" in path.suffixes and ".tsv" not in path.suffixes else None
    found = found or _plain(path.name, lines)
    if not found.series:
        raise DataError(f"{path.name} has no series")
    return found


def _text(path):
    try:
        with regular(path) as file:
            stream = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
            data = stream.read(_LONGEST + 1)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path.name} can't be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > _LONGEST:
        raise DataError(f"{path.name} has more than {_LONGEST >> 20} MiB of text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{path.name}, line {line}: it is no text in UTF-8") from None


def _sktime(name, lines):
    """A header of @words, then a series a line: dimensions by colons, values by commas, the class last."""
    said, found, begun = {}, Labelled([], [], [], ()), False
    for line, text in enumerate(lines, 1):
        text = text.strip()
        if not text or text.startswith(("#", "%")):
            continue
        if text.startswith("@"):
            word, *rest = text[1:].split()
            said[word.lower()] = rest
            begun = begun or word.lower() == "data"
            continue
        if not begun:
            raise DataError(f"{name}, line {line}: values before @data")
        if said.get("classlabel", ["true"])[0].lower() != "true":
            raise DataError(f"{name}: @classLabel is false; series with classes are needed")
        if said.get("timestamps", ["false"])[0].lower() == "true":
            raise DataError(f"{name}: @timeStamps is true; write the values alone, at even steps")
        *dimensions, label = text.split(":")
        rows = [_values(name, line, row.split(",")) for row in dimensions]
        if not rows or len({len(row) for row in rows}) > 1:
            lengths = ", ".join(str(len(row)) for row in rows) or "none"
            raise DataError(f"{name}, line {line}: its dimensions must be equally long; they have {lengths} values")
        found.series.append(np.array(rows).T)
        found.labels.append(label.strip())
        found.lines.append(line)
    return found._replace(names=tuple(said.get("classlabel", ())[1:]))


def _plain(name, lines):
    """A series a line, the class first; tabs, commas or blanks between, missing values only at the end of a shorter."""
    found = Labelled([], [], [], ())
    for line, text in enumerate(lines, 1):
        if text.strip():
            label, *cells = re.split(r"\t|,|\s+", text.strip())
            values = _values(name, line, cells)
            found.series.append(values[:, None])
            found.labels.append(label)
            found.lines.append(line)
    number = re.compile(r"[-+]?\d+(\.0*)?([eE][-+]?\d+)?")
    if all(number.fullmatch(label) and float(label).is_integer() for label in found.labels):
        return found._replace(labels=[str(int(float(label))) for label in found.labels])
    return found


def _values(name, line, cells):
    try:
        return np.array([math.nan if cell.strip().lower() in _MISSING else float(cell) for cell in cells])
    except ValueError:
        wrong = next(cell for cell in cells if not _fine(cell))
        raise DataError(f"{name}, line {line}: {wrong.strip()[:40]!r} is no number") from None


def _fine(cell):
    try:
        float(cell if cell.strip() and cell.strip() != "?" else "0")
    except ValueError:
        return False
    return True


def pair_of(path: str) -> dict[str, Path]:
    """The files of the training and the test set that a folder, either file, or the beginning of their names says."""
    given = Path(path).expanduser()
    folder, stem = (given, "") if given.is_dir() else (given.parent, re.sub(r"_(TRAIN|TEST)\..*$", "", given.name))
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    known = {file.name: file for file in files if file.name.lower().endswith(ENDINGS)}
    found: dict[str, dict[str, Path]] = {}
    for name, file in known.items():
        match = re.fullmatch(r"(.+)_(TRAIN|TEST)\.(.+)", name)
        if match and stem in ("", match[1]):
            found.setdefault(match[1], {}).setdefault(match[2].lower(), file)
    whole = {name: files for name, files in found.items() if len(files) == 2}
    if len(whole) != 1:
        there = ", ".join(sorted(whole)[:8]) or "no pair of such files"
        raise DataError(
            f"data.path is {path}; it must lead to NAME_TRAIN and NAME_TEST, {', '.join(ENDINGS[:3])} or .gz of them, "
            f"as in {folder / (min(whole) if whole else 'GunPoint')}; there is {there}"
        )
    return next(iter(whole.values()))
