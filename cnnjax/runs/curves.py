"""The picture of a run."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnjax.runs.lines import series_of
from cnnjax.runs.tables import readable
from cnnjax.runs.workdir import write_file

__all__ = ["INK", "curves_figure", "draw_curves", "dressed", "literal"]

_COLORS = {"train": "#8c9bb0", "eval": "#d1495b", "test": "#1d7874"}
_MORE = ("#edae49", "#5b5f97", "#66a182")
INK, _GRID = "#333a45", "#e3e7ec"


def draw_curves(lines: Sequence[Mapping[str, Any]], path: str | Path, *, metric: str = "accuracy") -> None:
    """Draws loss and `metric` of every split against the step, from the lines of `metrics.jsonl`, to a PNG."""
    picture = io.BytesIO()
    literal(curves_figure(lines, metric=metric)).savefig(picture, format="png")
    write_file(path, picture.getvalue())


def curves_figure(lines: Sequence[Mapping[str, Any]], *, metric: str = "accuracy") -> Any:
    """A matplotlib figure of loss and `metric` of every split against the step, from the lines of `metrics.jsonl`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name in dict.fromkeys(("loss", metric)) if series_of(lines, name)]
    figure = Figure(figsize=(5.6 * max(1, len(names)), 4.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1, wspace=0.06)
    for axes, name in zip(figure.subplots(1, max(1, len(names)), squeeze=False)[0], names or ["loss"], strict=True):
        _panel(axes, name, series_of(lines, name))
    return figure


def dressed(axes: Any, title: str, *, size: int = 11) -> Any:
    """The axes with the title, the grid and the one spine that every picture here has."""
    axes.set_title(title, loc="left", color=INK, fontsize=size, fontweight="bold")
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(INK)
    return axes


def literal(figure: Any) -> Any:
    """The same figure, in whose texts a $ is one: names of classes and of files are no formulas."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if "$" in text.get_text() and not text.get_text().startswith("$\\mathdefault{"):  # a power on an axis is one
            text.set_parse_math(False)
    return figure


def _panel(axes: Any, name: str, series: Mapping[str, tuple[list[int], list[float]]]) -> None:
    from matplotlib.ticker import MaxNLocator, NullLocator, StrMethodFormatter

    spare = iter(_MORE * 4)
    for split, (steps, values) in series.items():
        color = _COLORS.get(split) or next(spare)
        style = {"color": color, "label": f"{split}  {readable(float(values[-1]))}", "zorder": 3}
        if len(steps) == 1:
            axes.plot(steps, values, marker="D", markersize=7, linestyle="none", markeredgecolor="white", **style)
        elif split == "train":
            axes.plot(steps, values, linewidth=1.4, **style)
        else:
            few = "o" if len(steps) <= 40 else ""
            axes.plot(steps, values, linewidth=2.0, marker=few, markersize=4, **style)
    positive = [value for _, values in series.values() for value in values]
    if name == "loss" and positive and min(positive) > 0 and max(positive) > 30 * min(positive):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("step", color=INK)
    dressed(axes, name.replace("_", " "), size=12)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.margins(x=0.02)
    if series:
        # Above the axes, at the right of the title: it can't cover a curve.
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            ncols=len(series),
            frameon=False,
            labelcolor=INK,
            fontsize=9,
            borderaxespad=0.3,
            handlelength=1.4,
            columnspacing=1.4,
        )
