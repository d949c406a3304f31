"""Calibration against plain loops, SciPy and scikit-learn, and the temperature that a known one leads back to."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.metrics import brier_score_loss, log_loss

from cnnjax.analysis import calibration_error, reliability, temperature, tempered


@pytest.fixture(scope="module")
def drawn():
    """Probabilities (1000, 10) of a net that is twice too sure, and the classes that its true ones gave."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 4, (1000, 10))
    labels = (np.cumsum(softmax(logits / 2, 1), 1) < rng.random((1000, 1))).sum(1)
    return softmax(logits, 1), labels


def looped(confidence, right, bins=15):
    """(error, greatest gap, counts) as Guo 2017 writes them."""
    error, gaps, counts = 0.0, [], []
    for k in range(bins):
        inside = (confidence > k / bins) & (confidence <= (k + 1) / bins)
        counts.append(inside.sum())
        if inside.any():
            gaps.append(abs(right[inside].mean() - confidence[inside].mean()))
            error += inside.mean() * gaps[-1]
    return error, max(gaps), counts


def test_calibration_errors_are_those_of_plain_loops(drawn):
    shares, labels = drawn
    found = reliability(shares, labels)
    confidence, right = shares.max(1), shares.argmax(1) == labels
    error, greatest, counts = looped(confidence, right)
    np.testing.assert_array_equal(found.bins[:, 2], counts)
    assert found.error == pytest.approx(error, abs=1e-12) == calibration_error(found.bins)
    assert found.greatest == pytest.approx(greatest, abs=1e-12)
    classwise = np.mean([looped(shares[:, k], labels == k)[0] for k in range(10)])
    assert found.classwise == pytest.approx(classwise, abs=1e-12)
    parts = np.array_split(np.argsort(confidence, kind="stable"), 15)
    adaptive = sum(len(part) / 1000 * abs(right[part].mean() - confidence[part].mean()) for part in parts)
    assert found.adaptive == pytest.approx(adaptive, abs=1e-12)
    assert found.band[0] < found.error < found.band[1] < found.band[0] + 0.1


def test_scores_are_those_of_scikit_learn(drawn):
    shares, labels = drawn
    found = reliability(shares, labels, draws=0)
    assert found.nll == pytest.approx(log_loss(labels, shares, labels=range(10)), abs=1e-9)
    each = [brier_score_loss(labels == k, shares[:, k]) for k in range(10)]
    assert found.brier == pytest.approx(sum(each), abs=1e-12)


def test_a_confidence_on_an_edge_lies_in_the_bin_below_it():
    shares = np.array([[0.6, 0.4], [0.8, 0.2], [1.0, 0.0]])
    np.testing.assert_array_equal(reliability(shares, [0, 0, 1], bins=5).bins[:, 2], [0, 0, 1, 1, 1])


def test_the_temperature_is_that_of_least_loss_and_near_the_one_that_was_drawn_by(drawn):
    shares, labels = drawn
    logs = np.log(shares)

    def loss(place):
        return -log_softmax(logs / np.exp(place), 1)[np.arange(1000), labels].mean()

    found = temperature(shares, labels)
    assert found == pytest.approx(np.exp(minimize_scalar(loss, (-2, 2), tol=1e-12).x), rel=1e-6)
    assert found == pytest.approx(2, rel=0.1)
    before, after = reliability(shares, labels), reliability(tempered(shares, found), labels)
    assert after.error < 0.3 * before.error
    assert after.nll < before.nll
    assert after.accuracy == before.accuracy


def test_a_temperature_is_bounded_where_the_loss_only_falls_and_1_where_nothing_changes_it():
    sure = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert 0.01 <= temperature(sure, [0, 1]) < 0.1
    assert temperature(np.full((4, 2), 0.5), [0, 1, 0, 1]) == 1
    assert temperature(sure, [1, 0]) == pytest.approx(100)
    certain = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    assert np.isfinite(temperature(certain, [0, 1]))
    np.testing.assert_allclose(tempered(sure, 1.0), sure)


def test_what_does_not_fit_is_refused():
    with pytest.raises(
        ValueError, match=r"probabilities are \(2, 3\), labels \(3,\); they must be \(N, K\) and \(N,\)"
    ):
        reliability(np.ones((2, 3)) / 3, [0, 1, 2])
    with pytest.raises(ValueError, match=r"labels go from 0 to 3; they must lie in 0 … 2"):
        temperature(np.ones((2, 3)) / 3, [0, 3])
    with pytest.raises(ValueError, match="temperature"):
        tempered(np.ones((2, 3)) / 3, 0.0)
