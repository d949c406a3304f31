"""Sets made from a seed: endless in kind, free of licences, and every pixel's truth is known."""

from typing import Annotated

import numpy as np

from cnnjax.annotations import Bounds, Count
from cnnjax.data.source import Memory, Source, assemble
from cnnjax.refusals import refuse_misfits

__all__ = ["shapes"]

KINDS = ("disk", "square", "triangle", "cross", "ring", "star", "bar", "crescent")
_PER_PIECE = 8  # uniform numbers that place and paint one shape or one piece of clutter


def shapes(
    *,
    train: Annotated[int, Bounds(1, 2**31)] = 2048,
    test: Annotated[int, Bounds(1, 2**31)] = 512,
    size: Annotated[int, Bounds(16, 4096)] = 64,
    classes: Annotated[int, Bounds(2, len(KINDS))] = 4,
    objects: Annotated[int, Bounds(1, 64)] = 1,
    turn: Annotated[int, Bounds(0, 180)] = 180,
    clutter: Annotated[int, Bounds(0, 1024)] = 12,
    noise: Annotated[int, Bounds(0, 127)] = 16,
    world: int = 0,
    holdout: Count = 0,
) -> Source:
    """Scenes (size, size, 3) of `objects` shapes of random colours on clutter, to classify and to segment.

    They are turned by up to `turn` degrees either way; later ones lie on earlier ones. `segments` is 0 for background
    and 1 + kind for a shape. `label` is the kind of the shape of which most is seen. `clutter` counts the lines and
    specks behind, `noise` is the greatest change of a pixel in grey levels. Scene i is a function of `world`, the
    split and i: a smaller set is the start of a larger.
    """
    refuse_misfits(shapes, locals(), path="data.")
    options = {"size": size, "classes": classes, "objects": objects, "turn": turn, "clutter": clutter, "noise": noise}
    splits = [_split(world, number, count, options) for number, count in enumerate((train, test))]
    names = KINDS[:classes]
    extra = {"segment_names": ("background", *names)}
    return assemble(splits[0], splits[1], splits[1], holdout=holdout, names=names, extra=extra)


def _split(world, number, count, options):
    size = options["size"]
    image = np.empty((count, size, size, 3), np.uint8)
    segments = np.empty((count, size, size), np.int32)
    label = np.empty(count, np.int32)
    for index in range(count):
        image[index], segments[index], label[index] = scene(world, number, index, **options)
    return Memory({"image": image, "segments": segments, "label": label})


def scene(
    world: int, split: int, index: int, *, size: int, classes: int, objects: int, turn: int, clutter: int, noise: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Image (size, size, 3) uint8, segments (size, size) and label of one scene."""
    pieces = 1 + clutter + objects
    numbers = np.random.Philox(key=np.array([world % 2**64, split << 40 | index], np.uint64))
    draws = (numbers.random_raw(pieces * _PER_PIECE) >> 11).reshape(pieces, _PER_PIECE) / 2.0**53
    image, middle = _background(draws[0], size)
    for draw in draws[1 : 1 + clutter]:
        rows, columns, inside = _clutter(draw, size)
        image[rows, columns][inside] = 40 + 176 * draw[5:8]
    segments = np.zeros((size, size), np.int32)
    for number, draw in enumerate(draws[1 + clutter :]):
        kind = index % classes if number == 0 else int(draw[0] * classes)
        rows, columns, inside = _shape(KINDS[kind], draw, size, turn)
        image[rows, columns][inside] = _paint(draw[5:8], middle)
        segments[rows, columns][inside] = 1 + kind
    if noise:
        grains = numbers.random_raw(-(-image.size // 8)).view(np.uint8)[: image.size].reshape(image.shape)
        image += grains.astype(np.int64) % (2 * noise + 1) - noise
    label = np.bincount(segments.ravel(), minlength=classes + 1)[1:].argmax()
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), segments, label


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


def _shape(kind, draw, size, turn):
    """Where a shape lies: wholly in the scene, its radius 0.16 to 0.28 of the side."""
    radius = size * (0.16 + 0.12 * draw[1])
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
