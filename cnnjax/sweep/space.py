"""The points of a sweep as plain data: a point is a dict of overrides, dotted config path to value.

    def sweep():
        return cross(grid({"optimizer.lr": (1e-3, 3e-3)}), seeds(4))

A distribution (`uniform`, `log_uniform`, `choice`) says where `sample` and a search draw from.
"""

import hashlib
import math
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = [
    "Distribution",
    "chain",
    "choice",
    "cross",
    "grid",
    "log_uniform",
    "names_of",
    "sample",
    "seeds",
    "uniform",
    "zipped",
]

type Point = dict[str, Any]


class Distribution(NamedTuple):
    """Where a value is drawn from: `uniform` or `log_uniform` between `low` and `high`, or a `choice` of `values`."""

    kind: str
    low: float = 0.0
    high: float = 0.0
    values: tuple = ()

    def __str__(self):
        inside = ", ".join(map(str, self.values)) if self.kind == "choice" else f"{self.low:g}, {self.high:g}"
        return f"{self.kind}({inside})"

    def at(self, place: float) -> Any:
        """The value at a place in [0, 1)."""
        if self.kind == "choice":
            return self.values[int(place * len(self.values))]
        if self.kind == "log_uniform":
            return math.exp(math.log(self.low) + place * (math.log(self.high) - math.log(self.low)))
        return self.low + place * (self.high - self.low)


def uniform(low: float, high: float) -> Distribution:
    """Numbers between two bounds, all as likely."""
    return _between("uniform", low, high)


def log_uniform(low: float, high: float) -> Distribution:
    """Numbers between two positive bounds, whose logarithms are all as likely."""
    distribution = _between("log_uniform", low, high)
    if not low > 0:
        raise ValueError(f"log_uniform({low:g}, {high:g}): the bounds must be > 0; uniform has no logarithm")
    return distribution


def choice(*values: Any) -> Distribution:
    """One of these values, all as likely."""
    if not values:
        raise ValueError("choice() has nothing to choose from; give it values")
    return Distribution("choice", values=values)


def grid(values: Mapping[str, Sequence]) -> list[Point]:
    """Every combination of the values, the last path changing fastest."""
    points: list[Point] = [{}]
    for path, options in values.items():
        points = [{**point, path: value} for point in points for value in _several(path, options)]
    return points


def zipped(values: Mapping[str, Sequence]) -> list[Point]:
    """The first values together, the second ones together, and so on."""
    lengths = {path: len(_several(path, options)) for path, options in values.items()}
    if len(set(lengths.values())) > 1:
        words = ", ".join(f"{path} has {length}" for path, length in lengths.items())
        raise ValueError(f"zipped: all paths need as many values; {words}")
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def cross(*parts: Iterable[Point]) -> list[Point]:
    """Every point of the first list with every point of the second, and so on."""
    points: list[Point] = [{}]
    for part in parts:
        part = _points("cross", part)
        for point, more in ((point, more) for point in points for more in part):
            twice = sorted(set(point) & set(more))
            if twice:
                raise ValueError(f"cross: {twice[0]} is in two of the lists; a point has one value for it")
        points = [{**point, **more} for point in points for more in part]
    return points


def chain(*parts: Iterable[Point]) -> list[Point]:
    """The points of all lists, one list after another."""
    return [dict(point) for part in parts for point in _points("chain", part)]


def sample(distributions: Mapping[str, Distribution], count: int, *, seed: int = 0) -> list[Point]:
    """`count` points with each value drawn from its distribution: the first ones are the same for any count."""
    draw = random.Random(seed)
    _counted("sample", count)
    for path, distribution in distributions.items():
        if not isinstance(distribution, Distribution):
            raise ValueError(f"sample: {path} is {distribution!r}; write uniform(…), log_uniform(…) or choice(…)")
    return [{path: each.at(draw.random()) for path, each in distributions.items()} for _ in range(count)]


def seeds(count: int, *, first: int = 0) -> list[Point]:
    """`count` seeds of weights and noise; the order of the data stays that of `data.seed`."""
    return [{"seed": first + i} for i in range(_counted("seeds", count))]


def names_of(points: Sequence[Point]) -> list[str]:
    """A folder's name for every point, made of its overrides: `lr=0.1,seed=2`; no two points may be the same.

    What is too long for a name, or would be another's as well, ends in a checksum.
    """
    paths = list(dict.fromkeys(path for point in points for path in point))
    words = {path: _word(path, paths) for path in paths}
    texts = [",".join(f"{words[path]}={_shown(value)}" for path, value in point.items()) or "base" for point in points]
    count = Counter(texts)
    names = [
        f"{text[:108]}~{_checksum(point)}" if len(text) > 120 or count[text] > 1 else text
        for text, point in zip(texts, points, strict=True)
    ]
    for name, times in Counter(names).items():
        if times > 1:
            raise ValueError(f"two points of the sweep are the same: {name.partition('~')[0]}")
    return names


def _checksum(point: Point) -> str:
    return hashlib.sha256(repr(sorted(point.items())).encode()).hexdigest()[:8]


def _word(path: str, paths: Sequence[str]) -> str:
    """The shortest end of a path that no other path has; an entry's name is called by its section."""
    parts = path.removesuffix(".name").split(".")
    others = [other.removesuffix(".name").split(".") for other in paths if other != path]
    for length in range(1, len(parts) + 1):
        if not any(other[-length:] == parts[-length:] for other in others):
            return ".".join(parts[-length:])
    return path


def _shown(value: Any) -> str:
    """A value as a part of a folder's name; numbers with six digits."""
    if isinstance(value, float):
        text = f"{value:.6g}"
    elif isinstance(value, tuple | list):
        text = "+".join(_shown(item) for item in value) or "none"
    else:
        text = str(value)
    return "".join(letter if (letter.isascii() and letter.isalnum()) or letter in "+-._" else "-" for letter in text)


def _between(kind: str, low: float, high: float) -> Distribution:
    if not all(isinstance(bound, int | float) and abs(bound) < math.inf for bound in (low, high)):
        raise ValueError(f"{kind}({low!r}, {high!r}): the bounds must be finite numbers")
    if not low < high:
        raise ValueError(f"{kind}({low:g}, {high:g}): the first bound must be below the second")
    return Distribution(kind, float(low), float(high))


def _several(path: str, options: Any) -> Sequence:
    if isinstance(options, str) or not isinstance(options, Sequence):
        raise ValueError(f"{path} is {options!r}; give a tuple or list of values")
    if not options:
        raise ValueError(f"{path} has no values; give a tuple or list of them")
    return options


def _points(name: str, part: Any) -> list[Point]:
    """A list of points, of which there is at least one."""
    points = list(part) if not isinstance(part, Mapping) else []
    if not points or not all(isinstance(point, Mapping) for point in points):
        raise ValueError(f"{name}: {part!r} is no list of points; give what grid, zipped, sample or seeds return")
    return points


def _counted(name: str, count: int) -> int:
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"{name}: the count is {count!r}; it must be a whole number ≥ 1")
    return count
