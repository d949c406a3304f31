"""Corruptions as Pillow, scikit-image and SciPy make them, and as CIFAR-10-C numbers them."""

import io

import jax
import numpy as np
import pytest
import scipy.ndimage
import skimage.color
from PIL import Image

from cnnjax.augment import CIFAR10_C, CIFAR10_C_DRAWN, corrupted

KEY = jax.random.key(0)


def pictures(size=32, channels=3):
    """Two smooth pictures with edges, as bytes."""
    rng = np.random.default_rng(0)
    rough = rng.uniform(0, 255, (2, size, size, channels))
    smooth = scipy.ndimage.gaussian_filter(rough, (0, 3, 3, 0))
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min()) * 230
    smooth[:, size // 3 : size // 2, size // 4 :] += 25
    return smooth.astype(np.uint8)


X = pictures()
FLOATS = X.astype(np.float32) / 255


def spoiled(kind, severity, images=X):
    return np.asarray(corrupted(KEY, images, kind, severity))


@pytest.mark.parametrize("channels", [1, 3])
def test_compression_is_pillows_jpeg(channels):
    """But for cosines that lie between two steps: Pillow's are of whole numbers."""
    images = X[..., :channels]
    for ours, image in zip(spoiled("jpeg_compression", 5, images), images, strict=True):
        file = io.BytesIO()
        Image.fromarray(image if channels == 3 else image[..., 0]).save(file, "JPEG", quality=40)
        theirs = np.asarray(Image.open(file), np.float32).reshape(image.shape)
        assert np.abs(255 * ours - theirs).mean() < (0.25 if channels == 1 else 0.75)
        moved = (255 * ours - image).ravel(), (theirs - image).ravel()
        assert np.corrcoef(*moved)[0, 1] > 0.95
        assert np.abs(moved[1]).mean() > 1.5, "it did something"


@pytest.mark.parametrize(("severity", "side"), [(1, 30), (5, 20)])
def test_pixels_are_those_of_pillows_box(severity, side):
    out = spoiled("pixelate", severity)
    for ours, image in zip(out, X, strict=True):
        small = Image.fromarray(image).resize((side, side), Image.Resampling.BOX)
        theirs = np.asarray(small.resize((32, 32), Image.Resampling.BOX), np.float32) / 255
        np.testing.assert_allclose(ours, theirs, atol=1.01 / 255)


def test_a_lens_out_of_focus_is_a_mean_over_a_soft_disc():
    along = np.arange(-8, 9)
    disc = (along[:, None] ** 2 + along**2 <= 1.5**2).astype(float)
    side = np.exp(-0.5 / 0.1**2)
    soft = np.array([side, 1, side]) / (1 + 2 * side)
    disc = scipy.ndimage.convolve(disc / disc.sum(), np.outer(soft, soft))
    theirs = scipy.ndimage.correlate(FLOATS.astype(float), disc[None, :, :, None], mode="mirror")
    np.testing.assert_allclose(spoiled("defocus_blur", 5), theirs, atol=1e-5)


def test_brightness_is_added_to_the_value_of_hsv():
    images = X.copy()
    images[0, :4] = 0
    out = spoiled("brightness", 3, images)
    np.testing.assert_allclose(out[0, :4], 0.15, atol=1e-6)
    found, before = (skimage.color.rgb2hsv(each[:, 4:]) for each in (out, images.astype(np.float32) / 255))
    np.testing.assert_allclose(found[..., 2], np.clip(before[..., 2] + 0.15, 0, 1), atol=1e-5)
    np.testing.assert_allclose(found[..., :2], before[..., :2], atol=1e-3)


def test_contrast_keeps_each_channels_mean():
    found, mean = spoiled("contrast", 2), FLOATS.mean((1, 2), keepdims=True)
    np.testing.assert_allclose(found, (FLOATS - mean) * 0.5 + mean, atol=1e-5)


def test_a_zoom_is_the_mean_of_the_picture_at_all_its_sizes():
    places = np.stack(np.meshgrid(np.arange(32), np.arange(32), indexing="ij"), 0) - 15.5
    found, total = spoiled("zoom_blur", 2)[0, ..., 1], FLOATS[0, ..., 1].astype(float)
    for factor in np.arange(1, 1.11, 0.01):  # as published; by rounding it ends with 1.11
        total = total + scipy.ndimage.map_coordinates(FLOATS[0, ..., 1], places / factor + 15.5, order=1)
    np.testing.assert_allclose(found, total / 13, atol=1e-4)


def test_the_noise_of_light_has_the_variance_of_its_mean():
    grey = np.full((1, 128, 128, 1), 0.4, np.float32)
    found = spoiled("shot_noise", 3, grey)
    assert found.mean() == pytest.approx(0.4, abs=0.004)
    assert found.var() == pytest.approx(0.4 / 100, rel=0.05)
    np.testing.assert_allclose(found * 100, np.round(found * 100), atol=1e-3)


def test_impulses_strike_each_number_by_itself():
    grey = np.full((1, 128, 128, 3), 0.5, np.float32)
    found = spoiled("impulse_noise", 5, grey)
    struck = found != 0.5
    assert set(np.unique(found)) == {0, 0.5, 1}
    assert struck.mean() == pytest.approx(0.07, abs=0.004)
    assert struck.all(-1).mean() < 0.005, "hardly ever all channels of a pixel"


def test_fog_is_light_that_lies_unevenly_and_never_leaves_the_range():
    grey = np.full((2, 32, 32, 3), 0.5, np.float32)
    found = spoiled("fog", 1, grey)
    np.testing.assert_allclose(found.min((1, 2, 3)), 0.5 * 0.5 / 0.7, atol=1e-5)
    np.testing.assert_allclose(found.max((1, 2, 3)), 0.7 * 0.5 / 0.7, atol=1e-5)
    assert not np.allclose(found[0], found[1])
    near = np.abs(np.diff(found[0, ..., 0], axis=0)).mean()
    assert near < 0.5 * np.abs(found[0, ..., 0] - np.roll(found[0, ..., 0], 11, 0)).mean(), "clouds, no grain"


def test_kinds_are_named_and_others_are_refused():
    assert len(CIFAR10_C) == 15
    assert set(CIFAR10_C_DRAWN) <= set(CIFAR10_C)
    assert all(len(levels) == 5 for _, levels in CIFAR10_C.values())
    with pytest.raises(ValueError, match=r"kind is 'jpg'.*jpeg_compression"):
        corrupted(KEY, X, "jpg", 1)
    with pytest.raises(ValueError, match="severity is 6; it must be 1 to 5"):
        corrupted(KEY, X, "fog", 6)
