"""Made scenes in space, seen from above: points on the sides of what stands about, as a laser scanner finds them."""

from typing import Annotated

import numpy as np

from cnnjax.annotations import Bounds, Count, Gives
from cnnjax.data.source import Memory, Source, assemble
from cnnjax.refusals import refuse_misfits

__all__ = ["solids"]

# length, width, height in pixels, each times 0.85 to 1.15; which share of it in front is lower, and how high that is
_KINDS = {
    "car": (15.0, 7.0, 5.5, 0.32, 0.55),
    "van": (19.0, 8.0, 8.0, 0.16, 0.55),
    "truck": (28.0, 9.0, 11.0, 0.22, 0.65),
}
_TALL = 16.0  # the height that white stands for
_CROWD = 32  # points in a pixel from which on it is white
_LEAST = 12  # points of a thing without which nobody could tell
_TRIES = 40  # places that are tried for each
_POLE = 18.0  # how high the scanner stands
_RAYS, _PACE = 360, 1.5  # angles and pixels in which it is looked what lies before what


def solids(
    *,
    train: Annotated[int, Bounds(1, 2**31)] = 1200,
    test: Annotated[int, Bounds(1, 2**31)] = 200,
    size: Annotated[int, Bounds(48, 4096)] = 96,
    objects: Annotated[int, Bounds(1, 64)] = 5,
    clutter: Annotated[int, Bounds(0, 64)] = 6,
    points: Annotated[int, Bounds(100, 1_000_000)] = 6000,
    world: int = 0,
    holdout: Count = 0,
) -> Annotated[Source, Gives(corners="", heights="", classes="", present="")]:
    """Scenes (size, size, 3) of 1 to `objects` cars, vans and trucks in space, from above: boxes that are turned.

    The channels are how many points a pixel has, how high the highest and how high the lowest of them lies, all from 0
    to 1 (the last as far below as above: without points it is 0). `corners` (N, 4, 2) begin with the front, `heights`
    (N, 2) are in pixels too, 16 of which are white. A scanner stands in the middle of the lower edge: what is far from
    it has fewer of the `points`, what lies behind another thing none; a thing with fewer than 12 is not `present`.
    `clutter` counts bushes and walls. Scene i is a
    function of `world`, the split and i.
    """
    refuse_misfits(solids, locals(), path="data.")
    options = {"size": size, "objects": objects, "clutter": clutter, "points": points}
    splits = [_split(world, number, count, options) for number, count in enumerate((train, test))]
    return assemble(splits[0], splits[1], splits[1], holdout=holdout, names=tuple(_KINDS))


def _split(world, number, count, options):
    scenes = [_scene(world, number, index, **options) for index in range(count)]
    return Memory({word: np.stack([scene[word] for scene in scenes]) for word in scenes[0]})


