"""Pictures of a sweep, each a matplotlib figure made from its table."""

import statistics
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator

from cnnjax.runs.curves import INK, dressed
from cnnjax.runs.lines import curves_of, is_number
from cnnjax.runs.summaries import SEEDS, deviation_of, short_names, short_value
from cnnjax.sweep.table import Table

__all__ = ["draw_against", "draw_importance", "draw_learning", "draw_parallel", "draw_paths", "share_of_variance"]

_NAMED = 8  # lines that a legend has; what is left is grey
_COLORS = colormaps["viridis"]


def draw_parallel(table: Table) -> Figure:
    """A line for each point through all that it overrides to its metric; light lines are the best."""
    columns = [*table.varied, table.metric]
    names = [_wrapped(name, 14) for name in (*short_names(table.varied), table.metric)]
    axes = _axes((1.8 * max(3, len(columns)), 4.2), f"{table.metric} of all points")
    rows = _measured(table)
    places = {name: _scale([row.get(name) for row in rows]) for name in columns}
    for rank, (row, color) in enumerate(zip(reversed(rows), _shades(len(rows)), strict=True)):
        aside = 0.06 * (rank / max(1, len(rows) - 1) - 0.5)  # lines of one value lie side by side, the best on top
        heights = [places[name](row.get(name)) + aside * (name != table.metric) for name in columns]
        axes.plot(range(len(columns)), heights, color=color, alpha=0.8, linewidth=1.4)
    for x, name in enumerate(columns):
        axes.axvline(x, color=INK, linewidth=0.8, zorder=0)
        for place, value in _apart({places[name](value): value for value in _ticks([row.get(name) for row in rows])}):
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
            axes.text(x + 0.04, place, short_value(value), fontsize=8, color=INK, va="center", bbox=box)
    axes.set_xticks(range(len(columns)), names, fontsize=9)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    if len(rows) > 1:
        marks = [
            Line2D([], [], color=color, label=label) for color, label in zip(_shades(2), ("worst", "best"), strict=True)
        ]
        axes.legend(handles=marks, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False, fontsize=8)
    return axes.figure


def _apart(places: Mapping[float, Any], gap: float = 0.05) -> list[tuple[float, Any]]:
    """Heights with their values, without those that would stand on another; the ends stay."""
    kept = []
    for place in sorted(places):
        if not kept or place - kept[-1] >= gap:
            kept.append(place)
        elif place == max(places):
            kept[-1] = place
    return [(place, places[place]) for place in kept]


