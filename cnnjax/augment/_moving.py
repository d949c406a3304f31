"""What a move is, how moves multiply, and what they do to images, segments, boxes and points."""

from dataclasses import dataclass, replace
from functools import partial, reduce

import jax
import jax.numpy as jnp

from cnnjax.augment._sampling import read, read_lines, whole_slice

IGNORE = 255
SEEN = 0.1  # a box of which less than this share of its area stays in the picture is gone
STEPS = 12  # fixed-point steps that invert a displacement field


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("matrix", "field", "fill"),
    meta_fields=("size", "border", "method", "whole", "reach", "samples", "straight"),
)
@dataclass(frozen=True)
class Move:
    """Where every output pixel comes from: source (y, x) = matrix · (y, x, 1) + field at the output pixel.

    Pixel centres have whole coordinates. `size` is the output's (height, width), by default the input's;
    `field` is (height, width, 2) or (). `border` and `fill` say what lies outside the image ("": its edge, unless
    another move of the run says), `method` how it is read between pixels, at `samples`² places a pixel (more than 1
    where a picture shrinks).
    `whole` promises a move by whole pixels and mirrors alone, at most `reach` pixels beyond the image, `straight` one
    that keeps rows and columns: a matrix without shear, turn or perspective, no field.
    """

    matrix: jax.Array
    field: jax.Array | tuple = ()
    size: tuple = ()
    border: str = ""
    fill: jax.Array | float = 0.0
    method: str = ""
    whole: bool = False
    reach: int = 0
    samples: int = 1
    straight: bool = False


def product(a, b):
    """The 3×3 product, written out so that no accelerator rounds it to half precision."""
    return jnp.sum(a[:, :, None] * b[None, :, :], axis=1)


def inverse(matrix):
    """The 3×3 inverse by cross products: exact for mirrors and whole shifts."""
    a, b, c = matrix
    columns = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)], axis=1)
    return columns / jnp.sum(a * columns[:, 0])


def place(matrix, points):
    """`points` (…, 2) sent through the 3×3 `matrix`."""
    y, x = points[..., 0], points[..., 1]
    top, middle, scale = (row[0] * y + row[1] * x + row[2] for row in matrix)
    return jnp.stack([top / scale, middle / scale], axis=-1)


def centres(size, samples=1):
    """Coordinates along height and width of an image's pixel centres, or of `samples` places in each pixel."""
    return [(jnp.arange(n * samples, dtype=float) + 0.5) / samples - 0.5 for n in size]


def grid(size, samples=1):
    """(height, width, 2) coordinates of an image's pixel centres, or of `samples` places along each side of them."""
    return jnp.stack(jnp.meshgrid(*centres(size, samples), indexing="ij"), axis=-1)


def sized(move, size):
    """`move` with its output size, that of its input where it has none of its own."""
    return move if move.size else replace(move, size=tuple(size))


def compose(moves, size):
    """One move that does what `moves` do one after the other to an image of `size`."""
    start = Move(jnp.eye(3, dtype=float), size=tuple(size), whole=True)
    runs = [start]
    for move in moves:  # matrices first, so that a field is read as seldom as possible
        fieldless = isinstance(move.field, tuple) and isinstance(runs[-1].field, tuple)
        move = sized(move, runs[-1].size)
        runs[-1:] = [_after(runs[-1], move)] if fieldless else [runs[-1], move]
    return reduce(_after, runs)


def _after(a, b):
    """The move that does `a`, then `b`."""
    matrix, field = product(a.matrix, b.matrix), ()
    if not (isinstance(a.field, tuple) and isinstance(b.field, tuple)):
        points = grid(b.size)
        middle = place(b.matrix, points) + (0 if isinstance(b.field, tuple) else b.field)
        source = place(a.matrix, middle) + (0 if isinstance(a.field, tuple) else read(a.field, middle, "edge"))
        field = source - place(matrix, points)
    return replace(
        b,
        matrix=matrix,
        field=field,
        border=a.border or b.border,
        fill=a.fill if a.border else b.fill,
        method="cubic" if "cubic" in (a.method, b.method) else a.method or b.method,
        whole=a.whole and b.whole,
        reach=a.reach + b.reach,
        samples=max(a.samples, b.samples),
        straight=all(move.whole or move.straight for move in (a, b)),
    )


