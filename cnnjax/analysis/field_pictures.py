"""Pictures of what units see: effective fields, and connections one by one."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnjax.analysis.effective import Effective
from cnnjax.analysis.pictures import _COLORS, _SIGNED, _bare, _figure, _say
from cnnjax.runs.curves import INK, dressed

__all__ = ["draw_connections", "draw_effective_fields", "draw_matrix"]

_UNITS = 12


def draw_effective_fields(found: Mapping[str, Effective]) -> Any:
    """A row for each map: its effective field with the theoretical square, and that of two deviations; below, the sides
    by depth, with a root that begins at the first of them.
    """
    shown = {name: each for name, each in found.items() if each.map.ndim == 2}
    columns = min(max(len(shown), 1), 5)
    rows = math.ceil(len(shown) / columns)
    figure = _figure(max(1.9 * columns, 5.6), 2.25 * rows + 2.7)
    above, below = figure.subfigures(2, 1, height_ratios=[2.25 * rows, 2.7])
    cells = above.subplots(rows, columns, squeeze=False).ravel()
    for cell in cells:
        _bare(cell)
    for cell, (name, each) in zip(cells, shown.items(), strict=False):
        _field(cell, name, each)
    axes = dressed(below.subplots(), "sides by depth", size=9)
    depth = np.arange(1, len(shown) + 1)
    sides = np.array([each.side for each in shown.values()])
    whole = [math.prod(each.theory) ** (1 / len(each.theory)) for each in shown.values()]
    axes.plot(depth, whole, color=_COLORS[5], marker="s", markersize=4, linewidth=1.6, label="theoretical")
    axes.plot(depth, sides, color=_COLORS[0], marker="o", markersize=4, linewidth=1.6, label="effective")
    axes.plot(depth, sides[0] * np.sqrt(depth), color=INK, linewidth=1, linestyle=":", label="√n from the first")
    axes.set_xticks(depth, list(shown), fontsize=8)
    axes.tick_params(labelsize=8)
    axes.set_ylabel("pixels", color=INK, fontsize=8)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return figure


def _field(axes: Any, name: str, each: Effective) -> None:
    from matplotlib.patches import Rectangle

    axes.imshow(np.sqrt(each.map), cmap="inferno", vmin=0, vmax=1, interpolation="nearest")
    y, x = (low - 0.5 for low in each.corner)
    axes.add_patch(Rectangle((x, y), each.theory[1], each.theory[0], fill=False, edgecolor="#66d9c9", linewidth=1.2))
    height, width = each.map.shape
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    axes.set_title(name, color=INK, fontsize=9)
    told = "nothing is seen" if not each.area else f"side {each.side:.1f}, {each.share:.0%} of {_sides(each.theory)}"
    if each.dead:
        told += f"\n{each.dead} of {each.asked} dead"
    _say(axes, told, size=7)


def _sides(theory: tuple[float, ...]) -> str:
    return "×".join(f"{side:g}" for side in theory)


def draw_connections(connected: np.ndarray) -> Any:
    """Inputs below, outputs above, and a line for each that is connected (outputs, inputs), of 12 each at most.

    Of which entry of a kernel stands where, as `as_matrix` gives it, lines of a colour are one weight.
    """
    connected = np.asarray(connected)
    if connected.ndim != 2 or max(connected.shape) > _UNITS:
        raise ValueError(f"connected is {connected.shape}; up to {_UNITS} outputs and inputs can be drawn")
    outputs, inputs = connected.shape
    kind = np.where(connected, 0, -1) if connected.dtype == bool else connected
    wide = max(outputs, inputs)
    figure = _figure(0.62 * wide + 0.8, 2.6)
    axes = _bare(figure.subplots())
    places = [(np.arange(count) - (count - 1) / 2) for count in (inputs, outputs)]
    above = (kind >= 0) @ places[0] / np.maximum((kind >= 0).sum(1), 1)  # each over what it sees, where there is room
    places[1] = above if outputs > 1 and np.diff(above).min() >= 1 else places[1]
    for output, source in np.argwhere(kind >= 0):
        color = _COLORS[kind[output, source] % len(_COLORS)]
        axes.plot([places[0][source], places[1][output]], [0, 1], color=color, linewidth=1.5, zorder=1)
    for height, line, letter in zip((0, 1), places, ("x", "y"), strict=True):
        axes.scatter(line, np.full(len(line), height), s=330, color="white", edgecolor=INK, zorder=2)
        for number, place in enumerate(line, 1):
            axes.text(
                place, height, f"${letter}_{{{number}}}$", ha="center", va="center", fontsize=9, color=INK, zorder=3
            )
    axes.set_xlim(-wide / 2 - 0.2, wide / 2 + 0.2)
    axes.set_ylim(-0.3, 1.3)
    return figure


def draw_matrix(weights: np.ndarray, which: np.ndarray) -> Any:
    """The matrix (outputs, inputs) of a convolution: its weights, red above 0 and blue below, and which entry of the
    kernel (outputs, inputs) stands where, each in a colour of its own; white is none.
    """
    from matplotlib import colormaps

    outputs, inputs = weights.shape
    tall = min(max(3.2 * outputs / inputs, 1.2), 6.0)
    figure = _figure(7.4, tall + 0.6)
    left, right = figure.subplots(1, 2)
    most = float(np.abs(weights).max()) or 1.0
    shown = np.where(which < 0, np.nan, weights)
    left.imshow(shown, cmap=_SIGNED, vmin=-most, vmax=most, interpolation="nearest", aspect="auto")
    hues = colormaps["turbo"](0.06 + 0.88 * which / max(int(which.max()), 1))[..., :3]
    right.imshow(np.where(which[..., None] < 0, 1.0, hues), interpolation="nearest", aspect="auto")
    for axes, title in ((left, "weights"), (right, "shared by entry of the kernel")):
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_facecolor("white")
        for spine in axes.spines.values():
            spine.set_color("#8c9bb0")
        axes.set_title(title, loc="left", color=INK, fontsize=9, fontweight="bold")
        _say(axes, f"{inputs} inputs", size=8)
    left.set_ylabel(f"{outputs} outputs", color=INK, fontsize=8)
    return figure
