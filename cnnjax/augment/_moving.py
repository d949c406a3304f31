"""What a move is, how moves multiply, and what they do to images, segments, boxes and points."""

from dataclasses import dataclass, replace
from functools import partial, reduce

import jax
import jax.numpy as jnp

from cnnjax.augment._options import carried, plane, refuse
from cnnjax.augment._sampling import read, read_lines, whole_slice
from cnnjax.fields import IGNORE, KINDS, SEEN, WITHIN, kind

STEPS = 12  # fixed-point steps that invert a displacement field


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("matrix", "field", "fill"),
    meta_fields=("size", "border", "method", "whole", "reach", "samples", "straight", "upright"),
)
@dataclass(frozen=True)
class Move:
    """Where every output pixel comes from: source (y, x) = matrix · (y, x, 1) + field at the output pixel.

    Pixel centres have whole coordinates. `size` is the output's (height, width), by default the input's;
    `field` is (height, width, 2) or (). `border` and `fill` say what lies outside the image ("": its edge, unless
    another move of the run says), `method` how it is read between pixels, at `samples`² places a pixel (more than 1
    where a picture shrinks).
    `whole` promises a move by whole pixels and mirrors alone, at most `reach` pixels beyond the image, `straight` one
    that keeps rows and columns: a matrix without shear, turn or perspective, no field. `upright` promises that it never
    turns the plane over as a mirror does; a move without the promise is taken for a mirror.
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
    upright: bool = False


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
    start = Move(jnp.eye(3, dtype=float), size=tuple(size), whole=True, upright=True)
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
        upright=a.upright and b.upright,
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


def vet(entry, facts, example, column="move", *, verb="move", mirror=False):
    """{word: what becomes of it}; words that a change of the plane can't carry are refused by name and config path."""
    treatments, size = carried(entry, facts, example, column, verb=verb), plane(entry, example)
    for name, treatment in treatments.items():
        if treatment == "nearest" and example[name].shape[-2:] != size:
            refuse(entry, name, f"of shape {example[name].shape} where the picture has {size}")
        ordered = mirror and KINDS[kind(name, example[name].ndim)].mirror == "ordered"
        if ordered and len(facts.extra.get("mirror", ())) != len(example[name]):
            count = len(example[name])
            why = f"{count} of which facts.extra['mirror'] must give the order in a mirror, (0, 1, …) if none changes"
            refuse(entry, name, why)
    return treatments


def apply(move, facts, example):
    """`example` with every word treated as its kind is by a move: what has a place goes where that lands."""
    moved, kept = dict(example), []
    for name, value in example.items():
        about = KINDS[kind(name, value.ndim)]
        treatment = about.move
        if treatment in ("sampled", "nearest"):
            nearest = partial(_nearest, outside=about.outside)
            own = nearest if treatment == "nearest" else whole_slice if move.whole else _sampled
            one, rank = partial(own, move=move), 2 + (treatment == "sampled")
            moved[name] = one(value) if value.ndim == rank else jax.vmap(one)(value)
        elif treatment == "landed":
            moved |= _points(move, facts, value, example)
        elif treatment == "spread":
            moved[name] = value * _area_of_pixel(move)
        elif treatment in ("cut", "turned"):
            moved[name], left = (_boxes if treatment == "cut" else _corners)(move, value, example)
            kept.append(left)
    if not (move.whole or move.straight):
        kinds = {kind(name, value.ndim): name for name, value in example.items()}
        rows, boxes = kinds.get("row per place"), kinds.get("boxes")
        if rows and boxes:
            own = _nearest(example[rows], replace(move, border="constant"), IGNORE)  # no border's copies of them
            moved[boxes], left = _fitted(moved[boxes], example[rows], own)
            kept.append(left)
    if kept:
        present = example.get("present", jnp.ones(kept[0].shape, float))
        moved["present"] = jnp.where(reduce(jnp.logical_and, kept), present, jnp.zeros_like(present))
    return moved


def _nearest(places, move, outside):
    """A map (H, W) read at the nearest pixel, `outside` where there is none."""
    fill = jnp.asarray(outside, places.dtype)
    if move.whole:
        return whole_slice(places, replace(move, fill=fill))
    return read(places[..., None], source(move), move.border, "nearest", fill)[..., 0]


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


