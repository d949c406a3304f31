"""Made stick figures whose joints are known: in any pose and size, on clutter, behind things that hide them."""

from typing import Annotated

import numpy as np

from cnnjax.annotations import Bounds, Count, Gives
from cnnjax.data.source import Memory, Source, assemble
from cnnjax.data.synthetic import _background, _clutter, _paint, _turned
from cnnjax.refusals import refuse_misfits

__all__ = ["figures"]

_BONES = (  # joint, the one that it hangs on, how far off in heights of a torso, its angle from straight down, outwards
    ("head_top", "neck", 0.56, (155, 205)),
    ("left_shoulder", "neck", 0.36, (70, 100)),
    ("left_elbow", "left_shoulder", 0.56, (-20, 160)),
    ("left_wrist", "left_elbow", 0.54, (-90, 110)),
    ("left_hip", "neck", 1.04, (12, 15)),
    ("left_knee", "left_hip", 0.76, (-25, 80)),
    ("left_ankle", "left_knee", 0.74, (-90, 20)),
)
_NAMES = (  # as of the Leeds sports poses: left and right are the figure's own, which looks at us
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck", "head_top"),
)
_LIMBS = (  # what is drawn between two joints: how thick, in heights of a torso, and in which of three colours
    ("left_hip", "left_knee", 0.10, 1),
    ("left_knee", "left_ankle", 0.08, 1),
    ("left_shoulder", "left_elbow", 0.08, 0),
    ("left_elbow", "left_wrist", 0.07, 2),
)
_PIECE = 8  # uniform numbers for a piece: of clutter, of a figure, of what hides it
_MARGIN = 0.03  # of the side, that joints keep from the border


def figures(
    *,
    train: Annotated[int, Bounds(1, 2**31)] = 1000,
    test: Annotated[int, Bounds(1, 2**31)] = 200,
    size: Annotated[int, Bounds(32, 4096)] = 64,
    turn: Annotated[int, Bounds(0, 180)] = 30,
    clutter: Annotated[int, Bounds(0, 1024)] = 8,
    hiding: Annotated[int, Bounds(0, 64)] = 2,
    noise: Annotated[int, Bounds(0, 127)] = 16,
    world: int = 0,
    holdout: Count = 0,
) -> Annotated[Source, Gives(points="", visible="")]:
    """Pictures (size, size, 3) of a stick figure, and its 14 joints in `points` (14, 2) and `visible`.

    The figure looks at us, turned by up to `turn` degrees either way, and takes 0.4 to 0.9 of the side; arms and legs
    go behind and before its body. Up to `hiding` things lie on it: a joint under one of them is not visible, though
    it is where `points` says. `clutter` counts lines and specks behind, `noise` is the greatest change of a pixel in
    grey levels. Joints are named as of the Leeds sports poses. Picture i is a function of `world`, the split and i.
    """
    refuse_misfits(figures, locals(), path="data.")
    options = {"size": size, "turn": turn, "clutter": clutter, "hiding": hiding, "noise": noise}
    splits = [_split(world, number, count, options) for number, count in enumerate((train, test))]
    place = {name: number for number, name in enumerate(_NAMES)}
    joined = [(name, _other(name)) for name in ("left_shoulder", "left_hip")]
    joined += [("neck", "head_top"), *((side(a), side(b)) for a, b, *_ in _LIMBS for side in (str, _other))]
    joined += [(f"{side}_shoulder", f"{side}_hip") for side in ("left", "right")]
    extra = {
        "point_names": _NAMES,
        "mirror": [place[_other(name)] for name in _NAMES],
        "skeleton": [(place[a], place[b]) for a, b in joined],
    }
    return assemble(splits[0], splits[1], splits[1], holdout=holdout, extra=extra)


def _other(name):
    return name.replace("left_", "right_") if "left_" in name else name.replace("right_", "left_")


def _split(world, number, count, options):
    size, joints = options["size"], len(_NAMES)
    image = np.empty((count, size, size, 3), np.uint8)
    points, visible = np.empty((count, joints, 2), np.float32), np.empty((count, joints), np.float32)
    for index in range(count):
        image[index], points[index], visible[index] = figure(world, number, index, **options)
    return Memory({"image": image, "points": points, "visible": visible})


