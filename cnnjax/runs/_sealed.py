"""How the lines of `metrics.jsonl` are numbered and sealed, so that no damage to them goes unseen. Needs no jax.

A line's `time` holds its number in the file and a checksum of all before it: a line that is changed, lost, doubled or
moved is found, and the others are known to be whole. Files of earlier releases have lines without seals, which count
by their place; once a run goes on, all of its lines are sealed.
"""

import dataclasses
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

LOST = "lines lost"
"""The event by which a file itself tells which of its lines are lost: (first, last) in `lines`, in words in `lost`."""

_SEAL = re.compile(rb'(\{.*), "crc32": "([0-9a-f]{8})"\}\}', re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A whole line: its number in the file, its bytes with their end, what it says."""

    number: int
    raw: bytes
    line: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Log:
    """The whole lines of a file by number, those that are `lost` (first, last, in words), what else is wrong with it.

    What the file itself tells to be lost is not said again.
    """

    entries: tuple[Entry, ...]
    lost: tuple[tuple[int, int, str], ...]
    oddities: tuple[str, ...]

    @property
    def faults(self) -> tuple[str, ...]:
        """All that is wrong, in words."""
        return (*(words for *_, words in self.lost), *self.oddities)


def sealed(line: Mapping[str, Any], number: int) -> bytes:
    """A line as it stands in the file, with its number and its checksum as the last words of its `time`."""
    rest = {key: value for key, value in line.items() if key != "time"}
    body = json.dumps({**rest, "time": {**line.get("time", {}), "line": number}}, allow_nan=False)[:-2].encode()
    return body + b', "crc32": "%08x"}}\n' % zlib.crc32(body)


def line_of(text: bytes) -> dict[str, Any]:
    """What a text says, if it is a line of a run; else {}."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(content, dict) or type(content.get("step")) is not int:
        return {}
    if not 0 <= content["step"] < 2**63:
        return {}
    words = all(isinstance(content.get(key, ""), str) for key in ("kind", "split", "name"))
    return content if words and "kind" in content and isinstance(content.get("time", {}), dict) else {}


def read_log(text: bytes, *, least: int = 0) -> Log:
    """The lines of a file; what is torn at its end may be just being written.

    `least` is how many sealed lines were written at least, 0 where that is not known.
    """
    whole: dict[int, Entry] = {}
    order, twice, strays = [], [], 0
    *chunks, end = text.split(b"\n")
    chunks += [end] if line_of(end) else []
    strict = least > 0 or any(map(_SEAL.fullmatch, chunks))
    for place, chunk in enumerate(chunks, 1):
        line = _intact(chunk) if strict else line_of(chunk)
        number = line.get("time", {}).get("line") if strict else place
        if not line or type(number) is not int:
            strays += 1
        elif number in whole:
            twice.append(f"line {number} (step {line['step']}) stands there twice")
        else:
            whole[number] = Entry(number, chunk + b"\n", line)
            order.append(number)
    entries = tuple(whole[number] for number in sorted(whole))
    missing = sorted(set(range(1, max([least, *whole]) + 1)) - whole.keys())
    told = [ends for entry in entries if strict and entry.line.get("name") == LOST for ends in entry.line["lines"]]
    oddities = [*twice, *(["lines stand in another order"] if order != sorted(order) else [])]
    if (more := strays - len(missing)) > 0:
        oddities.append(f"{more} piece{'s are no lines' if more > 1 else ' is no line'} of a run")
    untold = [number for number in missing if not any(first <= number <= last for first, last in told)]
    return Log(entries, tuple(_described(untold, entries)), tuple(oddities))


def _intact(chunk: bytes) -> dict[str, Any]:
    """What a sealed line says; {} where it is not as it was written."""
    seal = _SEAL.fullmatch(chunk)
    return line_of(chunk) if seal and zlib.crc32(seal[1]) == int(seal[2], 16) else {}


def _described(missing: Sequence[int], entries: Sequence[Entry]) -> list[tuple[int, int, str]]:
    """Runs of missing numbers, with the steps between which they stood."""
    runs: list[list[int]] = []
    for number in missing:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    found = []
    for first, last in runs:
        before = next((entry.line["step"] for entry in reversed(entries) if entry.number < first), None)
        behind = next((entry.line["step"] for entry in entries if entry.number > last), None)
        if before is None and behind is None:
            where = "all there were"
        elif before is None:
            where = f"before step {behind}"
        else:
            where = f"after step {before}" if behind is None else f"between steps {before} and {behind}"
        which, verb = (f"line {first}", "is") if first == last else (f"lines {first} to {last}", "are")
        found.append((first, last, f"{which} ({where}) {verb} lost"))
    return found
