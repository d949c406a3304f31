"""The words of a batch, and what may be known of a data set: the vocabulary that data, augmentation and tasks share.

`WORDS` says of every word which shape it has and of which kind it is, `KINDS` what becomes of a kind. Nothing else in
the house lists words: checks, augmentation, drawing and prediction look here. Labels and predictions share them.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from cnnjax._facts import EXTRA, Facts

__all__ = [
    "EXTRA",
    "IGNORE",
    "INPUTS",
    "KINDS",
    "SEEN",
    "WITHIN",
    "WORDS",
    "Facts",
    "Kind",
    "Word",
    "first_problem",
    "has_time",
    "is_error",
    "kind",
    "misshapen",
    "of_kind",
    "plane_axes",
]

IGNORE = 255
"""The class of places that count nowhere, in `segments` and `instances`."""

SEEN = 0.1
"""The share of a box below which it is gone, where a picture's border has cut it."""

WITHIN = 8
"""The places along each side of a turned box at which is looked whether it is in the picture."""

INPUTS = ("image", "video", "series", "tokens")
"""The words that a net may read."""

_ROUNDED = 2 * 2**0.5  # pixels by which corners that were rounded to whole ones may miss a rectangle
_TOGETHER = 1024  # examples that are checked at once, so that a large set needs little memory
_MARGIN = 0.5  # pixels by which boxes, corners' centres and visible points may lie outside the picture


class Kind(NamedTuple):
    """What becomes of a word of this kind; a column is what one sort of augmentation does to it.

    `move`: moves of the plane, `resize`: another size, `mirror`: what a mirror does beyond the move, `mixup` and
    `cutmix`: with another example, `time`: moves along time of what has steps, `scale`: another unit of the series.
    "stays" is as it was and still true, "refused" is neither. `outside` is what a map of places holds where no picture
    is, -1 for what is no such map. `drawn` is how `show` and `predict` show it, "title" above the picture.
    """

    move: str
    resize: str
    mirror: str
    mixup: str
    cutmix: str
    time: str
    scale: str
    outside: int
    drawn: str


_KINDS = {
    #                    move       resize      mirror     mixup      cutmix     time       scale      outside drawn
    "picture":          ("sampled", "smoothed", "stays",   "blended", "pasted",  "moved",   "stays",    -1, "picture"),
    "curve":            ("stays",   "stays",    "stays",   "blended", "refused", "moved",   "scaled",   -1, "curve"),
    "tokens":           ("stays",   "stays",    "stays",   "refused", "refused", "refused", "stays",    -1, "text"),
    "per place":        ("nearest", "nearest",  "stays",   "refused", "pasted",  "moved",   "stays",   255, "overlay"),
    "row per place":    ("nearest", "nearest",  "stays",   "refused", "refused", "stays",   "stays",   255, "things"),
    "places per row":   ("nearest", "nearest",  "stays",   "refused", "refused", "stays",   "stays",     0, "things"),
    "shares per place": ("refused", "refused",  "refused", "refused", "refused", "refused", "stays",     0, "nothing"),
    "points":           ("landed",  "centres",  "ordered", "refused", "refused", "stays",   "stays",    -1, "dots"),
    "boxes":            ("cut",     "edges",    "stays",   "refused", "refused", "stays",   "stays",    -1, "outline"),
    "corners":          ("turned",  "edges",    "paired",  "refused", "refused", "stays",   "stays",    -1, "outline"),
    "beside rows":      ("stays",   "stays",    "stays",   "refused", "refused", "stays",   "stays",    -1, "beside"),
    "class":            ("stays",   "stays",    "stays",   "written", "written", "stays",   "stays",    -1, "title"),
    "distribution":     ("stays",   "stays",    "stays",   "blended", "blended", "stays",   "stays",    -1, "title"),
    "values":           ("stays",   "stays",    "stays",   "blended", "blended", "refused", "scaled",   -1, "forecast"),
    "references":       ("stays",   "stays",    "stays",   "blended", "blended", "refused", "scaled",   -1, "thin"),
    "record":           ("stays",   "stays",    "stays",   "stays",   "stays",   "stays",   "stays",    -1, "nothing"),
    "mark":             ("stays",   "stays",    "stays",   "refused", "refused", "stays",   "stays",    -1, "nothing"),
    "pixel's area":     ("spread",  "spread",   "stays",   "stays",   "stays",   "stays",   "stays",    -1, "nothing"),
    "own":              ("refused", "refused",  "refused", "refused", "refused", "refused", "refused",  -1, "nothing"),
}  # fmt: skip
KINDS = {name: Kind(*treatments) for name, treatments in _KINDS.items()}
"""What becomes of each kind of word. "own" is an array of a user's own word, of which nobody knows."""


