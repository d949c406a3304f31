"""A picture in tiles, for what is larger than memory."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["tiled"]


def tiled(function: Callable[[jax.Array], jax.Array], image: jax.Array, *, tile: int, margin: int) -> jax.Array:
    """A map (H, W, K) of a picture (H, W, C), put together from what `function` makes of tiles of it (1, h, w, C).

    `function` sees each tile of `tile` pixels a side with `margin` pixels around it, the picture's border mirrored, and
    gives a map of them all, or of their middle alone, as a net of valid convolutions does. The result is that of the
    whole picture where `margin` is at least the radius of the net's receptive field and `tile` and `margin` are
    multiples of its stride (Ronneberger 2015).
    """
    height, width = image.shape[:2]
    if margin >= min(height, width):
        raise ValueError(f"margin is {margin}; a picture of {height}×{width} pixels can be mirrored by less than that")
    down, across = (-(-size // tile) for size in (height, width))
    spare = down * tile - height, across * tile - width
    padded = np.pad(image, [(margin, margin), (margin, margin), (0, 0)], "reflect")
    padded = np.pad(padded, [(0, spare[0]), (0, spare[1]), (0, 0)], "edge")
    side = tile + 2 * margin
    rows = []
    for i in range(down):
        row = []
        for j in range(across):
            part = padded[i * tile : i * tile + side, j * tile : j * tile + side]
            row.append(_middle(function(jnp.asarray(part)[None])[0], tile))
        rows.append(jnp.concatenate(row, 1))
    return jnp.concatenate(rows)[:height, :width]


def _middle(found: jax.Array, tile: int) -> jax.Array:
    """The tile itself of what was found in it and around."""
    spare = [size - tile for size in found.shape[:2]]
    if min(spare) < 0 or any(n % 2 for n in spare):
        raise ValueError(
            f"function gives {found.shape[:2]} of a tile of {tile}; it must be as large, or larger by an even number"
        )
    top, left = (n // 2 for n in spare)
    return found[top : top + tile, left : left + tile]
