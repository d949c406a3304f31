"""Gabor functions are found again under noise; noise and small kernels are not taken for them."""

import json

import jax
import numpy as np
import pytest

from cnnjax.analysis import draw_gabors, fit_gabor
from cnnjax.ops import gabor

KEY = jax.random.key(0)


def made(count):
    """Noisy 11×11 Gabors (count, 11, 11), a tenth of their deviation, and what they were made with."""
    numbers, filters, told = np.random.default_rng(0), [], []
    for n in range(count):
        words = {
            "angle": np.pi * n / count,
            "frequency": numbers.uniform(0.1, 0.3),
            "phase": numbers.uniform(-3, 3),
            "sigma": numbers.uniform(1.6, 2.6),
            "aspect": numbers.uniform(0.7, 1.4),
        }
        clean = np.asarray(gabor(11, **words))[..., 0, 0]
        filters.append(clean + 0.1 * clean.std() * numbers.normal(size=clean.shape))
        told.append(words)
    return np.stack(filters), told


def recovered(found, told):
    for n, words in enumerate(told):
        away = (found.angle[n] - words["angle"] + np.pi / 2) % np.pi - np.pi / 2
        assert abs(away) < 0.05
        assert found.frequency[n] == pytest.approx(words["frequency"], abs=0.01)
        assert found.sigma[n] == pytest.approx(words["sigma"], rel=0.1)
        assert found.aspect[n] == pytest.approx(words["aspect"], rel=0.1)
        assert found.quality[n] >= 0.985
    np.testing.assert_allclose(found.cycles[:, 0], found.sigma * found.frequency)
    assert found.alike.all()


def test_gabors_are_recovered_under_noise_and_their_parameters_make_the_fit():
    filters, told = made(3)
    found = fit_gabor(KEY, filters, null=3)
    recovered(found, told)
    assert found.null.max() < 0.4
    y, x = np.mgrid[:11, :11] - 5.0
    for n in range(3):
        u = (x - found.x[n]) * np.cos(found.angle[n]) + (y - found.y[n]) * np.sin(found.angle[n])
        v = (y - found.y[n]) * np.cos(found.angle[n]) - (x - found.x[n]) * np.sin(found.angle[n])
        bell = np.exp(-(u**2 + (found.aspect[n] * v) ** 2) / (2 * found.sigma[n] ** 2))
        wave = np.cos(2 * np.pi * found.frequency[n] * u + found.phase[n])
        np.testing.assert_allclose(found.amplitude[n] * bell * wave + found.offset[n], found.fits[n], atol=1e-9)
        left = np.sum((filters[n] - found.fits[n]) ** 2) / np.sum((filters[n] - filters[n].mean()) ** 2)
        assert found.quality[n] == pytest.approx(1 - left)
        assert 0 <= found.angle[n] <= np.pi


def test_a_colour_filter_is_fitted_by_what_its_channels_share():
    filters, told = made(3)
    colours = filters[:1, ..., None] * np.array([0.5, 1.0, -0.2])
    found = fit_gabor(KEY, colours, null=2)
    assert found.share[0] == pytest.approx(1)
    recovered(found, told[:1])


def test_small_kernels_and_what_is_no_filter_are_refused():
    with pytest.raises(ValueError, match="filters are 3×3; they must be 5×5 or larger, for nine parameters fit nine"):
        fit_gabor(KEY, np.ones((2, 3, 3)))
    with pytest.raises(ValueError, match=r"filters are \(5, 5\); they must be \(N, k, k\)"):
        fit_gabor(KEY, np.ones((5, 5)))
    flat = fit_gabor(KEY, np.zeros((1, 5, 5)), null=1)
    assert flat.quality[0] == 0
    assert not flat.alike[0]


def test_a_picture_has_filter_fit_and_residual_and_where_the_bells_lie():
    figure = draw_gabors(fit_gabor(KEY, made(3)[0], null=2))
    axes = [cell for part in figure.subfigs for cell in part.axes]
    assert len(axes) == 3 * 3 + 1
    assert "R² of noise" in axes[-1].get_title(loc="left")
    assert any(text.get_text() == "Gabor  3" for text in axes[-1].get_legend().get_texts())


@pytest.mark.proofs
def test_twelve_gabors_of_twelve_are_recovered_under_noise():
    filters, told = made(12)
    found = fit_gabor(KEY, filters)
    recovered(found, told)
    assert found.null.max() < 0.25


@pytest.mark.proofs
def test_most_of_the_first_filters_of_convnetjs_are_better_gabors_than_any_noise(real):
    layer = json.loads(real("pretrained/convnetjs_cifar10.json").read_text())["layers"][1]
    filters = np.array([[each["w"][str(k)] for k in range(75)] for each in layer["filters"]]).reshape(16, 5, 5, 3)
    found = fit_gabor(KEY, filters)
    assert np.sum(found.quality > found.null.max()) == 13
    assert np.sort(found.quality)[:4] == pytest.approx([0.52, 0.54, 0.67, 0.73], abs=0.03)
    assert np.sort(found.quality)[4] >= 0.89
    assert np.median(found.share) == pytest.approx(0.76, abs=0.02)
