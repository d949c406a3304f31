"""What a move is, how moves multiply, and what they do to images, segments, boxes and points."""

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp

BORDERS = ("constant", "mean", "edge", "reflect")
IGNORE = 255


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("matrix", "field", "fill"),
    meta_fields=("size", "border", "order", "whole", "reach"),
)
@dataclass(frozen=True)
class Move:
    """Where every output pixel comes from: source (y, x) = matrix · (y, x, 1) + field at the output pixel.

    Pixel centres have whole coordinates. `size` is the output's (height, width), by default the input's.
    `whole` promises a move by whole pixels and mirrors alone, at most `reach` pixels beyond the image.
    """

    matrix: jax.Array
    field: jax.Array | tuple = ()
    size: tuple = ()
    border: str = ""
    fill: jax.Array | float = 0.0
    order: str = ""
    whole: bool = False
    reach: int = 0


def product(a, b):
    """The 3×3 product, written out so that no accelerator rounds it to half precision."""
    return jnp.sum(a[..., :, :, None] * b[..., None, :, :], axis=-2)


def place(matrix, points):
    """`points` (..., 2) sent through the 3×3 `matrix`."""
    y, x = points[..., 0], points[..., 1]
    top, middle, scale = (row[0] * y + row[1] * x + row[2] for row in matrix)
    return jnp.stack([top / scale, middle / scale], axis=-1)


def whole_slice(image, move):
    """`image` (H, W, …) moved by whole pixels: a slice of the padded image, mirrored where the matrix says so."""
    offset = jnp.round(move.matrix[:2, 2]).astype(jnp.int32)
    mirrored = jnp.stack([move.matrix[0, 0] < 0, move.matrix[1, 1] < 0])
    start = jnp.where(mirrored, offset - jnp.array(move.size) + 1, offset) + move.reach
    padded = pad(image, move)
    rest = (0,) * (image.ndim - 2)
    out = jax.lax.dynamic_slice(padded, (start[0], start[1], *rest), (*move.size, *image.shape[2:]))
    out = jnp.where(mirrored[0], out[::-1], out)
    return jnp.where(mirrored[1], out[:, ::-1], out)


def pad(image, move):
    """`image` with `move.reach` new pixels on every side, as the move's border says."""
    if not move.reach:
        return image
    widths = [(move.reach, move.reach)] * 2 + [(0, 0)] * (image.ndim - 2)
    if move.border in ("edge", "reflect"):
        return jnp.pad(image, widths, mode=move.border)
    height, width = image.shape[:2]
    fill = jnp.asarray(move.fill).astype(image.dtype)
    canvas = jnp.broadcast_to(fill, (height + 2 * move.reach, width + 2 * move.reach, *image.shape[2:]))
    return jax.lax.dynamic_update_slice(canvas, image, (move.reach, move.reach) + (0,) * (image.ndim - 2))


def sized(move, size):
    """`move` with its output size, that of its input where it has none of its own."""
    return move if move.size else replace(move, size=tuple(size))


def compose(moves, size):
    """One move that does what `moves` do one after the other to an image of `size`."""
    total = Move(jnp.eye(3), size=size, whole=True)
    for move in moves:
        move = sized(move, total.size)
        total = replace(
            move,
            matrix=product(total.matrix, move.matrix),
            whole=total.whole and move.whole,
            reach=total.reach + move.reach,
            border=total.border or move.border,
            fill=total.fill if total.border else move.fill,
        )
    return total


def apply(move, example):
    """`example` with its image or video, segments, boxes and points moved."""
    example = dict(example)
    if "image" in example:
        example["image"] = whole_slice(example["image"], move)
    if "video" in example:
        example["video"] = jax.vmap(lambda frame: whole_slice(frame, move))(example["video"])
    return example