class _About(NamedTuple):
    """What a check may look at beside the word itself."""

    facts: Facts
    fields: Mapping[str, np.ndarray]
    plane: tuple

    def there(self, word, shape):  # (B, N) bool: the rows that are more than padding
        return self.fields[word] > 0 if word in self.fields else np.ones(shape, bool)


type Found = Iterator[tuple[np.ndarray, str]]  # of a check: which are wrong, (B, …) bool, and what is allowed


def _below(values, count, what):
    """Whole numbers of which there are `count`, 0 if nobody knows."""
    wrong = (values < 0) | (values >= count) if count else values < 0
    return wrong, f"{what} go from 0 to {count - 1}" if count else f"{what} are 0 or more"


def _shades(values, about) -> Found:
    if values.dtype.kind == "f":  # where a picture was resized it may be beyond by a little
        yield (values < -0.01) | (values > 1.01), "floats go from 0 to 1: divide by the largest there can be"


def _label(values, about) -> Found:
    yield _below(values, about.facts.classes, "labels")


def _classes(values, about) -> Found:
    wrong, allowed = _below(values, about.facts.classes, "classes")
    yield wrong & about.there("present", values.shape), allowed


def _tokens(values, about) -> Found:
    yield _below(values, len(about.facts.extra.get("words", ())), "tokens")


def _group(values, about) -> Found:
    yield _below(values, 0, "groups")


def _switch(values, about) -> Found:
    yield (values != 0) & (values != 1), "it must be 0 or 1"


def _segments(values, about) -> Found:
    wrong, allowed = _below(values, len(about.facts.extra.get("segment_names", ())), "segments")
    yield wrong & (values != IGNORE), f"{allowed}, and {IGNORE} where they count nowhere"


def _instances(values, about) -> Found:
    rows = [about.fields[word] for word in ("boxes", "corners") if word in about.fields]
    rows = rows[0] if rows else np.zeros((len(values), 0))
    there = np.pad(about.there("present", rows.shape[:2]), ((0, 0), (1, 0)), constant_values=True)
    flat = values.reshape(len(values), -1).astype(np.int64)
    known = np.take_along_axis(there, np.clip(flat, 0, there.shape[1] - 1), 1) & (flat >= 0) & (flat < there.shape[1])
    wrong = (~known & (flat != IGNORE)).reshape(values.shape)
    yield wrong, f"instances are 0, {IGNORE}, or n for the n-th of the {rows.shape[1]} rows of boxes, which is present"


def _target(values, about) -> Found:
    if values.ndim == 2 and about.facts.classes:
        yield values < 0, "shares of classes are not negative"
        yield np.abs(values.sum(1, dtype=np.float64) - 1) > 1e-3, "shares of classes sum to 1"


def _probabilities(values, about) -> Found:
    total = values.sum(-1, dtype=np.float64)
    nowhere = (total == 0) & (values.ndim > 2)  # around the picture that was looked at
    yield values < 0, "probabilities are not negative"
    yield (np.abs(total - 1) > 1e-2) & ~nowhere, "probabilities sum to 1"


def _masks(values, about) -> Found:
    yield (values < 0) | (values > 1), "masks go from 0 to 1"


def _boxes(values, about) -> Found:
    there, (low, high) = about.there("present", values.shape[:2]), (values[..., :2], values[..., 2:])
    yield there & (high <= low).any(-1), "boxes are y0 x0 y1 x1 with y0 < y1 and x0 < x1"
    if about.plane:
        beyond = (low < -_MARGIN) | (high > np.array(about.plane) + _MARGIN)
        yield there & beyond.any(-1), f"boxes lie in the picture of {_by(about.plane)} pixels, to {_MARGIN} pixels"


def _corners(values, about) -> Found:
    there = about.there("present", values.shape[:2])
    a, b, c, d = np.moveaxis(values.astype(np.float64), 2, 0)
    gap, diagonals = _long(a + c - b - d), np.abs(_long(c - a) - _long(d - b))
    wrong = (gap > _ROUNDED) | (diagonals > _ROUNDED) | (np.minimum(_long(b - a), _long(d - a)) <= 0)
    yield there & wrong, f"corners are the four of a rectangle, one after the other, to {_ROUNDED:.1f} pixels"
    if about.plane:
        centre = values.mean(2)
        beyond = (centre < -_MARGIN) | (centre > np.array(about.plane) + _MARGIN)
        yield there & beyond.any(-1), f"their centre lies in the picture of {_by(about.plane)} pixels"


