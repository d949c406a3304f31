"""What came of a sweep, as rows: overrides, how far each point is, the last metrics of every split. Needs no jax."""

import dataclasses
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnjax import config as sections
from cnnjax.config import ConfigError
from cnnjax.runs.json_files import read_status
from cnnjax.runs.lines import RESERVED, faults_of, is_number, lines_of, more_is_better, split_of
from cnnjax.runs.summaries import Summary, as_latex, as_markdown, deviation_of, summed_up
from cnnjax.runs.tables import aligned, as_csv
from cnnjax.sweep.lineage import Lineage, described, lineages
from cnnjax.sweep.listing import listing

__all__ = ["Table", "table_of"]

_CONDITION = re.compile(r"([^=<>!]+?)\s*(!=|<=|>=|=|<|>)\s*(.*)")


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of a sweep, the best first by `metric`; `varied` are the paths that the points override.

    Of a population a row has the numbers that its member ended with, in `path` those on the way to them, and `paths`
    has the same by point: (step, numbers from there on). `notes` say what is damaged in the files of points.
    """

    rows: tuple[Mapping[str, Any], ...]
    varied: tuple[str, ...]
    metric: str
    higher: bool
    paths: Mapping[str, Lineage] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """The columns that any row has something in, in the order of reading."""
        first = ["point", *self.varied, *["path"] * any("path" in row for row in self.rows), "status", "step"]
        rest = sorted({key for row in self.rows for key in row} - set(first), key=lambda key: (key != self.metric, key))
        return [*first, *rest]

    @property
    def shown(self) -> list[str]:
        """The columns that are printed: all but the metrics of training, which are many."""
        return [name for name in self.columns if name in self.varied or not name.startswith("train.")]

    def text(self) -> str:
        """The table for a terminal: overrides, status and the metrics of eval and test."""
        return aligned(*self.cells, left=1)

    @property
    def cells(self) -> tuple[list[str], list[list[str]]]:
        """The head and the rows of what is printed, as texts."""
        return self.shown, [[_readable(row.get(name, "")) for name in self.shown] for row in self.rows]

    def as_csv(self) -> str:
        """The table with all its columns as CSV."""
        return as_csv(self.columns, [[row.get(name, "") for name in self.columns] for row in self.rows])

    def as_markdown(self) -> str:
        """The table for a README."""
        return as_markdown(*self.cells)

    def as_latex(self) -> str:
        """The table for a paper, by the package booktabs."""
        return as_latex(*self.cells, left=1)

    def summary(self) -> Summary:
        """Points that are equal but for their seeds as one row, the best first: mean ± deviation of each metric."""
        names = [name for name in self.columns if name.startswith(("eval.", "test.")) and name not in self.varied]
        names = [name for name in names if not name.partition(".")[2].startswith(("raw_", "iou_"))]
        names = sorted(dict.fromkeys([self.metric, *names]), key=lambda name: name != self.metric)
        told = (*self.varied, *["point"] * bool(self.paths))  # members that copied one another are no repetitions
        found = summed_up([({path: row.get(path) for path in told}, row) for row in self.rows], names)
        measured = [row for row in found.rows if self.metric in row.metrics]
        measured.sort(key=lambda row: row.metrics[self.metric].mean, reverse=self.higher)
        return dataclasses.replace(found, rows=tuple(measured))

    def over_seeds(self) -> list[dict[str, Any]]:
        """Rows over seeds: mean, spread (standard deviation) and count of the metric of points equal but for seeds."""
        found = []
        for row in self.summary().rows:
            values = row.metrics[self.metric].values
            numbers = {"mean": statistics.fmean(values), "spread": deviation_of(values), "count": len(values)}
            found.append({**row.options, **numbers})
        return found


def table_of(workdir: str | Path, *, sort: str = "", where: Sequence[str] = ()) -> Table:
    """The points of a sweep that fulfil all conditions (`optimizer.lr<0.1`), best first by the column `sort`.

    By default that is the last headline metric of the eval split, or of test where nothing is held out. Which it is
    and whether more of it is better, the runs say; of a loss less is better. Of anything else the most stands first; a
    minus before `sort` puts the least first.
    """
    points = listing(workdir)["points"]
    varied = tuple(dict.fromkeys(name for point in points for name in point["overrides"]))
    statuses = [read_status(Path(workdir) / point["name"]) for point in points]
    notes = [fault for point in points for fault in faults_of(Path(workdir) / point["name"])]
    lines = {point["name"]: lines_of(Path(workdir) / point["name"]) for point in points}
    paths = lineages({point["name"]: point["overrides"] for point in points}, lines)
    rows = [
        _row(point, status, lines[point["name"]], paths.get(point["name"], ()))
        for point, status in zip(points, statuses, strict=True)
    ]
    told = {status["metric"]: bool(status["higher"]) for status in statuses if {"metric", "higher"} <= status.keys()}
    metric = sort.removeprefix("-") or _headline(rows, varied, told)
    known = {key for row in rows for key in row} or {"point"}
    sections.one_of(metric, sorted(known), path="--sort") if sort else None
    higher = not sort.startswith("-") and (metric in varied or _higher(metric, told))
    for condition in where:
        rows = [row for row in rows if _holds(row, condition, known)]
    rows.sort(key=lambda row: _order(row.get(metric), higher))
    return Table(tuple(rows), varied, metric, higher, paths, tuple(notes))


def _row(point: Mapping, status: Mapping, lines: Sequence[Mapping], path: Lineage) -> dict[str, Any]:
    row: dict[str, Any] = {"point": point["name"], **point["overrides"]}
    row |= {"status": status.get("status", "new"), "step": 0}
    if path:  # the folder has the name of what the member began with
        row |= {**path[-1][1], "path": described(path)}
    for line in lines:
        if split := split_of(line):
            row["step"] = max(row["step"], line["step"])
            row |= {f"{split}.{name}": value for name, value in line.items() if name not in RESERVED}
    return row


def _headline(rows: Sequence[Mapping], varied: Sequence[str], told: Mapping[str, bool]) -> str:
    """The metric that the rows are compared by: of eval where there is one; what a run calls its headline, if any does.

    Before the first has said so: the first that is not the loss, nor what every step reports.
    """
    keys = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in varied]
    for split in ("eval.", "test.", "train."):
        names = [key for key in keys if key.startswith(split) and not key.startswith(f"{split}raw_")]
        said = [f"{split}{name}" for name in told if f"{split}{name}" in names]
        best = [name for name in names if not name.endswith(("loss", "_norm", ".lr", "bad_updates"))]
        if names:
            return [*said, *best, *names][0]
    return "step"


def _higher(column: str, told: Mapping[str, bool]) -> bool:
    """Whether more of a column (`eval.accuracy`) is better: as the runs say, and not where it is a loss."""
    return more_is_better(column.partition(".")[2], told)


def _holds(row: Mapping, condition: str, known: set) -> bool:
    match = _CONDITION.fullmatch(condition)
    if not match:
        raise ConfigError(f"--where={condition}: write NAME=VALUE, NAME<VALUE or NAME>VALUE, several with commas")
    name, sign, wanted = match.groups()
    value = row.get(sections.one_of(name, sorted(known), path="--where"))
    if is_number(value):
        try:
            wanted = float(wanted)
        except ValueError:
            raise ConfigError(f"--where={condition}: {name} is a number, {wanted!r} is none") from None
    elif sign not in ("=", "!="):
        return False
    else:
        value = str(value)
    return {
        "=": value == wanted, "!=": value != wanted, "<": value < wanted, ">": value > wanted,
        "<=": value <= wanted, ">=": value >= wanted,
    }[sign]  # fmt: skip


def _order(value: Any, higher: bool) -> tuple:
    """Numbers first, the best of them first."""
    if not is_number(value):
        return (1, str(value))
    return (0, -value if higher else value)


def _readable(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if 0.001 <= abs(value) < 100 or value == 0 else f"{value:.4g}"
    return "nan" if value is None else str(value)
