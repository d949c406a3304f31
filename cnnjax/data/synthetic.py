"""Sets made from a seed: endless in kind, free of licences, and every pixel's truth is known."""

from typing import Annotated

import numpy as np

from cnnjax.annotations import Bounds, Count, Gives, Static
from cnnjax.data.source import Memory, Source, assemble
from cnnjax.fields import IGNORE, SEEN
from cnnjax.refusals import ConfigError, refuse_misfits

__all__ = ["shapes"]

KINDS = ("disk", "square", "triangle", "cross", "ring", "star", "bar", "crescent")
_PER_PIECE = 8  # uniform numbers that place and paint one shape or one piece of clutter

_BOXED = ("boxes", "classes", "present", "instances")


def shapes(
    *,
    train: Annotated[int, Bounds(1, 2**31)] = 2048,
    test: Annotated[int, Bounds(1, 2**31)] = 512,
    size: Annotated[int, Bounds(16, 4096)] = 64,
    classes: Annotated[int, Bounds(2, len(KINDS))] = 4,
    objects: Annotated[int, Bounds(1, 64)] = 1,
    fewest: Count = 0,
    radius: Static[Annotated[float, Bounds(0.02, 0.5)]] = 0.16,
    spread: Static[Annotated[float, Bounds(0, 0.48)]] = 0.12,
    turn: Annotated[int, Bounds(0, 180)] = 180,
    clutter: Annotated[int, Bounds(0, 1024)] = 12,
    noise: Annotated[int, Bounds(0, 127)] = 16,
    boxes: bool = False,
    world: int = 0,
    holdout: Count = 0,
) -> Annotated[Source, Gives(label="", segments="", **dict.fromkeys(_BOXED, "boxes=true"))]:
    """Scenes (size, size, 3) of `objects` shapes of random colours on clutter, to classify, to segment and to find.

    They are turned by up to `turn` degrees either way; later ones lie on earlier ones. Their radius is `radius` to
    `radius + spread` of the side; where `fewest` is given their number is drawn from there up to `objects`. `segments`
    is 0 for background and 1 + kind for a shape. `label` is the kind of the shape of which most is seen. `clutter`
    counts the lines and specks behind, `noise` is the greatest change of a pixel in grey levels. Scene i is a function
    of `world`, the split and i: a smaller set is the start of a larger.

    With `boxes` there are `boxes`, `classes`, `present` and `instances` too, a row for each shape from the lowest to
    the highest. A box is that of the pixels that are seen, as in COCO: what another shape hides does not count. A shape
    of which less than a tenth is seen is not present, and its pixels are 255 in `instances`.
    """
    refuse_misfits(shapes, locals(), path="data.")
    if fewest > objects:
        raise ConfigError(f"data.fewest is {fewest}; it must be at most data.objects, {objects}")
    if radius + spread > 0.5:
        raise ConfigError(f"data.radius + data.spread is {radius + spread:g}; it must be at most 0.5, half of the side")
    options = {"size": size, "classes": classes, "objects": objects, "turn": turn, "clutter": clutter, "noise": noise}
    options |= {"fewest": fewest, "radius": radius, "spread": spread, "boxes": boxes}
    splits = [_split(world, number, count, options) for number, count in enumerate((train, test))]
    names = KINDS[:classes]
    extra = {"segment_names": ("background", *names)}
    return assemble(splits[0], splits[1], splits[1], holdout=holdout, names=names, extra=extra)


def _split(world, number, count, options):
    arrays = {}
    for index in range(count):
        for name, value in scene(world, number, index, **options).items():
            if not index:
                arrays[name] = np.empty((count, *value.shape), value.dtype)
            arrays[name][index] = value
    return Memory(arrays)


