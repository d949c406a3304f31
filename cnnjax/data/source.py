"""What a data set is to the rest of the house: three splits that are read by index, and facts about them."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from cnnjax.data._identity import checksum, marks
from cnnjax.fields import IGNORE, Facts, first_problem

__all__ = [
    "DataError",
    "Facts",
    "Memory",
    "Source",
    "Split",
    "assemble",
    "check",
    "hold_out",
    "labels_of",
    "refuse_empty",
]

NOTHING = MappingProxyType({})
BESIDE = ": "  # in the name of a bad record, between its file and what alone of it is passed over
_PROBE = 256  # examples of a split that is not in memory from which its statistics are estimated
_TOGETHER = 16  # of these that are read together
_AT_ONCE = 2**20  # numbers that are added up together
_LOOKED_AT = 32  # examples of such a split that are checked beforehand
NUMBERED = 2**20  # classes that may go without names


class DataError(ValueError):
    """A data set that cannot be used as it is; the message says which record and what to change."""

    exit_code = 3


class Split(Protocol):
    """Examples by index. Resident ones also have `arrays`, all fields whole.

    A split may add `name(index)` for messages, `bad` and `budget` (names of broken records with the reason, and how
    many there may be), `classes()`, the class of every example (N,), `only(indices, train)`, the split of these alone,
    and `listing()`, bytes that tell its examples and their order from others' without reading them.
    """

    resident: bool

    def __len__(self) -> int: ...

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]: ...


@dataclass(frozen=True)
class Source:
    """A data set; `eval is test` where nothing was held out, and then nothing may be selected by it.

    Splits that are streamed learn here what their examples must be (`expected`: their name and the facts), so that
    whoever reads them, in any process, can refuse a bad label by name.
    """

    train: Split
    eval: Split
    test: Split
    facts: Facts

    def __post_init__(self):
        for name in ("train", "eval", "test"):
            if not (split := getattr(self, name)).resident:
                with contextlib.suppress(AttributeError):  # a split without room for it is looked at beforehand alone
                    split.expected = (name, self.facts)

    @functools.cached_property
    def identity(self) -> dict[str, Any]:
        """What tells these data from others, as JSON knows it: counts, names, mean, a checksum of each split.

        It is that of the names and sizes of files, of all that arrays hold, and "" of a split that can say neither.
        """
        facts = self.facts
        splits = {"train": self.train, "eval": self.eval, "test": self.test}
        sums = {id(split): checksum(split) for split in splits.values()}
        return {
            "counts": {name: int(count) for name, count in facts.counts.items()},
            "names": list(facts.names),
            "mean": [float(value) for value in facts.mean],
            "examples": {name: sums[id(split)] for name, split in splits.items()},
        }


class Memory:
    """A split held as arrays, small enough to sit on the device: `arrays` maps batch fields to (N, ...).

    `origin` is the split that they were read from, where there is one; `left_out` of its examples can't be read.
    """

    resident, left_out = True, 0
    origin: Split | None = None

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        self.arrays = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
        lengths = {name: len(value) for name, value in self.arrays.items()}
        if len(set(lengths.values())) != 1:
            raise DataError(f"the fields of a split differ in length: {lengths}; every field needs one row per example")
        self.bad, self.budget = {}, 0

    def __len__(self):
        return len(next(iter(self.arrays.values())))

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {name: value[indices] for name, value in self.arrays.items()}


class Part:
    """Some examples of a split, renumbered from 0 and streamed."""

    resident = False

    def __init__(self, split: Split, indices: np.ndarray):
        self.split, self.indices = split, np.asarray(indices)
        self.in_memory = split.resident or getattr(split, "in_memory", False)
        self.left_out = getattr(split, "left_out", 0)
        self.bad, self.budget = getattr(split, "bad", {}), getattr(split, "budget", 0)

    def __len__(self):
        return len(self.indices)

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return self.split.read(self.indices[indices])

    def name(self, index: int) -> str:
        return record(self.split, self.indices[index])

    def listing(self) -> Iterator[bytes]:
        yield from marks(self.split)
        if not np.array_equal(self.indices, np.arange(len(self.split))):
            yield self.indices.astype(np.int64).tobytes()


def record(split: Split, index: int) -> str:
    """The name by which messages call one example."""
    if hasattr(split, "name"):
        return split.name(index)
    if (origin := getattr(split, "origin", None)) and not split.bad:  # else others may stand in their places
        return record(origin, index)
    return f"example {index}"


def examples(split: Split, indices: np.ndarray) -> dict[str, np.ndarray]:
    """The fields (n, …) of these n examples of a split, read and checked."""
    fields = split.read(indices)
    if expected := getattr(split, "expected", ()):
        where, facts = expected
        inspect(fields, facts, lambda row: record(split, indices[row]), where=where)
    return fields


def labels_of(split: Split) -> np.ndarray:
    """The class of every example (N,) of a split that can say so without reading it; (0,) of others."""
    if split.resident:
        return np.asarray(split.arrays.get("label", np.zeros(0, np.int32)))
    if isinstance(split, Part):
        known = labels_of(split.split)
        return known[split.indices] if len(known) else known
    return split.classes() if hasattr(split, "classes") else np.zeros(0, np.int32)


def within_budget(split: Split) -> None:
    """Raises DataError where more of a split's records are bad than its budget allows."""
    if len(split.bad) > split.budget:
        name, reason = next(iter(split.bad.items()))
        raise DataError(
            f"{len(split.bad)} records cannot be used, data.budget allows {split.budget}; the first is {name}: {reason}"
        )


