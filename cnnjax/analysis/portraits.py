"""Pictures of single units and filters: what excites them, how they are tuned, which waves they are made of."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnjax.analysis import pictures
from cnnjax.analysis.visualization import Visualization
from cnnjax.runs.curves import INK, dressed

__all__ = ["draw_visualization"]


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
