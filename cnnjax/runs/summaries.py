"""The table of a paper: runs that are alike but for their seeds as one row, mean ± standard deviation of each metric.

Rows are told apart by what differs between them alone. Needs no jax.
"""

import dataclasses
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from cnnjax.fields import is_error
from cnnjax.runs.lines import is_number
from cnnjax.runs.tables import aligned, as_csv

__all__ = [
    "FORMATS",
    "SEEDS",
    "Row",
    "Spread",
    "Summary",
    "as_latex",
    "as_markdown",
    "deviation_of",
    "short_names",
    "short_value",
    "summed_up",
]

SEEDS = ("seed", "data.seed", "data.fold")
"""Options that tell repetitions of one experiment apart."""

_LATEX = {**{sign: f"\\{sign}" for sign in "%$#_{}&"}, "\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
_LATEX |= {"^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--", "×": r"$\times$", "→": r"$\to$"}


@dataclasses.dataclass(frozen=True)
class Spread:
    """The values of a metric of one experiment's repetitions; `share` says that it is shown in percent."""

    values: tuple[float, ...]
    share: bool

    @property
    def mean(self) -> float:
        """Their mean."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float:
        """Their standard deviation, NaN of a single one."""
        return deviation_of(self.values) if len(self.values) > 1 else math.nan

    def __str__(self):
        factor, digits = (100, 2) if self.share else (1, 4)
        spread = f" ± {factor * self.deviation:.{digits}f}" if len(self.values) > 1 else ""
        return f"{factor * self.mean:.{digits}f}{spread}"


@dataclasses.dataclass(frozen=True)
class Row:
    """One experiment: what tells it from the others, its metrics, how many repetitions it has."""

    options: Mapping[str, Any]
    metrics: Mapping[str, Spread]
    count: int


@dataclasses.dataclass(frozen=True)
class Summary:
    """Rows, in the order of reading; `paths` are the options that differ between them, `metrics` what is measured."""

    rows: tuple[Row, ...]
    paths: tuple[str, ...]
    metrics: tuple[str, ...]

    @property
    def cells(self) -> tuple[list[str], list[list[str]]]:
        """The head and the rows as texts: short names of the options, metrics as mean ± deviation, n."""
        percent = {name for row in self.rows for name, value in row.metrics.items() if value.share}
        names = [f"{name}, %" if name in percent else name for name in self.metrics]
        rows = [
            [
                *(short_value(row.options.get(path)) for path in self.paths),
                *(str(row.metrics.get(name, "")) for name in self.metrics),
                str(row.count),
            ]
            for row in self.rows
        ]
        return [*short_names(self.paths), *names, "n"], rows

    def text(self) -> str:
        """The table for a terminal."""
        return aligned(*self.cells, left=len(self.paths))

    def as_markdown(self) -> str:
        """The table for a README."""
        return as_markdown(*self.cells)

    def as_latex(self) -> str:
        """The table for a paper, by the package booktabs."""
        return as_latex(*self.cells, left=len(self.paths))

    def as_csv(self) -> str:
        """The table with whole paths and numbers, mean and deviation in columns of their own."""
        names = [word for name in self.metrics for word in (name, f"{name} deviation")]
        rows = []
        for row in self.rows:
            found = [row.metrics.get(name) for name in self.metrics]
            numbers = [n for value in found for n in ((value.mean, value.deviation) if value else ("", ""))]
            numbers = ["" if number != number else number for number in numbers]
            rows.append([*(row.options.get(path, "") for path in self.paths), *numbers, row.count])
        return as_csv([*self.paths, *names, "n"], rows)


FORMATS = {"csv": "as_csv", "markdown": "as_markdown", "latex": "as_latex"}
"""The methods that write a summary, or the table of a sweep, by the names of the flags that ask for it."""


def summed_up(runs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], metrics: Sequence[str]) -> Summary:
    """The summary of runs, each (its options by path, its metrics); those of equal options but for seeds make a row."""
    groups: dict[str, list] = {}
    for options, found in runs:
        own = {path: value for path, value in options.items() if path not in SEEDS}
        groups.setdefault(repr(sorted(own.items())), []).append((own, found))
    shares = {name: _is_share(name, [found.get(name) for _, found in runs]) for name in metrics}
    rows = []
    for group in groups.values():
        values = {name: tuple(found[name] for _, found in group if is_number(found.get(name))) for name in metrics}
        spreads = {name: Spread(numbers, shares[name]) for name, numbers in values.items() if numbers}
        rows.append(Row(group[0][0], spreads, max((len(numbers) for numbers in values.values()), default=0)))
    measured = tuple(name for name in metrics if any(name in row.metrics for row in rows))
    return Summary(tuple(rows), _telling([row.options for row in rows]), measured)


def deviation_of(values: Sequence[float]) -> float:
    """The standard deviation of values, 0 of fewer than two."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _is_share(name: str, values: Sequence[Any]) -> bool:
    """Whether a metric is a share, and no loss, nor error in a unit of its own, that happens to be small."""
    numbers = [value for value in values if is_number(value)]
    told = not is_error(name) or name.endswith("error")
    return bool(numbers) and told and all(0 <= value <= 1 for value in numbers)


def _telling(options: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The paths that tell rows apart: without the options of sections that are named apart, if that is enough."""
    paths = dict.fromkeys(path for each in options for path in each)
    differing = [path for path in paths if len({repr(each.get(path)) for each in options}) > 1]
    named = [path.removesuffix("name") for path in differing if path.endswith(".name")]
    few = [p for p in differing if p.endswith(".name") or not p.startswith(tuple(named))]
    told = {repr([each.get(path) for path in few]) for each in options}
    return tuple(few if len(told) == len(options) else differing)


def short_names(paths: Sequence[str]) -> list[str]:
    """Each path by as few of its last words as tell it from the others: `lr`, or `optimizer.lr` beside `head.lr`."""
    words = [path.removesuffix(".name").split(".") for path in paths]
    names = []
    for own in words:
        count = 1
        while count < len(own) and sum(other[-count:] == own[-count:] for other in words) > 1:
            count += 1
        names.append(".".join(own[-count:]))
    return names


def short_value(value: Any) -> str:
    """A value in few letters; a dash for what is not given."""
    if isinstance(value, tuple | list):
        return "+".join(map(short_value, value)) or "none"
    return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value) or "none"


def as_markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells as a table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in lines) + "\n"


def as_latex(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> str:
    """Cells as a table of LaTeX, by the package booktabs; the first `left` columns are texts, the others numbers."""
    lines = [" & ".join(map(_escaped, cells)) + r" \\" for cells in (head, *rows)]
    columns = "l" * left + "r" * (len(head) - left)
    body = [lines[0], r"\midrule", *lines[1:]]
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *body, r"\bottomrule", r"\end{tabular}", ""])


def _escaped(text: str) -> str:
    return re.sub("|".join(map(re.escape, _LATEX)), lambda match: _LATEX[match[0]], text)
