"""Masks (H, W) of COCO's polygons and run lengths, pixel for pixel those of its own tool."""

import reprlib
from collections.abc import Sequence

import numpy as np

_FINE = 5  # parts of a pixel to which COCO's rule rounds a corner


def mask_of(shape: dict | Sequence, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool of a `segmentation`: polygons [[x, y, x, y, …], …], or {"size", "counts"} with a list or a text."""
    if isinstance(shape, dict):
        said, counts = shape.get("size", size), shape.get("counts", ())
        if not isinstance(said, list | tuple) or len(said) != 2:
            raise ValueError(f"the size {reprlib.repr(said)}, which is no height and width")
        if tuple(said) != tuple(size):
            raise ValueError(f"a mask of {reprlib.repr(said[0])}×{reprlib.repr(said[1])} pixels")
        return run_mask(runs_of(counts) if isinstance(counts, str) else _array(counts), size)
    if not isinstance(shape, list | tuple):
        raise ValueError(f"the segmentation {reprlib.repr(shape)}, which is neither polygons nor run lengths")
    parts = [polygon_mask(_array(part), size) for part in shape]
    return np.logical_or.reduce(parts) if parts else np.zeros(size, bool)


def _array(values: object) -> np.ndarray:
    """An array (N,) of a list of numbers; what is none makes one of another form or kind, which is refused."""
    try:
        return np.asarray(values)
    except ValueError:  # lists of several lengths
        return np.asarray(None)


def run_mask(counts: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool of run lengths (N,): of pixels outside and inside by turns, down the columns."""
    if counts.ndim != 1 or counts.dtype.kind not in "iu" or (counts < 0).any() or counts.sum() != size[0] * size[1]:
        raise ValueError(f"run lengths that are not whole numbers which sum to {size[0]}×{size[1]} pixels")
    inside = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return inside.reshape(size[::-1]).T


def runs_of(text: str) -> np.ndarray:
    """The run lengths (N,) in a text: signed numbers in digits of five bits, lowest first, from 48 on.

    A sixth bit says that more of a number comes; from the fourth on it is the difference to the last but one.
    """
    digits = np.frombuffer(text.encode(), np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(digits & 32 == 0)
    if not len(ends) or (digits < 0).any() or (digits > 63).any() or ends[-1] != len(digits) - 1:
        raise ValueError("a text that holds no run lengths")
    begins = np.concatenate([[0], ends[:-1] + 1])
    places = np.arange(len(digits)) - np.repeat(begins, ends - begins + 1)
    if places.max() > 10:
        raise ValueError("a text that holds no run lengths")
    numbers = np.add.reduceat((digits & 31) << 5 * places, begins)
    numbers -= (digits[ends] & 16 != 0) * (np.int64(1) << 5 * (ends - begins + 1))
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers


def text_of_runs(runs: Sequence[int]) -> str:
    """The text in which `runs_of` finds these run lengths."""
    letters = []
    for place, run in enumerate(runs):
        number, more = int(run) - (int(runs[place - 2]) if place > 2 else 0), True
        while more:
            digit, number = number & 31, number >> 5
            more = number != (-1 if digit & 16 else 0)
            letters.append(chr(48 + (digit | 32 * more)))
    return "".join(letters)


def polygon_mask(corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool of a polygon (2 K,) x y x y …, by COCO's rule.

    Its border is walked in steps of a fifth of a pixel. Wherever the walk goes over the middle of a column, the pixels
    from there on change sides: inside is what was changed an odd number of times, counted down the columns.
    """
    height, width = size
    numbers = corners.ndim == 1 and corners.dtype.kind in "iuf" and np.isfinite(corners).all()
    if not numbers or len(corners) < 6 or len(corners) % 2:
        raise ValueError("a polygon that is not three or more pairs of numbers")
    x, y = _walk(*np.trunc(_FINE * corners.astype(float).reshape(-1, 2).T + 0.5).astype(np.int64))
    over = np.flatnonzero(np.diff(x))
    column = (np.minimum(x[over], x[over + 1]) + 0.5) / _FINE - 0.5
    line = (np.minimum(y[over], y[over + 1]) + 0.5) / _FINE - 0.5
    seen = (np.floor(column) == column) & (column >= 0) & (column <= width - 1)
    inside, column = np.zeros((width, height), bool), column[seen].astype(np.int64)
    if len(column):  # in other columns, which the walk goes over nowhere, nothing is inside
        first, last = column.min(), column.max() + 1
        place = (column - first) * height + np.ceil(np.clip(line[seen], 0, height)).astype(np.int64)
        changes = np.bincount(place, minlength=(last - first) * height + 1)[:-1]
        inside[first:last] = (np.cumsum(changes) % 2 == 1).reshape(-1, height)
    return inside.T


def _walk(x, y):
    """Every fine place (M,), (M,) along the closed border through corners (K,), (K,), both ends of each side included.

    On its longer axis a side goes one by one, on the other as rounding has it, from the end of the lower number on.
    """
    ends = np.stack([x, y, np.roll(x, -1), np.roll(y, -1)], -1)
    flat = np.abs(ends[:, 2] - ends[:, 0]) >= np.abs(ends[:, 3] - ends[:, 1])
    back = np.where(flat, ends[:, 0] > ends[:, 2], ends[:, 1] > ends[:, 3])
    ends = np.where(back[:, None], np.roll(ends, 2, 1), ends)
    across = np.where(flat[:, None], ends, ends[:, [1, 0, 3, 2]])  # the longer axis first
    steps = across[:, 2] - across[:, 0]
    slope = (across[:, 3] - across[:, 1]) / np.maximum(steps, 1)
    side = np.repeat(np.arange(len(steps)), steps + 1)
    at = np.arange(len(side)) - np.repeat(np.cumsum(steps + 1) - steps - 1, steps + 1)
    at = np.where(back[side], steps[side] - at, at)
    long = across[side, 0] + at
    short = np.trunc(across[side, 1] + slope[side] * at + 0.5).astype(np.int64)
    return np.where(flat[side], long, short), np.where(flat[side], short, long)
