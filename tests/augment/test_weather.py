"""Snow, frost, rough glass, motion and a lens that bends, as NumPy and SciPy make them from the same draws."""

import functools

import jax
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats

from cnnjax import augment
from cnnjax.augment import compose
from cnnjax.config.signatures import options_of
from cnnjax.fields import Facts
from tests.augment.test_corruptions import FLOATS, X, spoiled

KEY = jax.random.key(3)


def applied(entry, images, **options):
    """Images (B, H, W, C) after an entry, each by the same draws."""
    static = tuple((name, value) for name, value in sorted(options.items()) if isinstance(value, int))
    numbers = {name: value for name, value in options.items() if isinstance(value, float)}
    return _program(entry, images.shape, static)(np.asarray(images, np.float32), numbers)


@functools.cache
def _program(entry, shape, static):
    facts = Facts(input="image", shape=shape[1:], classes=0, mean=(0.5,) * shape[-1], std=(0.5,) * shape[-1])
    rows = np.zeros(shape[0], np.int32)
    rest = {"index": rows, "epoch": rows, "valid": np.ones(shape[0], np.float32)}

    @jax.jit
    def run(images, numbers):
        return compose(facts, (entry,), {entry: {**dict(static), **numbers}})(KEY, {"image": images, **rest})["image"]

    return lambda images, numbers: np.asarray(run(images, numbers))


PLACES = np.stack(np.meshgrid(np.arange(32), np.arange(32), indexing="ij"), -1)


def test_rough_glass_copies_pixels_from_above_and_left_between_two_gaussians():
    code = (PLACES[..., :1] * 32 + PLACES[..., 1:]) / 1024  # a picture that says where each pixel came from
    rough = {"sigma": 0.0, "times": 1, "spread": 0.0}
    came = np.rint(applied("glass_blur", code[None], **rough)[0, ..., 0] * 1024).astype(int)
    came = np.stack(np.divmod(came, 32), -1)
    back = PLACES - came
    assert set(np.unique(back)) == {0, 1}
    assert not back[:2].any(), "the published loops leave them out"
    assert not back[:, :2].any()
    counts = np.bincount((2 * back[2:, 2:, 0] + back[2:, 2:, 1]).ravel(), minlength=4) / 900
    np.testing.assert_allclose(counts, 0.25, atol=0.05)

    def soft(x):
        return scipy.ndimage.gaussian_filter(x, (0.4, 0.4, 0), mode="nearest", truncate=4.0)

    theirs = soft(FLOATS[0].astype(float))
    for h in range(31, 1, -1):  # one pixel after the other, as a program would that has no gather
        for w in range(31, 1, -1):
            dy, dx = back[h, w]
            theirs[h, w], theirs[h - dy, w - dx] = theirs[h - dy, w - dx], theirs[h, w]
    ours = applied("glass_blur", FLOATS[:1], sigma=0.4, times=1, spread=0.0)[0]
    np.testing.assert_allclose(ours, soft(theirs), atol=1e-5)


@pytest.mark.parametrize("degrees", [0.0, 90.0])
def test_motion_is_half_a_gaussian_along_a_line(degrees):
    """Without a turn to the right; otherwise by offsets that are read off a picture of a single dot."""
    weights = np.exp(-0.5 * (np.arange(17) / 2.0) ** 2)
    weights /= weights.sum()
    dot = np.zeros((1, 41, 41, 1))
    dot[0, 20, 20] = 1
    traced = applied("motion_blur", dot, radius=8, sigma=2.0, degrees=degrees, spread=0.0)[0, ..., 0]
    kernel = traced[::-1, ::-1]  # what a dot becomes is a kernel turned over
    assert kernel.sum() == pytest.approx(1)
    if degrees == 0:
        np.testing.assert_allclose(kernel[20, 20:37], weights, atol=1e-6)
        assert (kernel[:20] == 0).all()
    apart = []
    for angle in np.linspace(-np.pi / 2, np.pi / 2, 721):
        built = np.zeros((41, 41))
        for i, weight in enumerate(weights):
            built[20 + int(np.ceil(i * np.sin(angle) - 0.5)), 20 + int(np.ceil(i * np.cos(angle) - 0.5))] += weight
        apart.append(np.abs(built - kernel).sum())
    assert min(apart) < 1e-5, "it lies along one angle"
    ours = applied("motion_blur", FLOATS[:1], radius=8, sigma=2.0, degrees=degrees, spread=0.0)[0]
    theirs = scipy.ndimage.correlate(FLOATS[0].astype(float), kernel[..., None].astype(float), mode="nearest")
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