def draw_against(table: Table, path: str = "") -> Figure:
    """The metric against what the points override, by default a learning rate or the first number.

    Over seeds it is the mean with a band of ± a standard deviation. What is no number, a kind of pooling say, has a
    place for each value, and seeds are bars.
    """
    path = path or _main_path(table)
    numeric = bool(path) and all(is_number(row.get(path)) for row in table.rows)
    axes = _axes((6.4, 4.2), f"{table.metric} against {path or 'nothing'}")
    places = {word: i for i, word in enumerate(dict.fromkeys(_ordered(row.get(path) for row in table.rows)))}
    lines: dict[str, dict[float, list]] = {}
    for row in _measured(table) if path else []:
        key = _label(table, row, without=path)
        place = row[path] if numeric else places[short_value(row.get(path))]
        lines.setdefault(key, {}).setdefault(place, []).append(row[table.metric])
    for rank, (values, style) in enumerate(zip(lines.values(), _styles(list(lines)), strict=True)):
        x = sorted(values)
        middle, spread = (np.array([of(values[place]) for place in x]) for of in (statistics.fmean, deviation_of))
        if numeric:
            axes.plot(x, middle, marker="o", markersize=4, **style)
            axes.fill_between(x, middle - spread, middle + spread, color=style["color"], alpha=0.18, lw=0)
        else:
            x = [place + 0.4 * ((rank + 0.5) / len(lines) - 0.5) for place in x]
            axes.plot(x, middle, marker="o", markersize=4, linestyle="none", **style)
            axes.vlines(x, middle - spread, middle + spread, color=style["color"], linewidth=1.4)
    if numeric:
        _scale_axis(axes, sorted({place for values in lines.values() for place in values}))
    else:
        axes.set_xticks(range(len(places)), [textwrap.fill(word, 60 // max(len(places), 1)) for word in places])
    axes.set_xlabel(path, color=INK)
    _explain(axes, lines)
    return axes.figure


def _ordered(values: Iterable[Any]) -> list[str]:
    """Values in few letters, numbers among them by their size."""
    return [
        short_value(value) for value in sorted(values, key=lambda v: (0, v, "") if is_number(v) else (1, 0, str(v)))
    ]


def _scale_axis(axes, values: Sequence[float]) -> None:
    """An axis of these values: logarithmic over a decade; a few of them are its ticks, as far apart as their texts."""
    if not values:
        return
    log = values[0] > 0 and values[-1] >= 10 * values[0]
    if log:
        axes.set_xscale("log")
    if not log and len(values) > 8:
        return
    width, ends = axes.figure.get_figwidth() * 0.85, [values[0], values[-1]]
    place = (lambda v: np.log(v / ends[0]) / np.log(ends[1] / ends[0])) if log else (lambda v: v - ends[0])
    scale = width if log else width / max(ends[1] - ends[0], 1e-30)
    kept: list[float] = []
    for value in values:
        if not kept or scale * (place(value) - place(kept[-1])) >= 0.05 * (len(_tick(value)) + len(_tick(kept[-1]))):
            kept.append(value)
    axes.set_xticks(kept, [_tick(value) for value in kept])
    axes.xaxis.set_minor_locator(NullLocator())


def _tick(value: float) -> str:
    return f"{value:.3g}"


def _main_path(table: Table) -> str:
    """The override that says most in a picture: a learning rate, another number, anything, or else a seed."""
    paths = [name for name in table.varied if name not in SEEDS]
    numbers = [name for name in paths if all(is_number(row.get(name)) for row in table.rows)]
    rates = [name for name in numbers if name.endswith("lr")]
    return next(iter([*rates, *numbers, *paths, *table.varied]), "")


def draw_learning(table: Table, workdir: str | Path, name: str = "") -> Figure:
    """The course of a metric (by default the table's): the mean over seeds, with a band of ± a standard deviation."""
    name = name or table.metric
    axes = _axes((6.4, 4.2), f"{name} while training")
    groups: dict[str, dict[int, list]] = {}
    for row in _measured(table):  # the best first
        courses = groups.setdefault(_label(table, row), {})
        for step, value in zip(*curves_of(Path(workdir) / row["point"], name), strict=True):
            courses.setdefault(step, []).append(value)
    styles = _styles(list(groups))
    for courses, style in reversed(list(zip(groups.values(), styles, strict=True))):
        steps = sorted(courses)
        middle, spread = (np.array([of(courses[step]) for step in steps]) for of in (statistics.fmean, deviation_of))
        axes.plot(steps, middle, linewidth=1.5, marker="o" if len(steps) == 1 else "", **style)
        axes.fill_between(steps, middle - spread, middle + spread, color=style["color"], alpha=0.15, lw=0)
    axes.set_xlabel("step", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _explain(axes, groups)
    return axes.figure


def draw_paths(table: Table, path: str = "") -> Figure:
    """The numbers that a population's members went through, by step, as their weights did; light lines are the best."""
    names = list(dict.fromkeys(name for steps in table.paths.values() for _, numbers in steps for name in numbers))
    path = path or next((name for name in names if name.endswith("lr")), names[0] if names else "")
    axes = _axes((6.4, 4.2), f"{path} on the way to each member")
    rows = [row for row in _measured(table) if row["point"] in table.paths]
    values = []
    for rank, (row, color) in enumerate(zip(reversed(rows), _shades(len(rows)), strict=True)):
        steps = [(step, numbers[path]) for step, numbers in table.paths[row["point"]] if path in numbers]
        x = [step for step, _ in steps] + [max(row["step"], steps[-1][0])]
        y = [value for _, value in steps] + [steps[-1][1]]
        best = rank == len(rows) - 1
        told = f"the best, {short_value(row[table.metric])}" if best else ""
        axes.step(x, y, where="post", color=color, linewidth=2.4 if best else 1.3, label=told)
        values += y
    if values and min(values) > 0 and max(values) >= 10 * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("step", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if rows:
        axes.legend(frameon=False, fontsize=8, labelcolor=INK, loc="best")
    return axes.figure


def _label(table: Table, row: Mapping, *, without: str = "") -> str:
    """What tells a point from those that differ in more than seeds (and in `without`); a population repeats nothing."""
    paths = [name for name in table.varied if name not in (without, *(() if table.paths else SEEDS))]
    paths = [name for name in paths if len({str(other.get(name)) for other in table.rows}) > 1]
    names = zip(short_names(paths), paths, strict=True)
    return ", ".join(f"{name} {short_value(row.get(path))}" for name, path in names)


def _styles(labels: Sequence[str]) -> list[dict]:
    """A colour for each line, and its name in the legend; of many, the first have names and the rest are grey."""
    named = len(labels) if len(labels) <= _NAMED + 1 else _NAMED
    shades = _shades(named)[::-1]
    first = [{"color": color, "label": label} for color, label in zip(shades, labels, strict=False)]
    rest = [{"color": "#c3c9d2", "label": "", "zorder": 1} for _ in labels[named:]]
    if rest:
        rest[0]["label"] = f"{len(rest)} others"
    return first + rest


def _explain(axes, lines: Mapping) -> None:
    """A legend below the axes, where it can cover nothing."""
    if len(lines) <= 1:
        return
    longest = max(map(len, lines))
    columns = max(1, min(4, int(axes.figure.get_figwidth() * 12 / (longest + 6))))
    rows = -(-min(len(lines), _NAMED + 1) // columns)
    style = {"frameon": False, "fontsize": 8, "labelcolor": INK, "ncols": columns, "handlelength": 1.4}
    axes.figure.set_figheight(axes.figure.get_figheight() + 0.18 * rows)
    marks = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    order = sorted(marks, key=lambda label: list(lines).index(label) if label in lines else len(lines))
    axes.figure.legend([marks[label] for label in order], order, loc="outside lower center", **style)


def _wrapped(name: str, width: int) -> str:
    """A name in lines of so many letters, which break behind dots."""
    return textwrap.fill(name.replace(".", ". "), width).replace(". ", ".")


def draw_importance(table: Table) -> Figure:
    """The share of the metric's variance that each override explains by itself."""
    shares = sorted(share_of_variance(table).items(), key=lambda item: item[1])
    axes = _axes((6.4, 1.2 + 0.45 * max(2, len(shares))), f"share of the variance of {table.metric}")
    names = [_wrapped(name, 28) for name, _ in shares]
    bars = axes.barh(names, [share for _, share in shares], color=_COLORS(0.35), height=0.6)
    axes.bar_label(bars, [f"{share:.0%}" for _, share in shares], padding=4, color=INK, fontsize=9)
    axes.set_xlim(0, 1.1)
    return axes.figure


def share_of_variance(table: Table) -> dict[str, float]:
    """For each override, the variance between its values (quartiles, where there are many) over all variance.

    One factor at a time: what two of them do together counts for neither.
    """
    rows = _measured(table)
    measured = np.array([row[table.metric] for row in rows], float)
    total = float(((measured - measured.mean()) ** 2).sum()) if len(rows) else 0.0
    shares = {}
    for name in table.varied:
        groups = _groups([row.get(name) for row in rows])
        between = sum(
            (groups == group).sum() * (measured[groups == group].mean() - measured.mean()) ** 2
            for group in np.unique(groups)
        )
        shares[name] = float(between / total) if total > 0 else 0.0
    return shares


def _groups(values: Sequence[Any]) -> np.ndarray:
    """A number for each value: those of one are the same value, or of the same quarter."""
    if len(set(map(str, values))) > 8 and all(map(is_number, values)):
        return np.searchsorted(np.quantile(np.asarray(values, float), (0.25, 0.5, 0.75)), values)
    known = {text: i for i, text in enumerate(dict.fromkeys(map(str, values)))}
    return np.array([known[str(value)] for value in values], int)


def _measured(table: Table) -> list[Mapping]:
    return [row for row in table.rows if is_number(row.get(table.metric))]


def _scale(values: Sequence[Any]):
    """A function from a value to its height in [0, 1]; numbers over decades by their logarithm."""
    if values and all(map(is_number, values)):
        low, high = min(values), max(values)
        if low > 0 and high >= 30 * low:
            return lambda v: float(np.log(v / low) / np.log(high / low))
        return lambda v: float((v - low) / (high - low)) if high > low else 0.5
    words = sorted(set(map(str, values)))
    return lambda v: words.index(str(v)) / max(1, len(words) - 1)


def _ticks(values: Sequence[Any]) -> list:
    """The values that an axis names: all of few, the ends and the middle of many."""
    different = sorted(set(values)) if all(map(is_number, values)) else list({str(v): v for v in values}.values())
    return different if len(different) <= 12 else [different[0], different[len(different) // 2], different[-1]]


def _shades(count: int) -> list:
    """Colours from dark to light."""
    return [_COLORS(0.1 + 0.8 * i / max(1, count - 1)) for i in range(count)]


def _axes(size: tuple[float, float], title: str):
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return dressed(figure.subplots(), title)
