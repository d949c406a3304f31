"""How far a confidence can be believed."""

import numpy as np

__all__ = ["calibration_error"]


def calibration_error(bins: np.ndarray) -> float:
    """The expected calibration error, in [0, 1], of a table (bins, 3) as classification leaves it: `calibration`.

    A bin holds the sum of its confidences, how many of them were right, and how many there are; the gaps between
    confidence and accuracy are averaged by the examples of the bins (Guo et al. 2017). NaN where there are none.
    """
    bins = np.asarray(bins, np.float64)
    if bins.ndim != 2 or bins.shape[1] != 3:
        raise ValueError(f"a calibration table has shape {bins.shape}; it must be (bins, 3)")
    confidence, right, count = bins.T
    return float(np.abs(right - confidence).sum() / count.sum()) if count.sum() else float("nan")
