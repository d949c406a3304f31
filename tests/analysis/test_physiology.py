"""Gratings and noise shown to cells whose weights are known: what physiologists would say of them is what they are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import models
from cnnjax import weights as files
from cnnjax.analysis import (
    Field,
    draw_electrophysiology,
    electrophysiology,
    grating,
    map_of,
    receptive_fields,
    spike_triggered_average,
)
from cnnjax.ops import gabor

SIDE, SHAPE = 15, (21, 21, 1)
FIELD = Field((SIDE, SIDE), (SIDE, SIDE), (1, 1), (3, 3))  # of a map of one place
ORIENTATIONS = np.pi * np.array([3, 3, 7, 0]) / 12


def weights():
    """Gabors at 45°, of either phase, and at 105°, and a blur, in the middle of a picture: (21, 21, 4)."""
    told = [(ORIENTATIONS[0], 0.0), (ORIENTATIONS[1], -np.pi / 2), (ORIENTATIONS[2], 1.0)]
    waves = [np.asarray(gabor(SIDE, frequency=0.16, angle=a, phase=p, sigma=3.0))[..., 0, 0] for a, p in told]
    place = np.arange(SIDE) - 7
    cells = [wave - wave.mean() for wave in waves] + [np.exp(-(place**2 + place[:, None] ** 2) / 18)]
    return np.pad(np.stack(cells, -1), ((3, 3), (3, 3), (0, 0))).astype(np.float32)


KERNELS = weights()


def cells(images):
    """Four cells that rectify a sum, the energy of the two at 45°, and one that says nothing."""
    sums = jnp.einsum("bhw,hwu->bu", images[..., 0], KERNELS)
    energy = jnp.sqrt(sums[:, :1] ** 2 + sums[:, 1:2] ** 2 + 1e-12)
    return jnp.concatenate([jax.nn.relu(sums), energy, 0 * energy], -1)[:, None, None]


@functools.cache
def recorded():
    return electrophysiology(cells, FIELD, SHAPE)


def test_a_gabor_unit_is_simple_and_its_energy_model_is_complex():
    found = recorded()
    half_wave = np.maximum(np.cos(found.phases), 0)  # of 8 phases; of many the ratio would be π/2
    swing = 2 * np.abs(np.exp(-1j * found.phases) @ half_wave) / half_wave.sum()
    assert found.modulation[:2] == pytest.approx([swing, swing], rel=1e-3)
    assert (found.modulation[:4] > 1).all()
    assert found.modulation[4] < 0.2
    lit = electrophysiology(lambda images: 50 + cells(images), FIELD, SHAPE, above="zero")
    assert lit.modulation[0] < found.modulation[0] / 2, "what answers to grey swings by less of its mean"


def test_a_gabor_unit_prefers_its_own_orientation_and_frequency():
    found = recorded()
    np.testing.assert_allclose(found.orientation[:3], ORIENTATIONS[:3])
    assert found.orientation[4] == pytest.approx(ORIENTATIONS[0])
    nearest = found.frequencies[np.abs(np.log(found.frequencies / 0.16)).argmin()]
    np.testing.assert_allclose(found.frequency[[0, 1, 2, 4]], nearest)
    assert found.frequency[3] == found.frequencies[0], "a blur takes what is slowest"
    assert (found.circular_variance[[0, 1, 2, 4]] < 0.5).all()


def test_a_blur_is_untuned_and_what_says_nothing_has_no_answers():
    found = recorded()
    assert found.circular_variance[3] > 0.95
    assert found.live.tolist() == [True] * 5 + [False]
    for values in (found.circular_variance, found.modulation, found.orientation, found.frequency):
        assert np.isnan(values[5])


def test_the_variance_is_that_of_the_tuning_curve_and_answers_are_above_those_to_grey():
    found = recorded()
    o, n = 5, 2
    y, x = np.mgrid[:21, :21] - 10.0
    u = x * np.cos(found.orientations[o]) + y * np.sin(found.orientations[o])
    inside = np.clip(7.5 + 0.5 - np.hypot(y, x), 0, 1)
    for p in (0, 3):
        shown = 0.5 + 0.5 * inside * np.cos(2 * np.pi * found.frequencies[n] * u + found.phases[p])
        answer = np.maximum(np.einsum("hw,hwu->u", shown, KERNELS), 0) - found.spontaneous[:4]
        np.testing.assert_allclose(found.responses[o, n, p, :4], np.maximum(answer, 0), atol=2e-4)
    tuning = found.tuning[:, 0]
    plain = 1 - abs(sum(t * np.exp(2j * a) for t, a in zip(tuning, found.orientations, strict=True))) / tuning.sum()
    assert found.circular_variance[0] == pytest.approx(plain)


def test_noise_brings_back_the_weights_of_a_simple_cell_and_nothing_of_a_complex_one():
    """Bussgang: the average is the weights but for a factor, and an error that falls with the number of pictures."""
    found = spike_triggered_average(jax.random.key(0), cells, FIELD, SHAPE, images=4096)
    assert found.average.shape == (6, SIDE, SIDE, 1)
    alike = [
        [np.corrcoef(a.ravel(), KERNELS[3:-3, 3:-3, k].ravel())[0, 1] for k in range(4)] for a in found.average[:5]
    ]
    assert min(np.diag(alike[:4])) > 0.8
    assert np.abs(alike[4]).max() < 0.15
    assert found.spikes[5] == 0
    assert np.isnan(found.average[5]).all()


def test_gratings_stand_where_the_middle_unit_of_a_map_looks():
    """A map's field is found by arithmetic: what is painted outside of it does not matter, and the noise fills it."""
    net = models.convnet(outputs=3, layers=(("conv", 4, 5, 2), ("conv", 6, 3)))
    variables = jax.jit(net.init)(jax.random.key(0), jnp.zeros((1, 24, 24, 1)))
    field = receptive_fields(net, (1, 24, 24, 1))["conv2"]
    f = map_of(net, variables, "conv2", mean=0.5, std=0.25)
    found = electrophysiology(f, field, (24, 24, 1), orientations=4, phases=4, aperture=2.0)
    assert found.frequencies[-1] <= 0.45
    assert found.frequencies[0] == pytest.approx(0.5 / field.size[0])
    assert found.responses.shape == (4, 6, 4, 6)
    noise = spike_triggered_average(jax.random.key(0), f, field, (24, 24, 1), images=64)
    assert noise.average.shape == (6, *map(int, field.size), 1)
    with pytest.raises(ValueError, match=r"cycles are \[0.5, 9.0\] in a field of 9 pixels; .* at most 4.5"):
        electrophysiology(f, field, (24, 24, 1), cycles=(0.5, 9.0))
    with pytest.raises(ValueError, match=r"shape is \(24, 24\); it must be that of one image"):
        electrophysiology(f, field, (24, 24))


