"""Digits as curves, made from a seed: MNIST-1D (Greydanus and Kobak 2024, arXiv:2011.14439)."""

from typing import Annotated

import numpy as np

from cnnjax.annotations import Bounds, Count, Gives, NonNegative, Static
from cnnjax.data.source import Memory, Source, assemble
from cnnjax.refusals import refuse_misfits

__all__ = ["mnist1d"]

_GLYPHS = (  # the published strokes of 0 to 9: how far to the right a pen is at twelve heights
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
_LONG, _SEEN = 72, 40  # steps of a curve while it is made, and at the end
_PADDED = 36, 60  # zeros that are set behind the twelve steps before all is stretched to _LONG


def mnist1d(
    *,
    train: Annotated[int, Bounds(1, 2**31)] = 4000,
    test: Annotated[int, Bounds(1, 2**31)] = 1000,
    scale: Static[Annotated[float, Bounds(0, 2)]] = 0.4,
    shift: Annotated[int, Bounds(1, _LONG)] = 48,
    wander: Static[NonNegative] = 0.25,
    noise: Static[NonNegative] = 0.02,
    shear: Static[NonNegative] = 0.75,
    shuffled: bool = False,
    world: int = 0,
    holdout: Count = 0,
) -> Annotated[Source, Gives(label="")]:
    """MNIST-1D: curves (40, 1) that hold the stroke of a digit somewhere, by the published way and its numbers.

    A stroke is stretched, times 1 ± `scale` / 2, and shifted by up to `shift` - 1 of 72 steps; where it is not, a
    curve wanders by smoothed noise of deviation `wander` (before it is smoothed). Noise of deviation `noise` comes to
    all of it, and a slope of up to ± `shear` / 2 from end to end. With `shuffled` the 40 steps stand in another
    order, the same for every curve of every world: neighbourhood is lost, nothing else. Curve i is a function of
    `world`, the split and i, so that these are not the published 5,000 but others of their kind.
    """
    refuse_misfits(mnist1d, locals(), path="data.")
    options = {"scale": scale, "shift": shift, "wander": wander, "noise": noise, "shear": shear}
    order = np.random.default_rng(0).permutation(_SEEN) if shuffled else np.arange(_SEEN)
    splits = []
    for number, count in enumerate((train, test)):
        label = np.arange(count, dtype=np.int32) % 10
        drawn = np.stack([draws(world, number, index) for index in range(count)])
        splits.append(Memory({"series": curves(label, drawn, **options)[:, order], "label": label}))
    return assemble(splits[0], splits[1], splits[1], holdout=holdout, names=tuple("0123456789"), input="series")


def draws(world: int, split: int, index: int) -> np.ndarray:
    """The numbers (148,) that one curve is made of: four uniform ones, then 144 normal ones."""
    numbers = np.random.Philox(key=np.array([world % 2**64, 2**61 | split << 40 | index], np.uint64))
    uniform = (numbers.random_raw(4 + 2 * _LONG) >> 11) / 2.0**53
    far, way = np.sqrt(-2 * np.log1p(-uniform[4::2])), 2 * np.pi * uniform[5::2]
    return np.concatenate([uniform[:4], far * np.cos(way), far * np.sin(way)])


def strokes() -> np.ndarray:
    """The strokes of the ten digits (10, 12): of deviation 1/6 each, beginning at 0."""
    glyphs = np.array(_GLYPHS)
    spread = glyphs.std(1, keepdims=True)
    return (glyphs - glyphs[:, :1]) / spread / 6


def curves(
    label: np.ndarray, drawn: np.ndarray, *, scale: float, shift: int, wander: float, noise: float, shear: float
) -> np.ndarray:
    """Curves (N, 40, 1) of the digits (N,), by the numbers drawn (N, 148) for each."""
    padded, scaled, moved, sheared = drawn[:, :4].T
    normal, rows = drawn[:, 4:].reshape(-1, 2, _LONG), np.arange(len(label))[:, None]
    count = np.shape(_GLYPHS)[1]
    length = count + _PADDED[0] + np.floor(padded * (_PADDED[1] - _PADDED[0] + 1))
    place = np.arange(_LONG) * (length[:, None] - 1) / (_LONG - 1)  # in steps of the stroke
    low = np.minimum(place.astype(int), count)
    known = np.pad(strokes(), ((0, 0), (0, 2)))[label]
    stroke = known[rows, low] + (place - low).clip(0, 1) * (known[rows, np.minimum(low + 1, count)] - known[rows, low])
    stroke = stroke * (1 + scale * (scaled - 0.5))[:, None]
    turned = (np.arange(_LONG) - np.floor(moved * shift)[:, None].astype(int)) % _LONG
    there = (place < count)[rows, turned]
    whole = np.where(there, stroke[rows, turned], wander * normal[:, 0] @ smoothing()) + noise * normal[:, 1]
    whole = whole - shear * (sheared - 0.5)[:, None] * np.linspace(-0.5, 0.5, _LONG)
    place = np.arange(_SEEN) * (_LONG - 1) / (_SEEN - 1)
    low = np.minimum(place.astype(int), _LONG - 2)
    return (whole[:, low] + (place - low) * (whole[:, low + 1] - whole[:, low]))[..., None].astype(np.float32)


def smoothing(deviation: float = 2.0) -> np.ndarray:
    """The matrix (72, 72) of a Gaussian filter that ends at four deviations and mirrors the curve at its ends."""
    reach = int(4 * deviation + 0.5)
    window = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    padded = np.pad(np.eye(_LONG), ((0, 0), (reach, reach)), "symmetric")
    return np.stack([padded[:, i : i + len(window)] @ window for i in range(_LONG)], 1) / window.sum()