def _areas(values, about) -> Found:
    yield values < 0, "areas are not negative"


def _pixel_area(values, about) -> Found:
    yield values <= 0, "a pixel covers more than nothing"


def _heights(values, about) -> Found:
    yield about.there("present", values.shape[:2]) & (values[..., 1] < values[..., 0]), "heights are z0 z1, z0 <= z1"


def _points(values, about) -> Found:
    if about.plane:
        beyond = (values < -0.5 - _MARGIN) | (values > np.array(about.plane) - 0.5 + _MARGIN)
        wrong = about.there("visible", values.shape[:2]) & beyond.any(-1)
        yield wrong, f"visible points lie in the picture of {_by(about.plane)} pixels, to {_MARGIN} pixels"


def _long(vectors):
    return np.sqrt((vectors**2).sum(-1))


def _by(size):
    return "×".join(str(length) for length in size)


class Word(NamedTuple):
    """One word of a batch: the shapes that one example may have, each with its kind, whether its numbers are whole.

    In a shape, a letter stands for any length, the same for all words that have N or K; "sizes" for the lengths of the
    input's height and width, or time; "classes" for the number of names. `check(values, about)` finds what no training
    could use.
    """

    shapes: Mapping[tuple, str]
    whole: bool = False
    check: Callable = lambda values, about: ()


WORDS = {
    "image": Word({("H", "W", "C"): "picture"}, False, _shades),
    "video": Word({("T", "H", "W", "C"): "picture"}, False, _shades),
    "series": Word({("T", "C"): "curve"}),
    "tokens": Word({("T",): "tokens"}, True, _tokens),
    "label": Word({(): "class"}, True, _label),
    "target": Word({("classes",): "distribution", ("L", "C"): "values"}, False, _target),
    "references": Word({("R", "L", "C"): "references"}),
    "probabilities": Word({("sizes", "L"): "shares per place", ("classes",): "distribution"}, False, _probabilities),
    "segments": Word({("sizes",): "per place"}, True, _segments),
    "present": Word({("N",): "beside rows"}, False, _switch),
    "ignored": Word({("N",): "beside rows"}, False, _switch),
    "boxes": Word({("N", 4): "boxes"}, False, _boxes),
    "areas": Word({("N",): "beside rows"}, False, _areas),
    "pixel_area": Word({(): "pixel's area"}, False, _pixel_area),
    "classes": Word({("N",): "beside rows"}, True, _classes),
    "scores": Word({("N",): "beside rows"}),
    "corners": Word({("N", 4, 2): "corners"}, False, _corners),
    "heights": Word({("N", 2): "beside rows"}, False, _heights),
    "instances": Word({("H", "W"): "row per place"}, True, _instances),
    "masks": Word({("N", "H", "W"): "places per row"}, False, _masks),
    "visible": Word({("K",): "beside rows"}, False, _switch),
    "points": Word({("K", 2): "points"}, False, _points),
    "group": Word({(): "record"}, True, _group),
    "labelled": Word({(): "mark"}, False, _switch),
    "valid": Word({(): "record"}, False, _switch),
    "index": Word({(): "record"}, True),
    "epoch": Word({(): "record"}, True),
}
"""Every word of a batch, in the order in which they are checked."""


def kind(name: str, rank: int) -> str:
    """The kind of a word whose example has this many axes; an array of a word that is not ours is "own"."""
    for shape, found in WORDS[name].shapes.items() if name in WORDS else ():
        if len(shape) <= rank <= len(shape) + 2 * ("sizes" in shape):
            return found
    return "own" if rank else "record"


def plane_axes(kind: str) -> tuple[int, int]:
    """The axes of height and width in a word of a kind that is a picture, or a map of places."""
    return (-3, -2) if kind in ("picture", "shares per place") else (-2, -1)


def has_time(name: str, rank: int) -> bool:
    """Whether the first of this many axes of a word's example is time."""
    shape = next((shape for shape in WORDS[name].shapes if len(shape) == rank), ()) if name in WORDS else ()
    return shape[:1] == ("T",) or (kind(name, rank) == "per place" and rank in (1, 3))


def of_kind(*kinds: str) -> tuple[str, ...]:
    """The words of these kinds."""
    return tuple(name for name, word in WORDS.items() if set(word.shapes.values()) & set(kinds))


