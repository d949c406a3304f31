"""Trainings as many tests need them: prepared once, stepped once, read as lines, compared bit by bit."""

import functools
import json
from pathlib import Path

import jax
import numpy as np

from cnnjax import config as sections
from cnnjax.config import augmentation, experiment, section
from cnnjax.train.job import PreparedRun, prepare


def eventful(*, optimizer, holdout: int = 0, net=(), **rest):
    """A config with everything that a resumed run could forget, or that could depend on a device's share of a batch.

    Convolutions, batch norm, dropout, crops, mixup and averaging; `net` are options of `tests.train.nets:small`.
    """
    return experiment(
        data=section("data", "digits", holdout=holdout),
        model=section("models", "tests.train.nets:small", **dict(net)),
        task=section("tasks", "classification", smoothing=0.1),
        augment=augmentation(train=("crop", "normalize", "mixup"), eval=("normalize",), crop={"padding": 3}),
        optimizer=optimizer,
        schedule=section("schedules", "cosine", warmup_steps=3),
        **rest,
    )


@functools.cache
def _prepared(frozen) -> PreparedRun:
    return prepare(frozen.as_configdict())


def prepared_once(config) -> PreparedRun:
    """A config's prepared run, the same one for every test that asks: its programs are traced and compiled once."""
    return _prepared(sections.freeze(config))


def advanced(prepared: PreparedRun, state, t: int = 0):
    """The state after step t."""
    batches = prepared.layout.share(prepared.batches(prepared.source.train).batches(t, 1), 2)
    state, _ = prepared.step(state, prepared.store(prepared.source.train), batches, np.int32(1))
    return state


@functools.cache
def _stepped(frozen):
    prepared = _prepared(frozen)
    state = prepared.layout.replicate(prepared.start())
    before = jax.tree.map(np.asarray, state)
    return before, jax.tree.map(np.asarray, advanced(prepared, state))


def stepped(config):
    """The states before and after a run's first step, on the host."""
    return _stepped(sections.freeze(config))


def lines(workdir) -> list[dict]:
    """The metric lines of a run, but for what a clock says."""
    text = (Path(workdir) / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "time"} for line in text]


def equal(a, b) -> bool:
    """Whether two trees of arrays are equal bit by bit."""
    return jax.tree.all(jax.tree.map(lambda x, y: bool(np.array_equal(x, y)), a, b))


def same(a, b) -> None:
    """Asserts that two trees are equal, leaf by leaf and bit by bit; says which leaf is not."""
    theirs = dict(jax.tree_util.tree_leaves_with_path(b))
    for name, value in jax.tree_util.tree_leaves_with_path(a):
        np.testing.assert_array_equal(np.asarray(value), np.asarray(theirs[name]), jax.tree_util.keystr(name))