def test_a_grating_is_a_cosine_in_a_disc_on_grey():
    draw = jax.jit(grating, static_argnums=0)
    found = np.asarray(draw((9, 12), 0.0, 0.25, 0.0, center=(4, 6), radius=3, contrast=0.8))
    np.testing.assert_allclose(found[4, 3:10], 0.5 + 0.4 * np.cos(np.pi / 2 * np.arange(-3, 4)), atol=1e-6)
    assert found[0, 0] == found[4, 11] == 0.5
    whole = np.asarray(draw((4, 4), np.pi / 2, 0.5, 0.0))
    np.testing.assert_allclose(whole, whole[:, :1] * np.ones(4), atol=1e-6)


def test_a_picture_has_three_rows_of_every_live_unit():
    found = recorded()
    noise = spike_triggered_average(jax.random.key(0), cells, FIELD, SHAPE, images=8)
    figure = draw_electrophysiology(found, noise=noise)
    assert len(figure.axes) == 15
    assert len(draw_electrophysiology(found, units=(0, 4)).axes) == 4
    titles = " ".join(cell.get_title() for cell in figure.axes)
    assert "CV 1.00" in titles
    assert f"F1/F0 {found.modulation[0]:.2f}" in titles


@pytest.mark.proofs
@pytest.mark.parametrize(
    ("path", "field", "tuned", "variance", "simple"),
    [
        ("stage2_block1/depthwise", Field((11, 11), (11, 11), (4, 4), (-2, -2)), 0.37, 0.61, 0.65),
        ("stage4_block1/depthwise", Field((83, 83), (83, 83), (16, 16), (-26, -26)), 0.32, 0.79, 0.08),
    ],
)
def test_simple_cells_become_complex_ones_with_depth_in_a_published_net(real, path, field, tuned, variance, simple):
    """As a trial with gratings of 5 to 24 pixels over the whole picture found, answers to grey not taken away."""
    net = models.efficientnet_lite0(outputs=1000)
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), jnp.zeros((1, 112, 112, 3))))
    read = files.load(net, shapes, real("pretrained/efficientnet_lite0.pth"))
    f = map_of(net, jax.tree.map(jnp.asarray, read), path, mean=127 / 255, std=128 / 255)
    found = electrophysiology(f, field, (112, 112, 3), above="zero")
    live = found.live
    assert live.mean() > 0.95
    assert np.mean(found.circular_variance[live] < 0.5) == pytest.approx(tuned, abs=0.06)
    assert np.median(found.circular_variance[live]) == pytest.approx(variance, abs=0.06)
    assert np.mean(found.modulation[live] > 1) == pytest.approx(simple, abs=0.06)
    assert len(np.unique(found.orientation[live])) == 12