def misshapen(shapes: Mapping[str, tuple], facts: Facts) -> tuple[str, str] | tuple[()]:
    """A word whose shape in an example (name → shape) is not that of the table, and what is wrong; () if none is."""
    sizes = next((tuple(shapes[name][:-1]) for name in INPUTS if name in shapes and name != "tokens"), ())
    sizes = tuple(shapes["tokens"]) if not sizes and "tokens" in shapes else sizes
    bound = {"sizes": sizes, "classes": (facts.classes,) if facts.classes else ()}
    for name in WORDS:
        if name not in shapes:
            continue
        shape, wanted = tuple(shapes[name]), WORDS[name].shapes
        if not any(_fits(shape, letters, bound, name) for letters in wanted):
            listing = " or ".join(_letters(letters, bound) for letters in wanted)
            return name, f"{name} has shape {shape} an example; it must be {listing}"
    return ()


def _fits(shape, letters, bound, name):
    """Whether a shape is that of the letters; N, K, H and W are then what they are in the words that follow."""
    letters = [part for letter in letters for part in (bound.get(letter) or (letter,) * (letter != "sizes"))]
    if any("sizes" in shape for shape in WORDS[name].shapes) and not bound["sizes"]:
        return True
    if len(shape) != len(letters) or any(isinstance(b, int) and a != b for a, b in zip(shape, letters, strict=True)):
        return False
    bound.update({letter: (length,) for letter, length in zip(letters, shape, strict=True) if letter in tuple("NKHW")})
    return True


def _letters(letters, bound):
    parts = [str(part) for letter in letters for part in (bound.get(letter) or (letter,))]
    return f"({', '.join(parts)}{',' * (len(parts) == 1)})"


def first_problem(fields: Mapping[str, np.ndarray], facts: Facts) -> tuple[int, str] | tuple[()]:
    """(row, what is wrong) of the first word (B, …) that no training could use; () where all is well.

    The row is -1 where it is wrong with every example. Examples of `valid` 0 are not looked at.
    """
    if found := misshapen({name: value.shape[1:] for name, value in fields.items()}, facts):
        return -1, found[1]
    for name, values in fields.items():
        wanted = "iu" if name in WORDS and WORDS[name].whole else "fiub"
        if values.dtype.kind not in wanted:
            return -1, f"{name} has type {values.dtype}; give {'whole ' * (wanted == 'iu')}numbers"
    mirror, points = facts.extra.get("mirror", ()), fields["points"].shape[1] if "points" in fields else 0
    if mirror and points and len(mirror) != points:
        return -1, f"facts.extra['mirror'] orders {len(mirror)} points, but there are {points}"
    plane = next((fields[name].shape[-3:-1] for name in ("image", "video") if name in fields), ())
    count = len(next(iter(fields.values())))
    for first in range(0, count, _TOGETHER):
        some = {name: value[first : first + _TOGETHER] for name, value in fields.items()}
        rows = np.arange(first, min(first + _TOGETHER, count))
        if "valid" in some and not some["valid"].all():
            valid = some["valid"] != 0
            some, rows = {name: value[valid] for name, value in some.items()}, rows[valid]
        if found := _wrong(_About(facts, some, tuple(plane))):
            return int(rows[found[0]]), found[1]
    return ()


def _wrong(about):
    """(row, what is wrong) of the first word of which a number is not finite, too large, or not allowed."""
    for name, values in about.fields.items():
        if values.dtype.kind == "f":
            finite = np.isfinite(values.reshape(len(values), -1)).all(1)
            if not finite.all():
                return int(np.argmin(finite)), f"values of {name} that are not finite"
        elif values.dtype.itemsize == 8 or values.dtype == np.uint32:
            if found := _first(name, values, values != values.astype(np.int32), "whole numbers have 32 bits"):
                return found
    for name in WORDS:
        if name in about.fields:
            for wrong, allowed in WORDS[name].check(about.fields[name], about):
                if found := _first(name, about.fields[name], wrong, allowed):
                    return found
    return ()


def _first(name, values, wrong, allowed):
    if not wrong.any():
        return ()
    place = tuple(int(i) for i in np.unravel_index(np.argmax(wrong), wrong.shape))
    value = np.asarray(values[place])
    numbers = [f"{number:.6g}" for number in value.ravel()[:8]] + ["…"] * (value.size > 8)
    shown = f"[{' '.join(numbers)}]" if value.ndim else str(value)
    return place[0], f"{name} {shown}; {allowed}"


_ERRORS = {"loss", "error", "mae", "mse", "rmse", "mase", "smape", "distance", "frechet", "pixels", "divergence"}


def is_error(metric: str) -> bool:
    """Whether less of a metric is better, by the words of its name: `loss`, `rand_error`, `mae_linear_regression`."""
    return not _ERRORS.isdisjoint(metric.split("_"))
