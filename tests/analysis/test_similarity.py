"""Kernel alignment by its formula and its invariances; probes as scikit-learn fits them."""

import numpy as np
import pytest
import sklearn.datasets
import sklearn.linear_model
import sklearn.neighbors

from cnnjax.analysis import (
    as_features,
    cka,
    cka_of_sums,
    cka_sums,
    knn_probe,
    layer_similarity,
    logistic_probe,
    probe_by_depth,
    ridge_probe,
)

NUMBERS = np.random.default_rng(0)
X, Y = NUMBERS.normal(size=(60, 5)), NUMBERS.normal(size=(60, 8))
Y[:, :3] += X[:, :3]
TURN, _ = np.linalg.qr(NUMBERS.normal(size=(5, 5)))


def centred_formula(x, y):
    center = np.eye(len(x)) - 1 / len(x)
    k, m = (center @ (z @ z.T) @ center for z in (x, y))
    return np.sum(k * m) / np.sqrt(np.sum(k * k) * np.sum(m * m))


@pytest.mark.parametrize("count", [60, 6])
def test_alignment_is_the_formula_with_more_examples_than_features_and_with_fewer(count):
    assert cka(X[:count], Y[:count]) == pytest.approx(centred_formula(X[:count], Y[:count]), rel=1e-12)


@pytest.mark.parametrize("unbiased", [False, True])
def test_what_is_turned_shifted_and_scaled_is_the_same(unbiased):
    assert cka(X, X @ TURN, unbiased=unbiased) == pytest.approx(1)
    assert cka(X, 3 * X + 7, unbiased=unbiased) == pytest.approx(1)
    assert cka(X, X @ np.diag([9, 1, 1, 1, 1]), unbiased=unbiased) < 0.95
    assert cka(X, Y, unbiased=unbiased) == pytest.approx(cka(Y, X, unbiased=unbiased))


def test_few_examples_make_strangers_alike_but_not_without_bias():
    wide = NUMBERS.normal(size=(2, 40, 1000))
    assert cka(*wide) > 0.9
    assert abs(cka(*wide, unbiased=True)) < 0.12


def test_the_unbiased_sums_are_the_mean_over_all_choices_of_four_examples():
    """HSIC is a mean over quadruples of k_ij · (m_ij + m_kl − 2 m_ik), each number another."""
    x, y = X[:6], Y[:6]
    k, m = x @ x.T, y @ y.T
    terms = [
        k[a, b] * (m[a, b] + m[c, d] - 2 * m[a, c]) for a, b, c, d in np.ndindex(6, 6, 6, 6) if len({a, b, c, d}) == 4
    ]
    assert cka_sums(x, y)[0] == pytest.approx(np.mean(terms), rel=1e-10)
    with pytest.raises(ValueError, match="there are 3 examples; an unbiased estimate takes four"):
        cka_sums(x[:3], y[:3])


def test_sums_of_batches_come_near_the_whole():
    batches = sum(cka_sums(X[start : start + 20], Y[start : start + 20]) for start in (0, 20, 40))
    assert cka_of_sums(batches) == pytest.approx(cka(X, Y, unbiased=True), abs=0.05)
    found = layer_similarity({"a": X, "b": Y}, {"a": X[:, :, None].transpose(0, 2, 1)}, batch=20)
    assert (found.rows, found.columns) == (("a", "b"), ("a",))
    np.testing.assert_allclose(found.values, [[1], [cka_of_sums(batches)]])


def test_maps_become_features_in_the_way_that_is_said():
    maps = NUMBERS.normal(size=(3, 2, 2, 4))
    np.testing.assert_allclose(as_features(maps), maps.mean((1, 2)))
    assert as_features(maps, places="flat").shape == (3, 16)
    np.testing.assert_array_equal(as_features(maps, places="examples"), maps.reshape(12, 4))


def digits():
    data = sklearn.datasets.load_digits()
    return data.data[:200] / 16, data.target[:200], data.data[600:1000] / 16, data.target[600:1000]


@pytest.mark.parametrize("few", [150, 40])
def test_ridge_is_scikit_learns_with_more_examples_than_features_and_with_fewer(few):
    x, labels, other, _ = digits()
    x, labels = x[:few], labels[:few]
    reference = sklearn.linear_model.RidgeClassifier(alpha=2.0).fit(x, labels)
    found = ridge_probe(x, labels, penalty=2.0)
    np.testing.assert_allclose(found.scores(other), reference.decision_function(other), atol=1e-8)


@pytest.mark.parametrize("c", [1.0])
def test_logistic_regression_is_scikit_learns(c):
    x, labels, other, truth = digits()
    x, labels = x[:120], labels[:120]
    reference = sklearn.linear_model.LogisticRegression(C=c, tol=1e-8, max_iter=5000).fit(x, labels)
    found = logistic_probe(x, labels, c=c)
    ours, theirs = found.scores(other), reference.decision_function(other)
    assert np.mean(ours.argmax(1) == truth) == pytest.approx(np.mean(theirs.argmax(1) == truth), abs=1e-3)
    np.testing.assert_allclose(ours - ours.mean(1, keepdims=True), theirs - theirs.mean(1, keepdims=True), atol=3e-3)


def test_neighbours_are_those_of_scikit_learn_by_cosine():
    x, labels, other, _ = digits()
    weigh = lambda distance: np.exp(-distance / 0.1)  # noqa: E731
    reference = sklearn.neighbors.KNeighborsClassifier(5, metric="cosine", weights=weigh).fit(x, labels)
    found = knn_probe(x, labels, other, neighbours=5, temperature=0.1)
    np.testing.assert_allclose(found, reference.predict_proba(other), atol=1e-9)


@pytest.mark.parametrize("kind", ["ridge", "logistic", "knn"])
def test_what_a_layer_tells_apart_is_read_off_it_and_what_it_forgot_is_not(kind):
    labels = np.arange(80) % 2
    told = NUMBERS.normal(size=(80, 4, 4, 3)) + labels[:, None, None, None]
    forgot = NUMBERS.normal(size=(80, 4, 4, 3))
    first, last = (({"told": told[part], "forgot": forgot[part]}, labels[part]) for part in (slice(40), slice(40, 80)))
    found = probe_by_depth(*first, *last, kind=kind)
    assert found["told"] > 0.95
    assert found["forgot"] < 0.75
    with pytest.raises(ValueError, match="they must be classes from 0 on"):
        ridge_probe(X, np.zeros(60))
