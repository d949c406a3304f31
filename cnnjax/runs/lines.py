"""The one reader of `metrics.jsonl`, of runs that are finished, broken off, or being written. Needs no jax."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnjax.archives import regular
from cnnjax.fields import is_error
from cnnjax.runs._sealed import line_of, read_log
from cnnjax.runs.json_files import read_status

__all__ = [
    "COUNTS",
    "RESERVED",
    "counted",
    "curves_of",
    "faults_of",
    "is_number",
    "lines_of",
    "more_is_better",
    "newest_lines",
    "series_of",
    "split_of",
]

COUNTS = ("measured", "examples")
"""Of how many examples the metrics are, and how many there were, where some could not be read."""

RESERVED = ("step", "kind", "split", "name", "epoch", "time", "not_finite")
"""The words of a line that are no metrics."""


def _bytes(path: Path) -> bytes:
    with regular(path) as file:
        return file.read()


def counted(metrics: Mapping[str, Any]) -> str:
    """How many of how many examples metrics are of, in words; "" where they are of all."""
    return "measured {} of {}".format(*(metrics[name] for name in COUNTS)) if COUNTS[0] in metrics else ""


def lines_of(workdir: str | Path) -> list[dict[str, Any]]:
    """The whole lines of a run in the order of writing; `faults_of` says what else there is."""
    try:
        text = _bytes(Path(workdir) / "metrics.jsonl")
    except (OSError, ValueError):
        return []
    return [dict(entry.line) for entry in read_log(text).entries]


def newest_lines(workdir: str | Path, count: int) -> list[dict[str, Any]]:
    """The last few lines of a run that is being written."""
    try:
        text = _bytes(Path(workdir) / "metrics.jsonl")
    except (OSError, ValueError):
        return []
    return [line for line in map(line_of, text.splitlines()[-count:]) if line]


def faults_of(workdir: str | Path) -> list[str]:
    """What is wrong with the `metrics.jsonl` and the `status.json` of a run, in words; [] where nothing is."""
    status, path = read_status(workdir), Path(workdir) / "metrics.jsonl"
    found = [f"{Path(workdir) / 'status.json'} is unreadable"] if status.get("status") == "unreadable" else []
    least = status.get("lines", 0) if status.get("status") in ("complete", "pruned") else 0
    try:
        text = _bytes(path)
    except FileNotFoundError:
        text = b""
    except (OSError, ValueError) as error:
        return [*found, f"{path} can't be read: {getattr(error, 'strerror', error)}"]
    return [*found, *(f"{path}: {fault}" for fault in read_log(text, least=least).faults)]


def split_of(line: Mapping[str, Any]) -> str:
    """The split that the metrics of a line are of (`train`, `eval`, `test`); "" for an event."""
    return line.get("split") or (line["kind"] if line["kind"] in ("train", "eval") else "")


def series_of(lines: Sequence[Mapping[str, Any]], name: str) -> dict[str, tuple[list[int], list[float]]]:
    """Steps and values of a metric by split, without what is not finite."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for line in lines:
        if (split := split_of(line)) and is_number(line.get(name)):
            steps, values = found.setdefault(split, ([], []))
            steps.append(line["step"])
            values.append(line[name])
    return found


def curves_of(workdir: str | Path, name: str) -> tuple[list[int], list[float]]:
    """Steps and values of a metric (`eval.accuracy`, `train.loss`) of a run."""
    split, _, metric = name.partition(".")
    return series_of(lines_of(workdir), metric).get(split, ([], []))


def more_is_better(metric: str, told: Mapping[str, bool]) -> bool:
    """Whether more of a metric (`accuracy`, `raw_accuracy`) is better: as runs have told of it, else by its name.

    `told` says it of the headlines of tasks, by name.
    """
    name = metric.removeprefix("raw_")
    return told.get(name, not is_error(name))


def is_number(value: Any) -> bool:
    """Whether a value is a number, and finite."""
    kind = isinstance(value, int | float) and not isinstance(value, bool)
    return kind and abs(value) <= sys.float_info.max  # also where a whole number is beyond all floats