def none_usable(where: str, split: Split) -> str:
    """What is said of a split whose records are all bad: their number, the first, and why."""
    name, reason = next(iter(split.bad.items()))
    return (
        f"not one of the {where} examples can be used; {len(split.bad)} records are bad, the first is {name}: {reason}"
    )


def take(split: Split, indices: np.ndarray, train: bool) -> Split:
    """The split of these examples (n,) alone, in this order, for training or for measuring."""
    if hasattr(split, "only"):
        return split.only(indices, train)
    if not split.resident:
        return Part(split, indices)
    taken = Memory(split.read(indices))
    taken.bad, taken.budget = split.bad, split.budget
    taken.origin = take(split.origin, indices, train) if split.origin else None
    return taken


def shuffled(count: int, key: tuple[int, int]) -> np.ndarray:
    """The numbers below count, (count,), in an order that depends on the two integers of key alone.

    Raw Philox bits and a stable sort: NumPy promises these never to change, its `permutation` not.
    """
    words = np.array([word % 2**64 for word in key], np.uint64)
    order = np.argsort(np.random.Philox(key=words).random_raw(count), kind="stable")
    order.setflags(write=False)
    return order


def hold_out(split: Split, count: int, seed: int = 0) -> tuple[Split, Split]:
    """Two splits: the given one without `count` examples drawn by `seed`, and those; both in the old order.

    Examples of one `group` stay together: as many groups are held out as fit into `count`.
    """
    if not 0 < count < len(split):
        raise DataError(
            f"data.holdout is {count}; it must lie between 1 and {len(split) - 1}, "
            f"for the training set has {len(split)} examples"
        )
    group, sizes = _groups(split)
    order = shuffled(len(sizes), (seed, -1))
    drawn = np.isin(group, order[np.cumsum(sizes[order]) <= count])
    if not 0 < drawn.sum() < len(split):
        raise DataError(
            f"data.holdout is {count}; the examples come in {len(sizes)} groups that stay together, "
            f"of {sizes.min()} to {sizes.max()}: none fits, or none is left"
        )
    return take(split, np.flatnonzero(~drawn), True), take(split, np.flatnonzero(drawn), False)


def every_fifth(split: Split) -> tuple[Split, Split]:
    """Two splits, train and test, of a set that comes without a test set: test is every fifth example from 0 on.

    Where examples have a `group`, it is every fifth group.
    """
    group, places = _groups(split)[0], np.arange(len(split))
    return take(split, places[group % 5 != 0], True), take(split, places[group % 5 == 0], False)


def _groups(split):
    """Each example's group (N,), numbered from 0, and the groups' sizes; without groups every example is its own."""
    if not (split.resident and "group" in split.arrays):
        return np.arange(len(split)), np.ones(len(split), np.int64)
    _, group, sizes = np.unique(split.arrays["group"], return_inverse=True, return_counts=True)
    return group.reshape(-1), sizes


def refuse_empty(train: Split, eval: Split, test: Split) -> None:
    """Refuses splits of which one has nothing in it, or nothing that could be read."""
    for name, split in (("training", train), ("test", test), ("evaluation", eval)):  # eval may be test
        if len(split) == 0:
            bad = getattr(split, "bad", {})
            raise DataError(none_usable(name, split) if bad else f"the {name} split has no examples")


def assemble(
    train: Split,
    eval: Split,
    test: Split,
    *,
    holdout: int = 0,
    names: tuple = (),
    input: str = "image",
    extra: dict = NOTHING,
) -> Source:
    """A Source: `holdout` examples of train become eval, which else is the split given (test again if there is none).

    The draw does not depend on any seed of the run: every run holds out the same examples.
    """
    if holdout:
        if eval is not test:
            raise DataError(
                f"data.holdout is {holdout}, but this set has an evaluation split of its own "
                f"({len(eval)} examples); set data.holdout=0"
            )
        train, eval = hold_out(train, holdout)
    refuse_empty(train, eval, test)
    probe, seen = _probed(train, input)
    if holdout and "group" in probe and not train.resident:
        raise DataError(f"data.holdout is {holdout}, but groups of a streamed set can't be kept together; give eval")
    extra = dict(extra)
    if "segments" in probe and "segment_names" not in extra:
        if not train.resident:
            raise DataError(
                "a set that is streamed can't be counted: give extra={'segment_names': (…)}, one for each; "
                "of mask files, data.colors"
            )
        extra["segment_names"] = numbered(probe["segments"], "segments", train)
    mean, std = statistics(seen)
    counts = {"train": len(train), "eval": len(eval), "test": len(test)}
    fields = {name: (value.shape[1:], value.dtype) for name, value in probe.items() if name != "valid"}
    black, white = (0.0,) * len(mean), (1.0,) * len(mean)
    try:
        facts = Facts(
            input=input, counts=counts, mean=mean, std=std, names=tuple(names), extra=extra, fields=fields,
            black=black, white=white,
        )  # fmt: skip
    except ValueError as error:
        raise DataError(str(error)) from None
    return Source(train, eval, test, facts)


