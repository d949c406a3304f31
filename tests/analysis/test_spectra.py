"""Nets of rectifiers learn slow waves first; what learns all alike is measured as learning all alike."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage
from scipy.stats import spearmanr
from skimage.transform import resize as resized

from cnnjax.analysis import coordinate_net, decoder_net, draw_spectral_bias, picture_bias, spectral_bias

KEY = jax.random.key(0)


def perceptron(widths, seed=0):
    """The parameters of a net of rectifiers, Kaiming's, and the net."""
    keys = jax.random.split(jax.random.key(seed), len(widths))
    sizes = zip((1, *widths), (*widths, 1), strict=True)
    params = [
        (np.sqrt(2 / a) * np.asarray(jax.random.normal(key, (a, b))), np.asarray(jax.random.uniform(key, (b,))) - 0.5)
        for key, (a, b) in zip((*keys, KEY), sizes, strict=True)
    ]

    def f(params, z):
        for kernel, bias in params[:-1]:
            z = jax.nn.relu(z @ kernel + bias)
        return z @ params[-1][0] + params[-1][1]

    return f, params


def test_a_net_of_rectifiers_learns_waves_in_the_order_of_their_frequencies():
    f, params = perceptron((64, 64, 64))
    found = spectral_bias(KEY, f, params, frequencies=(1, 2, 3, 4, 5), points=32, steps=2500, lr=3e-3, every=20)
    assert spearmanr(found.frequencies, found.learned()).statistic >= 0.9
    assert found.amplitudes.shape == (125, 5)
    assert np.isfinite(found.learned()).all()
    assert found.losses[-1] < found.losses[0] / 4
    spectrum = 2 / 32 * np.abs(np.fft.rfft(found.fit))[1:6]
    np.testing.assert_allclose(found.amplitudes[-1], spectrum, rtol=1e-3, atol=1e-5)
    assert found.losses[-1] == pytest.approx(np.mean((found.fit - found.target) ** 2), rel=1e-3)
    figure = draw_spectral_bias({"rectifiers": found, "again": found})
    assert len(figure.axes) == 3  # and the scale
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["1", "2", "3", "4", "5"]


def test_what_weighs_waves_learns_them_all_alike_and_the_target_is_their_sum():
    waves, sizes = np.array([2, 5, 9]), np.array([1.0, 0.5, 2.0])

    def f(params, z):
        turns = 2 * jnp.pi * z * waves
        return jnp.sin(turns) @ params[0] + jnp.cos(turns) @ params[1]

    start = [np.zeros(3, np.float32)] * 2
    found = spectral_bias(KEY, f, start, frequencies=waves, amplitudes=sizes, points=24, steps=600, lr=0.05, every=30)
    np.testing.assert_allclose(found.amplitudes[-1], 1, atol=1e-3)
    np.testing.assert_allclose(2 / 24 * np.abs(np.fft.rfft(found.target))[waves], sizes)
    np.testing.assert_allclose(found.fit, found.target, atol=2e-3)
    assert np.ptp(found.learned()[:2]) <= 60
    with pytest.raises(ValueError, match="every is 7; it must divide the 600 steps"):
        spectral_bias(KEY, f, start, frequencies=waves, points=24, steps=600, every=7)
    with pytest.raises(ValueError, match=r"frequencies are \[2, 12\]; they must be whole, from 1 to less than 12"):
        spectral_bias(KEY, f, start, frequencies=(2, 12), points=24)
    with pytest.raises(ValueError, match=r"amplitudes are \[1.0\]; they must be above 0, one for each of 3 waves"):
        spectral_bias(KEY, f, start, frequencies=waves, amplitudes=(1.0,), points=24)


