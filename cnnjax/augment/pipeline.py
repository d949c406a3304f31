"""Entries put together into one function of a key and a batch.

Each entry is a pure function; the name of its third parameter says what it works on:
`size` (a move: gives a `Move`, or that and a change of the example's colours), `colors` (one example's image or video,
of which it treats every pixel alone), `example` (one example's fields),
`batch` (all fields of this device's part of the batch).
"""

import importlib
import inspect
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial

import jax
import jax.numpy as jnp

from cnnjax.annotations import WORKS_ON, peeled
from cnnjax.augment import _moving
from cnnjax.augment._options import FLOATING, plane, repainted
from cnnjax.augment._sampling import floating
from cnnjax.augment.colors import normalize
from cnnjax.fields import Facts
from cnnjax.ops import axes
from cnnjax.refusals import refuse_misfits

__all__ = ["black_and_white", "compose", "find", "kind"]

FLAT = 1e-6  # a standard deviation that is this small beside the mean is what rounding leaves of none


def kind(entry: object) -> str:
    """`size`, `colors`, `example` or `batch`: what an entry works on; "" for a function that is no entry."""
    names = list(inspect.signature(entry).parameters)[:3] if inspect.isfunction(entry) else []
    return names[2] if names[:2] == ["key", "facts"] and names[2:] and names[2] in WORKS_ON else ""


def find(name: str) -> Callable:
    """The entry that a name of a pipeline means: of this room (`rotate`, `rotate#2`), or `module:function`."""
    name = name.partition("#")[0]
    if ":" in name:
        module, _, function = name.partition(":")
        entry = getattr(importlib.import_module(module), function)
        if not kind(entry):
            raise ValueError(f"augment {name!r} must be a function of (key, facts, {' or '.join(WORKS_ON)}, ...)")
        return entry
    room = importlib.import_module("cnnjax.augment")
    entry = getattr(room, name, "")
    if kind(entry):
        return entry
    known = sorted(other for other in vars(room) if kind(getattr(room, other)))
    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
    raise ValueError(f"augment has no entry {name!r}; {hint}")


