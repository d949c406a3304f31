"""Colours, textures, erasing and time against plain formulas, Pillow and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps
from scipy import ndimage, stats

from cnnjax.augment import colors, textures
from cnnjax.augment._options import signed
from cnnjax.augment.mixing import _beta
from tests.augment.scenes import applied, batch, facts, floats


@pytest.fixture(scope="module")
def picture():
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(24, 20, 3)), (3, 3, 0))
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return np.round(20 + 180 * smooth).astype(np.uint8)


def bytes_of(image):
    return np.round(np.asarray(image) * 255).astype(int)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda x: colors.solarized(x, 128 / 255), lambda image: ImageOps.solarize(image, 128)),
        (lambda x: colors.posterized(x, 3.0), lambda image: ImageOps.posterize(image, 3)),
        (colors.equalized, ImageOps.equalize),
        (textures.smoothed, lambda image: image.filter(ImageFilter.SMOOTH)),
    ],
    ids=["solarize", "posterize", "equalize", "smooth"],
)
def test_bytes_come_out_as_pillow_makes_them(picture, ours, theirs):
    wanted = np.asarray(theirs(Image.fromarray(picture))).astype(int)
    assert np.abs(bytes_of(jax.jit(ours)(floats(picture))) - wanted).max() <= 1


def test_contrast_is_stretched_to_the_whole_range(picture):
    out = np.asarray(jax.jit(colors.stretched)(floats(picture)))
    low, high = picture.min((0, 1)) / 255, picture.max((0, 1)) / 255
    np.testing.assert_allclose(out, (picture / 255 - low) / (high - low), atol=1e-5)


def factors(name, option, amount, image, rows=64):
    """What an entry makes of `rows` copies of an image of floats."""
    fields = {"image": np.repeat(image[None], rows, 0)}
    return applied((name,), fields, {name: {option: amount}}, about=facts(image.shape))["image"]


def test_brightness_contrast_and_saturation_are_blends(picture):
    image = floats(picture)
    grey = (image * np.float32((0.299, 0.587, 0.114))).sum(-1, keepdims=True)
    for name, poor in (("brightness", 0 * image), ("contrast", grey.mean()), ("saturation", grey)):
        out = factors(name, "amount", 0.3, image)
        away = image - poor
        shares = ((out - poor) * away).sum((1, 2, 3)) / (away**2).sum()
        assert shares.min() > 0.69
        assert shares.max() < 1.31
        assert shares.std() > 0.1
        np.testing.assert_allclose(out, np.clip(poor + shares[:, None, None, None] * away, 0, 1), atol=2e-3)


def test_hue_turns_red_to_green_in_a_third_of_the_circle_and_leaves_grey():
    image = np.zeros((1, 2, 3), np.float32)
    image[0, 0], image[0, 1] = (0.9, 0.0, 0.0), (0.4, 0.4, 0.4)
    out = factors("hue", "turn", 1 / 3, image, rows=200)
    np.testing.assert_allclose(out[:, 0, 1], 0.4, atol=1e-6)
    red, green, blue = out[:, 0, 0].T
    assert green.max() > 0.88
    assert blue.max() > 0.88
    assert red.max() > 0.88
    free = (red > 0) & (green > 0) & (blue > 0)
    np.testing.assert_allclose((red + green + blue)[free], 0.9, atol=1e-5)


def test_gamma_is_a_power(picture):
    image = floats(picture)
    out = factors("gamma", "amount", 0.5, image)
    powers = np.log(out[:, 3, 3, 0]) / np.log(image[3, 3, 0])
    assert powers.min() > 1 / 1.51
    assert powers.max() < 1.51
    np.testing.assert_allclose(out, image[None] ** powers[:, None, None, None], atol=1e-4)


def test_gamma_leaves_black_black_with_a_finite_derivative_and_every_other_byte_as_it_was():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    change = jax.jit(lambda x: colors.gamma(_key_of("gamma"), facts((16, 16, 1)), x, 1.0, amount=3.0))
    power = jax.jit(lambda: jnp.exp(jnp.log1p(3.0) * signed(_key_of("gamma"))))()
    out, before = change(floats(levels)), jax.jit(lambda x: jnp.maximum(x, 1e-6) ** power)(floats(levels))
    out, before = np.asarray(out).ravel(), np.asarray(before).ravel()
    assert out[0] == 0
    assert np.array_equal(out[1:], before[1:])
    slopes = jax.jit(jax.grad(lambda x: change(x).sum()))(floats(levels))
    assert np.isfinite(slopes).all()


def test_blur_is_scipys_gaussian(picture):
    image = floats(picture)
    out = applied(("blur",), {"image": image[None]}, {"blur": {"sigma": 1.0}}, about=facts(image.shape))["image"][0]
    width = float(jax.jit(lambda: jax.random.uniform(_key_of("blur")))())
    wanted = ndimage.gaussian_filter(image.astype(float), (width, width, 0), mode="nearest", radius=(3, 3, 0))
    np.testing.assert_allclose(out, wanted, atol=1e-4)


def _key_of(name):
    """The key that the first example of a batch gives to an entry under seed 0."""
    import zlib

    return jax.random.fold_in(jax.random.fold_in(jax.random.key(0), 0), zlib.crc32(name.encode()) & 0x7FFFFFFF)


def test_noise_has_its_deviation_and_salt_and_pepper_their_share():
    fields = {"image": np.full((8, 32, 32, 3), 128, np.uint8), "series": np.zeros((8, 50, 2), np.float32)}
    out = applied(("noise",), fields, {"noise": {"sigma": 0.1}})
    assert abs(out["image"].std() - 0.1) < 0.005
    assert abs(out["series"].std() - 0.1) < 0.01
    out = applied(("salt_and_pepper",), fields, {"salt_and_pepper": {"share": 0.2}})["image"]
    assert abs((out == 0).mean() - 0.1) < 0.02
    assert abs((out == 1).mean() - 0.1) < 0.02
    assert (out[..., 0] == out[..., 1]).all()


def test_lighting_moves_every_pixel_along_natural_colours():
    image = np.full((4, 4, 3), 0.5, np.float32)
    steps = (factors("lighting", "sigma", 0.1, image, rows=3000) - 0.5)[:, 0, 0]
    wanted = np.array(colors.VECTORS) @ np.diag(np.array(colors.VALUES) ** 2) @ np.array(colors.VECTORS).T * 0.01
    np.testing.assert_allclose(np.cov(steps.T), wanted, atol=4e-5)


def test_normalisation_is_the_facts_and_greyscale_is_one_channel_thrice(picture):
    out = applied(("normalize",), {"image": picture[None]}, {})["image"]
    np.testing.assert_allclose(out, (picture[None] / 255 - (0.5, 0.4, 0.3)) / (0.2, 0.25, 0.3), atol=1e-5)
    grey = applied(("greyscale",), {"image": picture[None]}, {})["image"]
    assert (grey == grey[..., :1]).all()


def test_erasing_takes_one_rectangle_of_the_asked_size():
    fields = {"image": np.full((200, 32, 32, 1), 200, np.uint8)}
    out = applied(("cutout",), fields, {"cutout": {"side": 12.0}}, about=facts((32, 32, 1)))["image"] == 0
    sides = out.any((1, 2, 3)).sum(), out.any(2).sum(1).max(), out.any(1).sum(1).max()
    assert sides == (200, 12, 12)
    assert (out.sum((1, 2, 3)) == out.any(2).sum((1, 2)) * out.any(1).sum((1, 2))).all()
    assert (out.sum((1, 2, 3)) < 144).any(), "the border cuts some"
    options = {"erase": {"content": "constant", "probability": 0.5}}
    out = applied(("erase",), fields, options, about=facts((32, 32, 1)))["image"] == 0
    share = out.mean((1, 2, 3))
    assert 70 < (share > 0).sum() < 130
    assert share[share > 0].min() > 0.01
    assert share.max() < 0.4


def published_rectangle(rng, height, width, share, aspect):
    """Height and width of what Zhong 2017 takes away, as torchvision draws it; (0, 0) where ten draws do not fit."""
    for _ in range(10):
        area, ratio = height * width * rng.uniform(*share), np.exp(rng.uniform(-np.log(aspect), np.log(aspect)))
        tall, wide = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        if tall < height and wide < width:
            return tall, wide
    return 0, 0


@pytest.mark.parametrize("share", [(0.02, 0.33), (0.9, 1.0)])
def test_rectangles_are_distributed_as_published(share):
    rng = np.random.default_rng(1)
    theirs = np.array([published_rectangle(rng, 24, 60, share, 3.3) for _ in range(2000)])
    options = {"content": "constant", "probability": 1.0, "smallest": share[0], "largest": share[1]}
    fields = {"image": np.full((2000, 24, 60, 1), 200, np.uint8)}
    out = applied(("erase",), fields, {"erase": options}, about=facts((24, 60, 1)))["image"][..., 0] == 0
    ours = np.stack([out.any(2).sum(1), out.any(1).sum(1)], 1)
    assert (out.sum((1, 2)) == ours.prod(1)).all()
    for side in range(2):
        assert stats.ks_2samp(ours[:, side], theirs[:, side]).statistic < 0.06
    assert stats.ks_2samp(ours.prod(1), theirs.prod(1)).statistic < 0.06
    if share[0] == 0.02:
        tops, room = out.any(2).argmax(1), 24 - ours[:, 0]
        assert stats.kstest((tops + rng.random(2000)) / (room + 1), "uniform").statistic < 0.045


def test_series_are_shifted_scaled_and_masked():
    fields = batch("series_shift", rows=64)
    series = fields["series"]
    for border, mode in (("edge", "edge"), ("constant", "constant"), ("wrap", "wrap")):
        out = applied(("series_shift",), fields, {"series_shift": {"steps": 3, "border": border}}, about=facts())[
            "series"
        ]
        padded = np.pad(series, ((0, 0), (3, 3), (0, 0)), mode=mode)
        starts = {s for row in range(64) for s in range(7) if np.array_equal(out[row], padded[row, s : s + 20])}
        assert starts == set(range(7))
    scaled = applied(("series_scale",), fields, {}, about=facts())["series"] / series
    assert np.ptp(scaled, axis=(1, 2)).max() < 1e-5
    masked = applied(("series_mask",), fields, {"series_mask": {"share": 0.5}}, about=facts())["series"]
    hidden = (masked == 0).all(-1)
    assert hidden.sum(1).max() <= 10
    assert all(np.diff(np.flatnonzero(row)).max(initial=1) == 1 for row in hidden)


def test_beta_draws_are_beta_distributed():
    drawn = jax.jit(lambda alpha: jax.vmap(_beta, (0, None))(jax.random.split(jax.random.key(0), 4000), alpha))
    for alpha in (0.2, 1.0, 4.0):
        draws = np.clip(np.asarray(drawn(alpha)), 1e-6, 1 - 1e-6)
        assert stats.kstest(draws[np.abs(draws - 0.5) < 0.49], truncated(alpha)).pvalue > 1e-3


def truncated(alpha):
    """The distribution of beta draws within 0.49 of a half (floats pile up at 1)."""
    beta = stats.beta(alpha, alpha)
    return lambda x: (beta.cdf(x) - beta.cdf(0.01)) / (beta.cdf(0.99) - beta.cdf(0.01))


def test_permuted_pictures_have_their_pixels_in_one_and_the_same_other_order():
    fields = batch(shape=(6, 5, 3), rows=4)
    out = np.asarray(applied(("permute",), fields, {})["image"]).reshape(4, 30, 3)
    seen = floats(fields["image"]).reshape(4, 30, 3)
    order = [int(np.flatnonzero((np.abs(seen[0] - pixel) < 1e-6).all(-1))[0]) for pixel in out[0]]
    assert sorted(order) == list(range(30))
    assert order != list(range(30))
    np.testing.assert_allclose(out, seen[:, order], atol=1e-6)
