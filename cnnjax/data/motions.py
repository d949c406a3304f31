"""Made clips of things that move, of which no frame, nor all of them without their order, says which way."""

from importlib.resources import files
from io import BytesIO
from typing import Annotated, Literal

import numpy as np

from cnnjax.annotations import Bounds, Count, Gives
from cnnjax.data.embedded import enlarged
from cnnjax.data.source import Memory, Source, assemble
from cnnjax.data.synthetic import KINDS, _background, _clutter, _turned, inside
from cnnjax.refusals import refuse_misfits

__all__ = ["moving"]

FRAMES = 37  # a prime that is 1² + 6²
_WAY = np.array([1, 6])  # down, to the right: from one of the places to the next, in 37ths of the side
MOTIONS = {  # how many of the places a thing goes on from frame to frame, modulo 37
    "right": 1,
    "down": 6,
    "left": -1,
    "up": -6,
    "fast right": 2,
    "fast down": 12,
    "fast left": -2,
    "fast up": -12,
}
_PIECE = 8  # uniform numbers for the ground, a piece of clutter, the thing
_FINE = 2  # places in a pixel, each way, that are looked at


def moving(
    *,
    train: Annotated[int, Bounds(1, 2**31)] = 2048,
    test: Annotated[int, Bounds(1, 2**31)] = 512,
    size: Annotated[int, Bounds(16, 1024)] = 24,
    things: Literal["shapes", "digits", "both"] = "both",
    clutter: Annotated[int, Bounds(0, 1024)] = 4,
    noise: Annotated[int, Bounds(0, 127)] = 16,
    world: int = 0,
    holdout: Count = 0,
) -> Annotated[Source, Gives(label="")]:
    """Clips (37, size, size, 1) in which a shape or a digit moves: `label` is one of four directions and two speeds.

    What leaves on one side comes in on the other. Whatever the label, a thing that begins at the same place is seen at
    the same 37 places, in another order: directions are 9° off the axes, along (1, 6), (6, -1) and so on in 37ths of
    the side, and each is a multiple of the other modulo 37. So neither a frame nor all frames without their order tell
    anything of the label. The slow ones go on by a sixth of the side, the fast ones by a third.

    Shapes are of eight kinds, digits those of `digits`, other ones in the test. `clutter` counts the lines and specks
    behind, `noise` is the greatest change of a pixel in grey levels. Clip i is a function of `world`, the split and i.
    """
    refuse_misfits(moving, locals(), path="data.")
    options = {"size": size, "things": things, "clutter": clutter, "noise": noise}
    splits = []
    for number, count in enumerate((train, test)):
        label = np.arange(count, dtype=np.int32) % len(MOTIONS)
        video = np.empty((count, FRAMES, size, size, 1), np.uint8)
        drawn = handwritten()[number::2]
        for index in range(count):
            video[index] = clip(world, number, index, tuple(MOTIONS)[label[index]], drawn, **options)
        splits.append(Memory({"video": video, "label": label}))
    return assemble(splits[0], splits[1], splits[1], holdout=holdout, names=tuple(MOTIONS), input="video")


def handwritten() -> np.ndarray:
    """The digits that come with the package, (N, 28, 28), from 0 to 1."""
    with np.load(BytesIO(files("cnnjax.data").joinpath("optdigits.npz").read_bytes()), allow_pickle=False) as stored:
        return enlarged(stored["image"])[..., 0] / 255


def clip(
    world: int,
    split: int,
    index: int,
    motion: str,
    drawn: np.ndarray,
    *,
    size: int,
    things: str,
    clutter: int,
    noise: int,
) -> np.ndarray:
    """Frames (37, size, size, 1) uint8 of a thing in motion, where it is a digit one of those `drawn` (N, 28, 28)."""
    pieces = 2 + clutter
    numbers = np.random.Philox(key=np.array([world % 2**64, 2**62 | split << 40 | index], np.uint64))
    draws = (numbers.random_raw(pieces * _PIECE) >> 11).reshape(pieces, _PIECE) / 2.0**53
    ground = _background(draws[0], size)[0].mean(-1)
    middle = ground.mean()
    for draw in draws[2:]:
        rows, columns, there = _clutter(draw, size)
        ground[rows, columns][there] = 40 + 176 * draw[5]
    frames = _seen(ground, draws[1], things, drawn, middle)
    frames = frames[MOTIONS[motion] * np.arange(FRAMES) % FRAMES]
    if noise:
        grains = numbers.random_raw(-(-frames.size // 8)).view(np.uint8)[: frames.size].reshape(frames.shape)
        frames += grains.astype(np.int64) % (2 * noise + 1) - noise
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)[..., None]


def _seen(ground, draw, things, drawn, middle):
    """(37, size, size): the thing at each of its places, drawn by eight uniform numbers."""
    size = len(ground)
    radius, turn = size * (0.18 + 0.06 * draw[0]), 2 * np.pi * draw[1]
    digit = things == "digits" or (things == "both" and draw[2] < 0.5)
    room = int(np.ceil(2 * radius)) + 2
    centre = draw[3:5] * size + np.arange(FRAMES)[:, None] * _WAY * size / FRAMES
    low = np.floor(centre - radius).astype(int)
    fine = (np.arange(room * _FINE) + 0.5) / _FINE
    y, x = ((low[:, i, None] + fine - centre[:, i, None]) / radius for i in (0, 1))
    if digit:
        v, u = _turned(y[:, :, None], x[:, None], (turn - np.pi) / 12)
        share = _ink(drawn[int(draw[5] * len(drawn))], v, u)
    else:
        share = inside(KINDS[int(draw[5] * len(KINDS))], *_turned(y[:, :, None], x[:, None], turn))
    share = share.reshape(FRAMES, room, _FINE, room, _FINE).mean((2, 4))
    shade = middle + (1 if middle < 128 else -1) * (72 + 40 * draw[6])
    rows, columns = ((low[:, i, None] + np.arange(room)) % size for i in (0, 1))
    places = np.arange(FRAMES)[:, None, None], rows[:, :, None], columns[:, None]
    frames = np.repeat(ground[None], FRAMES, 0)
    frames[places] += share * (shade - frames[places])
    return frames


def _ink(digit, v, u):
    """How dark a digit (28, 28) is at places v, u from -1 to 1, 0 beyond: its own pixel's."""
    row, column = (np.floor(14 * (place + 1)).astype(int) for place in (v, u))
    there = (np.minimum(row, column) >= 0) & (np.maximum(row, column) < 28)
    return np.where(there, digit[np.clip(row, 0, 27), np.clip(column, 0, 27)], 0.0)
