"""How far a confidence can be believed, and the temperature at which it can."""

import dataclasses

import numpy as np

from cnnjax.annotations import AtLeastOne, Count, Positive
from cnnjax.refusals import refuse_misfits

__all__ = ["Reliability", "calibration_error", "reliability", "temperature", "tempered"]

_TINY = 1e-30  # a probability that has become 0 in float32 is taken to be this
_STEPS, _STEP, _FAR = 20, 1.0, np.log(100.0)  # Newton's, each at most so long, in log T no further than this


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


@dataclasses.dataclass(frozen=True)
class Reliability:
    """How confidences and accuracy of N examples agree; `bins` (bins, 3) are as `calibration_error` takes them.

    `error` is the expected calibration error of the predicted class, which is above 0 by about √(bins / N) whatever the
    net: `band` are its 5th and 95th percentile over examples drawn anew. `greatest` is the gap of the worst bin,
    `adaptive` the error in bins of equally many examples, `classwise` that of every class's probability, averaged.
    `brier` is the mean of Σ (p − y)² over examples, `nll` of −log p of the truth.
    """

    bins: np.ndarray
    accuracy: float
    confidence: float
    error: float
    band: tuple[float, float]
    greatest: float
    adaptive: float
    classwise: float
    brier: float
    nll: float


def reliability(
    probabilities: np.ndarray, labels: np.ndarray, *, bins: AtLeastOne = 15, draws: Count = 200
) -> Reliability:
    """How far probabilities (N, K) of examples of classes `labels` (N,) can be believed, by bins (l, r] of confidence.

    `draws` samples of N examples give the band.
    """
    refuse_misfits(reliability, {"bins": bins, "draws": draws})
    shares, labels = _fitting(probabilities, labels)
    count, classes = shares.shape
    confidence, right = shares.max(1), shares.argmax(1) == labels
    place = _places(confidence, bins)
    table = _table(place, confidence, right, bins)
    some = table[:, 2] > 0
    gaps = np.abs(table[some, 1] - table[some, 0]) / table[some, 2]
    order = np.argsort(confidence, kind="stable")
    equal = [abs((right[part] - confidence[part]).sum()) for part in np.array_split(order, bins) if len(part)]
    truth = np.eye(classes)[labels]
    each = [calibration_error(_table(_places(p, bins), p, y, bins)) for p, y in zip(shares.T, truth.T, strict=True)]
    draw = np.random.default_rng(0).integers(0, count, (draws, count))
    errors = [calibration_error(_table(place[rows], confidence[rows], right[rows], bins)) for rows in draw]
    band = np.percentile(errors, (5, 95)) if draws else (np.nan, np.nan)
    return Reliability(
        bins=table,
        accuracy=float(right.mean()),
        confidence=float(confidence.mean()),
        error=calibration_error(table),
        band=(float(band[0]), float(band[1])),
        greatest=float(gaps.max()),
        adaptive=float(sum(equal) / count),
        classwise=float(np.mean(each)),
        brier=float(np.sum((shares - truth) ** 2, 1).mean()),
        nll=_nll(np.log(np.maximum(shares, _TINY)), labels),
    )


def temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The number T that logits are to be divided by for the loss of probabilities (N, K) to be least on `labels` (N,).

    Above 1 where a net is too sure (Guo et al. 2017). The examples must be held out, and none of those that are then
    measured: it is fitted to them. It lies in [0.01, 100], also where the loss only falls, as of right answers alone.
    """
    shares, labels = _fitting(probabilities, labels)
    logs = np.log(np.maximum(shares, _TINY))
    own, place = np.take_along_axis(logs, labels[:, None], 1)[:, 0], 0.0
    for _ in range(_STEPS):
        beta = np.exp(-place)
        now = _softmax(beta * logs)
        mean = (now * logs).sum(1)
        slope, curve = beta * float((own - mean).mean()), beta**2 * float(((now * logs**2).sum(1) - mean**2).mean())
        if curve <= 0:  # every class alike: no temperature changes that
            break
        place = float(np.clip(place + np.clip(-slope / curve, -_STEP, _STEP), -_FAR, _FAR))
    return float(np.exp(place))


def tempered(probabilities: np.ndarray, temperature: Positive) -> np.ndarray:
    """Probabilities (N, K) as they are where the logits are divided by a temperature, (N, K)."""
    refuse_misfits(tempered, {"temperature": temperature})
    return _softmax(np.log(np.maximum(np.asarray(probabilities, np.float64), _TINY)) / temperature)


def _fitting(probabilities, labels):
    shares, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    if shares.ndim != 2 or labels.shape != shares.shape[:1] or not len(shares):
        raise ValueError(f"probabilities are {shares.shape}, labels {labels.shape}; they must be (N, K) and (N,)")
    if labels.min() < 0 or labels.max() >= shares.shape[1]:
        raise ValueError(f"labels go from {labels.min()} to {labels.max()}; they must lie in 0 … {shares.shape[1] - 1}")
    return shares, labels.astype(np.int64)


def _places(confidence, bins):
    """The bin (l, r] of each confidence; 0 is in the first."""
    return np.clip(np.searchsorted(np.linspace(0, 1, bins + 1), confidence, side="left") - 1, 0, bins - 1)


def _table(place, confidence, right, bins):
    sums = (np.bincount(place, weights, minlength=bins) for weights in (confidence, right, np.ones(len(place))))
    return np.stack(list(sums), 1)


def _softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _nll(logs, labels):
    return float(-np.take_along_axis(logs, labels[:, None], 1).mean())
