"""Where a picture lies in the file that it was read from, and labels brought from one into the other."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["Placing", "carry", "inverted"]

IGNORE = 255
SEEN = 0.1  # a box of which less than this share of its area lies in the picture is gone
_KINDS = {  # (word, axes of an example) → kind
    ("image", 3): "picture",
    ("video", 4): "picture",
    ("series", 2): "curve",
    ("tokens", 1): "tokens",
    ("label", 0): "class",
    ("probabilities", 1): "distribution",
    ("target", 1): "distribution",
    ("target", 2): "values",
    ("segments", 1): "per place",
    ("segments", 2): "per place",
    ("segments", 3): "per place",
    ("instances", 2): "row per place",
    ("masks", 3): "places per row",
    ("boxes", 2): "boxes",
    ("corners", 3): "corners",
    ("points", 2): "points",
    **dict.fromkeys([("classes", 1), ("present", 1), ("scores", 1), ("visible", 1), ("heights", 2)], "beside rows"),
}
_MAPS = ("per place", "row per place", "places per row")
PLACED = {"segments", "masks", "instances", "boxes", "corners", "points"}  # words of places in a picture


def kind(name: str, rank: int) -> str:
    """The kind of a word whose example has this many axes, by which it is carried, drawn and written; "own" if none."""
    return _KINDS.get((name, rank), "own" if rank else "record")


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
    are invisible, boxes are cut and no longer present where nearly nothing of them is left.
    """
    carried = dict(words)
    for word, value in words.items():
        value = np.asarray(value)
        what = kind(word, value.ndim)
        if what in _MAPS:
            carried[word] = _places(word, value, placing)
        elif what == "points":
            carried |= _points(value, words.get("visible", np.ones(value.shape[:-1], np.float32)), placing)
        elif what == "boxes":
            carried |= _boxes(value, words.get("present", np.ones(value.shape[:-1], np.float32)), placing)
        elif what == "corners":
            carried[word] = _sent(value, placing)
    return carried


def unread(words: Mapping[str, np.ndarray], size: tuple[int, int]) -> dict[str, np.ndarray]:
    """The words that a picture of this size would have, where it can't be read: nothing has a place in it."""
    blank = dict(words)
    for word, value in words.items():
        value = np.asarray(value)
        what = kind(word, value.ndim)
        if what in _MAPS:
            blank[word] = np.full((*value.shape[:-2], *size), _nothing(word), value.dtype)
        elif what in ("points", "boxes", "corners"):
            blank[word] = np.zeros(value.shape, np.float32)
            absent = "visible" if what == "points" else "present"
            blank[absent] = np.zeros_like(words.get(absent, np.zeros(value.shape[:1], np.float32)))
    return blank


def _nothing(word):
    return 0 if word == "masks" else IGNORE


def _sent(edges, placing):
    """Edges (…, 2) in the file, as float32."""
    return (edges * np.float64(placing.scale) + np.float64(placing.offset)).astype(np.float32)


def _places(word, values, placing):
    """(…, H, W) in the file, each of its pixels read where its centre lies."""
    if values.shape[-2:] != tuple(placing.size):
        has, wants = ("×".join(map(str, size)) for size in (values.shape[-2:], placing.size))
        raise ValueError(f"{word} of {has} places for a picture of {wants} pixels")
    back, lines, there = inverted(placing), [], []
    for axis in range(2):
        centres = (np.arange(placing.file[axis]) + 0.5) * back.scale[axis] + back.offset[axis]
        index = np.floor(centres + 1e-9).astype(int)  # a centre on an edge falls the same way on every machine
        there.append((index >= 0) & (index < placing.size[axis]))
        lines.append(np.clip(index, 0, placing.size[axis] - 1))
    found = values[..., lines[0][:, None], lines[1]]
    return np.where(there[0][:, None] & there[1], found, np.asarray(_nothing(word), values.dtype))


def _points(points, visible, placing):
    landed = _sent(points + 0.5, placing) - np.float32(0.5)
    inside = ((landed >= -0.5) & (landed <= np.array(placing.file) - 0.5)).all(-1)
    return {"points": landed, "visible": np.where(inside, visible, np.zeros_like(visible))}


def _boxes(boxes, present, placing):
    landed = _sent(boxes.reshape(*boxes.shape[:-1], 2, 2), placing).reshape(boxes.shape)
    seen = np.clip(landed, 0, np.float32([*placing.file, *placing.file]))
    kept = (_area(seen) > 0) & (_area(seen) >= SEEN * _area(landed))
    seen = np.where((np.asarray(present) > 0)[..., None], seen, np.float32(boxes))
    return {"boxes": seen, "present": np.where(kept, present, np.zeros_like(present))}


def _area(boxes):
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
