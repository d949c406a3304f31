"""Where a picture lies in the file that it was read from, and labels brought from one into the other."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cnnjax.carrying import carried, nowhere, placed, plane_sizes
from cnnjax.fields import IGNORE

__all__ = ["Placing", "carry", "inverted"]


@dataclass(frozen=True)
class Placing:
    """A picture of `size` (height, width) in one of size `file`: edge there = `scale` · edge here + `offset`, y and x.

    Edges count from 0 at a picture's border, so that the centre of pixel i lies at i + 0.5. The file is as one sees it,
    turned as its EXIF says.
    """

    scale: tuple[float, float]
    offset: tuple[float, float]
    size: tuple[int, int]
    file: tuple[int, int]

    @property
    def matrix(self) -> np.ndarray:
        """(3, 3) that sends (y, x, 1) of a pixel here to its place in the file, centres of pixels being whole."""
        scale, offset = np.array(self.scale), np.array(self.offset)
        matrix = np.diag([*scale, 1.0])
        matrix[:2, 2] = 0.5 * scale + offset - 0.5
        return matrix


def inverted(placing: Placing) -> Placing:
    """The file in the picture: what brings labels the other way."""
    scale = tuple(1 / s for s in placing.scale)
    offset = tuple(-o / s for o, s in zip(placing.offset, placing.scale, strict=True))
    return Placing(scale, offset, placing.file, placing.size)


def carry(words: Mapping[str, np.ndarray], placing: Placing) -> dict[str, np.ndarray]:
    """The words of one picture in the pixels of the file in which it lies; of one read from a file, with `inverted`.

    Classes of places (…, H, W) are read at the nearest place: 255, or 0 of masks, where there is none. Points outside
    are invisible, boxes and corners are no longer present where nearly nothing of them is left, boxes are cut; what is
    still seen of such in `instances` becomes 255.
    """
    one = _one(words)
    for word, size in plane_sizes(one).items():
        if size != tuple(placing.size):
            has, wants = ("×".join(map(str, lengths)) for lengths in (size, placing.size))
            raise ValueError(f"{word} of {has} places for a picture of {wants} pixels")
    return _alone(words, _without_gone(one, carried(one, inverted(placing).matrix[None, :2], placing.file)))


def _without_gone(before, one):
    """The words with what is left of rows that are no longer present taken out of `instances`."""
    if "instances" in one and "present" in one:
        gone = (one["present"][0] == 0) & (before.get("present", np.ones_like(one["present"]))[0] > 0)
        if gone.any():
            things = one["instances"]
            one["instances"] = np.where(np.isin(things, 1 + np.flatnonzero(gone)), things.dtype.type(IGNORE), things)
    return one


def unread(words: Mapping[str, np.ndarray], size: tuple[int, int]) -> dict[str, np.ndarray]:
    """The words that a picture of this size would have, where it can't be read: nothing has a place in it."""
    return _alone(words, nowhere(_one(words), size))


def _one(words):
    """Words as those of a batch of one, where a picture's size or place matters to them."""
    one = {word: np.asarray(value)[None] for word, value in words.items()}
    return one if placed(one) else {}


def _alone(words, one):
    return {**words, **{word: value[0] for word, value in one.items()}}
