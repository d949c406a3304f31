"""The texts of files, one by one: where each stands, what it says, its class, and what is wrong with it."""

import csv
import io
import json
import os
from collections.abc import Iterator
from typing import NamedTuple

from cnnjax.data._bearable import file_bytes
from cnnjax.data._listing import few
from cnnjax.data.source import DataError
from cnnjax.refusals import nearest

TABLES = (".jsonl", ".csv", ".tsv")
_READ = {"utf-8": "UTF-8", "latin-1": "Latin-1", "cp1252": "Windows-1252", "utf-16": "UTF-16"}


class Row(NamedTuple):
    """A text, and its class where it has one; or what is `wrong` with it."""

    place: str
    text: str = ""
    label: str = ""
    wrong: str = ""


def rows_of_table(
    path: str, name: str, *, text: str, label: str, encoding: str, option: str = "data.encoding"
) -> Iterator[Row]:
    """The texts of a .jsonl, .csv or .tsv file, which messages call `name`; those without a `label` where it is ""."""
    content = content_of(path, encoding, option)
    if path.lower().endswith(".jsonl"):
        found = _of_json(content, name, text, label)
    else:
        found = _of_columns(content, name, text, label, tabs=path.lower().endswith(".tsv"))
    for place, values, wrong in found:
        yield Row(place, wrong=wrong) if wrong else _vetted(place, *values, labelled=bool(label))


def rows_of_lines(path: str, name: str, label: str, encoding: str, option: str = "data.encoding") -> Iterator[Row]:
    """The texts of a file that has one on each line."""
    for number, line in _lines(content_of(path, encoding, option)):
        yield _vetted(f"{name}:{number}", line, label, labelled=False)


def row_of_file(path: str, name: str, label: str, encoding: str) -> Row:
    """The text that is a whole file."""
    return _vetted(name, content_of(path, encoding), label, labelled=False)


def content_of(path: str, encoding: str, option: str = "data.encoding") -> str:
    """The text of a file; refuses one that is written in another encoding, with the line where that shows.

    The `option` says in which it is; "" where nobody may choose.
    """
    try:
        data = file_bytes(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeError as error:
        at = getattr(error, "start", 0)
        line, likely = data.count(b"\n", 0, at) + 1, "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1"
        likely = "utf-8" if encoding != "utf-8" else likely
        what = f"is not {_READ[encoding]} (byte 0x{data[at : at + 1].hex() or '00'})"
    else:
        if (at := text.find("\0")) < 0:
            return text
        line, likely = text.count("\n", 0, at) + 1, "utf-16" if encoding != "utf-16" else "utf-8"
        what = "contains NUL bytes" + "; is it UTF-16?" * (encoding != "utf-16")
    cure = f"set {option}={likely}, or save the file as UTF-8" if option else f"save the file as {_READ[encoding]}"
    raise DataError(f"{path}:{line} {what}{' ' if what.endswith('?') else '; '}{cure}")


def _vetted(place, text, label, *, labelled):
    text, label = text.strip(), label.strip()
    if not text:
        return Row(place, wrong="the text is empty")
    return Row(place, wrong="it has no label") if labelled and not label else Row(place, text, label)


def _lines(content):
    lines = content.split("\n")  # not splitlines: Latin-1 has letters at which that would cut
    for number, line in enumerate(lines[:-1] if not lines[-1] else lines, 1):
        yield number, line.removesuffix("\r")


def _of_json(content, name, text, label):
    first = True
    for number, line in _lines(content):
        place = f"{name}:{number}"
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            yield place, (), "it is no JSON" if line.strip() else "the line is empty"
            continue
        if not isinstance(entry, dict):
            yield place, (), "it is no JSON object"
            continue
        if first:
            _columns(place, list(entry), text, label)
        first = False
        values = [entry.get(key, "") for key in (text, label)[: 1 + bool(label)]]
        if not isinstance(values[0], str):
            yield place, (), f"{text} is {values[0]!r:.40}, no text"
        elif any(isinstance(value, dict | list | float | None) for value in values[1:]):
            yield place, (), f"{label} is {values[1]!r:.40}; it must be a word or a whole number"
        else:
            yield place, (values[0], *(str(value) for value in values[1:]), "")[:2], ""


def _of_columns(content, name, text, label, *, tabs):
    """A .csv file has quotes where there are commas or lines within; in a .tsv file a quote is a quote."""
    options = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {}
    reader = csv.reader(io.StringIO(content, newline=""), strict=True, **options)
    head, began = (), 1
    try:
        for cells in reader:
            place, began = f"{name}:{began}", reader.line_num + 1
            if not head:
                head = [cell.strip() for cell in cells]
                chosen = _columns(place, head, text, label)
            elif len(cells) != len(head):
                yield place, (), f"it has {len(cells)} columns, not {len(head)}" if cells else "the line is empty"
            else:
                yield place, (*(cells[at] for at in chosen), "")[:2], ""
    except csv.Error as error:
        hint = "a quote that is not closed?" if "end of data" in str(error) else error
        raise DataError(f"{name}:{began} can't be read as CSV: {hint}") from None


def _columns(place, head, text, label):
    """The places of the columns of texts and, where they are asked for, labels."""
    for option, wanted in (("text", text), *([("label", label)] if label else [])):
        if wanted not in head:
            near = nearest(wanted, head, count=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise DataError(
                f"{place} has no {wanted!r}{hint}; it has {few([cell[:40] for cell in head])}\n"
                f"--config.data.{option}=… says what the {option} stands under"
            )
    return [head.index(wanted) for wanted in (text, label) if wanted]


def texts_below(directory: str) -> list[str]:
    """The .txt files in a directory, sorted, hidden ones left out."""
    with os.scandir(directory) as entries:
        found = [e.name for e in entries if not e.name.startswith(".") and e.is_file()]
    return sorted(name for name in found if name.lower().endswith(".txt"))
