"""What came of a sweep, as rows: overrides, how far each point is, the last metrics of every split. Needs no jax."""

import contextlib
import csv
import dataclasses
import io
import json
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnjax import config as sections
from cnnjax.config import ConfigError
from cnnjax.runs.lines import RESERVED, is_number, lines_of, more_is_better, split_of

__all__ = ["Table", "as_csv", "as_markdown", "table_of"]

_CONDITION = re.compile(r"([^=<>!]+?)\s*(!=|<=|>=|=|<|>)\s*(.*)")


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of a sweep, the best first by `metric`; `varied` are the paths that the points override."""

    rows: tuple[Mapping[str, Any], ...]
    varied: tuple[str, ...]
    metric: str
    higher: bool

    @property
    def columns(self) -> list[str]:
        """The columns that any row has something in, in the order of reading."""
        first = ["point", *self.varied, "status", "step"]
        rest = sorted({key for row in self.rows for key in row} - set(first), key=lambda key: (key != self.metric, key))
        return [*first, *rest]

    @property
    def shown(self) -> list[str]:
        """The columns that are printed: all but the metrics of training, which are many."""
        return [name for name in self.columns if name in self.varied or not name.startswith("train.")]

    def text(self) -> str:
        """The table for a terminal: overrides, status and the metrics of eval and test."""
        shown = [name for name in self.shown if name != "point"]
        cells = [["point", *shown]] + [
            [str(row["point"]), *(_readable(row.get(name, "")) for name in shown)] for row in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
            for row in cells
        ]
        return "\n".join(line.rstrip() for line in lines)

    def over_seeds(self) -> list[dict[str, Any]]:
        """Rows over seeds: mean, spread (standard deviation) and count of the metric of points equal but for seeds."""
        groups: dict[tuple, list] = {}
        paths = [path for path in self.varied if path not in ("seed", "data.seed")]
        for row in self.rows:
            if is_number(row.get(self.metric)):
                groups.setdefault(tuple(str(row.get(path)) for path in paths), []).append(row)
        found = []
        for rows in groups.values():
            values = [row[self.metric] for row in rows]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            own = {path: rows[0].get(path) for path in paths}
            found.append({**own, "mean": statistics.fmean(values), "spread": spread, "count": len(values)})
        return sorted(found, key=lambda row: -row["mean"] if self.higher else row["mean"])


def table_of(workdir: str | Path, *, sort: str = "", where: Sequence[str] = ()) -> Table:
    """The points of a sweep that fulfil all conditions (`optimizer.lr<0.1`), best first by the column `sort`.

    By default that is the last headline metric of the eval split, or of test where nothing is held out. Which it is
    and whether more of it is better, the runs say; of a loss less is better. Of anything else the most stands first; a
    minus before `sort` puts the least first.
    """
    path = Path(workdir) / "sweep.json"
    if not path.exists():
        a_run = "; it holds a run, which evaluate measures" if (path.parent / "config.json").exists() else ""
        raise ConfigError(f"{workdir} holds no sweep (no sweep.json){a_run}; give the --workdir of one")
    try:
        points = json.loads(path.read_text())["points"]
    except (ValueError, KeyError) as error:
        raise ConfigError(f"{path} can't be read ({error}); give the sweep's --config again to write it anew") from None
    varied = tuple(dict.fromkeys(name for point in points for name in point["overrides"]))
    statuses = [_status(Path(workdir) / point["name"]) for point in points]
    rows = [_row(Path(workdir) / p["name"], p, status) for p, status in zip(points, statuses, strict=True)]
    told = {status["metric"]: bool(status["higher"]) for status in statuses if {"metric", "higher"} <= status.keys()}
    metric = sort.removeprefix("-") or _headline(rows, varied, told)
    known = {key for row in rows for key in row} or {"point"}
    sections.one_of(metric, sorted(known), path="--sort") if sort else None
    higher = not sort.startswith("-") and (metric in varied or _higher(metric, told))
    for condition in where:
        rows = [row for row in rows if _holds(row, condition, known)]
    rows.sort(key=lambda row: _order(row.get(metric), higher))
    return Table(tuple(rows), varied, metric, higher)


def as_csv(table: Table) -> str:
    """The table with all its columns as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([[row.get(name, "") for name in table.columns] for row in table.rows])
    return text.getvalue()


def as_markdown(table: Table) -> str:
    """The table for a README."""
    rows = ([_readable(row.get(name, "")) for name in table.shown] for row in table.rows)
    lines = [table.shown, ["---"] * len(table.shown), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def _status(workdir: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        return json.loads((workdir / "status.json").read_text())
    return {}


def _row(workdir: Path, point: Mapping, status: Mapping) -> dict[str, Any]:
    row: dict[str, Any] = {"point": point["name"], **point["overrides"]}
    row |= {"status": status.get("status", "new"), "step": 0}
    for line in lines_of(workdir):
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
