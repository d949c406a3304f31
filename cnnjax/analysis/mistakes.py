"""Which classes are taken for which."""

import numpy as np

__all__ = ["confusion", "most_confused", "per_class"]


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


def _square(counts):
    counts = np.asarray(counts)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"counts have shape {counts.shape}; they must be (classes, classes), truth by guess")
    return counts
