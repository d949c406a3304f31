"""Sets small enough to come with the package: they load offline."""

from importlib.resources import files
from io import BytesIO
from typing import Annotated

import numpy as np

from cnnjax.annotations import Count, Gives
from cnnjax.data.source import Memory, Source, assemble, every_fifth

__all__ = ["digits"]


def digits(*, holdout: Count = 0) -> Annotated[Source, Gives(label="")]:
    """1,797 handwritten digits, 28×28 grey: the test set of UCI's optdigits (CC BY 4.0); test is every fifth, 360.

    The originals are 8×8 with values 0 to 16 (optdigits.md says whose they are). The same 13 writers stand in
    both splits, so test accuracy says nothing about a new writer's hand.
    """
    with np.load(BytesIO(files("cnnjax.data").joinpath("optdigits.npz").read_bytes()), allow_pickle=False) as stored:
        small, label = stored["image"], stored["label"]
    train, test = every_fifth(Memory({"image": enlarged(small), "label": label.astype(np.int32)}))
    return assemble(train, test, test, holdout=holdout, names=tuple("0123456789"))


def enlarged(small: np.ndarray) -> np.ndarray:
    """(N, 8, 8) values 0 to 16 as (N, 28, 28, 1) uint8, bilinear with half-pixel centres, edges repeated.

    Output i lies at (i + ½)·8/28 - ½. In units of 1/14 that is whole, so it is all done in integers: the
    result, rounded to the nearest (halves up), is the same on every machine.
    """
    place = np.clip(2 * (2 * np.arange(28) + 1) - 7, 0, 7 * 14)
    low = np.minimum(place // 14, 6)
    weights = np.zeros((28, 8), np.int64)
    weights[np.arange(28), low] = 14 - (place - 14 * low)
    weights[np.arange(28), low + 1] = place - 14 * low
    large = weights @ small.astype(np.int64) @ weights.T
    unit = 14 * 14 * 16
    return ((255 * large + unit // 2) // unit).astype(np.uint8)[..., None]
