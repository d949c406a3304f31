"""What can be read off a net's features by a simple reader: a linear one, or the examples that lie nearest."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from cnnjax.analysis.similarity import Places, as_features
from cnnjax.annotations import AtLeastOne, Positive
from cnnjax.refusals import refuse_misfits

__all__ = ["Probe", "knn_probe", "logistic_probe", "probe_by_depth", "ridge_probe"]

_TOLERANCE, _STEPS, _MEMORY = 1e-6, 2000, 12


@dataclasses.dataclass(frozen=True)
class Probe:
    """A linear reader of features (N, D): `kernel` (D, K), `bias` (K,)."""

    kernel: np.ndarray
    bias: np.ndarray

    def scores(self, features: np.ndarray) -> np.ndarray:
        """The scores (N, K) of features (N, D); the greatest is that of the predicted class."""
        return np.asarray(features, np.float64) @ self.kernel + self.bias


def ridge_probe(features: np.ndarray, labels: np.ndarray, *, penalty: Positive = 1.0) -> Probe:
    """The linear reader of least squares from features (N, D) to ±1 for each class of `labels` (N,).

    In closed form, with `penalty` times the squared kernel; the bias is free.
    """
    refuse_misfits(ridge_probe, {"penalty": penalty})
    x, labels = _fitting(features, labels)
    y = 2.0 * np.eye(labels.max() + 1)[labels] - 1
    middle, mean = x.mean(0), y.mean(0)
    x, y = x - middle, y - mean
    if len(x) < x.shape[1]:
        kernel = x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(len(x)), y)
    else:
        kernel = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
    return Probe(kernel, mean - middle @ kernel)


def logistic_probe(features: np.ndarray, labels: np.ndarray, *, c: Positive = 1.0) -> Probe:
    """The multinomial logistic regression of features (N, D) to the classes of `labels` (N,).

    It minimises c · Σ −log p + ½ ‖kernel‖², as scikit-learn's does, until no number of the mean's gradient is above
    1e-6. Features of very different spreads take long: divide each by its own before.
    """
    refuse_misfits(logistic_probe, {"c": c})
    x, labels = _fitting(features, labels)
    truth = np.eye(labels.max() + 1)[labels]
    shape, scale = (x.shape[1] + 1, truth.shape[1]), 1 / (c * len(x))

    def loss(flat):
        weights = flat.reshape(shape)
        logits = x @ weights[:-1] + weights[-1]
        logits -= logits.max(1, keepdims=True)
        logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        wrong = (np.exp(logs) - truth) / len(x)
        gradient = np.concatenate([x.T @ wrong + scale * weights[:-1], wrong.sum(0)[None]])
        value = -np.sum(logs * truth) / len(x) + 0.5 * scale * np.sum(weights[:-1] ** 2)
        return float(value), gradient.reshape(-1)

    weights = _minimised(loss, np.zeros(shape).reshape(-1)).reshape(shape)
    return Probe(weights[:-1], weights[-1])


def _minimised(loss: Callable, place: np.ndarray) -> np.ndarray:
    """Where a smooth convex function is least, by L-BFGS with steps that are halved until they help."""
    value, gradient = loss(place)
    moves: list[tuple] = []
    for _ in range(_STEPS):
        if np.abs(gradient).max() < _TOLERANCE:
            break
        way = -_turned(gradient, moves)
        slope, step = float(gradient @ way), 1.0 if moves else 1 / max(1.0, float(np.linalg.norm(gradient)))
        while True:
            new, (height, found) = place + step * way, loss(place + step * way)
            if height <= value + 1e-4 * step * slope or step < 1e-12:
                break
            step /= 2
        if step < 1e-12:  # rounding: no step helps any more
            break
        change, bend = new - place, found - gradient
        if change @ bend > 1e-12 * (bend @ bend):
            moves = [*moves[-_MEMORY + 1 :], (change, bend, 1 / (change @ bend))]
        place, value, gradient = new, height, found
    return place


def _turned(gradient: np.ndarray, moves: list[tuple]) -> np.ndarray:
    """The gradient times the inverse Hessian that the last moves tell of (Nocedal 1980)."""
    way, shares = gradient.copy(), []
    for change, bend, inverse in reversed(moves):
        shares.append(inverse * (change @ way))
        way -= shares[-1] * bend
    if moves:
        change, bend, _ = moves[-1]
        way *= (change @ bend) / (bend @ bend)
    for (change, bend, inverse), share in zip(moves, reversed(shares), strict=True):
        way += (share - inverse * (bend @ way)) * change
    return way


def knn_probe(
    features: np.ndarray,
    labels: np.ndarray,
    queries: np.ndarray,
    *,
    neighbours: AtLeastOne = 20,
    temperature: Positive = 0.07,
) -> np.ndarray:
    """The shares (M, K) of classes among the `neighbours` of queries (M, D) in features (N, D) of classes (N,).

    Nearest by cosine, each weighed by exp(cosine / temperature) (Wu 2018).
    """
    refuse_misfits(knn_probe, {"neighbours": neighbours, "temperature": temperature})
    x, labels = _fitting(features, labels)
    x, y = (each / np.maximum(np.linalg.norm(each, axis=1, keepdims=True), 1e-12) for each in (x, np.asarray(queries)))
    cosine = y @ x.T
    nearest = np.argsort(-cosine, 1, kind="stable")[:, :neighbours]
    weights = np.exp((np.take_along_axis(cosine, nearest, 1) - 1) / temperature)
    votes = np.einsum("mk,mkc->mc", weights, np.eye(labels.max() + 1)[labels[nearest]])
    return votes / votes.sum(1, keepdims=True)


def _fitting(features, labels):
    features, labels = np.asarray(features, np.float64), np.asarray(labels)
    if features.ndim != 2 or labels.shape != features.shape[:1] or not len(labels):
        raise ValueError(f"features are {features.shape}, labels {labels.shape}; they must be (N, D) and (N,)")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise ValueError(f"labels are {labels.dtype}, from {labels.min()} on; they must be classes from 0 on")
    return features, labels


def probe_by_depth(
    maps: Mapping[str, np.ndarray],
    labels: np.ndarray,
    others: Mapping[str, np.ndarray],
    truth: np.ndarray,
    *,
    kind: Literal["ridge", "logistic", "knn"] = "logistic",
    places: Places = "mean",
) -> dict[str, float]:
    """By name the accuracy on maps of other examples, of classes `truth` (M,), of a probe fitted to maps and `labels`.

    Maps (N, *sizes, C) become features as in `as_features`, each then less its mean and over its deviation.
    """
    refuse_misfits(probe_by_depth, {"kind": kind, "places": places})
    found = {}
    for name, each in maps.items():
        x, y = (as_features(side, places=places) for side in (each, others[name]))
        middle, spread = x.mean(0), x.std(0)
        x, y = ((side - middle) / np.where(spread > 0, spread, 1) for side in (x, y))
        if kind == "knn":
            scores = knn_probe(x, labels, y)
        else:
            scores = (ridge_probe if kind == "ridge" else logistic_probe)(x, labels).scores(y)
        found[name] = float(np.mean(scores.argmax(1) == np.asarray(truth)))
    return found
