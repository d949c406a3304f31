"""Digits as curves: MNIST-1D's way, step by step by loops and SciPy."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cnnjax.data import check, mnist1d
from cnnjax.data.curves import curves, draws, smoothing, strokes
from cnnjax.refusals import ConfigError

USUAL = {"scale": 0.4, "shift": 48, "wander": 0.25, "noise": 0.02, "shear": 0.75}


def stretched(values, count):
    return np.interp(np.linspace(0, 1, count), np.linspace(0, 1, len(values)), values)


def one(stroke, drawn):
    """One curve as the paper's steps make it."""
    uniform, normal = drawn[:4], drawn[4:].reshape(2, 72)
    curve = np.concatenate([stroke + 1e-8, np.zeros(36 + int(uniform[0] * 25))])
    curve = np.roll(stretched(curve, 72) * (1 + 0.4 * (uniform[1] - 0.5)), int(uniform[2] * 48))
    curve = np.where(curve != 0, curve, gaussian_filter(0.25 * normal[0], 2)) + 0.02 * normal[1]
    return stretched(curve - 0.75 * (uniform[3] - 0.5) * np.linspace(-0.5, 0.5, 72), 40)


def test_curves_are_made_by_the_published_steps():
    label, drawn = np.arange(20) % 10, np.stack([draws(0, 0, index) for index in range(20)])
    expected = [one(strokes()[digit], numbers) for digit, numbers in zip(label, drawn, strict=True)]
    np.testing.assert_allclose(curves(label, drawn, **USUAL)[..., 0], expected, atol=1e-6)
    np.testing.assert_allclose(drawn[0, 4:76] @ smoothing(), gaussian_filter(drawn[0, 4:76], 2), atol=1e-12)


def test_what_is_drawn_is_uniform_and_normal():
    drawn = np.stack([draws(0, 0, index) for index in range(300)])
    assert drawn.shape == (300, 148)
    assert drawn[:, :4].mean() == pytest.approx(0.5, abs=0.05)
    assert drawn[:, 4:].mean() == pytest.approx(0, abs=0.02)
    assert drawn[:, 4:].std() == pytest.approx(1, abs=0.02)


def test_strokes_begin_at_zero_with_one_deviation():
    np.testing.assert_allclose(strokes().std(1), 1 / 6)
    np.testing.assert_array_equal(strokes()[:, 0], 0)


def test_curves_are_a_function_of_world_split_and_index():
    source, other = mnist1d(train=30, test=20), mnist1d(train=40, test=10)
    check(source, 30)
    assert source.facts.shape == (40, 1)
    assert source.facts.names == tuple("0123456789")
    np.testing.assert_allclose(source.train.arrays["series"], other.train.arrays["series"][:30], atol=1e-6)
    np.testing.assert_array_equal(source.test.arrays["label"], np.arange(20) % 10)
    assert np.abs(source.train.arrays["series"][:20] - source.test.arrays["series"]).max() > 0.1
    apart = source.train.arrays["series"][:10] - mnist1d(train=10, test=2, world=1).train.arrays["series"]
    assert np.abs(apart).max() > 0.1


def test_shuffled_curves_are_the_same_with_their_steps_in_one_other_order():
    plain, shuffled = (mnist1d(train=12, test=3, shuffled=given) for given in (False, True))
    one, other = (source.train.arrays["series"][..., 0] for source in (plain, shuffled))
    order = [int(np.flatnonzero(one[0] == value)[0]) for value in other[0]]
    assert sorted(order) == list(range(40)) != order
    np.testing.assert_array_equal(one[:, order], other)
    np.testing.assert_array_equal(plain.test.arrays["series"][:, order], shuffled.test.arrays["series"])


def test_options_out_of_range_are_refused():
    with pytest.raises(ConfigError) as refused:
        mnist1d(shift=80)
    assert str(refused.value) == "data.shift is 80; it must be ≥ 1 and ≤ 72"


@pytest.mark.proofs
def test_a_net_that_knows_of_no_shifts_does_as_published():
    """Logistic regression: 32 % in the paper."""
    from sklearn.linear_model import LogisticRegression

    source = mnist1d(train=2000)
    x, label = (source.train.arrays[name] for name in ("series", "label"))
    found = LogisticRegression(max_iter=300).fit(x[..., 0] / x.std(), label)
    test = source.test.arrays
    assert found.score(test["series"][..., 0] / x.std(), test["label"]) == pytest.approx(0.32, abs=0.05)


@pytest.mark.proofs
def test_convolutions_do_as_published(tmp_path, train_apart):
    """94 % in the paper, 92.4 in the config's header."""
    assert train_apart("configs/mnist1d.py", tmp_path).measure("test")["accuracy"] >= 0.90
