"""The picture of the tables that an evaluation leaves: who is taken for whom, how far a confidence can be believed."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from cnnjax.runs.curves import INK, dressed, literal
from cnnjax.runs.workdir import write_file

__all__ = ["draw_tables", "tables_figure"]

_BLUE, _RED = "#5b5f97", "#d1495b"
_NAMED, _WRITTEN = 40, 12  # classes that still have their names beside a matrix, and their shares written in it
_LISTED = 20  # lines that still have a legend
_AXES = {  # what a line's places and values are, by the beginning of the table's name
    "precision": ("recall", "precision where half overlaps"),
    "mask_precision": ("recall", "precision where half overlaps"),
    "pck": ("share of the reference length", "points that are found within it"),
}
_BY_STEP = "_by_step"  # at the end of the name of a table whose places are steps, 1 and on, of values in a unit
_MOST = 1000  # rows of a table that can still be told apart in a picture


def draw_tables(tables: Mapping[str, np.ndarray], path: str | Path, *, names: Sequence[str] = ()) -> None:
    """Draws every table that has a picture, side by side, to a PNG; where none has, there is no file.

    `confusion` (K, K), counts of truth by guess, is an image of shares of each truth; `calibration` (bins, 3), sums of
    confidences, counts of right ones and of all, a reliability diagram; others are lines (places) or (K, places), or
    images (K, K). `names` are those of the K classes; tables of more than 1,000 rows have no picture.
    """
    figure = tables_figure(tables, names=names)
    if figure.axes:
        picture = io.BytesIO()
        literal(figure).savefig(picture, format="png")
        write_file(path, picture.getvalue())


def tables_figure(
    tables: Mapping[str, np.ndarray],
    *,
    names: Sequence[str] = (),
    lines: Mapping[str, Sequence[str]] = MappingProxyType({}),
    wide: float = 5.6,
) -> Any:
    """A matplotlib figure of the tables that have a picture, side by side, each `wide` inches; one without any is bare.

    They are drawn by what they are called up to a comma: "calibration, after" is a calibration. `names` are those of
    classes; `lines` has, by table, those of rows that are none.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = {name: table for name, table in tables.items() if _readable(table)}
    figure = Figure(figsize=(wide * max(len(drawn), 1), wide * 6 / 7), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    for place, (name, table) in enumerate(drawn.items(), 1):
        axes = figure.add_subplot(1, len(drawn), place)
        dressed(axes, name.replace("_", " "), size=12)
        if name.partition(",")[0] == "calibration" and table.shape[1:] == (3,):
            _reliability(axes, table)
        elif table.ndim == 2 and table.shape[0] == table.shape[1]:
            _matrix(figure, axes, table, names if len(names) == len(table) else ())
        else:
            steps = name.endswith(_BY_STEP)
            _lines(axes, np.atleast_2d(table), lines.get(name, names), steps=steps)
            if steps:
                axes.set(xlabel="step ahead", ylabel=name.removesuffix(_BY_STEP).replace("_", " "))
                axes.set_ylim(bottom=0)
            about = next((_AXES[word] for word in _AXES if name.startswith(word)), ())
            if about:
                axes.set(xlabel=about[0], ylabel=about[1], ylim=(-0.02, 1.02))
    return figure


def _readable(table: np.ndarray) -> bool:
    return table.size > 0 and (table.ndim == 1 or (table.ndim == 2 and len(table) <= _MOST))


def _matrix(figure: Any, axes: Any, table: np.ndarray, names: Sequence[str]) -> None:
    """The share of each row (truth) that lies in each column (guess)."""
    shares = table / np.maximum(table.sum(1, keepdims=True), 1e-30)
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axes.grid(visible=False)
    if len(table) <= _NAMED:
        places = range(len(table))
        labels = [str(name)[:18] for name in names] or [str(k) for k in places]
        axes.set_xticks(places, labels, rotation=90, fontsize=7)
        axes.set_yticks(places, labels, fontsize=7)
    if len(table) <= _WRITTEN:
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.005:
                ink = "white" if share > 0.6 else INK
                axes.text(column, row, f"{share:.0%}", ha="center", va="center", color=ink, fontsize=6)
    axes.set_xlabel("guess", color=INK)
    axes.set_ylabel("truth", color=INK)
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("share of the truth", color=INK)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=INK, length=0)


def _reliability(axes: Any, table: np.ndarray) -> None:
    """Bars of how often guesses of a confidence were right; on the diagonal they are as sure as they should be."""
    bins, (confidence, right, count) = len(table), table.T
    some = count > 0
    middle = (np.arange(bins) + 0.5) / bins
    accuracy = right[some] / count[some]
    gap = float(np.sum(np.abs(right - confidence)) / max(count.sum(), 1e-30))
    sure = confidence[some] / count[some]
    axes.bar(middle[some], accuracy, width=0.9 / bins, color=_BLUE, alpha=0.55, label="right")
    axes.bar(
        middle[some], sure - accuracy, 0.5 / bins, accuracy, fc="none", ec=_RED, hatch="////", linewidth=0.8,
        label=f"gap to the confidence, {gap:.3f} on the mean",
    )  # fmt: skip
    axes.plot(
        middle,
        count / max(count.sum(), 1e-30),
        color=INK,
        drawstyle="steps-mid",
        linewidth=1.4,
        label="share of guesses",
    )
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("confidence", color=INK)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK, loc="upper left")


def _lines(axes: Any, table: np.ndarray, names: Sequence[str], *, steps: bool) -> None:
    """A line for each row over places between 0 and 1 (recalls, thresholds), or over `steps`, 1 and on."""
    names = names if len(names) == len(table) else [str(k) for k in range(len(table))]
    for number, (name, row) in enumerate(zip(names, table, strict=True)):
        line = ("-", "--", ":")[number // 10 % 3]  # of ten colours
        places = np.arange(1, len(row) + 1) if steps else np.linspace(0, 1, len(row))
        axes.plot(places, row, line, linewidth=1.4, label=str(name))
    if 1 < len(table) <= _LISTED:
        axes.legend(frameon=False, fontsize=8 if len(table) <= 10 else 6, labelcolor=INK)
