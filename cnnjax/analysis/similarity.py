"""How alike what two nets, or two layers, make of the same examples is: centred kernel alignment."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np

from cnnjax.annotations import Count
from cnnjax.refusals import refuse_misfits

__all__ = ["Similarity", "as_features", "cka", "cka_of_sums", "cka_sums", "layer_similarity"]

Places = Literal["mean", "flat", "examples"]


def as_features(maps: np.ndarray, *, places: Places = "mean") -> np.ndarray:
    """Maps (N, *sizes, C) as features (N, D) of examples: the `mean` over places, or all numbers side by side (`flat`).

    Or every place as an example of its own, (N · places, C): then only maps of one size can be compared.
    """
    refuse_misfits(as_features, {"places": places})
    maps = np.asarray(maps, np.float64)
    if maps.ndim < 2 or not len(maps):
        raise ValueError(f"maps are {maps.shape}; they must be (N, *sizes, C), of one example or more")
    if places == "examples":
        return maps.reshape(-1, maps.shape[-1])
    if places == "flat":
        return maps.reshape(len(maps), -1)
    return maps.mean(tuple(range(1, maps.ndim - 1)))


def cka(x: np.ndarray, y: np.ndarray, *, unbiased: bool = False) -> float:
    """Linear CKA of features x (N, D) and y (N, E) of the same examples: 1 where one is the other turned and scaled.

    ‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖) of centred features (Kornblith 2019). It goes to 1 for any two where examples are fewer than
    features; what is `unbiased` does not, and is about 0 for independent ones.
    """
    if unbiased:
        return cka_of_sums(cka_sums(x, y))
    x, y = _fitting(x, y)
    x, y = x - x.mean(0), y - y.mean(0)
    if len(x) < max(x.shape[1], y.shape[1]):
        k, m = x @ x.T, y @ y.T
        return _ratio(np.sum(k * m), np.sum(k * k), np.sum(m * m))
    return _ratio(*(float(np.sum((a.T @ b) ** 2)) for a, b in ((x, y), (x, x), (y, y))))


def cka_sums(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Unbiased (HSIC of x and y, of x with itself, of y with itself), (3,), of features (N, D) and (N, E).

    Those of batches can be added up before `cka_of_sums` (Nguyen 2021): no more than a batch is held at once. A batch
    has four examples at least (Song 2012).
    """
    x, y = _fitting(x, y)
    if len(x) < 4:
        raise ValueError(f"there are {len(x)} examples; an unbiased estimate takes four or more")
    k, m = x @ x.T, y @ y.T
    for kernel in (k, m):
        np.fill_diagonal(kernel, 0)
    return np.array([_hsic(k, m), _hsic(k, k), _hsic(m, m)])


def cka_of_sums(sums: np.ndarray) -> float:
    """The CKA that `cka_sums` (3,) of one batch, or the sum of those of several, come to: a number."""
    return _ratio(*np.asarray(sums, np.float64))


def _hsic(k, m):
    count = len(k)
    shared = k.sum() * m.sum() / ((count - 1) * (count - 2))
    return (np.sum(k * m) + shared - 2 / (count - 2) * (k.sum(0) @ m.sum(0))) / (count * (count - 3))


def _ratio(between, left, right):
    return float(between / np.sqrt(left * right)) if left > 0 and right > 0 else float("nan")


def _fitting(x, y):
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or not len(x):
        raise ValueError(f"x is {x.shape}, y is {y.shape}; they must be (N, D) and (N, E), of the same examples")
    return x, y


@dataclasses.dataclass(frozen=True)
class Similarity:
    """CKA (R, C) of each of the layers `rows` with each of `columns`."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: np.ndarray


def layer_similarity(
    maps: Mapping[str, np.ndarray],
    others: Mapping[str, np.ndarray],
    *,
    places: Places = "mean",
    batch: Count = 0,
    unbiased: bool = True,
) -> Similarity:
    """The CKA of every map of one net with every one of another, by name, of the same N examples.

    `places` says what becomes of maps (N, *sizes, C), as in `as_features`. An unbiased one is made `batch` by batch, of
    all at once where it is 0; a rest of fewer than four examples is left out.
    """
    refuse_misfits(layer_similarity, {"places": places, "batch": batch})
    rows, columns = ({name: as_features(x, places=places) for name, x in each.items()} for each in (maps, others))
    values = [[_between(x, y, batch, unbiased) for y in columns.values()] for x in rows.values()]
    return Similarity(tuple(rows), tuple(columns), np.array(values))


def _between(x, y, batch, unbiased):
    if not unbiased:
        return cka(x, y)
    starts = range(0, len(x), batch or len(x))
    parts = [slice(start, start + (batch or len(x))) for start in starts]
    return cka_of_sums(sum(cka_sums(x[part], y[part]) for part in parts if len(x[part]) > 3 or len(parts) == 1))