def scene(
    world: int,
    split: int,
    index: int,
    *,
    size: int,
    classes: int,
    objects: int,
    fewest: int,
    radius: float,
    spread: float,
    turn: int,
    clutter: int,
    noise: int,
    boxes: bool,
) -> dict[str, np.ndarray]:
    """The fields of one scene: image (size, size, 3) uint8, segments (size, size), label, and the rows of boxes."""
    pieces = 1 + clutter + objects
    numbers = np.random.Philox(key=np.array([world % 2**64, split << 40 | index], np.uint64))
    draws = (numbers.random_raw(pieces * _PER_PIECE) >> 11).reshape(pieces, _PER_PIECE) / 2.0**53
    image, middle = _background(draws[0], size)
    for draw in draws[1 : 1 + clutter]:
        rows, columns, inside = _clutter(draw, size)
        image[rows, columns][inside] = 40 + 176 * draw[5:8]
    segments = np.zeros((size, size), np.int32)
    instances, drawn = np.zeros((size, size), np.uint8), []
    some = fewest + int(draws[0, 4] * (objects - fewest + 1)) if fewest else objects
    for number, draw in enumerate(draws[1 + clutter :][:some]):
        kind = index % classes if number == 0 else int(draw[0] * classes)
        rows, columns, inside = _shape(KINDS[kind], draw, size, radius + spread * draw[1], turn)
        image[rows, columns][inside] = _paint(draw[5:8], middle)
        segments[rows, columns][inside] = 1 + kind
        if boxes:
            instances[rows, columns][inside] = 1 + number
            drawn.append((kind, inside.sum()))
    if noise:
        grains = numbers.random_raw(-(-image.size // 8)).view(np.uint8)[: image.size].reshape(image.shape)
        image += grains.astype(np.int64) % (2 * noise + 1) - noise
    label = np.bincount(segments.ravel(), minlength=classes + 1)[1:].argmax()
    found = {"image": np.clip(np.rint(image), 0, 255).astype(np.uint8), "segments": segments, "label": np.int32(label)}
    return found | (_rows(instances, drawn, objects) if boxes else {})


def _rows(instances, drawn, objects):
    """Boxes (N, 4) of what is seen of the shapes drawn, their classes, whether they are there, and instances."""
    boxes, classes, present = np.zeros((objects, 4), np.float32), np.zeros(objects, np.int32), np.zeros(objects, "f4")
    for number, (kind, whole) in enumerate(drawn):
        seen = instances == 1 + number
        if seen.sum() < max(1, SEEN * whole):
            instances[seen] = IGNORE
            continue
        rows, columns = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
        boxes[number] = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
        classes[number], present[number] = kind, 1
    return {"boxes": boxes, "classes": classes, "present": present, "instances": instances}


def _background(draw, size):
    """A slope between two muted colours, and the colour halfway."""
    place = (np.arange(size) + 0.5) / size - 0.5
    angle = 2 * np.pi * draw[0]
    slope = 0.5 + (np.sin(angle) * place[:, None] + np.cos(angle) * place) / np.sqrt(2)
    start, end = 64 + 128 * draw[1:4], 64 + 128 * np.roll(draw, 3)[1:4]
    return start + slope[..., None] * (end - start), (start + end) / 2


def _paint(draw, behind):
    """A colour at least 72 grey levels from the one behind it in every channel that has the room."""
    up = np.where(draw < 0.5, behind < 176, behind < 80)
    distance = 72 + 40 * np.abs(2 * draw - 1)
    return np.clip(behind + np.where(up, distance, -distance), 0, 255)


def _window(centre, reach, size):
    """Slices of rows and columns around a centre, and coordinates in them relative to it."""
    low = np.maximum(np.floor(centre - reach), 0).astype(int)
    high = np.minimum(np.ceil(centre + reach), size).astype(int)
    y, x = (np.arange(a, b) + 0.5 - c for a, b, c in zip(low, high, centre, strict=True))
    return slice(low[0], high[0]), slice(low[1], high[1]), y[:, None], x[None]


def _turned(y, x, turn):
    return np.cos(turn) * y - np.sin(turn) * x, np.sin(turn) * y + np.cos(turn) * x


def _clutter(draw, size):
    """Where a thin line (every second piece) or a small speck lies."""
    line = draw[0] < 0.5
    length = size * (0.1 + 0.3 * draw[4]) if line else size * (0.015 + 0.025 * draw[4])
    rows, columns, y, x = _window(draw[1:3] * size, length, size)
    v, u = _turned(y, x, 2 * np.pi * draw[3])
    if line:
        return rows, columns, (np.abs(u) < length) & (np.abs(v) < 0.008 * size + 0.3)
    return rows, columns, np.maximum(np.abs(u), np.abs(v)) < length / np.sqrt(2)


def _shape(kind, draw, size, radius, turn):
    """Where a shape lies: wholly in the scene, its radius a share of the side."""
    radius = size * radius
    centre = radius + draw[2:4] * (size - 2 * radius)
    rows, columns, y, x = _window(centre, radius, size)
    v, u = _turned(y / radius, x / radius, np.deg2rad(turn * (2 * draw[4] - 1)))
    return rows, columns, inside(kind, v, u)


def inside(kind: str, v: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Whether points v, u (h, w) lie in the shape of this name, which fills the disk of radius 1 around 0 if it can."""
    square = u * u + v * v
    if kind == "disk":
        return square < 0.8
    if kind == "square":
        return np.maximum(np.abs(u), np.abs(v)) < 0.7
    if kind == "triangle":
        return np.maximum(-v, np.sqrt(0.75) * np.abs(u) + 0.5 * v) < 0.5
    if kind == "cross":
        return (np.minimum(np.abs(u), np.abs(v)) < 0.25) & (np.maximum(np.abs(u), np.abs(v)) < 0.95)
    if kind == "ring":
        return (square < 0.95) & (square > 0.3)
    if kind == "star":  # five points: the angle from the nearest point, then the straight edge from tip to notch
        angle = np.abs((np.arctan2(v, u) + 0.2 * np.pi) % (0.4 * np.pi) - 0.2 * np.pi)
        along, across = np.sqrt(square) * np.cos(angle), np.sqrt(square) * np.sin(angle)
        notch = 0.42 * np.cos(0.2 * np.pi), 0.42 * np.sin(0.2 * np.pi)
        return (1 - along) * notch[1] > across * (1 - notch[0])
    if kind == "bar":
        return (np.abs(u) < 0.95) & (np.abs(v) < 0.24)
    return (square < 0.95) & ((u - 0.45) ** 2 + v * v > 0.5)  # crescent