def black_and_white(facts: Facts, names: Sequence[str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What 0 and 1 of the data have become per channel behind the entries of these names: two tuples."""
    after = _normalized(facts) if normalize in [find(name) for name in names] else facts
    return after.black, after.white


def compose(facts: Facts, names: Sequence[str], options: Mapping[str, Mapping], *, by_index: bool = False) -> Callable:
    """A function (key, batch) → batch that does the named entries in their order.

    `options` holds a dict per name (`{"rotate": {"degrees": 15.0, "strength": 1.0}}`, numbers may be traced); what
    is not given keeps its default. `key` is one key for the whole batch: example i of the global batch draws from
    its own, whatever device it stands on; with `by_index` an example draws by its index, whatever batch it is in.
    uint8 inputs become floats in [0, 1].
    Consecutive moves, with colours between them, are one move that reads the image once; the colours follow it.
    """
    steps = [_Step(name, options.get(name, {})) for name in names]
    _check(steps, facts)
    stages = _stages(steps, facts, by_index)

    def apply(key, batch):
        for stage in stages:
            batch = stage(key, batch)
        return _floats(batch)

    return apply


class _Step:
    """An entry with its options, ready to be called."""

    def __init__(self, name, options):
        self.name, self.entry = name, find(name)
        self.kind = kind(self.entry)
        parameters = list(inspect.signature(self.entry).parameters.values())
        self.elementwise = self.entry is normalize or "elementwise" in peeled(parameters[2].annotation)[1]
        allowed = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        self.asked = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY][3:]
        given = {key: value for key, value in dict(options).items() if key != "name"}
        self.strength = given.pop("strength", 1.0)
        for key in given:
            if key not in allowed:
                near = get_close_matches(key, allowed, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(allowed) or 'no options'}"
                raise ValueError(f"augment.{name}.{key} is no option of {name}; {hint}")
        refuse_misfits(self.entry, given, path=f"augment.{name}.")
        self.options = {key: given.get(key, default) for key, default in allowed.items()}

    def key(self, key):
        return jax.random.fold_in(key, zlib.crc32(self.name.encode()) & 0x7FFFFFFF)

    def __call__(self, key, facts, subject, fields):
        extra = [self.strength if name == "strength" else fields.get(name, 0) for name in self.asked]
        change = partial(self.entry, self.key(key), facts)
        if self.kind == "colors":
            return repainted(subject, lambda colors: change(colors, *extra, **self.options))
        return change(subject, *extra, **self.options)


def _check(steps, facts):
    """Refuses what would silently do something else: two borders for one reading, colours of normalised images."""
    _agree_on_borders(steps)
    entries = [step.entry for step in steps]
    if normalize in entries:
        for channel, (mean, std) in enumerate(zip(facts.mean, facts.std, strict=True)):
            if std <= FLAT * abs(mean):
                raise ValueError(
                    f"augment: 'normalize' would divide by 0: channel {channel} of {facts.input} is {mean:.6g} "
                    "throughout the training set; leave that channel out of the data"
                )
        late = [step for step in steps[entries.index(normalize) + 1 :] if step.kind == "colors"]
        if late:
            raise ValueError(f"augment: {late[0].name!r} works on colours in [0, 1]; name it before 'normalize'")


def _agree_on_borders(steps):
    """Moves that are read together get the one border that is named among them; two are refused."""
    run = []
    for step in (*steps, ()):
        if step and step.kind == "size":
            run += [step] if "border" in step.options else []
        elif not step or step.kind != "colors":
            borders = {step.options["border"]: step.name for step in run}
            borders.pop("auto", "")
            if len(borders) > 1:
                (one, first), (other, second), *_ = borders.items()
                raise ValueError(
                    f"augment.{first}.border is {one!r} and augment.{second}.border is {other!r}; "
                    "moves that are read together need one border"
                )
            for step in run if borders else ():
                step.options["border"] = next(iter(borders))
            run = []


def _stages(steps, facts, by_index):
    """Runs of per-example entries, each under one vmap, and the batch entries between them."""
    stages, run = [], []
    for step in steps:
        if step.kind == "batch":
            stages += [_each(run, facts, by_index)] if run else []
            stages.append(_batchwise(step, facts))
            run = []
        else:
            run.append(step)
        if step.entry is normalize:  # the mean is 0 for what comes after
            stages += [_each(run, facts, by_index)]
            run, facts = [], _normalized(facts)
    return stages + ([_each(run, facts, by_index)] if run else [])


def _normalized(facts):
    """The facts of data that `normalize` has changed."""
    zeros, ones = (0.0,) * len(facts.mean), (1.0,) * len(facts.std)
    black, white = (
        tuple((value - mean) / std for value, mean, std in zip(values, facts.mean, facts.std, strict=True))
        for values in (facts.black or zeros, facts.white or ones)
    )
    return replace(facts, mean=zeros, std=ones, black=black, white=white)


def _batchwise(step, facts):
    return lambda key, batch: step(key, facts, _floats(batch), batch)


def _floats(batch):
    return {name: floating(value) if name in FLOATING else value for name, value in batch.items()}


def _written(example):
    """Kept apart from what follows: a colour made of three would read each of them between the pixels again."""
    return {name: jax.lax.optimization_barrier(value) if name in FLOATING else value for name, value in example.items()}


def _each(steps, facts, by_index):
    """(key, batch) → batch that does moves, pixels and colours to each example by its own key."""

    def one(key, example):
        moves, later = [], []  # what follows a reading: (whether it is elementwise, the change)

        def settle(example):
            between = False  # is the picture read between its pixels and not written down yet?
            if moves:
                move = _moving.compose(moves, plane("", example))
                example, between = _moving.apply(move, facts, example), not move.whole
            example = _floats(example)
            for elementwise, change in (*later, (False, lambda example: example)):
                if between and not elementwise:
                    example, between = _written(example), False
                example = change(example)
            moves.clear(), later.clear()
            return example

        for step in steps:
            if step.kind == "size":
                size = moves[-1].size if moves else plane(step.name, example)
                move = step(key, facts, size, example)
                if isinstance(move, tuple):
                    move, change = move
                    later.append((False, change))
                _moving.vet(step.name, facts, example, mirror=not move.upright)
                moves.append(_moving.sized(move, size))
            elif moves and (step.kind == "colors" or step.entry is normalize):
                later.append((step.elementwise, lambda example, step=step: step(key, facts, example, example)))
            else:
                example = settle(example)
                example = step(key, facts, example, example)
        return settle(example)

    def stage(key, batch):
        rows = next(iter(batch.values())).shape[0]
        places = batch["index"] if by_index else axes.first(rows) + jnp.arange(rows)
        return jax.vmap(lambda place, example: one(jax.random.fold_in(key, place), example))(places, batch)

    return stage
