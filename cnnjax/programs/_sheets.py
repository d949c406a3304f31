"""Contact sheets: the examples of a batch as a network sees them, with their words drawn in."""

import dataclasses

import jax
import numpy as np
from matplotlib.figure import Figure

from cnnjax import config as sections
from cnnjax.data.stream import passes
from cnnjax.programs import _figures
from cnnjax.train.job import PreparedRun, opened
from cnnjax.train.state import key_for


def sheet(config, path: str, split: str, step: int, examples: int) -> int:
    """Draws the first `examples` that a network would see at a step of training, or of a pass over a split."""
    figure, count = seen_figure(opened(config), split, step, examples)
    _figures.save(figure, path)
    return count


def seen_figure(prepared: PreparedRun, split: str, step: int, examples: int) -> tuple[Figure, int]:
    """A figure of the first `examples` that a network sees at a step of training, or of a split, and their number."""
    facts, hparams = prepared.source.facts, sections.numeric(prepared.config)
    pipeline = "train" if split == "train" else "eval"
    if split == "train":
        batch = at_step(prepared, prepared.source.train, step)
        key = jax.random.fold_in(key_for(prepared.config["seed"], "augment"), step)
    else:
        part = getattr(prepared.source, split)
        batch = next(iter(passes(part, max(1, min(examples, len(part))), resident=False, workers=0)))
        batch = {name: value[None] for name, value in batch.items()}
        key = jax.random.key(0)
    apply, seen = jax.jit(prepared.program.parts(hparams).augment[pipeline]), []
    for number in range(len(batch["index"])):  # microbatches, as the step takes them
        fields = {name: value[number] for name, value in batch.items()}
        seen.append(apply(jax.random.fold_in(key, number), fields))
    fields = {name: np.concatenate([np.asarray(one[name]) for one in seen]) for name in seen[0]}
    names = prepared.config["augment"][pipeline]
    if "normalize" in names:
        fields[facts.input] = fields[facts.input] * np.array(facts.std) + np.array(facts.mean)
    facts = dataclasses.replace(facts, shape=(), fields={n: (v.shape[1:], v.dtype) for n, v in fields.items()})
    count = min(examples, len(fields["index"]))
    rows = [{name: value[row] for name, value in fields.items()} for row in range(count)]
    return _figures.sheet(rows, facts, f"{split} · {' → '.join(names) or 'as it is'}"), count


def at_step(prepared, part, step: int) -> dict:
    """The batch of a step, every field (microbatches, examples, …)."""
    stream = prepared.batches(part)
    try:
        batch = {name: np.asarray(value)[0] for name, value in stream.batches(step, 1).items()}
    finally:
        stream.close()
    if prepared.plan.accumulate == 1 and batch["index"].ndim == 1:
        batch = {name: value[None] for name, value in batch.items()}
    if part.resident:
        found = part.read(batch["index"].reshape(-1))
        batch |= {name: value.reshape(*batch["index"].shape, *value.shape[1:]) for name, value in found.items()}
    return batch