def _turned_over(move):
    """Whether the move is a mirror: its matrix turns the plane over."""
    a, b, c = move.matrix
    return jnp.sum(a * jnp.cross(b, c)) < 0


def _area_of_pixel(move):
    """How many pixels of the source the output's middle one covers; a field is taken to stretch nothing on average."""
    middle = jnp.array([(n - 1) / 2 for n in move.size])
    down, along = (place(move.matrix, middle + step) - place(move.matrix, middle - step) for step in jnp.eye(2) / 2)
    return jnp.abs(down[0] * along[1] - down[1] * along[0])


def _points(move, facts, points, example):
    """Points where they land; outside the picture they are invisible; a mirror swaps what is left and right.

    `facts.extra["mirror"]` is the order of the points seen in a mirror (left eye ↔ right eye).
    """
    points = forward(move, points)
    visible = example.get("visible", jnp.ones(points.shape[:1], points.dtype))
    order = facts.extra.get("mirror", ())
    if order and not move.upright:
        swap, turned = jnp.array(order), _turned_over(move)
        points = jnp.where(turned, points[swap], points)
        visible = jnp.where(turned, visible[swap], visible)
    inside = jnp.all((points >= -0.5) & (points <= jnp.array(move.size) - 0.5), axis=-1)
    return {"points": points, "visible": jnp.where(inside, visible, jnp.zeros_like(visible))}


def _boxes(move, boxes, example):
    """Boxes around where their edges land, cut to the picture, and whether more than next to nothing is left of each.

    A box's numbers are edges: the pixel (3, 4) alone is the box (3, 4, 4, 5).
    """
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
    around = jnp.concatenate([landed.min(1), landed.max(1)], axis=-1)
    limits = jnp.array((*move.size, *move.size), around.dtype)
    seen = jnp.clip(around, 0, limits)
    kept = (_area(seen) > 0) & (_area(seen) >= SEEN * _area(around))
    return _where_present(example, seen, boxes), kept


def _fitted(boxes, before, after):
    """Boxes about the pixels that their rows have in a map of rows, and whether each that had some has any left.

    A box about a turned box is larger than what is in it; a row without pixels, of a crowd say, keeps it.
    """
    had, down, along = _met(before, len(boxes)).any(1), _met(after, len(boxes)), _met(after.T, len(boxes))
    low = jnp.stack([down.argmax(1), along.argmax(1)], -1)
    high = jnp.array(after.shape) - jnp.stack([down[:, ::-1].argmax(1), along[:, ::-1].argmax(1)], -1)
    left = down.any(1)
    about = jnp.concatenate([low, high], -1).astype(boxes.dtype)
    return jnp.where(left[:, None], about, boxes), left | ~had


def _met(places, rows):
    """Which lines (N, H) of a map (H, W) each of its `rows` has pixels in."""
    places = jnp.where((places > rows) | (places == IGNORE), 0, places).astype(int)
    lines = jnp.arange(len(places))[:, None]
    return jnp.zeros((rows + 1, len(places)), bool).at[places, lines].set(True)[1:]


def _corners(move, corners, example):
    """Corners where they land, beyond the picture too, and whether more than next to nothing of each is in it.

    As of boxes, their numbers are edges. The first two stay those of the front; a mirror exchanges the two of the
    front and the two of the back, so that they go round the way they did before.
    """
    landed = forward(move, corners - 0.5) + 0.5
    if not move.upright:
        landed = jnp.where(_turned_over(move), landed[:, jnp.array((1, 0, 3, 2))], landed)
    steps = (jnp.arange(WITHIN) + 0.5) / WITHIN
    down, along = steps[:, None, None], steps[None, :, None]
    a, b, c, d = (landed[:, i, None, None] for i in range(4))
    inner = (a * (1 - along) + b * along) * (1 - down) + (d * (1 - along) + c * along) * down
    inside = jnp.all((inner >= 0) & (inner <= jnp.array(move.size)), axis=-1)
    return _where_present(example, landed, corners), inside.mean((1, 2)) >= SEEN


def _where_present(example, landed, before):
    """The rows that have landed; what only pads stays as it was."""
    if "present" not in example:
        return landed
    present = (example["present"] > 0).reshape(-1, *(1 for _ in landed.shape[1:]))
    return jnp.where(present, landed, before.astype(landed.dtype))


def _area(boxes):
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
