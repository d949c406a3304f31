"""Spectra of sound against SciPy, written-out formulas and published values of the mel scales."""

import functools

import jax
import numpy as np
import pytest
import scipy.signal

from cnnjax import ops

# hertz and mels: Slaney's and HTK's, as the documentation of librosa and the HTK book have them
SLANEY = {0.0: 0.0, 60.0: 0.9, 110.0: 1.65, 220.0: 3.3, 440.0: 6.6, 1000.0: 15.0, 6400.0: 42.0}
# fmt: off
FORTY = (  # librosa's documentation: forty frequencies on Slaney's scale, to half of 22,050
    0.0, 85.317, 170.635, 255.952, 341.269, 426.586, 511.904, 597.221, 682.538, 767.855, 853.173, 938.49, 1024.856,
    1119.114, 1222.042, 1334.436, 1457.167, 1591.187, 1737.532, 1897.337, 2071.84, 2262.393, 2470.47, 2697.686,
    2945.799, 3216.731, 3512.582, 3835.643, 4188.417, 4573.636, 4994.285, 5453.621, 5955.205, 6502.92, 7101.009,
    7754.107, 8467.272, 9246.028, 10096.408, 11025.0,
)
# fmt: on
HTK = {0.0: 0.0, 440.0: 549.64, 1000.0: 999.99, 4000.0: 2146.07, 8000.0: 2840.02}


@functools.partial(jax.jit, static_argnames=("window", "hop", "length"))
def spectrum(x, *, window, hop, length):
    return ops.stft(x, window=window, hop=hop, length=length)


@pytest.mark.parametrize(("window", "hop", "length", "count"), [(32, 8, 32, 200), (32, 16, 64, 201), (48, 12, 64, 96)])
def test_the_short_time_fourier_transform_is_scipys(window, hop, length, count):
    x = np.random.default_rng(0).normal(size=(2, count)).astype(np.float32)
    found = np.asarray(spectrum(x, window=window, hop=hop, length=length))
    hann = scipy.signal.get_window("hann", window)
    options = {"window": hann, "nperseg": window, "noverlap": window - hop, "nfft": length, "padded": True}
    *_, expected = scipy.signal.stft(x.astype(float), boundary="zeros", **options)
    assert found.shape == (2, 1 + count // hop, length // 2 + 1)
    shared = min(found.shape[1], expected.shape[-1])
    np.testing.assert_allclose(found[:, :shared], expected.swapaxes(1, 2)[:, :shared] * hann.sum(), atol=2e-5)


@pytest.mark.parametrize(("scale", "known"), [("slaney", SLANEY), ("htk", HTK)])
def test_mels_are_those_that_were_published_and_hertz_is_their_inverse(scale, known):
    hertz, mels = map(np.array, (list(known), list(known.values())))
    np.testing.assert_allclose(ops.mel(hertz, scale=scale), mels, atol=0.006)
    np.testing.assert_allclose(ops.hertz(ops.mel(hertz, scale=scale), scale=scale), hertz, rtol=1e-12)


def test_steps_of_the_scale_are_those_that_were_published():
    np.testing.assert_allclose(ops.hertz(np.linspace(0, ops.mel(11025.0), 40)), FORTY, atol=6e-4)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_filters_are_the_triangles_between_even_steps_of_the_scale(scale):
    bins, bands, rate = 129, 20, 8000.0
    found = ops.mel_filters(bins, bands, rate=rate, low=100.0, high=3800.0, scale=scale, even=False)
    mels = np.linspace(ops.mel(100.0, scale=scale), ops.mel(3800.0, scale=scale), bands + 2)
    edges = ops.hertz(mels, scale=scale)
    for band in range(bands):  # a triangle as a curve through three points
        place = np.linspace(0, rate / 2, bins)
        expected = np.interp(place, edges[band : band + 3], [0, 1, 0], left=0, right=0)
        np.testing.assert_allclose(found[:, band], expected, atol=1e-12)
    even = ops.mel_filters(4001, bands, rate=rate, scale=scale)
    np.testing.assert_allclose(even.sum(0) * (rate / 2 / 4000), 1, atol=2e-3)


def test_a_tone_is_loudest_in_its_own_frequency_and_band_and_decibels_end_at_their_reach():
    rate, hertz = 8000, 1500.0
    x = np.sin(2 * np.pi * hertz * np.arange(2000) / rate).astype(np.float32)

    @jax.jit
    def heard(x):
        power = jax.numpy.abs(ops.stft(x, window=256, hop=128, length=256)) ** 2
        return power, ops.decibels(power @ ops.mel_filters(129, 24, rate=float(rate)), reach=30.0)

    power, level = map(np.asarray, heard(x))
    assert (power[2:-2].argmax(-1) == hertz / rate * 256).all()
    middles = ops.hertz(np.linspace(0, ops.mel(4000.0), 26))[1:-1]
    assert (level[2:-2].argmax(-1) == np.abs(middles - hertz).argmin()).all()
    assert abs(np.ptp(level) - 30) < 1e-4


def test_what_has_no_meaning_is_refused_by_its_name():
    with pytest.raises(ValueError, match="window is 64; it must be at most length, 32"):
        ops.stft(np.zeros(100, np.float32), window=64, hop=8, length=32)
    with pytest.raises(ValueError, match="low is 5000 and high 4000; they must rise"):
        ops.mel_filters(65, 8, rate=8000.0, low=5000.0)
    with pytest.raises(ValueError, match=r"bands is 120, of which number 1 lies between two of the 65 frequencies"):
        ops.mel_filters(65, 120, rate=8000.0)
    with pytest.raises(ValueError, match="scale is 'melody'; "):
        ops.mel(100.0, scale="melody")