def source(move, samples=1):
    """(height, width, 2): where each output pixel is read."""
    points = grid(move.size, samples)
    places = place(jax.lax.optimization_barrier(move.matrix), points)  # else sines are taken anew for every pixel
    if isinstance(move.field, tuple):
        return places
    return places + (move.field if samples == 1 else read(move.field, points, "edge"))


def forward(move, points):
    """Where `points` (…, 2) of the source land: the inverse of the matrix, of a field by fixed-point steps."""
    back = inverse(move.matrix)
    landed = place(back, points)
    if isinstance(move.field, tuple):
        return landed
    return jax.lax.fori_loop(0, STEPS, lambda _, at: place(back, points - read(move.field, at, "edge")), landed)


def apply(move, facts, example):
    """`example` with its image or video, segments, boxes and points moved."""
    moved = dict(example)
    for name in ("image", "video"):
        if name in example:
            one = partial(whole_slice if move.whole else _sampled, move=move)
            moved[name] = one(example[name]) if name == "image" else jax.vmap(one)(example[name])
    for name in ("segments", "instances"):
        if name in example:
            fill = jnp.asarray(IGNORE, example[name].dtype)
            if move.whole:
                moved[name] = whole_slice(example[name], replace(move, fill=fill))
            else:
                moved[name] = read(example[name][..., None], source(move), move.border, "nearest", fill)[..., 0]
    if "points" in example:
        moved |= _points(move, facts, example)
    if "boxes" in example:
        moved |= _boxes(move, example)
    return moved


def _sampled(image, move):
    """The float image read where the move says, the mean of `samples`² places a pixel."""
    how = (move.border, move.method or "bilinear", move.fill)
    if move.straight:
        matrix = jax.lax.optimization_barrier(move.matrix)
        lines = (matrix[i, i] * line + matrix[i, 2] for i, line in enumerate(centres(move.size, move.samples)))
        out = read_lines(image, *lines, *how)
    else:
        out = read(image, source(move, move.samples), *how)
    if move.samples == 1:
        return out
    (height, width), n = move.size, move.samples
    return out.reshape(height, n, width, n, -1).mean((1, 3))


def _points(move, facts, example):
    """Points where they land; outside the picture they are invisible; a mirror swaps what is left and right.

    `facts.extra["mirror"]` is the order of the points seen in a mirror (left eye ↔ right eye).
    """
    points = forward(move, example["points"])
    visible = example.get("visible", jnp.ones(points.shape[:1], points.dtype))
    order = dict(getattr(facts, "extra", ())).get("mirror", ())
    if order:
        (a, b), (c, d) = move.matrix[:2, :2]
        swap, turned = jnp.array(order), a * d < b * c
        points = jnp.where(turned, points[swap], points)
        visible = jnp.where(turned, visible[swap], visible)
    inside = jnp.all((points >= -0.5) & (points <= jnp.array(move.size) - 0.5), axis=-1)
    return {"points": points, "visible": jnp.where(inside, visible, jnp.zeros_like(visible))}


def _boxes(move, example):
    """Boxes around where their edges land, cut to the picture; `present` is 0 where next to nothing is left.

    A box's numbers are edges: the pixel (3, 4) alone is the box (3, 4, 4, 5).
    """
    boxes = example["boxes"]
    n = 2 if isinstance(move.field, tuple) else 5
    steps = jnp.linspace(0.0, 1.0, n)
    frame = jnp.concatenate(
        [
            jnp.stack([a, b], -1)
            for a, b in [(steps, 0 * steps), (steps, 0 * steps + 1), (0 * steps, steps), (0 * steps + 1, steps)]
        ]
    )
    low, sides = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
    landed = forward(move, low + sides * frame - 0.5) + 0.5
    corners = jnp.concatenate([landed.min(1), landed.max(1)], axis=-1)
    limits = jnp.array((*move.size, *move.size), corners.dtype)
    seen = jnp.clip(corners, 0, limits)
    present = example.get("present", jnp.ones(boxes.shape[:1], boxes.dtype))
    kept = (_area(seen) > 0) & (_area(seen) >= SEEN * _area(corners))
    seen = jnp.where((present > 0)[:, None], seen, boxes.astype(seen.dtype))
    return {"boxes": seen, "present": jnp.where(kept, present, jnp.zeros_like(present))}


def _area(boxes):
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