def test_of_a_picture_each_band_counts_its_own_waves():
    def wave(cycles, along):
        return jnp.cos(2 * jnp.pi * cycles * (along + 0.5 / 16))

    def f(params, places):
        y, x = places.T
        return jnp.stack([jnp.ones(256), wave(1, y) * wave(1, x), wave(6, x)], 1) @ params

    mixed = np.array([[0.5, 0.5], [0.2, 0.2], [0.1, 0.3]], np.float32)
    places = np.stack(np.meshgrid(np.arange(16) / 16, np.arange(16) / 16, indexing="ij"), -1).reshape(-1, 2)
    picture = np.asarray(f(mixed, places)).reshape(16, 16, 2)
    found = picture_bias(f, np.zeros((3, 2), np.float32), picture, bands=4, steps=300, lr=0.02, every=50)
    assert found.frequencies.tolist() == [1, 3, 5, 7]
    np.testing.assert_allclose(found.amplitudes[-1, [0, 2]], 1, atol=1e-2)  # of √2 and 6 cycles
    np.testing.assert_allclose(found.fit, picture, atol=1e-2)
    wrong = mixed * np.array([[1], [0.5], [3]], np.float32)
    half = picture_bias(f, wrong, picture, bands=4, steps=1, lr=1e-9, every=1)
    np.testing.assert_allclose(half.amplitudes[0, [0, 2]], [0.5, 0], atol=1e-4)
    assert half.losses[0] == pytest.approx(np.mean((half.fit - picture) ** 2), rel=1e-4)
    assert len(draw_spectral_bias({"all": found, "half": half}).axes) == 5  # and the scale
    with pytest.raises(ValueError, match=r"picture is \(16, 16\); it must be \(H, W, C\), of 8 pixels"):
        picture_bias(f, mixed, picture[..., 0], bands=4)


@pytest.mark.proofs
def test_of_a_photograph_a_net_of_places_learns_slow_waves_and_a_decoder_and_waves_learn_fast_ones():
    picture = resized(skimage.data.astronaut()[:256, 96:352] / 255, (64, 64), anti_aliasing=True)
    options = {"dimensions": 2, "outputs": 3, "widths": (128, 128, 128)}
    nets = {
        "places": coordinate_net(KEY, **options),
        "waves": coordinate_net(KEY, **options, sigma=10.0),
        "decoder": decoder_net(KEY, sizes=(64, 64), outputs=3, width=48),
    }
    found = {name: picture_bias(f, params, picture, steps=600, every=50) for name, (f, params) in nets.items()}
    slow, fast = ({name: each.amplitudes[-1, band] for name, each in found.items()} for band in (0, -1))
    assert slow["places"] > 0.7, slow
    assert fast["places"] < 0.1 < 0.3 < fast["waves"], fast
    middle = {name: each.amplitudes[-1, 3] for name, each in found.items()}
    assert middle["decoder"] > 2 * middle["places"], middle


@pytest.mark.proofs
def test_of_random_waves_a_net_learns_fast_ones_about_as_soon_and_a_decoder_learns_any():
    waves, found = (1, 2, 3, 4, 5), {}
    asked = {"frequencies": waves, "points": 32, "steps": 1000, "lr": 3e-3, "every": 10}
    nets = {
        "places": coordinate_net(KEY, widths=(64, 64)),
        "waves": coordinate_net(KEY, widths=(64, 64), sigma=5.0, features=32),
        "decoder": decoder_net(KEY, sizes=(32,), width=16, levels=2),
    }
    for name, (f, params) in nets.items():
        found[name] = spectral_bias(KEY, f, params, **asked)
    last = {name: each.learned(0.6)[-1] / each.learned(0.6)[0] for name, each in found.items()}
    assert last["waves"] < 4 < last["places"], last
    assert found["waves"].losses[-1] < 0.1 * found["places"].losses[-1]
    np.testing.assert_allclose(found["decoder"].amplitudes[-1], 1, atol=0.1)
    with pytest.raises(ValueError, match=r"sizes are \(30,\); they must be one or two multiples of 8, for 3 levels"):
        decoder_net(KEY, sizes=(30,))


@pytest.mark.proofs
@pytest.mark.parametrize("rising", [False, True])
def test_in_four_thousand_steps_slow_waves_come_first_however_large_the_fast_ones_are(rising):
    f, params = coordinate_net(KEY)
    waves = (4, 8, 12, 16, 20)
    sizes = np.linspace(0.1, 1, 5) if rising else ()
    found = spectral_bias(KEY, f, params, frequencies=waves, amplitudes=sizes, lr=1e-3, every=20)
    assert np.isfinite(found.learned(0.8)).all()
    assert spearmanr(waves, found.learned(0.8)).statistic >= 0.9
