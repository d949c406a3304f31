"""Pictures of single units and filters: what excites them, how they are tuned, which waves they are made of."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnjax.analysis import pictures
from cnnjax.analysis.gabor_fits import GaborFits
from cnnjax.analysis.physiology import Electrophysiology, SpikeTriggered
from cnnjax.analysis.spectra import SpectralBias
from cnnjax.analysis.visualization import Visualization
from cnnjax.runs.curves import INK, dressed

__all__ = ["draw_electrophysiology", "draw_gabors", "draw_spectral_bias", "draw_visualization"]

_SIGNED = "RdBu_r"
_DARK, _LIGHT = "#1d7874", "#d1495b"


def draw_visualization(
    found: Visualization,
    *,
    names: Sequence[str] = (),
    patches: np.ndarray | tuple = (),
    best: np.ndarray | tuple = (),
    columns: int = 4,
) -> Any:
    """A contact sheet of images that excite units, each with the unit's name and what it scores.

    `patches` (N, k, h, w, C) of `unit_patches` stand beside them, what excited the unit most in the data, with the
    `best` (N,) that it scored there.
    """
    count, pairs = len(found.images), 1 + bool(len(patches))
    columns = max(1, min(columns, count))
    figure, axes = pictures._sheet(math.ceil(count / columns), columns * pairs, side=1.9, extra=0.35)
    for place in range(count):
        row, column = divmod(place, columns)
        cell = axes[row, column * pairs]
        pictures._show(cell, found.images[place])
        if len(names):
            cell.set_title(names[place], color=INK, fontsize=9)
        pictures._say(cell, f"made: {found.scores[place]:.3g}", size=8)
        if pairs == 2:
            beside = axes[row, column * pairs + 1]
            shown = patches[place]
            pictures._show(beside, pictures._tiled(shown, math.ceil(math.sqrt(len(shown)))))
            pictures._say(beside, f"data: {best[place]:.3g}" if len(best) else "data", size=8)
    return figure


def draw_electrophysiology(
    found: Electrophysiology, *, noise: SpikeTriggered | tuple = (), units: Sequence[int] = (), most: int = 8
) -> Any:
    """For each of some units, its tuning by orientation, its answer by phase, and what noise makes it answer.

    The units are the first live ones unless named. The circle of a tuning curve goes round once for a half turn of the
    wave, for a grating turned by half is the same; a simple cell's answer comes and goes with the phase, a complex
    one's stays. `noise` is what `spike_triggered_average` found, each unit with a symmetric scale of its own.
    """
    units = list(units) if len(units) else np.flatnonzero(found.live)[:most].tolist()
    with_noise = not isinstance(noise, tuple)
    rows, count = 2 + with_noise, max(len(units), 1)
    figure = pictures._figure(1.75 * count, 1.95 * rows + 0.2)
    for column, unit in enumerate(units):
        told = f"CV {found.circular_variance[unit]:.2f}"
        _tuning(figure.add_subplot(rows, count, 1 + column, projection="polar"), found, unit, told)
        cell = figure.add_subplot(rows, count, 1 + count + column)
        _phasing(cell, found, unit, column == 0)
        if with_noise:
            cell = pictures._bare(figure.add_subplot(rows, count, 1 + 2 * count + column))
            _average(cell, noise.average[unit], "average noise" if column == 0 else "")
    return figure


def _tuning(axes: Any, found: Electrophysiology, unit: int, told: str) -> None:
    angles = np.append(2 * found.orientations, 2 * np.pi)
    curve = np.append(found.tuning[:, unit], found.tuning[0, unit])
    axes.plot(angles, curve, color=_DARK, linewidth=1.6)
    axes.fill(angles, curve, color=_DARK, alpha=0.2)
    axes.set_xticks(np.pi * np.arange(4) / 2, ["0°", "45°", "90°", "135°"], fontsize=7, color=INK)
    axes.tick_params(pad=-2)
    axes.set_yticks([])
    axes.set_ylim(0, 1.05 * max(float(curve.max()), 1e-9))
    axes.spines["polar"].set_color("#e3e7ec")
    axes.set_title(f"{unit}   {told}", color=INK, fontsize=9)


def _phasing(axes: Any, found: Electrophysiology, unit: int, first: bool) -> None:
    dressed(axes, "", size=8)
    phases = np.degrees(np.append(found.phases, 2 * np.pi))
    curve = np.append(found.phasing[:, unit], found.phasing[0, unit])
    axes.plot(phases, curve, color=_LIGHT, linewidth=1.6, marker="o", markersize=3)
    axes.set_ylim(0, 1.08 * max(float(curve.max()), 1e-9))
    axes.set_xticks([0, 180, 360], ["0°", "180°", "360°"], fontsize=7)
    axes.set_yticks([])
    axes.set_title(f"F1/F0 {found.modulation[unit]:.2f}", color=INK, fontsize=8)
    if first:
        axes.set_ylabel("answer by phase", color=INK, fontsize=8)


def _average(axes: Any, picture: np.ndarray, label: str) -> None:
    """A picture (h, w, C) around 0: in colours of its own where it has three, red above 0 and blue below else."""
    most = float(np.nanmax(np.abs(picture), initial=0)) or 1.0
    if picture.shape[-1] == 3:
        axes.imshow(np.clip(0.5 + 0.5 * np.nan_to_num(picture) / most, 0, 1), interpolation="nearest")
    else:
        axes.imshow(picture.mean(-1), cmap=_SIGNED, vmin=-most, vmax=most, interpolation="nearest")
    axes.set_ylabel(label, color=INK, fontsize=8)


def draw_gabors(found: GaborFits, *, most: int = 16) -> Any:
    """Filters, fits and what is left, the best first, and beside them where the bells lie: n_x and n_y of Ringach 2002.

    Below each stands R²; the scatter's line is a bell as long as it is wide, and what noise is fitted by stands in its
    title.
    """
    order = np.argsort(-found.quality, kind="stable")
    if len(order) > most:
        order = order[np.arange(most) * len(order) // most]  # from the best to the worst
    figure = pictures._figure(0.72 * len(order) + 3.5, 2.75)
    left, right = figure.subfigures(1, 2, width_ratios=[0.72 * len(order) + 0.3, 3.2])
    axes = left.subplots(3, len(order), squeeze=False)
    for column, place in enumerate(order):
        image, fit = found.images[place], found.fits[place]
        limit = float(np.abs(image).max()) or 1.0
        for cell, picture in zip(axes[:, column], (image, fit, image - fit), strict=True):
            pictures._bare(cell).imshow(picture, cmap=_SIGNED, vmin=-limit, vmax=limit, interpolation="nearest")
        pictures._say(axes[2, column], f"{found.quality[place]:.2f}", size=8)
    for cell, word in zip(axes[:, 0], ("filter", "fit", "residual"), strict=True):
        cell.set_ylabel(word, color=INK, fontsize=8)
    _bells(right.subplots(), found)
    return figure


def _bells(axes: Any, found: GaborFits) -> None:
    cycles, alike = found.cycles, found.alike
    far = 1.1 * float(cycles[alike].max()) if alike.any() else 1.0
    axes.plot([0, far], [0, far], color="#8c9bb0", linewidth=0.8, zorder=2)
    for kept, color, word in ((alike, _DARK, "Gabor"), (~alike, "#c3cad3", "other")):
        if kept.any():
            label = f"{word}  {int(kept.sum())}"
            axes.scatter(*cycles[kept].T, s=16, color=color, label=label, zorder=3, clip_on=True)
    axes.set(xlim=(0, far), ylim=(0, far))
    axes.set_box_aspect(1)
    noise = f"R² of noise: median {np.median(found.null):.2f}, largest {found.null.max():.2f}"
    dressed(axes, noise, size=8)
    axes.set_xlabel("n_x, waves in the bell along", color=INK, fontsize=8)
    axes.set_ylabel("n_y, across", color=INK, fontsize=8)
    axes.tick_params(labelsize=7)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)


def draw_spectral_bias(found: SpectralBias | dict[str, SpectralBias]) -> Any:
    """How much of each frequency is learned, by step: a heat map for each net by name (figure 1 of Rahaman 2019).

    Where they fitted a picture, it and what became of it stand below.
    """
    nets = found if isinstance(found, dict) else {"": found}
    pictured = any(each.target.ndim == 3 for each in nets.values())
    figure = pictures._figure(6.4 if len(nets) == 1 else 5.2 * len(nets), 6.6 if pictured else 4.2)
    cells = figure.subplots(1 + pictured, len(nets), squeeze=False, height_ratios=(3, 2) if pictured else None)
    for axes, (name, each) in zip(cells[0], nets.items(), strict=True):
        dressed(axes, name or "what is learned of each frequency")
        axes.grid(visible=False)
        last = int(each.steps[-1])
        shown = axes.imshow(
            each.amplitudes.T, aspect="auto", origin="lower", cmap="viridis", vmin=0, vmax=1, interpolation="nearest",
            extent=(0, last, -0.5, len(each.frequencies) - 0.5),
        )  # fmt: skip
        axes.set_yticks(range(len(each.frequencies)), [f"{k:g}" for k in each.frequencies])
        axes.set_xlabel("step", color=INK)
    cells[0, 0].set_ylabel("frequency", color=INK)
    figure.colorbar(shown, ax=list(cells[0]), label="1 is learned", shrink=0.9)
    for axes, each in zip(cells[1:].ravel(), nets.values(), strict=False):
        pictures._bare(axes)
        if each.target.ndim == 3:
            pictures._show(axes, np.concatenate([each.target, each.fit], 1))
            pictures._say(axes, f"the picture, and the fit after {each.steps[-1]:,} steps")
    return figure