def figure(
    world: int, split: int, index: int, *, size: int, turn: int, clutter: int, hiding: int, noise: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image (size, size, 3) uint8, points (14, 2) and visible (14,) of one figure."""
    pieces = 5 + clutter + hiding
    numbers = np.random.Philox(key=np.array([world % 2**64, 2**63 | split << 40 | index], np.uint64))
    draws = (numbers.random_raw(pieces * _PIECE) >> 11).reshape(pieces, _PIECE) / 2.0**53
    image, middle = _background(draws[0], size)
    for draw in draws[5 : 5 + clutter]:
        rows, columns, inside = _clutter(draw, size)
        image[rows, columns][inside] = 40 + 176 * draw[5:8]
    draw = iter(draws[1:4].ravel())
    joints, unit = _posed(draw, size, turn)
    _drawn(image, joints, unit, draw, [_paint(draws[4, n : n + 3], middle) for n in (0, 3, 5)])
    points = np.float32([joints[name] for name in _NAMES])
    visible = np.ones(len(_NAMES), np.float32)
    for number in range(int(next(draw) * (hiding + 1))):
        visible *= ~_hidden(image, points, unit, draws[5 + clutter + number])
    if noise:
        grains = numbers.random_raw(-(-image.size // 8)).view(np.uint8)[: image.size].reshape(image.shape)
        image += grains.astype(np.int64) % (2 * noise + 1) - noise
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), points, visible


def _posed(draw, size, turn):
    """{joint: its place (2,) in pixels} and the pixels of a torso's height, of a pose drawn by uniform numbers."""
    lean = np.deg2rad(turn * (2 * next(draw) - 1))
    places, angles = {"neck": np.zeros(2)}, {}
    for bone, end, length, (low, high) in _BONES:
        for side, sign in (("left", 1), ("right", -1)) if "left" in bone else (("", 1),):
            name, root = (part.replace("left", side) for part in (bone, end))
            bent = angles[root] if name.endswith(("wrist", "ankle")) else 0.0  # on from where the limb points
            angles[name] = bent + np.deg2rad(low + (high - low) * next(draw))
            turned = sign * angles[name] + lean
            places[name] = places[root] + length * np.array([np.cos(turned), np.sin(turned)])
    low, high = (reach(list(places.values()), axis=0) for reach in (np.min, np.max))
    room = size * (1 - 2 * _MARGIN)
    unit = min((0.4 + 0.5 * next(draw)) * size / (high - low).max(), room / (high - low).max())
    corner = size * _MARGIN + np.array([next(draw), next(draw)]) * (room - unit * (high - low)) - 0.5
    return {name: corner + unit * (place - low) for name, place in places.items()}, unit


def _drawn(image, joints, unit, draw, colors):
    """Paints the figure: what lies behind its body, the body and head, what lies before them."""
    placed = [
        (joints[a.replace("left", side)], joints[b.replace("left", side)], thick, color)
        for side in ("left", "right")
        for a, b, thick, color in _LIMBS
    ]
    before = [next(draw) < 0.5 for _ in range(4)]
    shoulders, hips = (0.5 * (joints[f"left_{name}"] + joints[f"right_{name}"]) for name in ("shoulder", "hip"))
    head = 0.62 * joints["head_top"] + 0.38 * joints["neck"]
    body = [
        (joints["neck"], head, 0.07, 2),
        (shoulders, hips, 0.2, 0),
        (joints["left_shoulder"], joints["right_shoulder"], 0.09, 0),
        (joints["left_hip"], joints["right_hip"], 0.11, 1),
        (head, head, 0.24, 2),
    ]
    for first in (False, True):
        for number, (a, b, thick, color) in enumerate(placed):
            if before[number // 2] == first:
                _stroke(image, a, b, thick * unit, colors[color])
        for a, b, thick, color in () if first else body:
            _stroke(image, a, b, thick * unit, colors[color])


def _stroke(image, a, b, radius, color):
    """Paints all that lies within `radius` of the line from a to b, at its edge by the share of a pixel that does."""
    radius = max(radius, 0.6)
    low = np.maximum(np.floor(np.minimum(a, b) - radius - 1), 0).astype(int)
    high = np.minimum(np.ceil(np.maximum(a, b) + radius + 2), image.shape[:2]).astype(int)
    rows, columns = slice(low[0], high[0]), slice(low[1], high[1])
    place = np.stack(np.mgrid[rows, columns], -1) - a
    along = np.clip(place @ (b - a) / max(np.dot(b - a, b - a), 1e-9), 0, 1)
    apart = np.sqrt(((place - along[..., None] * (b - a)) ** 2).sum(-1))
    share = np.clip(radius + 0.5 - apart, 0, 1)[..., None]
    image[rows, columns] += share * (color - image[rows, columns])


def _hidden(image, points, unit, draw):
    """Paints a bar of any colour over a part of the figure; which of its points (14, 2) lie under it, (14,) bool."""
    low, high = points.min(0), points.max(0)
    centre, angle = low + draw[:2] * (high - low), np.pi * draw[2]
    sides = unit * (0.15 + 0.3 * draw[3:5])

    def inside(places):
        v, u = _turned(*np.moveaxis(places - centre, -1, 0), angle)
        return (np.abs(v) < sides[0]) & (np.abs(u) < sides[1])

    image[inside(np.stack(np.mgrid[: image.shape[0], : image.shape[1]], -1))] = 20 + 215 * draw[5:8]
    return inside(points)
