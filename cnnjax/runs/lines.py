"""The one reader of `metrics.jsonl`, of runs that are finished, broken off, or being written. Needs no jax."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "COUNTS",
    "RESERVED",
    "counted",
    "curves_of",
    "is_number",
    "lines_of",
    "more_is_better",
    "parsed",
    "series_of",
    "split_of",
]

COUNTS = ("measured", "examples")
"""Of how many examples the metrics are, and how many there were, where some could not be read."""

RESERVED = ("step", "kind", "split", "name", "epoch", "time", "not_finite")
"""The words of a line that are no metrics."""


def counted(metrics: Mapping[str, Any]) -> str:
    """How many of how many examples metrics are of, in words; "" where they are of all."""
    return "measured {} of {}".format(*(metrics[name] for name in COUNTS)) if COUNTS[0] in metrics else ""


def lines_of(workdir: str | Path, *, last: int = 0) -> list[dict[str, Any]]:
    """The whole lines of a run in the order of writing, or the `last` few; what is torn is left out."""
    try:
        text = (Path(workdir) / "metrics.jsonl").read_bytes()
    except FileNotFoundError:
        return []
    return parsed(text, last=last)


def parsed(text: bytes, *, last: int = 0) -> list[dict[str, Any]]:
    """The lines of a text, of its `last` few if so many are asked for, that are lines of a run."""
    return [line for line in map(_line, text.splitlines()[-last:]) if line]


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
    """Whether more of a metric (`accuracy`, `raw_accuracy`) is better: as runs have told of it; not of loss and error.

    `told` says it of the headlines of tasks, by name.
    """
    name = metric.removeprefix("raw_")
    return told.get(name, not name.endswith(("loss", "error")))


def is_number(value: Any) -> bool:
    """Whether a value is a number, and finite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _line(text: bytes) -> dict[str, Any]:
    """A line; {} where the text is none."""
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    whole = isinstance(content, dict) and isinstance(content.get("step"), int) and "kind" in content
    return content if whole else {}
