"""What `analyze --against` shows of two runs: parts as in `_looks`, which take both."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from cnnjax import analysis
from cnnjax.programs import _figures
from cnnjax.programs._look import Twins, averaged_maps, spread, state_at
from cnnjax.programs._looks import Found
from cnnjax.runs.checkpoints import Checkpoints
from cnnjax.runs.lines import RESERVED, lines_of
from cnnjax.runs.pages import Picture, Rows

_ROWS = 60  # leaves of the table
_COMPARED = 1000, 2_000_000  # examples whose maps are compared, and pixels
_BETWEEN = 500, 1_000_000  # examples whose loss is asked on the way, and pixels
_LEAST = 4  # examples


def drift(twins: Twins) -> Found:
    """Where the states of both runs part, bit by bit: the first checkpoint at which each array differs, and how far."""
    said, line = _lines_part(*(lines_of(each.workdir) for each in (twins.first, twins.second)))
    states, held = _states(twins)
    if not states:
        there = "; ".join(f"{name} has {', '.join(map(str, steps)) or 'none'}" for name, steps in held.items())
        raise ValueError(f"the runs have no checkpoint of one step: {there}. checkpoint.keep=100 keeps more. {said}")
    found = analysis.drift(states)
    order = np.lexsort((np.arange(len(found.leaves)), np.where(found.first < 0, np.iinfo(np.int64).max, found.first)))
    cells = [
        [found.leaves[k], f"{found.first[k]:,}" if found.first[k] >= 0 else "never", f"{found.share[-1, k]:.1%}",
         _apart(found.ulps[-1, k])]
        for k in order[:_ROWS]
    ]  # fmt: skip
    steps = ", ".join(f"{step:,}" for step in found.steps)
    words = f"Of {len(found.leaves)} arrays {int((found.first >= 0).sum())} differ at one of the steps {steps}."
    if found.parted < 0:
        words = f"All {len(found.leaves)} arrays are equal, bit by bit, at the steps {steps}."
    head = ["array", "differs from step", "numbers that differ in the end", "ulps at most"]
    numbers = {
        "steps": found.steps.tolist(), "parted": found.parted, "lines": line,
        "first": dict(zip(found.leaves, found.first.tolist(), strict=True)),
        "ulps": dict(zip(found.leaves, found.ulps.T.tolist(), strict=True)),
        "share": dict(zip(found.leaves, found.share.T.tolist(), strict=True)),
    }  # fmt: skip
    table = Rows(head, cells, 1, "arrays, those that part first above", len(cells) <= 30)
    blocks = [f"{words} {said}"]
    if found.parted >= 0:
        blocks.append(Picture(analysis.draw_drift(found), "by array and step; white is equal, bit by bit"))
    return [*blocks, table], numbers


def _states(twins: Twins) -> tuple[dict[int, tuple], dict[str, list[int]]]:
    """The states of steps of which both have a checkpoint, and the steps that each has."""
    with Checkpoints(twins.first.workdir) as mine, Checkpoints(twins.second.workdir) as theirs:
        held = dict(zip(twins.names, (mine.steps(), theirs.steps()), strict=True))
        both = sorted(set(mine.steps()) & set(theirs.steps()))
        return {step: (state_at(twins.first, mine, step), state_at(twins.second, theirs, step)) for step in both}, held


def _apart(ulps: int) -> str:
    return "NaN in one" if ulps == np.iinfo(np.uint64).max else f"{int(ulps):,}"


def _lines_part(mine: Sequence[Mapping], theirs: Sequence[Mapping]) -> tuple[str, int]:
    """The first reported number that differs, in words and as its step; -1 where none does."""
    pairs = {_place(line): line for line in theirs}
    for line in mine:
        other = pairs.get(_place(line))
        for name in line if other else ():
            if name not in RESERVED and name in other and line[name] != other[name]:
                step, told = int(line["step"]), f"{line[name]} against {other[name]}"
                return f"Of the reported numbers the first that differs is {name} at step {step:,}: {told}.", step
    return "No number that both reported differs.", -1


def _place(line: Mapping[str, Any]) -> tuple:
    return tuple(line.get(name) for name in ("step", "kind", "split", "name"))


def answers(twins: Twins) -> Found:
    """What the nets answer differently: churn, and who is right where they disagree."""
    one, two = twins.looks
    logits = (np.asarray(jax.jit(each.f)(each.images)) for each in (one, two))
    found = analysis.agreement(*logits, one.labels)
    cells = [
        ["answered differently (churn)", f"{found.churn:.2%}"],
        ["mean total variation of probabilities", f"{found.variation:.4f}"],
        ["correlation of logits", f"{found.correlation:.4f}"],
    ]
    apart = np.flatnonzero(one.asked != two.asked)
    numbers = {
        "churn": found.churn, "variation": found.variation, "correlation": found.correlation,
        "right": found.right.tolist(), "same_mistakes": found.same_mistakes, "differ": apart.tolist(),
    }  # fmt: skip
    blocks = [Rows(["", ""], cells), Picture(analysis.draw_agreement(found, names=twins.names), "of all examples")]
    if len(apart):
        shown = apart[np.argsort(-np.abs(one.probabilities[apart] - two.probabilities[apart]).sum(1))][:12]
        pictures = [{one.facts.input: one.inputs[k]} for k in shown]
        titles = [f"{one.said(k)} / {two.said(k)}" for k in shown]
        drawn = _figures.sheet(pictures, one.facts, " / ".join(twins.names), titles)
        blocks.append(Picture(drawn, f"{len(shown)} of {len(apart)} examples that are answered differently"))
    return blocks, numbers


def between(twins: Twins) -> Found:
    """The loss on the straight way from the first net's weights to the second's, and its barrier (Frankle 2020)."""
    one, two = twins.looks
    ends = [jax.tree.map(np.shape, each.variables["params"]) for each in (one, two)]
    if ends[0] != ends[1]:
        raise ValueError("the nets have not the same parameters, so that no way leads from one to the other")
    rows = spread(one, *_BETWEEN)
    batch = one.seen[rows], one.labels[rows].astype(np.int32)
    loss, params = analysis.classification_loss(*one.pair), (one.variables["params"], two.variables["params"])
    found = analysis.interpolation(loss, *params, batch)
    words = f"{len(rows)} examples, from {' to '.join(twins.names)}; statistics of norms stay those of the first"
    numbers = {"shares": found.shares.tolist(), "losses": found.losses.tolist(), "barrier": found.barrier}
    return [Picture(analysis.draw_interpolation(found), words)], numbers


def layers(twins: Twins) -> Found:
    """How alike the maps of both nets are, layer by layer: of two seeds the diagonal stands out (Kornblith 2019)."""
    one, two = twins.looks
    rows = spread(one, *_COMPARED)
    if len(rows) < _LEAST:
        raise ValueError(f"similarity takes four examples or more; there are {len(rows)}")
    found = analysis.layer_similarity(averaged_maps(one, rows), averaged_maps(two, rows), batch=250)
    words = f"unbiased linear CKA of {len(rows)} examples, maps averaged over places"
    numbers = {"rows": list(found.rows), "columns": list(found.columns), "values": found.values.tolist()}
    return [Picture(analysis.draw_similarity(found, names=twins.names), words)], numbers
