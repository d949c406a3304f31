"""Charts of what is measured of a net's gradients, layers and weights, each a matplotlib figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnjax.analysis.gradients import ExampleGradients
from cnnjax.analysis.pictures import _COLORS, _colors, _figure, _panels, _say, _sheet, _show
from cnnjax.analysis.pruning import PruningCurves
from cnnjax.analysis.robustness import Robustness
from cnnjax.analysis.roofline import Roofline
from cnnjax.analysis.similarity import Similarity
from cnnjax.analysis.surfaces import Interpolation, Landscape, Trajectory
from cnnjax.analysis.twins import Agreement, Drift
from cnnjax.runs.curves import INK, dressed

__all__ = [
    "draw_agreement",
    "draw_drift",
    "draw_gradient_norms",
    "draw_influence",
    "draw_interpolation",
    "draw_landscape",
    "draw_probes",
    "draw_pruning",
    "draw_robustness",
    "draw_roofline",
    "draw_similarity",
]


def draw_gradient_norms(found: ExampleGradients) -> Any:
    """How long the gradients of single examples are, and how much of them lies in each layer."""
    figure, (left, right) = _panels(2)
    dressed(left, "length of an example's gradient")
    known = found.norms[found.norms > 0]
    if len(known):
        low, high = np.log10(known.min()), np.log10(known.max())
        left.hist(known, np.logspace(low - 0.05, high + 0.05, 31), color=_COLORS[1])
        left.set_xscale("log")
    left.axvline(found.mean_norm, color=_COLORS[0], linewidth=1.4, label="of their mean")
    left.set_ylabel("examples", color=INK)
    left.locator_params(axis="y", integer=True)
    left.legend(frameon=False, fontsize=8, labelcolor=INK)
    dressed(right, "by layer, median and quartiles")
    names = list(found.layers)[::-1]
    ends = np.array([np.percentile(found.layers[name], (25, 50, 75)) for name in names])
    if ends[:, 1].min() > 0:  # lengths of easy and hard examples are orders apart
        right.set_xscale("log")
        ends[:, 0] = np.maximum(ends[:, 0], ends[:, 1] / 1e6)
    right.hlines(range(len(names)), ends[:, 0], ends[:, 2], color=_COLORS[1], linewidth=2)
    right.plot(ends[:, 1], range(len(names)), "o", color=_COLORS[1], markersize=6)
    right.set_yticks(range(len(names)), names, fontsize=min(8, 200 / max(len(names), 1)))
    right.grid(visible=False, axis="y")
    return figure


def draw_influence(
    images: np.ndarray, influence: np.ndarray, asked: np.ndarray, *, names: Sequence[str] = (), most: int = 5
) -> Any:
    """A row for each image of `asked` (M, H, W, C): it, the `most` of images (N, H, W, C) that help it most, that harm.

    By influence (N, M), as `tracin` or `gradient_similarity` gives it, below each; `names` (M,) below the first.
    """
    most = min(most, len(images) // 2) or 1
    figure, axes = _sheet(len(asked), 1 + 2 * most, side=1.2, extra=0.35)
    for row, image in enumerate(asked):
        _show(axes[row, 0], image)
        _say(axes[row, 0], str(names[row]) if len(names) else "asked", size=7, letters=22)
        order = np.argsort(-influence[:, row], kind="stable")
        for cell, place in zip(axes[row, 1:], (*order[:most], *order[::-1][:most]), strict=True):
            _show(cell, images[place])
            _say(cell, f"{influence[place, row]:+.2g}", size=7)
    axes[0, 1].set_title("help most", color=INK, fontsize=9, loc="left")
    axes[0, 1 + most].set_title("harm most", color=INK, fontsize=9, loc="left")
    return figure


def draw_drift(found: Drift, *, most: int = 40) -> Any:
    """How far each leaf of two trainings' states is apart by step, of those that part; the first `most` are drawn.

    In decimal orders of units in the last place, white where all is equal: at 7 a float32 is off by a factor of two.
    """
    from matplotlib import colormaps

    first = np.where(found.first < 0, np.iinfo(np.int64).max, found.first)
    order = np.argsort(first, kind="stable")[: min(most, int((found.first >= 0).sum()))]
    figure = _figure(min(3.6 + 0.35 * len(found.steps), 11.0), 1.1 + 0.2 * len(order))
    axes = dressed(figure.subplots(), "units in the last place, log₁₀")
    axes.grid(visible=False)
    apart = np.log10(1 + found.ulps[:, order].T.astype(float))
    shown = np.where(found.share[:, order].T > 0, apart, np.nan)
    colors = colormaps["viridis"].with_extremes(bad="white")
    image = axes.imshow(shown, cmap=colors, vmin=0, vmax=10, aspect="auto", interpolation="nearest")
    axes.set_yticks(range(len(order)), [found.leaves[k] for k in order], fontsize=7)
    every = max(1, len(found.steps) // 12)
    axes.set_xticks(range(len(found.steps))[::every], [f"{step:,}" for step in found.steps][::every], fontsize=8)
    axes.set_xlabel("step", color=INK)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, extend="max")
    bar.outline.set_visible(False)
    return figure


def draw_agreement(found: Agreement, *, names: tuple[str, str] = ("the first", "the second")) -> Any:
    """How many examples both nets answer rightly, one of them alone, and neither: alike, or each in its own way."""
    (neither, second), (first, both) = found.right
    told = {
        "both are right": both,
        f"{names[0]} alone is": first,
        f"{names[1]} alone is": second,
        "both are wrong alike": found.same_mistakes,
        "both are wrong, each otherwise": neither - found.same_mistakes,
    }
    figure, (axes,) = _panels(1)
    dressed(axes, f"answered differently: {found.churn:.1%}")
    axes.grid(visible=False)
    places, total = np.arange(len(told))[::-1], max(int(found.right.sum()), 1)
    bars = axes.barh(places, np.array(list(told.values())) / total, color=_COLORS[1], height=0.6)
    axes.bar_label(bars, [f"{count:,}" for count in told.values()], padding=3, color=INK, fontsize=9)
    axes.set_yticks(places, told, fontsize=9)
    axes.set_xlim(0, 1.12)
    axes.set_xlabel("share of the examples", color=INK)
    return figure


def draw_similarity(found: Similarity, *, names: tuple[str, str] = ("", "")) -> Any:
    """Layer × layer: how alike they are, from 0, dark, to 1; `names` are those of the nets of rows and columns."""
    figure, (axes,) = _panels(1)
    dressed(axes, "similarity of layers (linear CKA)")
    axes.set_ylabel(names[0], color=INK)
    axes.set_xlabel(names[1], color=INK)
    axes.grid(visible=False)
    image = axes.imshow(found.values, cmap="magma", vmin=0, vmax=1, origin="lower", interpolation="nearest")
    axes.set_xticks(range(len(found.columns)), found.columns, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(found.rows)), found.rows, fontsize=8)
    if found.values.size <= 100:
        for (row, column), value in np.ndenumerate(found.values):
            color = "black" if value > 0.6 else "white"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=color)
    figure.colorbar(image, ax=axes, shrink=0.8)
    return figure


def draw_probes(found: Mapping[str, Mapping[str, float]]) -> Any:
    """Accuracy of each kind of probe, by name, against depth: what `probe_by_depth` gives for each."""
    figure, (axes,) = _panels(1)
    dressed(axes, "what a probe reads off each map")
    for color, (kind, each) in zip(_colors(found), found.items(), strict=True):
        axes.plot(range(len(each)), list(each.values()), color=color, linewidth=1.6, marker="o", label=kind)
    layers = next(iter(found.values()))
    axes.set_xticks(range(len(layers)), layers, rotation=45, ha="right", fontsize=8)
    axes.set_ylabel("accuracy", color=INK)
    axes.set_ylim(top=1.02)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return figure


def draw_landscape(found: Landscape, *, way: Trajectory | tuple = ()) -> Any:
    """Contours of the loss on a plane, the weights a cross in its middle, and the `way` that a training took there."""
    figure, (axes,) = _panels(1)
    dressed(axes, "loss around the weights")
    axes.grid(visible=False)
    heights = np.log10(np.maximum(found.losses, 1e-12))
    known = heights[np.isfinite(heights)]
    levels = np.linspace(known.min(), max(known.max(), known.min() + 1e-6), 21)
    surface = axes.contourf(found.places, found.places, heights, levels, cmap="viridis")
    axes.contour(found.places, found.places, heights, levels, colors="white", linewidths=0.4, alpha=0.6)
    if isinstance(way, Trajectory):
        axes.plot(*way.places.T, color=_COLORS[2], linewidth=1.6, marker="o", markersize=3)
        axes.set_xlabel(f"first direction, {way.share[0]:.0%} of the way", color=INK)
        axes.set_ylabel(f"second, {way.share[1]:.0%}", color=INK)
    axes.plot(0, 0, marker="+", color=_COLORS[0], markersize=12, markeredgewidth=2)
    axes.set_aspect("equal")
    axes.locator_params(nbins=5)
    figure.colorbar(surface, ax=axes, shrink=0.85, format="%.2f", label="log₁₀ of the loss")
    return figure


def draw_interpolation(found: Interpolation) -> Any:
    """The loss on the straight way between two nets, and its barrier."""
    figure, (axes,) = _panels(1)
    dressed(axes, f"between two nets: barrier {found.barrier:.3g}")
    ends = np.interp((0, 1), found.shares, found.losses)
    axes.plot((0, 1), ends, color="#8c9bb0", linewidth=1, linestyle="--")
    axes.plot(found.shares, found.losses, color=_COLORS[3], linewidth=1.8)
    axes.plot((0, 1), ends, color=_COLORS[0], linestyle="none", marker="o")
    axes.set_xlabel("share of the way", color=INK)
    axes.set_ylabel("loss", color=INK)
    return figure


def draw_pruning(found: Mapping[str, PruningCurves]) -> Any:
    """Accuracy against the share removed, a panel for each way of removing: every layer, and all together, black."""
    figure, cells = _panels(max(len(found), 1))
    for axes, (by, each) in zip(cells, found.items(), strict=True):
        dressed(axes, f"{by} removed")
        for color, (name, share) in zip(_colors(each.accuracy), each.accuracy.items(), strict=True):
            width, ink = (1.2, color) if name else (2.2, "black")
            axes.plot(each.shares, share, color=ink, linewidth=width, marker=".", label=name or "all together")
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel("share removed", color=INK)
        if len(each.accuracy) <= 12:
            axes.legend(frameon=False, fontsize=7, labelcolor=INK)
    cells[0].set_ylabel("accuracy", color=INK)
    return figure


def draw_roofline(found: Roofline) -> Any:
    """Operations a second that each layer could reach, by its operations a byte, under the machine's two limits.

    A dot is as large as the share of the time that its layer takes at least; the largest have their names.
    """
    figure, (axes,) = _panels(1)
    dressed(axes, "what bounds each layer")
    known = [layer for layer in found.layers if layer.bytes]
    x = np.array([layer.intensity for layer in known])
    seconds = np.array([found.seconds(layer) for layer in known])
    y = np.array([2 * layer.macs for layer in known]) / seconds / 1e9
    ends = np.array([min(x.min(), found.limits.ridge) / 2, max(x.max(), found.limits.ridge) * 2])
    line = np.geomspace(*ends, 200)
    roof = np.minimum(line * found.limits.bandwidth, found.limits.flops) / 1e9
    axes.plot(line, roof, color=INK, linewidth=1.4)
    axes.scatter(x, y, s=20 + 400 * seconds / seconds.sum(), color=_COLORS[1], alpha=0.7, linewidths=0)
    for height, place in enumerate(np.argsort(-x[np.argsort(-seconds)[:6]], kind="stable")):
        place = np.argsort(-seconds)[:6][place]  # the dearest, from the right: one line of words each, below the roof
        line = {"arrowstyle": "-", "relpos": (0, 0.5), "color": INK, "linewidth": 0.5, "alpha": 0.5}
        words = {"textcoords": "axes fraction", "fontsize": 8, "color": INK, "ha": "right", "arrowprops": line}
        axes.annotate(known[place].path, (x[place], y[place]), (0.98, 0.04 + 0.07 * (5 - height)), **words)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(roof.min() / 2, roof.max() * 2)
    axes.set_xlabel("operations a byte", color=INK)
    axes.set_ylabel("10⁹ operations a second, at most", color=INK)
    return figure


def draw_robustness(found: Robustness) -> Any:
    """Errors by kind of corruption and severity, the hardest kind above, with each kind's mean; the clean one below."""
    order = np.argsort(-found.errors.mean(1), kind="stable")[::-1]
    table = np.concatenate([found.errors, found.errors.mean(1, keepdims=True)], 1)[order]
    table = np.concatenate([np.full((1, table.shape[1]), found.clean), table])
    figure, (axes,) = _panels(1)
    dressed(axes, f"error under corruption, {found.mean:.1%} on the mean")
    axes.grid(visible=False)
    axes.imshow(table, cmap="magma", vmin=0, vmax=max(table.max(), 1e-6), aspect="auto", origin="lower")
    for (row, column), value in np.ndenumerate(table):
        color = "black" if value > 0.65 * table.max() else "white"
        axes.text(column, row, f"{value:.0%}", ha="center", va="center", fontsize=8, color=color)
    severities = [str(k + 1) for k in range(found.errors.shape[1])]
    axes.set_xticks(range(table.shape[1]), [*severities, "mean"], fontsize=8)
    axes.set_yticks(range(len(table)), ["clean", *(found.kinds[k].replace("_", " ") for k in order)], fontsize=8)
    axes.set_xlabel("severity", color=INK)
    return figure