@pytest.mark.proofs
def test_snow_is_flakes_and_their_mirror_image_on_a_whitened_picture():
    grey = np.full((1, 32, 32, 3), 0.3, np.float32)
    none = {"mean": 0.0, "deviation": 0.0, "flake": 1.0, "least": 0.5, "radius": 8, "kept": 0.8, "spread": 0.0}
    white = 0.8 * 0.3 + 0.2 * max(0.3, 1.5 * 0.3 + 0.5)
    np.testing.assert_allclose(applied("snow", grey, **none), white, atol=1e-5)
    dark = np.zeros((1, 32, 32, 3), np.float32)
    still = {"mean": 0.1, "deviation": 0.2, "flake": 1.0, "least": 0.6, "radius": 8, "sigma": 0.0, "kept": 1.0}
    flakes = applied("snow", dark, **still, spread=0.0)[0, ..., 0]
    np.testing.assert_allclose(flakes, flakes[::-1, ::-1], atol=1e-6)
    lying = 2 * (1 - scipy.stats.norm.cdf(0.5 / 0.2))  # those above the least, and those upside down
    assert np.mean(flakes > 0) == pytest.approx(lying, abs=0.008)
    assert flakes[flakes > 0].min() >= 0.6
    falling = applied("snow", dark, **{**still, "sigma": 3.0}, spread=0.0)[0, ..., 0]
    down, across = (np.abs(np.diff(falling, axis=axis)).sum() for axis in (0, 1))
    assert down < 0.8 * across, "they fall"


def test_flakes_are_as_large_as_scipys_zoom_makes_them():
    from cnnjax.augment.weather import _zoomed

    line = np.random.default_rng(0).normal(size=32)
    for factor in (1.0, 1.25, 1.75, 2.25):
        left = int(np.ceil(32 / factor))
        top = (32 - left) // 2
        large = scipy.ndimage.zoom(line[top : top + left], factor, order=1)
        trim = (len(large) - 32) // 2
        places = np.asarray(_zoomed(32, factor), float)
        np.testing.assert_allclose(np.interp(places, np.arange(32), line), large[trim : trim + 32], atol=1e-4)


@pytest.mark.proofs
def test_frost_lets_a_share_of_the_picture_through_and_adds_light_that_is_blue():
    dark, half = (np.full((1, 32, 32, 3), shade, np.float32) for shade in (0.0, 0.5))
    options = {"kept": 0.75, "amount": 0.45, "spread": 0.0}
    pane = applied("frost", dark, **options)[0]
    np.testing.assert_allclose(applied("frost", half, **options)[0], np.clip(pane + 0.375, 0, 1), atol=1e-6)
    assert 0.1 < pane.mean() / 0.45 < 0.7
    assert pane.max() <= 0.45 + 1e-6
    assert pane[..., 2].mean() > pane[..., 0].mean()
    assert pane.std() > 0.05, "no even veil"


def test_a_lens_that_bends_moves_three_points_and_ripples_as_scipys_gaussian_does():
    facts = Facts(input="image", shape=(32, 32, 3), classes=0, mean=(0.5,) * 3, std=(0.5,) * 3)

    @jax.jit
    def moved(key, shift, smooth, jitter):
        move = augment.elastic_transform(key, facts, (32, 32), 1.0, shift=shift, smooth=smooth, jitter=jitter)
        return move.matrix, move.field

    raw, ripples = (np.asarray(moved(KEY, 0.1, smooth, 0.0)[1]) for smooth in (0.0, 0.2))
    assert np.abs(raw).max() == pytest.approx(3.2, abs=0.02)
    smoothed = scipy.ndimage.gaussian_filter(raw.astype(float), (6.4, 6.4, 0), mode="reflect", truncate=3.0)
    np.testing.assert_allclose(ripples, smoothed, atol=1e-5)
    corners, went = np.array([[26, 26], [6, 26], [6, 6]]), []
    for seed in range(40):
        back, field = (np.asarray(each, float) for each in moved(jax.random.key(seed), 0.0, 0.0, 0.08))
        assert not field.any()
        there = np.linalg.solve(back, np.c_[corners, np.ones(3)].T)[:2].T
        went.append(there - corners)
    assert np.abs(went).max() == pytest.approx(0.08 * 32, rel=0.05)
    assert np.std(went) == pytest.approx(0.08 * 32 / 3**0.5, rel=0.1)

    back, field = (np.asarray(each, float) for each in moved(KEY, 0.1, 0.04, 0.05))
    came = PLACES @ back[:2, :2].T + back[:2, 2] + field
    noise = np.asarray(moved(KEY, 0.1, 0.04, 0.0)[1], float)
    np.testing.assert_allclose(field, noise @ back[:2, :2].T, atol=1e-4)  # the ripples come after the stretch
    assert np.abs(came - PLACES).max() < 8


def test_every_number_of_the_table_is_an_option_of_its_entry_and_shapes_the_program_only_where_it_must():
    for entry, levels in augment.CIFAR10_C.values():
        known = options_of(getattr(augment, entry))
        assert all(set(level) <= set(known) for level in levels), entry
        whole = {name for level in levels for name, value in level.items() if isinstance(value, int)}
        assert not {name for name in whole if known[name].numeric}, entry
        assert all(known[name].numeric for name in set(levels[0]) - whole), entry


@pytest.mark.proofs
@pytest.mark.parametrize("kind", ["glass_blur", "motion_blur", "snow", "frost", "elastic_transform"])
def test_what_is_spoiled_by_its_name_is_a_picture_and_another_one(kind):
    found = spoiled(kind, 5)
    assert found.shape == X.shape
    assert found.min() >= 0
    assert found.max() <= 1
    assert np.abs(found - FLOATS).mean() > 0.01
