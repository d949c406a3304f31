"""Where the weights of a population's members come from, and with which numbers they were trained on the way."""

from collections.abc import Mapping, Sequence
from typing import Any

from cnnjax.runs.lines import is_number

__all__ = ["Lineage", "described", "lineages"]

type Lineage = Sequence[tuple[int, Mapping[str, float]]]


def lineages(points: Mapping[str, Mapping[str, Any]], lines: Mapping[str, Sequence[Mapping]]) -> dict[str, Lineage]:
    """(step, the numbers from there on) of each point whose weights were copied, the first at step 0.

    `points` holds each point's overrides, `lines` those of its `metrics.jsonl`. A member that copies another has that
    one's weights, so that what came before is the path of that one.
    """
    events: dict[int, list[tuple[str, Mapping]]] = {}
    for name, own in lines.items():
        for line in own:
            if line["kind"] == "event" and line.get("name") == "copied":
                events.setdefault(line["step"], []).append((name, line))
    paths = {name: [(0, _numbers(overrides))] for name, overrides in points.items()}
    for step, copies in sorted(events.items()):
        before = dict(paths)
        for name, line in copies:
            numbers = {path: value for path, value in line.items() if path in points[name] and is_number(value)}
            paths[name] = [*before.get(str(line.get("source")), []), (step, numbers)]
    return {name: path for name, path in paths.items() if len(path) > 1}


def _numbers(overrides: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in overrides.items() if is_number(value) and not name.endswith("seed")}


def described(path: Lineage) -> str:
    """A path in words: `0.0341 → 0.0427 (8) → 0.0027 (24)`, by the steps at which the numbers changed."""
    names = dict.fromkeys(name for _, numbers in path for name in numbers)
    told = []
    for name in names:
        values = [(step, numbers[name]) for step, numbers in path if name in numbers]
        words = " → ".join(f"{value:.4g}" + (f" ({step})" if step else "") for step, value in values)
        told.append(f"{name.rpartition('.')[2]} {words}" if len(names) > 1 else words)
    return "; ".join(told)
