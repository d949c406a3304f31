"""Pictures of what is found in a net, each a matplotlib figure made from arrays."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

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
    "draw_pictures",
    "draw_reconstructions",
    "draw_sanity",
    "draw_units",
]

_COLORS = ("#d1495b", "#1d7874", "#edae49", "#5b5f97", "#66a182", "#8c9bb0", "#a05195", "#2f4b7c")
_SIGNED = "RdBu_r"  # red speaks for the class, blue against it


def draw_attributions(
    images: np.ndarray, attributions: Mapping[str, np.ndarray], *, captions: Sequence[str] = ()
) -> Any:
    """A row for each image (B, H, W, C) in [0, 1]: it, and by name what attributions (B, H, W, C or 1) say of it.

    They are summed over channels, each with its own symmetric scale, that of its 99.5th percentile. A method that is
    nowhere negative for any of them, as a Grad-CAM, is laid over the image. `captions` say what each row was asked.
    """
    figure, axes = _sheet(len(images), 1 + len(attributions), extra=0.5)
    attributions = {name: np.asarray(found).sum(-1) for name, found in attributions.items()}
    over = {name: found.min() >= 0 for name, found in attributions.items()}
    for row, image in enumerate(images):
        _show(axes[row, 0], image)
        if captions:
            _say(axes[row, 0], captions[row], letters=24)
        for cell, (name, found) in zip(axes[row, 1:], attributions.items(), strict=True):
            _attribution(cell, image, found[row], over[name])
            if row == 0:
                cell.set_title(name.replace("_", " "), color=INK, fontsize=9)
    return figure


def _attribution(axes: Any, image: np.ndarray, found: np.ndarray, over: bool) -> None:
    most = float(np.percentile(np.abs(found), 99.5)) or float(np.abs(found).max()) or 1.0
    if over:
        grey = np.asarray(image, float).mean(-1)
        axes.imshow(grey, cmap="gray", vmin=0, vmax=1)
        axes.imshow(found, cmap="inferno", vmin=0, vmax=most, alpha=0.55, interpolation="nearest")
    else:
        axes.imshow(found, cmap=_SIGNED, vmin=-most, vmax=most, interpolation="nearest")


def draw_faithfulness(found: Mapping[str, Faithfulness]) -> Any:
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


def draw_sanity(found: Mapping[str, Sanity]) -> Any:
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
) -> Any:
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


def draw_attack_curves(curves: AttackCurves) -> Any:
    """Accuracy against how far each number of an image may be moved, by attack."""
    figure, (axes,) = _panels(1)
    dressed(axes, "accuracy under attack")
    for color, (name, share) in zip(_colors(curves.accuracy), curves.accuracy.items(), strict=True):
        axes.plot(curves.epsilons, share, color=color, linewidth=1.8, marker="o", markersize=4, label=name)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("epsilon", color=INK)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    return figure


def draw_filters(found: Filters, *, columns: int = 0) -> Any:
    """A contact sheet of filters, each with a scale of its own that is symmetric about 0, all colours of one alike.

    Grey ones are red above 0 and blue below; where pictures show a part of their filters, it says how much.
    """
    from matplotlib import colormaps

    most = np.abs(found.images).max((1, 2, 3), keepdims=True)
    pictures = 0.5 + 0.5 * found.images / np.where(most > 0, most, 1)
    if pictures.shape[-1] == 1:
        pictures = colormaps[_SIGNED](pictures[..., 0])[..., :3]
    columns = columns or math.ceil(math.sqrt(1.6 * len(pictures)))
    sheet = _tiled(pictures, columns)
    rows = math.ceil(len(pictures) / columns)
    figure = _figure(0.62 * min(columns, 20), 0.62 * min(columns, 20) / columns * rows + 0.4)
    axes = _bare(figure.subplots())
    axes.imshow(sheet, interpolation="nearest")
    if found.share.min() < 0.9995:
        _say(
            axes,
            f"pictures show {np.median(found.share):.0%} of their filters (median; the least {found.share.min():.0%})",
        )
    return figure


def draw_activations(
    image: np.ndarray,
    maps: Mapping[str, np.ndarray],
    *,
    probabilities: np.ndarray | tuple = (),
    names: Sequence[str] = (),
    units: int = 10,
) -> Any:
    """An image (H, W, C), in a column the liveliest `units` of each of its maps (h, w, C), and its likeliest classes.

    `probabilities` (K,) are the net's, `names` those of its classes. Each unit has a scale of its own.
    """
    bars = len(probabilities) > 0
    figure = _figure(2.2 + 0.85 * len(maps) + 2.6 * bars, 0.8 * units + 0.3)
    cells = figure.subplots(1, 1 + len(maps) + bars, width_ratios=[2.2, *[0.85] * len(maps), *[2.6] * bars])
    _show(_bare(cells[0]), image)
    for cell, (name, found) in zip(cells[1:], maps.items(), strict=False):
        found = np.moveaxis(np.asarray(found, float), -1, 0)[..., None]
        order = np.argsort(-found.max((1, 2, 3)), kind="stable")[:units]
        low, high = (of(found[order], axis=(1, 2, 3), keepdims=True) for of in (np.min, np.max))
        _show(_bare(cell), _tiled((found[order] - low) / np.where(high > low, high - low, 1), 1))
        cell.set_anchor("N")  # a map of few units is a short column
        cell.set_title(name.replace("_", "\n" if len(name) > 9 else " "), color=INK, fontsize=8)
    if bars:
        _likeliest(cells[-1], probabilities, names)
        cells[-1].set_box_aspect(0.9)
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


def draw_units(patches: np.ndarray, units: Units, *, most: int = 16) -> Any:
    """For each of the first `most` live units what it saw where it answered most: patches (C, k, h, w, channels).

    Nine of Zeiler & Fergus 2014 in a square; with classes, the one that it prefers and how much stand below. What lies
    outside of an image is white.
    """
    live = [unit for unit in range(len(patches)) if not units.dead[unit]][:most]
    columns = min(len(live), 8) or 1
    figure, axes = _sheet(math.ceil(max(len(live), 1) / columns), columns, side=1.5)
    for cell, unit in zip(axes.ravel(), live, strict=False):
        _show(cell, _tiled(patches[unit], math.ceil(math.sqrt(len(patches[unit])))))
        told = f"{unit}" if units.preferred[unit] < 0 else f"{unit}: {units.preferred[unit]}"
        if not np.isnan(units.selectivity[unit]):
            told += f" ({units.selectivity[unit]:.2f})"
        _say(cell, told, size=7)
    return figure


def draw_pictures(pictures: np.ndarray, *, columns: int = 0, caption: str = "") -> Any:
    """A contact sheet of pictures (N, H, W, C) in [0, 1], or of rows and columns (n, m, H, W, C) of them."""
    pictures = np.asarray(pictures)
    if pictures.ndim == 5:
        columns, pictures = pictures.shape[1], pictures.reshape(-1, *pictures.shape[2:])
    columns = columns or math.ceil(math.sqrt(len(pictures)))
    side = 0.45 if columns > 8 else 0.8
    figure = _figure(side * columns, side * math.ceil(len(pictures) / columns) + 0.3 * bool(caption))
    axes = _bare(figure.subplots())
    _show(axes, _tiled(pictures, columns))
    if caption:
        _say(axes, caption)
    return figure


def draw_reconstructions(images: np.ndarray, anew: np.ndarray, *, columns: int = 10) -> Any:
    """Images (N, H, W, C) in [0, 1], and below each what it was drawn anew as (N, H, W, C)."""
    rows = []
    for start in range(0, len(images), columns):
        for row in (images[start : start + columns], anew[start : start + columns]):
            blank = np.ones((columns - len(row), *images.shape[1:]))
            rows.append(np.concatenate([np.asarray(row, float), blank]))
    return draw_pictures(np.stack(rows), caption="each row of images, and below it the same drawn anew")


def _tiled(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Pictures (k, h, w, channels) as one, side by side with a white line between them."""
    count, height, width, channels = pictures.shape
    gap = max(1, height // 12)
    rows, down, along = math.ceil(count / columns), height + gap, width + gap
    sheet = np.ones((rows * down - gap, columns * along - gap, channels))
    for place, picture in enumerate(np.nan_to_num(pictures, nan=1.0)):
        row, column = divmod(place, columns)
        sheet[row * down :, column * along :][:height, :width] = picture
    return sheet


def _colors(found: Mapping) -> list[str]:
    return [_COLORS[place % len(_COLORS)] for place in range(len(found))]


def _show(axes: Any, image: np.ndarray) -> None:
    """An image (h, w, 1 or 3) in [0, 1]; of other channels their mean."""
    image = np.clip(np.asarray(image, float), 0, 1)
    image = image if image.shape[-1] == 3 else image.mean(-1)
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def _say(axes: Any, text: str, *, size: int = 9, letters: int = 0) -> None:
    """A text below, in lines of so many letters (0: one line)."""
    text = "\n".join(textwrap.wrap(text, letters)) if letters else text
    axes.set_xlabel(text, color=INK, fontsize=size, labelpad=3)


def _bare(axes: Any) -> Any:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def _figure(width: float, height: float) -> Any:
    """An empty figure, which nothing but itself knows of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # here: who counts parameters does not wait for it
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _sheet(rows: int, columns: int, *, side: float = 1.7, extra: float = 0.25) -> tuple[Any, np.ndarray]:
    """A figure of bare cells (rows, columns), with room for `extra` inches of text at each."""
    figure = _figure(side * columns, (side + extra) * rows)
    axes = figure.subplots(rows, columns, squeeze=False)
    for cell in axes.ravel():
        _bare(cell)
    return figure, axes


def _panels(count: int) -> tuple[Any, Sequence[Any]]:
    figure = _figure(6.4 if count == 1 else 5.2 * count, 4.2)
    return figure, figure.subplots(1, count, squeeze=False)[0]
