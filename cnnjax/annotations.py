"""What a signature says of an option beyond its type: bounds, the words it may hold, floats that shape the program."""

import typing
from typing import Annotated, Any, Literal, NamedTuple

__all__ = [
    "WORKS_ON",
    "AtLeastOne",
    "Bounds",
    "ChannelWeights",
    "Count",
    "Elementwise",
    "Factor",
    "FilePath",
    "Gives",
    "HeadWeights",
    "NonNegative",
    "Positive",
    "Rate",
    "Sampling",
    "Seed",
    "Share",
    "Static",
    "Text",
    "ViewName",
    "peeled",
]


class Bounds(NamedTuple):
    """The lowest and the highest value of a number; `above` leaves out the lowest itself, `below` the highest."""

    low: float = -float("inf")
    high: float = float("inf")
    above: bool = False
    below: bool = False

    def hold(self, value: float) -> bool:
        """Whether a number lies within."""
        over = value > self.low if self.above else value >= self.low
        return over and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        ends = [f"{'>' if self.above else '≥'} {self.low:.15g}"] if self.low > -float("inf") else []
        ends += [f"{'<' if self.below else '≤'} {self.high:.15g}"] if self.high < float("inf") else []
        return " and ".join(ends)


class Gives(dict):
    """Of a reader's `Source`: the words that its examples have and tasks need, each with its flag, "" for none."""


type Static[T] = Annotated[T, "static"]
"""A float option that shapes the program (`width: Static[float] = 1.0`); a plain `float` is traced."""

type Elementwise[T] = Annotated[T, "elementwise"]
"""The `colors` of an augmentation that makes every number of that number alone: it costs no pass over the picture."""

Text = Annotated[str, "text"]
"""Any text: a name, a pattern. An option that is one of a few words is a `Literal` of them."""

FilePath = Annotated[str, "text", "path"]
"""The path of a file or a folder of this machine; what has a scheme (`gs://…`) is refused."""

Share = Annotated[float, Bounds(0, 1)]
Rate = Annotated[float, Bounds(0, 1, below=True)]
NonNegative = Annotated[float, Bounds(0)]
Positive = Annotated[float, Bounds(0, above=True)]
Factor = Annotated[float, Bounds(1)]
Count = Annotated[int, Bounds(0)]
AtLeastOne = Annotated[int, Bounds(1)]
Seed = Annotated[int, Bounds(0, 2**32, below=True)]

# Words that two rooms say which don't know each other.
WORKS_ON = ("size", "colors", "example", "batch")
"""The names that the third parameter of an augmentation may have: what it works on."""
HeadWeights = Literal["file", "fresh"]
ChannelWeights = Literal["file", "adapt"]
Sampling = Literal["shuffled", "balanced", "labelled"]
ViewName = Literal["mirror", "shifts", "five_crop", "ten_crop", "scales", "tiles"]


def peeled(annotation: Any) -> tuple[Any, tuple]:
    """The type under an annotation's aliases and `Annotated`s, and all their marks, innermost first."""
    if isinstance(annotation, typing.TypeAliasType):
        return peeled(annotation.__value__)
    origin = typing.get_origin(annotation)
    if isinstance(origin, typing.TypeAliasType):
        return peeled(origin.__value__[typing.get_args(annotation)])
    if origin is Annotated:
        kind, marks = peeled(annotation.__origin__)
        return kind, (*marks, *annotation.__metadata__)
    return annotation, ()
