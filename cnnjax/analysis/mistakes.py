"""Which classes are taken for which."""

import numpy as np

__all__ = ["confusion"]


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
