"""Pictures of what is found in a net, each a matplotlib figure made from arrays."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cnnjax.analysis.attacks import AttackCurves
from cnnjax.analysis.judging import Faithfulness, Sanity
from cnnjax.analysis.units import Filters, Units
from cnnjax.runs.curves import INK, dressed

__all__ = [
    "draw_activations",
    "draw_attack",
    "draw_attack_curves",
    "draw_attributions",
    "draw_faithfulness",
    "draw_filters",
    "draw_sanity",
    "draw_units",
]

_COLORS = ("#d1495b", "#1d7874", "#edae49", "#5b5f97", "#66a182", "#8c9bb0", "#a05195", "#2f4b7c")
_SIGNED = "RdBu_r"  # red speaks for the class, blue against it


def draw_attributions(
    images: np.ndarray, attributions: Mapping[str, np.ndarray], *, captions: Sequence[str] = ()
) -> Figure:
    """A row for each image (B, H, W, C) in [0, 1]: it, and by name what attributions (B, H, W, C or 1) say of it.

    They are summed over channels, each with its own symmetric scale, that of its 99.5th percentile. What is nowhere
    negative, as a Grad-CAM, is laid over the image. `captions` say what each row was asked.
    """
    figure, axes = _sheet(len(images), 1 + len(attributions))
    for row, image in enumerate(images):
        _show(axes[row, 0], image)
        if captions:
            _say(axes[row, 0], captions[row])
        for cell, (name, found) in zip(axes[row, 1:], attributions.items(), strict=True):
            _attribution(cell, image, np.asarray(found[row]).sum(-1))
            if row == 0:
                cell.set_title(name.replace("_", " "), color=INK, fontsize=9)
    return figure


def _attribution(axes: Any, image: np.ndarray, found: np.ndarray) -> None:
    most = float(np.percentile(np.abs(found), 99.5)) or float(np.abs(found).max()) or 1.0
    if found.min() >= 0:
        grey = np.asarray(image, float).mean(-1)
        axes.imshow(grey, cmap="gray", vmin=0, vmax=1)
        axes.imshow(found, cmap="inferno", vmin=0, vmax=most, alpha=0.55, interpolation="nearest")
    else:
        axes.imshow(found, cmap=_SIGNED, vmin=-most, vmax=most, interpolation="nearest")


def draw_faithfulness(found: Mapping[str, Faithfulness]) -> Figure:
    """Mean probability of the class against the share of pixels that were deleted, or inserted, by attribution."""
    figure, axes = _panels(2)
    for cell, kind in zip(axes, ("deletion", "insertion"), strict=True):
        dressed(cell, kind)
        for color, (name, each) in zip(_colors(found), found.items(), strict=True):
            area = float(np.mean(getattr(each, f"{kind}_area")))
            label = f"{name.replace('_', ' ')}  {area:.2f}"
            cell.plot(each.shares, getattr(each, kind).mean(1), color=color, linewidth=1.6, label=label)
        cell.set_xlabel("share of the pixels", color=INK)
        cell.set_ylim(0, 1.02)
        cell.legend(frameon=False, fontsize=8, labelcolor=INK)
    axes[0].set_ylabel("probability of the class", color=INK)
    return figure


def draw_sanity(found: Mapping[str, Sanity]) -> Figure:
    """Mean rank correlation of each attribution with itself as layers are drawn anew from the top."""
    figure, (axes,) = _panels(1)
    dressed(axes, "what is left when layers are drawn anew")
    for color, (name, each) in zip(_colors(found), found.items(), strict=True):
        height = [1.0, *each.correlation.mean(1)]
        label = name.replace("_", " ")
        axes.plot(range(len(height)), height, color=color, linewidth=1.6, marker="o", markersize=3, label=label)
    layers = next(iter(found.values())).layers
    every = max(1, math.ceil(len(layers) / 24))
    places = range(0, len(layers) + 1, every)
    axes.set_xticks(places, ["trained", *layers][::every], rotation=45, ha="right", fontsize=7)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_ylabel("rank correlation", color=INK)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return figure


def draw_attack(
    image: np.ndarray, attacked: np.ndarray, *, before: str = "", after: str = "", epsilon: float = 0.0
) -> Figure:
    """An image (H, W, C) in [0, 1], what was added to it, and what it became, with what the net took either for.

    The middle is the change over its greatest, grey where there is none (the figure of Goodfellow 2015).
    """
    change = np.asarray(attacked, float) - np.asarray(image, float)
    epsilon = epsilon or float(np.abs(change).max()) or 1.0
    figure, (cells,) = _sheet(1, 3, side=3.0)
    shown = image, 0.5 + 0.5 * change / epsilon, attacked
    for cell, picture, caption in zip(cells, shown, (before, f"+ {epsilon:.3g} ×", after), strict=True):
        _show(cell, picture)
        _say(cell, caption)
    return figure


def draw_attack_curves(curves: AttackCurves) -> Figure:
    """Accuracy against how far each number of an image may be moved, by attack."""
    figure, (axes,) = _panels(1)
    dressed(axes, "accuracy under attack")
    for color, (name, share) in zip(_colors(curves.accuracy), curves.accuracy.items(), strict=True):
        axes.plot(curves.epsilons, share, color=color, linewidth=1.8, marker="o", markersize=4, label=name)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("epsilon", color=INK)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    return figure


def draw_filters(found: Filters, *, columns: int = 0) -> Figure:
    """A contact sheet of filters, each with a scale of its own that is symmetric about 0, all colours of one alike.

    Grey ones are red above 0 and blue below; where a picture shows a part of its filter, that share stands below.
    """
    count = len(found.images)
    columns = columns or math.ceil(math.sqrt(1.6 * count))
    figure, axes = _sheet(math.ceil(count / columns), columns, side=0.75)
    for cell, image, share in zip(axes.ravel(), found.images, found.share, strict=False):
        most = float(np.abs(image).max()) or 1.0
        if image.shape[-1] == 3:
            cell.imshow(0.5 + 0.5 * image / most, interpolation="nearest")
        else:
            cell.imshow(image[..., 0], cmap=_SIGNED, vmin=-most, vmax=most, interpolation="nearest")
        if share < 0.9995:
            _say(cell, f"{share:.0%}", size=6)
    return figure


def draw_activations(
    image: np.ndarray,
    maps: Mapping[str, np.ndarray],
    *,
    probabilities: np.ndarray | tuple = (),
    names: Sequence[str] = (),
    units: int = 10,
) -> Figure:
    """An image (H, W, C), a column of the liveliest `units` of each of its maps (h, w, C), and the five likeliest classes.

    `probabilities` (K,) are the net's, `names` those of its classes. Each unit has a scale of its own.
    """
    bars = len(probabilities) > 0
    figure = Figure(figsize=(2.2 + 0.85 * len(maps) + 2.6 * bars, 0.8 * units), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    widths = [2.2, *[0.85] * len(maps), *[2.6] * bars]
    grid = figure.add_gridspec(units, len(widths), width_ratios=widths)
    _show(_bare(figure.add_subplot(grid[:, 0])), image)
    for column, (name, found) in enumerate(maps.items(), 1):
        found = np.asarray(found, float)
        order = np.argsort(-found.reshape(-1, found.shape[-1]).max(0), kind="stable")[:units]
        for row, unit in enumerate(order):
            cell = _bare(figure.add_subplot(grid[row, column]))
            cell.imshow(found[..., unit], cmap="gray", interpolation="nearest")
            if row == 0:
                cell.set_title(name.replace("_", " "), color=INK, fontsize=8)
    if bars:
        _likeliest(figure.add_subplot(grid[units // 4 : max(units // 4 + 1, 3 * units // 4), -1]), probabilities, names)
    return figure


def _likeliest(axes: Any, probabilities: np.ndarray, names: Sequence[str]) -> None:
    """Bars of the five likeliest classes, the likeliest above."""
    probabilities = np.asarray(probabilities)
    order = np.argsort(-probabilities, kind="stable")[:5]
    labels = [str(names[k] if len(names) else k)[:22] for k in order]
    dressed(axes, "", size=9)
    axes.grid(visible=False)
    places = np.arange(len(order))[::-1]
    bars = axes.barh(places, probabilities[order], color=_COLORS[1], height=0.6)
    axes.bar_label(bars, [f"{share:.0%}" for share in probabilities[order]], padding=3, color=INK, fontsize=8)
    axes.set_yticks(places, labels, fontsize=8)
    axes.set_xlim(0, 1.25)
    axes.set_xticks([])


def draw_units(patches: np.ndarray, units: Units, *, most: int = 16) -> Figure:
    """For each of the first `most` live units what it saw where it answered most: patches (C, k, h, w, channels).

    Nine of Zeiler & Fergus 2014 in a square; with classes, the one that it prefers and how much stand below. What lies
    outside of an image is white.
    """
    live = [unit for unit in range(len(patches)) if not units.dead[unit]][:most]
    columns = min(len(live), 8) or 1
    figure, axes = _sheet(math.ceil(max(len(live), 1) / columns), columns, side=1.5)
    for cell, unit in zip(axes.ravel(), live, strict=False):
        _show(cell, _tiled(patches[unit]))
        told = f"{unit}" if units.preferred[unit] < 0 else f"{unit}: {units.preferred[unit]}"
        if not np.isnan(units.selectivity[unit]):
            told += f" ({units.selectivity[unit]:.2f})"
        _say(cell, told, size=7)
    return figure


def _tiled(pictures: np.ndarray) -> np.ndarray:
    """Pictures (k, h, w, channels) as one, side by side with a white line between them."""
    count, height, width, channels = pictures.shape
    side = math.ceil(math.sqrt(count))
    sheet = np.ones((math.ceil(count / side) * (height + 1) - 1, side * (width + 1) - 1, channels))
    for place, picture in enumerate(np.nan_to_num(pictures, nan=1.0)):
        row, column = divmod(place, side)
        sheet[row * (height + 1) :, column * (width + 1) :][:height, :width] = picture
    return sheet


def _colors(found: Mapping) -> list[str]:
    return [_COLORS[place % len(_COLORS)] for place in range(len(found))]


def _show(axes: Any, image: np.ndarray) -> None:
    """An image (h, w, 1 or 3) in [0, 1]; of other channels their mean."""
    image = np.clip(np.asarray(image, float), 0, 1)
    image = image if image.shape[-1] == 3 else image.mean(-1)
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def _say(axes: Any, text: str, *, size: int = 9) -> None:
    axes.set_xlabel(text, color=INK, fontsize=size, labelpad=3)


def _bare(axes: Any) -> Any:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def _sheet(rows: int, columns: int, *, side: float = 1.7) -> tuple[Figure, np.ndarray]:
    """A figure of bare cells (rows, columns)."""
    figure = Figure(figsize=(side * columns, (side + 0.25) * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for cell in axes.ravel():
        _bare(cell)
    return figure, axes


def _panels(count: int) -> tuple[Figure, Sequence[Any]]:
    figure = Figure(figsize=(6.4 if count == 1 else 5.2 * count, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, count, squeeze=False)[0]
