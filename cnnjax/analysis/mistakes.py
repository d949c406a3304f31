"""Which classes are taken for which, and which examples are hard, or wrongly labelled."""

import numpy as np

from cnnjax.annotations import AtLeastOne, Share
from cnnjax.refusals import refuse_misfits

__all__ = [
    "area_under_margin",
    "confusion",
    "confusion_sets",
    "margins",
    "most_confused",
    "per_class",
    "similarity_order",
]


def confusion(labels: np.ndarray, predictions: np.ndarray, *, classes: int) -> np.ndarray:
    """Counts (K, K): in row i and column j, how many examples of class i were predicted to be of class j."""
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape:
        raise ValueError(f"labels have shape {labels.shape}, predictions {predictions.shape}; they must be the same")
    for name, values in (("labels", labels), ("predictions", predictions)):
        if values.size and not (0 <= values.min() and values.max() < classes):
            raise ValueError(f"{name} go from {values.min()} to {values.max()}; they must lie in 0 … {classes - 1}")
    counts = np.bincount(labels.ravel() * classes + predictions.ravel(), minlength=classes * classes)
    return counts.reshape(classes, classes)


def per_class(counts: np.ndarray) -> dict[str, np.ndarray]:
    """`count`, `precision`, `recall`, `f1` and `iou` (K,) of each class, of counts (K, K) as `confusion` gives them.

    NaN where there is nothing to divide by: the recall of a class that does not occur, the precision of one that is
    never predicted, F1 and intersection over union of one that is neither.
    """
    counts = _square(counts).astype(np.float64)
    both, truth, guess = np.diagonal(counts), counts.sum(1), counts.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "count": truth.astype(np.int64),
            "precision": both / guess,
            "recall": both / truth,
            "f1": 2 * both / (truth + guess),
            "iou": both / (truth + guess - both),
        }


def most_confused(counts: np.ndarray) -> list[tuple[int, int, int]]:
    """(class, what it was taken for, how often) of counts (K, K), the most frequent mistake first.

    Of equal ones that of the rarer class comes first, which it harms more.
    """
    counts = _square(counts).copy()
    truth = counts.sum(1)
    np.fill_diagonal(counts, 0)
    pairs = [(int(i), int(j), int(counts[i, j])) for i, j in zip(*np.nonzero(counts), strict=True)]
    return sorted(pairs, key=lambda pair: (-pair[2], truth[pair[0]], pair[:2]))


def confusion_sets(
    counts: np.ndarray, *, share: Share = 0.95, most: AtLeastOne = 7, least: AtLeastOne = 2
) -> list[list[tuple[int, int]]]:
    """For each class of counts (K, K) the classes that it was taken for, each with how often, the most frequent first.

    So many of them that together they are `share` of the class's mistakes, at most `most`, and none that was seen less
    than `least` times.
    """
    refuse_misfits(confusion_sets, {"share": share, "most": most, "least": least})
    wrong = _square(counts).copy()
    np.fill_diagonal(wrong, 0)
    found = []
    for row in wrong:
        order = np.argsort(-row, kind="stable")
        before = np.cumsum(row[order]) - row[order]  # the mistakes that those in front of it explain
        wanted = (before < share * row.sum()) & (row[order] >= least)
        found.append([(int(k), int(row[k])) for k in order[wanted][:most]])
    return found


def similarity_order(counts: np.ndarray) -> np.ndarray:
    """The K classes of counts (K, K), (K,), in an order in which those that are taken for each other stand together.

    It is that of the second eigenvector of the normalised Laplacian of C + Cᵀ (Shi & Malik 2000), begun at the end
    that has the lower class. What is never confused with anything hangs together by a faint edge to all.
    """
    counts = _square(counts)
    if len(counts) < 3:
        return np.arange(len(counts))
    near = (counts + counts.T).astype(np.float64)
    np.fill_diagonal(near, 0)
    near += 1e-3 * max(near.mean(), 1e-12)
    scale = 1 / np.sqrt(near.sum(1))
    _, vectors = np.linalg.eigh(np.eye(len(near)) - scale[:, None] * near * scale)
    order = np.argsort(vectors[:, 1] * scale, kind="stable")
    return order if order[0] < order[-1] else order[::-1]


def margins(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """By how much the score of its class is before the best of the others, of each example: (…, N) of (…, N, K).

    Below 0 where it is taken for another. `labels` (N,) are the classes, scores logits or logarithms of probabilities.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    if scores.ndim < 2 or scores.shape[-1] < 2 or labels.shape != scores.shape[-2:-1]:
        raise ValueError(f"scores have shape {scores.shape}, labels {labels.shape}; they must be (…, N, K) and (N,)")
    if labels.size and not (0 <= labels.min() and labels.max() < scores.shape[-1]):
        raise ValueError(
            f"labels go from {labels.min()} to {labels.max()}; they must lie in 0 … {scores.shape[-1] - 1}"
        )
    own = np.arange(scores.shape[-1]) == labels[:, None]
    return np.where(own, scores, -np.inf).max(-1) - np.where(own, -np.inf, scores).max(-1)


def area_under_margin(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean margin (N,) of training examples over checkpoints of their training, scores (T, N, K) (Pleiss 2020).

    A wrong label is learnt against what its like have taught, late and barely: the lowest are worth a second look.
    """
    if np.ndim(scores) != 3:
        raise ValueError(f"scores have shape {np.shape(scores)}; they must be (checkpoints, N, K)")
    return margins(scores, labels).mean(0)


def _square(counts):
    counts = np.asarray(counts)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"counts have shape {counts.shape}; they must be (classes, classes), truth by guess")
    return counts
