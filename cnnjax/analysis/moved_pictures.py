"""Pictures of what becomes of maps and answers as images move."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnjax.analysis.equivariance import Equivariance
from cnnjax.analysis.invariance import Invariance, TurningPoints
from cnnjax.analysis.pictures import _COLORS, _bare, _figure, _show
from cnnjax.runs.curves import INK, dressed

__all__ = ["draw_equivariance", "draw_invariances", "draw_shift_map", "draw_turning_points"]

_UNITS = {
    "down": "pixels down",
    "right": "pixels to the right",
    "rotation": "degrees",
    "scale": "doublings of size",
    "shear": "pixels across for each down",
    "brightness": "added brightness",
    "contrast": "doublings of contrast",
}
_MOST = 60  # dB: as good as the same


def draw_equivariance(found: Equivariance, *, title: str = "") -> Any:
    """A table of layers and moves in decibels, dark where a layer moves with the image, grey where none can be asked.

    What is beyond 60 dB is the same but for rounding.
    """
    decibels = np.where(np.isnan(found.error), np.nan, np.minimum(found.decibels, 10 * _MOST))
    rows, columns = decibels.shape
    figure = _figure(1.9 + 0.82 * columns, 0.9 + 0.34 * rows + 0.3 * bool(title))
    axes = _bare(figure.subplots())
    low = min(0.0, float(np.nanmin(decibels))) if np.isfinite(decibels).any() else 0.0
    axes.set_facecolor("#e3e7ec")
    axes.imshow(decibels, cmap="YlGnBu", vmin=low, vmax=_MOST, aspect="auto")
    for row, column in np.ndindex(rows, columns):
        value = decibels[row, column]
        text = "–" if np.isnan(value) else f"> {_MOST}" if value > _MOST else f"{round(value, 1) + 0.0:.1f}"
        dark = not np.isnan(value) and value > low + 0.55 * (_MOST - low)
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else INK)
    axes.set_xticks(range(columns), found.moves, rotation=30, ha="left", fontsize=8, color=INK)
    axes.set_yticks(range(rows), found.layers, fontsize=8, color=INK)
    axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    if title:
        axes.set_title(title, loc="left", color=INK, fontsize=10, fontweight="bold")
    return figure


def draw_invariances(found: Mapping[str, Invariance]) -> Any:
    """For each motion the share of images answered alike, the agreement and, where known, the accuracy by amount."""
    figure, panels = _grid(len(found))
    for place, (motion, each) in enumerate(found.items()):
        axes = dressed(panels[place], motion, size=9)
        lines = {"answered alike": each.alike, "1 − TV": each.agreement, "accuracy": each.accuracy}
        for color, (name, values) in zip(_COLORS, lines.items(), strict=False):
            if not np.isnan(values).all():
                axes.plot(each.amounts, values, color=color, linewidth=1.6, label=name)
        axes.set_ylim(-0.02, 1.03)
        _small(axes, _UNITS.get(motion, ""))
    _legend(figure, panels, len(found))
    return figure


def draw_turning_points(found: Mapping[str, TurningPoints]) -> Any:
    """For each motion the share of images that are answered alike up to an amount, with the median that is not."""
    figure, panels = _grid(len(found))
    for place, (motion, each) in enumerate(found.items()):
        axes = dressed(panels[place], motion, size=9)
        amounts = np.sort(each.least[np.isfinite(each.least)])
        heights = 1 - np.arange(len(amounts) + 1) / max(len(each.least), 1)
        axes.step([0, *amounts, each.limit], [*heights, heights[-1]], where="post", color=_COLORS[1], linewidth=1.6)
        axes.fill_between(
            [0, *amounts, each.limit], [*heights, heights[-1]], step="post", color=_COLORS[1], alpha=0.12, linewidth=0
        )
        middle = float(np.quantile(each.least, 0.5, method="lower"))
        if np.isfinite(middle):
            axes.axvline(middle, color=_COLORS[0], linewidth=1, linestyle="--")
            late = middle > 0.6 * each.limit
            at = middle + (-0.02 if late else 0.02) * each.limit
            axes.text(at, 0.93, f"{middle:.3g}", color=_COLORS[0], fontsize=8, ha="right" if late else "left")
        axes.set_xlim(0, each.limit)
        axes.set_ylim(-0.02, 1.03)
        _small(axes, _UNITS.get(motion, ""))
    return figure


def draw_shift_map(images: np.ndarray, found: np.ndarray, *, captions: tuple | list = ()) -> Any:
    """Images (B, H, W, C) in [0, 1], and below each its probability by shift, (B, 2r + 1, 2r + 1), from 0 to 1."""
    count, reach = len(images), found.shape[1] // 2
    figure = _figure(1.55 * count + 0.8, 3.7)
    cells = figure.subplots(2, count, squeeze=False)
    for column, (image, each) in enumerate(zip(images, found, strict=True)):
        _show(_bare(cells[0, column]), image)
        if captions:
            cells[0, column].set_title(captions[column], color=INK, fontsize=7)
        below = cells[1, column]
        ends = (-reach - 0.5, reach + 0.5, reach + 0.5, -reach - 0.5)
        shown = below.imshow(each, cmap="magma", vmin=0, vmax=1, extent=ends, interpolation="nearest")
        below.plot(0, 0, marker="+", color="white", markersize=7)
        below.set_xticks([-reach, 0, reach])
        below.set_yticks([-reach, 0, reach] if column == 0 else [])
        below.tick_params(colors=INK, length=0, labelsize=7)
    cells[1, 0].set_ylabel("pixels down", color=INK, fontsize=8)
    figure.supxlabel("pixels to the right", color=INK, fontsize=8)
    bar = figure.colorbar(shown, ax=list(cells[1]), fraction=0.04, pad=0.01)
    bar.ax.tick_params(colors=INK, length=0, labelsize=7)
    bar.outline.set_visible(False)
    return figure


def _grid(count: int) -> tuple[Any, list]:
    columns = min(count, 4)
    rows = -(-count // columns)
    figure = _figure(2.6 * columns, 2.1 * rows + 0.2)
    panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for spare in panels[count:]:
        spare.set_axis_off()
    return figure, panels


def _legend(figure: Any, panels: list, count: int) -> None:
    """One legend of what all panels have, in the first place that is free."""
    handles, labels = panels[0].get_legend_handles_labels()
    style = {"frameon": False, "fontsize": 8, "labelcolor": INK}
    if count < len(panels):
        panels[count].legend(handles, labels, loc="center left", **style)
    else:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), **style)


def _small(axes: Any, unit: str) -> None:
    axes.tick_params(labelsize=7)
    axes.set_xlabel(unit, color=INK, fontsize=8)
