"""Entries put together into one function of a key and a batch.

Each entry is a pure function; the name of its third parameter says what it works on:
`size` (a move: gives a matrix and perhaps a displacement field), `example` (one example's fields),
`batch` (all fields of this device's part of the batch).
"""

import importlib
import inspect
import zlib
from difflib import get_close_matches

import jax
import jax.numpy as jnp

from cnnjax.augment import _moving
from cnnjax.augment._fields import INPUTS
from cnnjax.ops import axes

__all__ = ["compose", "find", "kind"]

KINDS = ("size", "example", "batch")


def kind(entry):
    """`size`, `example` or `batch`: what an entry works on; "" for a function that is no entry."""
    names = list(inspect.signature(entry).parameters)[:3] if inspect.isfunction(entry) else []
    return names[2] if names[:2] == ["key", "facts"] and names[2:] and names[2] in KINDS else ""


def find(name):
    """The entry that a name of a pipeline means: of this room (`rotate`, `rotate#2`), or `module:function`."""
    name = name.partition("#")[0]
    if ":" in name:
        module, _, function = name.partition(":")
        entry = getattr(importlib.import_module(module), function)
        if not kind(entry):
            raise ValueError(f"augment {name!r} must be a function of (key, facts, size, example or batch, ...)")
        return entry
    room = importlib.import_module("cnnjax.augment")
    entry = getattr(room, name, "")
    if kind(entry):
        return entry
    known = sorted(other for other in vars(room) if kind(getattr(room, other)))
    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
    raise ValueError(f"augment has no entry {name!r}; {hint}")


def compose(facts, names, options):
    """A function (key, batch) → batch that does the named entries in their order.

    `options` holds a dict per name (`{"rotate": {"degrees": 15.0, "strength": 1.0}}`, numbers may be traced); what
    is not given keeps its default. `key` is one key for the whole batch: example i of the global batch draws from
    its own, whatever device it stands on. uint8 inputs become floats in [0, 1].
    """
    stages = _stages([_Step(name, options.get(name, {})) for name in names], facts)

    def apply(key, batch):
        batch = {name: _unit(value) if name in INPUTS else value for name, value in batch.items()}
        for stage in stages:
            batch = stage(key, batch)
        return batch

    return apply


class _Step:
    """An entry with its options, ready to be called."""

    def __init__(self, name, options):
        self.name, self.entry = name, find(name)
        self.kind = kind(self.entry)
        parameters = inspect.signature(self.entry).parameters.values()
        allowed = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        self.asked = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY][3:]
        given = {key: value for key, value in dict(options).items() if key != "name"}
        self.strength = given.pop("strength", 1.0)
        for key in given:
            if key not in allowed:
                near = get_close_matches(key, allowed, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(allowed) or 'no options'}"
                raise ValueError(f"augment.{name}.{key} is no option of {name}; {hint}")
        self.options = {key: given.get(key, default) for key, default in allowed.items()}

    def key(self, key):
        return jax.random.fold_in(key, zlib.crc32(self.name.encode()) & 0x7FFFFFFF)

    def __call__(self, key, facts, subject, fields):
        extra = [self.strength if name == "strength" else fields.get(name, 0) for name in self.asked]
        return self.entry(self.key(key), facts, subject, *extra, **self.options)


def _stages(steps, facts):
    """Runs of per-example entries, each under one vmap, and the batch entries between them."""
    stages, run = [], []
    for step in steps:
        if step.kind == "batch":
            stages += [_each(run, facts)] if run else []
            stages.append(_whole(step, facts))
            run = []
        else:
            run.append(step)
    return stages + ([_each(run, facts)] if run else [])


def _whole(step, facts):
    return lambda key, batch: step(key, facts, batch, batch)


def _each(steps, facts):
    def one(key, example):
        moves = []
        for step in steps:
            if step.kind == "size":
                size = moves[-1].size if moves else _plane(example)
                move = step(key, facts, size, example)
                moves.append(_moving.sized(move, size))
                continue
            if moves:
                example, moves = _moving.apply(_moving.compose(moves, _plane(example)), example), []
            example = step(key, facts, example, example)
        return _moving.apply(_moving.compose(moves, _plane(example)), example) if moves else example

    def stage(key, batch):
        rows = len(next(iter(batch.values())))
        places = axes.first(rows) + jnp.arange(rows)
        return jax.vmap(lambda place, example: one(jax.random.fold_in(key, place), example))(places, batch)

    return stage


def _plane(example):
    return example["image"].shape[:2] if "image" in example else example["video"].shape[1:3]


def _unit(x):
    if x.dtype == jnp.uint8:
        return x.astype(jnp.result_type(float)) / 255
    return x
