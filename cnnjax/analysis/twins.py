"""How two trainings part: bit by bit in their states, and in what their nets answer."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from cnnjax.analysis._functions import targets
from cnnjax.analysis.calibration import _softmax

__all__ = ["Agreement", "Drift", "agreement", "drift", "ulps_apart"]

_NEVER = np.iinfo(np.uint64).max  # of a number and what is none


def ulps_apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How many steps to the next number of their kind lead from each of `a` (…) to that of `b` (…): (…), whole numbers.

    Of floats these are units in the last place; 0 and −0 are alike, and two NaNs. From a NaN no step leads to a number:
    then it is the largest number of 64 bits.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.dtype != b.dtype:
        raise ValueError(f"a is {a.dtype} {a.shape}, b is {b.dtype} {b.shape}; they must be of one kind and shape")
    (below, first), (under, second) = _counted(a), _counted(b)
    apart = np.maximum(first, second) - np.minimum(first, second)
    found = np.where(below == under, apart, first + second)
    one, two = np.asarray(a != a), np.asarray(b != b)  # NaN, also of kinds that NumPy does not know
    return np.where(one & two, np.uint64(0), np.where(one | two, np.uint64(_NEVER), found))


def _counted(x):
    """Whether numbers are below 0, and how many steps they are from it."""
    if x.dtype.kind == "u":
        return np.zeros(x.shape, bool), x.astype(np.uint64)
    if x.dtype.kind == "i":
        below = x < 0
        return below, np.where(below, ~x, x).astype(np.uint64) + below.astype(np.uint64)  # the least has no opposite
    bits = np.ascontiguousarray(x).reshape(x.shape).view(f"u{x.dtype.itemsize}").astype(np.uint64)
    sign = np.uint64(1 << (8 * x.dtype.itemsize - 1))
    if x.dtype.kind == "b":
        return np.zeros(x.shape, bool), bits
    return (bits & sign) > 0, bits & (sign - np.uint64(1))


@dataclasses.dataclass(frozen=True)
class Drift:
    """How far the states of two trainings are apart at S `steps`, leaf by leaf of L `leaves`.

    `ulps` (S, L) are the greatest distances of two numbers of a leaf, as `ulps_apart` has them, and `share` (S, L) says
    how many of its numbers differ.
    """

    steps: np.ndarray
    leaves: tuple[str, ...]
    ulps: np.ndarray
    share: np.ndarray

    @property
    def first(self) -> np.ndarray:
        """The first of the steps at which each leaf differs (L,), −1 where it never does."""
        differs = self.share > 0
        return np.where(differs.any(0), self.steps[differs.argmax(0)], -1)

    @property
    def parted(self) -> int:
        """The first of the steps at which anything differs, −1 where nothing ever does."""
        known = self.first[self.first >= 0]
        return int(known.min()) if len(known) else -1


def drift(states: Mapping[int, tuple[Any, Any]]) -> Drift:
    """How far two trainings are apart, by the pair of their states, trees of arrays, at each of some steps."""
    if not states:
        raise ValueError("states is empty; give the pair of states of one step or more")
    steps, ulps, share = sorted(states), [], []
    leaves: tuple[str, ...] = ()
    for step in steps:
        pair = tuple(_named(tree) for tree in states[step])
        for mine, theirs in (pair, pair[::-1]):
            for name in mine:
                if (
                    name not in theirs
                    or theirs[name].shape != mine[name].shape
                    or theirs[name].dtype != mine[name].dtype
                ):
                    raise ValueError(_misfit(name, step, *pair))
        leaves = leaves or tuple(pair[0])
        apart = [ulps_apart(pair[0][name], pair[1][name]) for name in leaves]
        ulps.append([each.max(initial=0) for each in apart])
        share.append([float(np.mean(each > 0)) if each.size else 0.0 for each in apart])
    return Drift(np.array(steps), leaves, np.array(ulps, np.uint64), np.array(share))


def _named(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}


def _misfit(name, step, mine, theirs):
    told = [f"{side[name].dtype} {side[name].shape}" if name in side else "not there" for side in (mine, theirs)]
    return (
        f"{name} is {told[0]} in the first state at step {step}, {told[1]} in the second: they are of other trainings"
    )


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How alike two nets answer N examples.

    `churn` is the share that they answer differently (Fard 2016), `variation` the mean total variation between their
    probabilities, `correlation` that of all their logits, each less the mean of its example's: softmax knows no more of
    them. Of `right` (2, 2) counts the rows say whether the first is right, no and yes, the columns whether the second
    is; `same_mistakes` is how many of those where neither is they answer alike.
    """

    churn: float
    variation: float
    correlation: float
    right: np.ndarray
    same_mistakes: int


def agreement(outputs: np.ndarray, others: np.ndarray, labels: np.ndarray) -> Agreement:
    """How alike two nets' logits (N, K) are of examples of classes `labels` (N,)."""
    pair = [np.asarray(each, np.float64) for each in (outputs, others)]
    if pair[0].shape != pair[1].shape or pair[0].ndim != 2 or not len(pair[0]):
        raise ValueError(f"outputs are {pair[0].shape}, others {pair[1].shape}; they must both be (N, K)")
    labels = targets(labels, len(pair[0]))
    guesses = [each.argmax(1) for each in pair]
    first, second = (guess == labels for guess in guesses)
    right = np.array([[np.sum((first == i) & (second == j)) for j in (False, True)] for i in (False, True)])
    shares = [_softmax(each) for each in pair]
    flat = [(each - each.mean(1, keepdims=True)).ravel() for each in pair]
    size = float(np.sqrt((flat[0] @ flat[0]) * (flat[1] @ flat[1])))
    return Agreement(
        churn=float(np.mean(guesses[0] != guesses[1])),
        variation=float(np.abs(shares[0] - shares[1]).sum(1).mean() / 2),
        correlation=float(flat[0] @ flat[1] / size) if size else float("nan"),
        right=right,
        same_mistakes=int(np.sum((guesses[0] == guesses[1]) & ~first)),
    )
