"""What may be known of a data set; `fields` hands it on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cnnjax.refusals import suggestion

__all__ = ["EXTRA", "Facts"]


@dataclass(frozen=True)
class Facts:
    """What nets, tasks and augmentations may know of a data set.

    `mean` and `std` are per channel, in [0, 1] units, from the training split (from 256 evenly spaced examples of it
    where it is streamed). `fields` holds shape and dtype of one example's words; `black` and `white` what 0 and 1 of
    the data are, per channel. `shape`, that of one example's input, and `classes`, the number of names, follow from
    the rest where they are not given. `class_counts` says how many training examples each class has; () where it is not
    known without reading them all. `extra` may hold segment_names and point_names (texts), mirror (the order of
    the points as a mirror shows them, (0, 1, …) where it changes none), skeleton (pairs of points to join), words (the
    vocabulary of tokens: 0 pads, 1 is unknown), rate (steps a second of a series or a video), class_ids (what
    annotations call the classes by, where that is not their numbers), reference_names (of the forecasts in
    `references`) and seasonal_error (by column, how much a season changes in the mean, the unit of MASE).
    """

    input: str = "image"
    shape: tuple = ()
    classes: int = 0
    counts: Mapping = field(default_factory=dict)
    mean: tuple = ()
    std: tuple = ()
    names: tuple = ()
    extra: Mapping = field(default_factory=dict)
    fields: Mapping = field(default_factory=dict)
    black: tuple = ()
    white: tuple = ()
    class_counts: tuple = ()

    def __post_init__(self):
        known = tuple(self.fields[self.input][0]) if self.input in self.fields else ()
        for name, given, found in (("shape", tuple(self.shape), known), ("classes", self.classes, len(self.names))):
            if given and found and given != found:
                raise ValueError(f"facts.{name} is {given}, but fields and names say {found}")
            object.__setattr__(self, name, given or found)
        object.__setattr__(self, "extra", {name: _extra(name, value) for name, value in self.extra.items()})


def _texts(value):
    return tuple(str(text) for text in value)


def _order(value):
    order = tuple(int(place) for place in value)
    if sorted(order) != list(range(len(order))) or any(order[other] != place for place, other in enumerate(order)):
        raise ValueError("it must name every point once, and twice mirrored must be as before")
    return order


def _pairs(value):
    pairs = tuple(tuple(int(place) for place in pair) for pair in value)
    if any(len(pair) != 2 or min(pair) < 0 for pair in pairs):
        raise ValueError("it must be pairs of numbers of points")
    return pairs


def _positive(value):
    if not 0 < float(value) < float("inf"):
        raise ValueError("it must be positive")
    return float(value)


def _ids(value):
    return tuple(name if isinstance(name, str) else int(name) for name in value)


def _errors(value):
    return tuple(_positive(number) for number in value)


EXTRA = {
    "segment_names": _texts,
    "point_names": _texts,
    "mirror": _order,
    "skeleton": _pairs,
    "words": _texts,
    "rate": _positive,
    "class_ids": _ids,
    "reference_names": _texts,
    "seasonal_error": _errors,
}
"""The words that `Facts.extra` may hold, and how a value of each becomes plain Python."""


def _extra(name, value):
    if name not in EXTRA:
        raise ValueError(f"facts.extra has {name!r}{suggestion(name, EXTRA)}")
    try:
        return EXTRA[name](value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"facts.extra[{name!r}] is {value!r}: {error}") from None
