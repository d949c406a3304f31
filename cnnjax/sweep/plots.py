"""Pictures of a sweep, each a matplotlib figure made from its table."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cnnjax.runs.curves import INK, dressed
from cnnjax.runs.lines import curves_of, is_number
from cnnjax.sweep.table import Table

__all__ = ["draw_against", "draw_importance", "draw_learning", "draw_parallel", "share_of_variance"]

_SEEDS = ("seed", "data.seed")
_COLORS = colormaps["viridis"]


def draw_parallel(table: Table) -> Figure:
    """A line for each point through all that it overrides to its metric; light lines are the best."""
    axes = _axes((1.8 * max(3, len(table.varied) + 1), 4.2), f"{table.metric} of all points")
    rows = _measured(table)
    columns = [*table.varied, table.metric]
    places = {name: _scale([row.get(name) for row in rows]) for name in columns}
    for rank, (row, color) in enumerate(zip(reversed(rows), _shades(len(rows)), strict=True)):
        aside = 0.06 * (rank / max(1, len(rows) - 1) - 0.5)  # lines of one value lie side by side, the best on top
        heights = [places[name](row.get(name)) + aside * (name != table.metric) for name in columns]
        axes.plot(range(len(columns)), heights, color=color, alpha=0.8, linewidth=1.4)
    for x, name in enumerate(columns):
        axes.axvline(x, color=INK, linewidth=0.8, zorder=0)
        for value in _ticks([row.get(name) for row in rows]):
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
            axes.text(x + 0.04, places[name](value), _short(value), fontsize=8, color=INK, va="center", bbox=box)
    axes.set_xticks(range(len(columns)), columns, fontsize=9)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    return axes.figure


def draw_against(table: Table, path: str = "") -> Figure:
    """The metric against what the points override, by default a learning rate or the first number; seeds as a band.

    What is no number, a kind of pooling say, has a place for each value, and seeds are bars.
    """
    path = path or _main_path(table)
    numeric = bool(path) and all(is_number(row.get(path)) for row in table.rows)
    axes = _axes((6.4, 4.2), f"{table.metric} against {path or 'nothing'}")
    places = {word: i for i, word in enumerate(sorted({_short(row.get(path)) for row in table.rows}))}
    others = [name for name in table.varied if name not in (path, *_SEEDS)]
    lines: dict[str, dict[float, list]] = {}
    for row in _measured(table) if path else []:
        key = ", ".join(f"{_word(name)} {_short(row.get(name))}" for name in others)
        place = row[path] if numeric else places[_short(row.get(path))]
        lines.setdefault(key, {}).setdefault(place, []).append(row[table.metric])
    for rank, ((label, values), color) in enumerate(zip(sorted(lines.items()), _shades(len(lines)), strict=True)):
        x = sorted(values)
        style = {"color": color, "label": label if len(lines) <= 8 else "", "marker": "o", "markersize": 4}
        middle = [statistics.fmean(values[place]) for place in x]
        low, high = [min(values[place]) for place in x], [max(values[place]) for place in x]
        if numeric:
            axes.plot(x, middle, **style)
            axes.fill_between(x, low, high, color=color, alpha=0.18, lw=0)
        else:
            x = [place + 0.4 * ((rank + 0.5) / len(lines) - 0.5) for place in x]
            axes.plot(x, middle, linestyle="none", **style)
            axes.vlines(x, low, high, color=color, linewidth=1.4)
    numbers = [place for values in lines.values() for place in values]
    if not numeric:
        axes.set_xticks(range(len(places)), places)
    elif min(numbers, default=0) > 0 and max(numbers) >= 10 * min(numbers):
        axes.set_xscale("log")
    axes.set_xlabel(path, color=INK)
    if 1 < len(lines) <= 8:
        axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return axes.figure


def _main_path(table: Table) -> str:
    """The override that says most in a picture: a learning rate, another number, anything, or else a seed."""
    paths = [name for name in table.varied if name not in _SEEDS]
    numbers = [name for name in paths if all(is_number(row.get(name)) for row in table.rows)]
    rates = [name for name in numbers if name.endswith("lr")]
    return next(iter([*rates, *numbers, *paths, *table.varied]), "")


def draw_learning(table: Table, workdir: str | Path, name: str = "") -> Figure:
    """The course of a metric (by default the table's) of every point; light lines are the best."""
    name = name or table.metric
    axes = _axes((6.4, 4.2), f"{name} while training")
    rows = _measured(table)
    for row, color in zip(reversed(rows), _shades(len(rows)), strict=True):
        steps, values = curves_of(Path(workdir) / row["point"], name)
        axes.plot(steps, values, color=color, linewidth=1.3, alpha=0.85, marker="o" if len(steps) == 1 else "")
    axes.set_xlabel("step", color=INK)
    return axes.figure


def draw_importance(table: Table) -> Figure:
    """The share of the metric's variance that each override explains by itself."""
    shares = sorted(share_of_variance(table).items(), key=lambda item: item[1])
    axes = _axes((6.4, 1.2 + 0.45 * max(2, len(shares))), f"share of the variance of {table.metric}")
    bars = axes.barh([name for name, _ in shares], [share for _, share in shares], color=_COLORS(0.35), height=0.6)
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
    """The values that an axis names: all of few, the ends of many."""
    different = sorted(set(values)) if all(map(is_number, values)) else list({str(v): v for v in values}.values())
    return different if len(different) <= 6 else [different[0], different[len(different) // 2], different[-1]]


def _shades(count: int) -> list:
    """Colours from dark to light."""
    return [_COLORS(0.1 + 0.8 * i / max(1, count - 1)) for i in range(count)]


def _axes(size: tuple[float, float], title: str):
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return dressed(figure.subplots(), title)


def _word(path: str) -> str:
    """The last word of a path that says something."""
    return path.removesuffix(".name").rpartition(".")[2]


def _short(value: Any) -> str:
    """A value in few letters; a dash for what a point does not override."""
    if isinstance(value, tuple | list):
        return "+".join(map(_short, value)) or "none"
    return "–" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
