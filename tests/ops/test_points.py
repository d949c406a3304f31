"""Points as maps, and maps' peaks as points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import ops

gaussian_maps = jax.jit(ops.gaussian_maps, static_argnums=1)
map_peaks = jax.jit(ops.map_peaks)


def gaussian(point, sizes, sigma):
    """The map of one point, cell by cell."""
    cells = np.zeros(sizes)
    for y in range(sizes[0]):
        for x in range(sizes[1]):
            cells[y, x] = np.exp(-((y - point[0]) ** 2 + (x - point[1]) ** 2) / (2 * sigma**2))
    return cells / cells.sum()


def test_maps_are_gaussians_about_their_points_that_sum_to_1_at_the_edge_too():
    points = np.float32([[[2.25, 3.5], [-0.5, 6.0]], [[4.0, 0.0], [1.5, 1.5]]])
    maps = np.asarray(gaussian_maps(points, (5, 7), sigma=1.3))
    assert maps.shape == (2, 5, 7, 2)
    for b in range(2):
        for k in range(2):
            np.testing.assert_allclose(maps[b, ..., k], gaussian(points[b, k], (5, 7), 1.3), atol=1e-6)
    assert np.isfinite(gaussian_maps(np.full((2, 2, 2), 1e6), (5, 7), sigma=0.5)).all()


@jax.jit
def _peaks(points, noise, sigma):
    logits = jnp.log(ops.gaussian_maps(points, (9, 6), sigma=sigma)) + noise
    return logits.max((1, 2)), *ops.map_peaks(logits)


@pytest.mark.parametrize("sigma", [0.7, 1.5, 4.0])
def test_the_peak_of_a_gaussians_logits_is_its_middle_between_cells_and_at_the_edge(sigma):
    draw = np.random.default_rng(0)
    points = draw.uniform(-0.5, [8.5, 5.5], (50, 3, 2)).astype(np.float32)
    largest, found, values = _peaks(points, draw.normal(size=(50, 1, 1, 3)), sigma)
    np.testing.assert_allclose(found, points, atol=2e-3)
    np.testing.assert_allclose(values, largest, atol=1e-6)


def test_flat_maps_ramps_and_maps_of_a_cell_have_finite_peaks_within_half_a_cell():
    for sizes in ((1, 1), (2, 5), (6, 1)):
        np.testing.assert_array_equal(map_peaks(np.zeros((1, *sizes, 2)))[0], np.zeros((1, 2, 2)))
    ramp = np.arange(6.0)[None, :, None, None] * np.ones((1, 6, 4, 1))
    np.testing.assert_array_equal(map_peaks(ramp)[0], [[[5, 0]]])
    noise = np.random.default_rng(1).normal(size=(20, 5, 6, 3)).astype(np.float32)
    points = np.asarray(map_peaks(noise)[0])
    for b in range(20):
        for k in range(3):
            top = np.unravel_index(np.argmax(noise[b, ..., k]), (5, 6))
            assert np.abs(points[b, k] - np.array(top)).max() <= 0.5
    assert map_peaks(noise.astype(jnp.bfloat16))[0].dtype == jnp.float32


def test_what_is_no_map_is_refused():
    with pytest.raises(ValueError, match=r"\(3, 4\)"):
        map_peaks(np.zeros((3, 4)))