def _probed(train, input):
    """Fields of some examples, all of those in memory, and an iterator of inputs from which statistics are taken."""
    if train.resident:
        return train.arrays, [_valid(train.arrays, input)]
    rows = _spread(len(train), _PROBE)
    first = train.read(rows[:_TOGETHER])
    rest = (train.read(rows[at : at + _TOGETHER]) for at in range(_TOGETHER, len(rows), _TOGETHER))
    return first, (_valid(fields, input) for fields in itertools.chain([first], rest))


def _valid(fields, word):
    return fields[word][fields["valid"] > 0] if "valid" in fields else fields[word]


def numbered(values: np.ndarray, word: str, split: Split) -> tuple[str, ...]:
    """("0", "1", …) for a training split's classes (B, …) that have no names, up to the greatest; IGNORE is none."""
    used = np.where(values == IGNORE, 0, values) if word == "segments" else values
    most = int(used.max(initial=0))
    if most >= NUMBERED:
        name = record(split, int(np.argmax(used.reshape(len(used), -1).max(1))))
        raise DataError(f"train: {name} has {word} {most}; without names there are at most {NUMBERED:,} classes")
    return tuple(str(number) for number in range(most + 1))


def _spread(count, most):
    """As many as `most` numbers below count, evenly spaced."""
    return np.arange(min(count, most)) * count // min(count, most)


def statistics(parts: Iterable[np.ndarray]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation by channel of values (B, …, C) in parts, bytes counting from 0 to 1; () for tokens.

    A few rows are looked at together, so that pictures of any size need little more memory than one of them.
    """
    total = square = 0.0
    size = 0
    for values in parts:
        if values.ndim < 3:
            return (), ()
        channels, scale = values.shape[-1], 255.0 if values.dtype == np.uint8 else 1.0
        step = max(1, min(512, _AT_ONCE // max(values[0].size, 1))) if len(values) else 1
        for first in range(0, len(values), step):
            rows = values[first : first + step].astype(np.float64)
            rows = rows.reshape(len(rows), -1)
            total = total + rows.sum(0)
            square = square + np.square(rows, out=rows).sum(0)
        size += values.size // channels
    mean, square = (sums.reshape(-1, channels).sum(0) / size for sums in (total, square))
    with np.errstate(invalid="ignore"):  # values that are not finite are refused by `check`, with their names
        std = np.sqrt(np.maximum(square - mean * mean, 0))
    return tuple((mean / scale).tolist()), tuple((std / scale).tolist())


def check(source: Source, batch: int) -> None:
    """Refuses by name, before anything compiles, what no training could use; nothing comes out.

    Splits in memory are looked at whole, others at 32 evenly spaced examples, and whenever examples are read.
    """
    if batch < 1:
        raise DataError(f"train.batch is {batch}; it must be at least 1")
    if len(source.train) < batch:
        raise DataError(
            f"train.batch is {batch}, but the training set has {len(source.train)} examples; "
            f"lower train.batch to {len(source.train)} or less, or give more data"
        )
    named = (("train", source.train), ("eval", source.eval), ("test", source.test))
    splits = {id(split): (name, split) for name, split in named}
    for name, split in splits.values():  # eval may be test
        rows = np.arange(len(split)) if split.resident else _spread(len(split), _LOOKED_AT)
        fields = split.arrays if split.resident else split.read(rows)
        inspect(fields, source.facts, lambda row, split=split, rows=rows: record(split, rows[row]), where=name)


def inspect(fields: Mapping[str, np.ndarray], facts: Facts, name: Callable[[int], str], where: str = "") -> None:
    """Raises DataError, with the record's name(row), for the first word of fields (B, …) that no training could use."""
    where = f"{where}: " if where else ""
    if facts.input not in fields:
        raise DataError(f"{where}the examples have no {facts.input}, only {', '.join(sorted(fields))}")
    shape = fields[facts.input].shape[1:]
    if facts.shape and shape != tuple(facts.shape):
        raise DataError(f"{where}{facts.input} has shape {shape}, but the training set's has {tuple(facts.shape)}")
    if found := first_problem(fields, facts):
        row, problem = found
        raise DataError(f"{where}{name(row)} has {problem}" if row >= 0 else f"{where}{problem}")