def _scene(world, split, index, *, size, objects, clutter, points):
    """The words of one scene."""
    draws = np.random.Generator(np.random.Philox(key=np.array([world % 2**64, split << 40 | index], np.uint64)))
    words = {
        "corners": np.zeros((objects, 4, 2), np.float32),
        "heights": np.zeros((objects, 2), np.float32),
        "classes": np.zeros(objects, np.int32),
        "present": np.zeros(objects, np.float32),
    }
    placed, clouds = [], [_ground(draws, size, points // 2)]
    things = [*range(int(draws.integers(1, objects + 1))), *[-1] * clutter]
    for row in things:
        kind = int(draws.integers(len(_KINDS)))
        length, width, tall, step, low = list(_KINDS.values())[kind] if row >= 0 else _bush(draws)
        length, width, tall = np.array([length, width, tall]) * draws.uniform(0.85, 1.15, 3)
        centre, angle = _place(draws, placed, size, np.hypot(length, width) / 2)
        if centre is None:
            continue
        placed.append((centre, np.hypot(length, width) / 2))
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # across, along → y, x
        base = draws.uniform(0.0, 0.6)
        found = _surface(draws, centre, turn, (length, width, tall), step, low, base, size, points)
        clouds.append(np.insert(found, 3, row, 1))
        if row >= 0:
            ends = np.array([[-0.5, 0.5], [0.5, 0.5], [0.5, -0.5], [-0.5, -0.5]]) * [width, length]
            words["corners"][row], words["heights"][row] = centre + ends @ turn, (base, base + tall)
            words["classes"][row] = kind
    cloud = _unhidden(np.concatenate(clouds), size)
    seen = np.bincount(cloud[cloud[:, 3] >= 0, 3].astype(int), minlength=objects) >= _LEAST
    words["present"] = seen.astype(np.float32)
    return {"image": _seen(cloud, size), **{word: _where(value, seen) for word, value in words.items()}}


def _where(value, seen):
    """The rows that are seen, 0 elsewhere."""
    return np.where(seen.reshape(-1, *(1,) * (value.ndim - 1)), value, 0).astype(value.dtype)


def _unhidden(cloud, size):
    """The points (…, 4) before which nothing stands, as the scanner looks."""
    away = cloud[:, :2] - (size, size / 2)
    distance = np.hypot(*away.T)
    ray = ((np.arctan2(away[:, 0], away[:, 1]) / np.pi + 1) / 2 * _RAYS).astype(int) % _RAYS
    pace = (distance / _PACE).astype(int)
    slope = (cloud[:, 2] - _POLE) / np.maximum(distance, 1)
    before = np.full((_RAYS, pace.max() + 3), -np.inf)
    np.maximum.at(before, (ray, pace + 2), slope)  # two paces off, so that no surface hides itself
    return cloud[slope >= np.maximum.accumulate(before, 1)[ray, pace]]


def _bush(draws):
    """The same numbers of what is no thing: a bush, or a wall."""
    if draws.random() < 0.5:
        return *draws.uniform(2.5, 5.0, 2), draws.uniform(1.0, 9.0), 0.0, 1.0
    return draws.uniform(12.0, 24.0), 1.5, draws.uniform(3.0, 9.0), 0.0, 1.0


def _place(draws, placed, size, reach):
    """A centre and an angle where nothing else stands; None where there is no room."""
    for _ in range(_TRIES):
        centre = draws.uniform(reach, size - reach, 2) if size > 2 * reach else np.full(2, size / 2)
        if all(np.hypot(*(centre - other)) > reach + beside for other, beside in placed):
            return centre, draws.uniform(-np.pi, np.pi)
    return None, 0.0


def _ground(draws, size, count):
    """Points (count, 4), y x z and no row, on a floor that is not quite even; the more the nearer to the scanner."""
    far, angle = size * 1.2 * draws.random(count) ** 1.5, draws.uniform(np.pi, 2 * np.pi, count)
    floor = np.stack([size + far * np.sin(angle), size / 2 + far * np.cos(angle), draws.normal(0.15, 0.1, count)], -1)
    floor = np.insert(floor, 3, -1, 1)
    return floor[(floor[:, :2] >= 0).all(1) & (floor[:, :2] < size).all(1)]


def _surface(draws, centre, turn, sides, step, low, base, size, points):
    """Points (…, 3) on the top and on those sides of a thing that the scanner sees."""
    length, width, tall = sides
    scanner = np.array([size, size / 2])
    distance = max(np.hypot(*(centre - scanner)), size / 8)
    count = max(int(points * 0.02 * (length * width + length * tall) / 100 * (0.6 * size / distance)), 20)
    along, across = draws.uniform(-0.5, 0.5, (2, count))
    roof = np.where(along > 0.5 - step, low, 1.0)  # the front of it is lower
    face = draws.integers(0, 3, count)  # the top, the nearer of the ends, the nearer of the long sides
    ahead, beside = np.sign(turn @ (scanner - centre))[::-1]
    along = np.where(face == 1, 0.5 * ahead, along)
    across = np.where(face == 2, 0.5 * beside, across)
    roof = np.where(face == 1, low if ahead > 0 else 1.0, roof)
    high = np.where(face == 0, roof, roof * draws.random(count)) * tall + base
    flat = centre + np.stack([across * width, along * length], -1) @ turn
    found = np.concatenate([flat, high[:, None]], 1) + draws.normal(0, 0.15, (count, 3))
    return found[(found[:, :2] >= 0).all(1) & (found[:, :2] < size).all(1)]


def _seen(cloud, size):
    """The picture of points (…, 4): how many, the highest, the lowest."""
    place = cloud[:, 0].astype(int) * size + cloud[:, 1].astype(int)
    count = np.bincount(place, minlength=size**2)
    highest, lowest = np.zeros(size**2), np.full(size**2, np.inf)
    np.maximum.at(highest, place, cloud[:, 2])
    np.minimum.at(lowest, place, cloud[:, 2])
    channels = [np.log1p(count) / np.log1p(_CROWD), highest / _TALL, np.where(count > 0, lowest / _TALL, 0)]
    image = np.clip(np.stack(channels, -1), 0, 1).reshape(size, size, 3)
    return np.rint(255 * image).astype(np.uint8)
