"""Images climbed to from noise: against optima that are known in closed form, and Fourier sums in plain NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import models
from cnnjax.analysis import (
    blended_objective,
    channel_objective,
    direction_objective,
    diverse_objective,
    draw_visualization,
    dream_objective,
    fourier_image,
    map_of,
    unit_objective,
    visualize,
)
from cnnjax.analysis.visualization import _redirected, _sampled
from cnnjax.ops import gabor

KEY = jax.random.key(0)
GABOR = np.asarray(gabor(11, frequency=0.15, angle=0.6, sigma=2.2))[..., 0]


def response(images):
    """A Gabor unit, on top of what all pixels together say: contrast gain."""
    images = images - 0.5
    return jnp.sum(images * GABOR, (1, 2, 3)), jnp.sum(images**2, (1, 2, 3))


def gained(images):
    linear, energy = response(images)
    return linear / jnp.sqrt(energy + 0.01)


def linear(images):
    return response(images)[0]


@functools.cache
def of_gabor(basis, robust):
    return visualize(KEY, gained, 11, count=2, channels=1, steps=60, basis=basis, robust=robust)


@pytest.mark.parametrize(("basis", "robust"), [("fourier", True), ("pixel", False)])
def test_the_image_that_excites_a_gabor_unit_with_contrast_gain_is_the_gabor(basis, robust):
    """By Cauchy and Schwarz there is no better one, and it would score the kernel's length."""
    found = of_gabor(basis, robust)
    for image, score in zip(found.images, found.scores, strict=True):
        assert np.corrcoef(image.ravel(), GABOR.ravel())[0, 1] >= 0.97
        assert 0.97 * np.linalg.norm(GABOR) <= score <= np.linalg.norm(GABOR)
    means = found.history.reshape(4, 15, 2).mean((1, 2))
    assert means[0] < means[1] < means[2], "scores rise on the way"
    assert means[3] > 0.99 * means.max()


def test_a_unit_that_is_full_goes_on_by_what_it_reads():
    """ReLU6 would let nothing through from the first steps on, and the image stay as grey as it began."""
    found = visualize(KEY, lambda images: jax.nn.relu6(40 * gained(images)), 11, channels=1, steps=60, robust=False)
    assert found.scores[0] == 6
    assert (found.history[10:] == 6).all()
    assert np.corrcoef(found.images[0].ravel(), GABOR.ravel())[0, 1] >= 0.97


def test_without_gain_every_pixel_goes_to_its_end_of_the_scale():
    found = visualize(KEY, linear, 11, channels=1, steps=60, lr=0.5, basis="pixel", robust=False)
    np.testing.assert_array_equal(found.images[0] > 0.5, GABOR > 0)
    assert found.scores[0] == pytest.approx(np.abs(GABOR).sum() / 2, rel=0.01)


def test_the_same_key_gives_the_same_image():
    again = visualize(KEY, gained, 11, count=2, channels=1, steps=60)
    np.testing.assert_array_equal(again.images, of_gabor("fourier", True).images)
    assert (again.images[0] != again.images[1]).any()


@pytest.mark.parametrize(("height", "width"), [(6, 8), (6, 7), (5, 7)])
def test_an_image_is_the_sum_of_its_waves(height, width):
    """Each coefficient and its conjugate in plain sums; a real image has no imaginary part at either end of a row."""
    numbers = np.random.default_rng(0)
    columns = width // 2 + 1
    given = (numbers.normal(size=(height, columns)) + 1j * numbers.normal(size=(height, columns))).astype(np.complex64)
    y, x = np.arange(height)[:, None], np.arange(width)
    expected = np.zeros((height, width))
    for v in range(height):
        for u in range(columns):
            fy, fx = (v if 2 * v < height else v - height) / height, u / width
            value = given[v, u] / max(np.hypot(fy, fx), 1 / max(height, width))
            once = u == 0 or 2 * u == width
            expected += (1 if once else 2) * np.real(value * np.exp(2j * np.pi * (v * y / height + u * x / width)))
    found = jax.jit(fourier_image, static_argnums=1)(given[None, :, :, None], width)
    np.testing.assert_allclose(found[0, ..., 0], expected / np.sqrt(height * width) / 4, atol=1e-5)


@pytest.mark.proofs
def test_a_robust_image_is_smoother_than_one_of_pixels():
    """Of a kernel that is a wave and noise, as large, the noise does not outlive being moved about."""
    noise = np.random.default_rng(0).normal(size=(48, 48, 1))
    wave = np.asarray(gabor(48, frequency=0.03, angle=0.6))[..., 0]
    kernel = (wave / wave.std() + noise / noise.std()).astype(np.float32)

    def unit(images):
        images = images - 0.5
        return jnp.sum(images * kernel, (1, 2, 3)) / jnp.sqrt(jnp.sum(images**2, (1, 2, 3)) + 0.01)

    rough = visualize(KEY, unit, 48, channels=1, steps=60, basis="pixel", robust=False).images[0]
    smooth = visualize(KEY, unit, 48, channels=1, steps=60).images[0]
    assert np.corrcoef(rough.ravel(), kernel.ravel())[0, 1] > 0.95
    assert np.corrcoef(smooth.ravel(), wave.ravel())[0, 1] > 0.9
    assert variation(smooth) <= 0.6 * variation(rough)


def variation(image):
    """Total variation, of an image whose deviation is 1."""
    return (np.abs(np.diff(image, axis=0)).mean() + np.abs(np.diff(image, axis=1)).mean()) / image.std()


def test_images_are_shifted_scaled_and_turned_about_their_middle_and_grey_comes_in():
    image = np.random.default_rng(0).random((1, 9, 9, 1)).astype(np.float32)
    move = jax.jit(_sampled)
    shifted = np.full((9, 9), 0.5, np.float32)
    shifted[2:, :-1] = image[0, :-2, 1:, 0]
    still = np.float32(1), np.float32(0)
    np.testing.assert_allclose(move(image, np.array([1, -2]), *still, np.array([1, 1]))[0, ..., 0], shifted, atol=1e-6)
    none = np.zeros(2, int)
    turned = move(image, none, np.float32(1), np.float32(np.pi / 2), none)[0, ..., 0]
    np.testing.assert_allclose(turned, np.rot90(image[0, ..., 0], -1), atol=1e-5)
    double = move(image, none, np.float32(2), np.float32(0), none)[0, ..., 0]
    np.testing.assert_allclose(double[::2, ::2], image[0, 2:7, 2:7, 0], atol=1e-6)


def test_a_unit_that_no_noise_excites_has_a_beginning():
    def dead(x):
        return jax.nn.relu(x.sum((1, 2, 3)) - 5)

    x = np.stack([np.zeros((2, 2, 2), np.float32), np.ones((2, 2, 2), np.float32)])
    slope = jax.grad(lambda x, f: f(x).sum())
    plain, led = jax.jit(lambda x: (slope(x, dead), slope(x, _redirected(dead, x))))(x)
    assert plain[0].max() == 0 < plain[1].min()
    assert led.min() == 1 == led.max()
    down = jax.jit(lambda x: jax.grad(lambda x: -_redirected(dead, x)(x).sum())(x))(x)
    assert down[0].min() == 0 == down[0].max(), "what would lower it further is not passed on"

    def shy(images):
        return jax.nn.relu(gained(images) - 1)

    found = visualize(KEY, shy, 11, channels=1, steps=60, basis="pixel", robust=False)
    assert found.history[0, 0] == 0
    assert found.scores[0] > 0.9 * (np.linalg.norm(GABOR) - 1)

    def places(x):
        return jax.nn.relu6(x - np.array([3.0, 1.5, 2.0], np.float32))

    led = jax.jit(lambda x: jax.grad(lambda x: _redirected(places, x)(x).sum())(x))(np.zeros((2, 3), np.float32))
    assert (np.asarray(led) == 1).all()
    led = jax.jit(lambda x: jax.grad(lambda x: -_redirected(places, x)(x).sum())(x))(np.full((2, 3), 9, np.float32))
    assert (np.asarray(led) == -1).all(), "and down from above 6"


def test_objectives_are_those_of_plain_sums():
    numbers = np.random.default_rng(0)
    kernel = numbers.normal(size=(3, 4)).astype(np.float32)
    images = numbers.random((3, 5, 5, 3)).astype(np.float32)
    f = jax.tree_util.Partial(lambda images: images @ kernel)
    maps, channels = images @ kernel, [1, 3, 0]
    means = maps.mean((1, 2))
    directions = numbers.normal(size=(3, 4)).astype(np.float32)
    grams = [(m.reshape(25, 4).T @ m.reshape(25, 4)).ravel() for m in maps]
    alike = [np.mean([cosine(grams[i], grams[j]) for j in range(3) if j != i]) for i in range(3)]
    channel, unit = channel_objective(f, channels), unit_objective(f, channels)
    asked = {
        "channel": (channel, [means[n, c] for n, c in enumerate(channels)]),
        "unit": (unit, [maps[n, 2, 2, c] for n, c in enumerate(channels)]),
        "corner": (unit_objective(f, channels, place=(0, 4)), [maps[n, 0, 4, c] for n, c in enumerate(channels)]),
        "direction": (
            direction_objective(f, directions, power=2.0),
            [m @ d * max(cosine(m, d), 0.1) ** 2 for m, d in zip(means, directions, strict=True)],
        ),
        "dream": (dream_objective(f), (maps**2).mean((1, 2, 3))),
        "blend": (blended_objective(channel, unit, [0, 0.5, 1]), None),
        "diverse": (diverse_objective(channel, f, weight=2.0), means[np.arange(3), channels] - 2 * np.array(alike)),
    }
    found = jax.jit(lambda asked, x: {name: f(x) for name, f in asked.items()})(
        {name: f for name, (f, _) in asked.items()}, images
    )
    for name, (_, expected) in asked.items():
        if name == "blend":
            ends = np.asarray(found["channel"]), np.asarray(found["unit"])
            expected = [ends[0][0], (ends[0][1] + ends[1][1]) / 2, ends[1][2]]
        np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-6, err_msg=name)


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def test_a_map_is_read_of_normalised_images_by_module_or_feature_or_as_the_output():
    net = models.lenet5(outputs=3)
    images = np.random.default_rng(0).random((2, 28, 28, 1)).astype(np.float32)
    variables = jax.jit(net.init)(KEY, images)
    asked = {path: map_of(net, variables, path, mean=0.3, std=0.5) for path in ("", "c1", "s4", "c3_norm")}
    found = jax.jit(lambda asked, x: {path: f(x) for path, f in asked.items()})(asked, images)
    seen = (images - 0.3) / 0.5
    np.testing.assert_allclose(found[""], jax.jit(net.apply)(variables, seen), rtol=1e-5, atol=1e-6)
    of_net = jax.jit(lambda variables, x: net.apply(variables, x, method="features"))(variables, seen)
    for path in ("c1", "s4"):
        np.testing.assert_allclose(found[path], of_net[path], rtol=1e-5, atol=1e-6)
    assert found["c3_norm"].min() < 0, "a module's map is before its nonlinearity"
    with pytest.raises(ValueError, match="layer is 'c4'; allowed: c1, c1_norm, c3"):
        map_of(net, variables, "c4")(images)


def test_what_can_not_be_climbed_is_refused():
    with pytest.raises(ValueError, match=r"the objective gives \(1, 11, 11, 1\) for images .*; it must give a score"):
        visualize(KEY, lambda images: images, 11, channels=1, steps=1)
    with pytest.raises(ValueError, match="basis is 'wavelet'"):
        visualize(KEY, linear, 11, channels=1, basis="wavelet")
    with pytest.raises(ValueError, match=r"channels are \[0.5\]"):
        channel_objective(linear, [0.5])


def test_a_sheet_has_each_image_with_its_name_and_what_it_scores():
    found = of_gabor("pixel", False)
    figure = draw_visualization(
        found, names=("c1: 0", "c1: 1"), patches=np.zeros((2, 9, 5, 5, 1)), best=np.array([0.25, 0.5])
    )
    assert len(figure.axes) == 4
    texts = {cell.get_title() + cell.get_xlabel() for cell in figure.axes}
    assert texts >= {"c1: 1made: " + f"{found.scores[1]:.3g}", "data: 0.25"}


@pytest.mark.proofs
def test_images_excite_most_channels_of_a_trained_net_more_than_any_of_the_data(train_apart, tmp_path):
    trained = train_apart("configs/digits.py", tmp_path / "run", "--config.train.epochs=10")
    images = trained.source.test.arrays["image"].astype(np.float32) / 255
    facts = trained.facts
    for path in ("c3", "c5"):
        f = map_of(trained.net, trained.variables, path, mean=facts.mean, std=facts.std)
        data = np.asarray(jax.jit(lambda f, x: f(x))(f, images))
        data = data.reshape(len(data), -1, data.shape[-1]).mean(1).max(0)
        asked = np.flatnonzero(data > 0)[:24]
        objective = channel_objective(f, asked)
        options = {"count": len(asked), "channels": 1, "steps": 256}
        smooth = visualize(KEY, objective, 28, **options)
        assert np.mean(smooth.scores >= 1.5 * data[asked]) >= 0.8, path
        rough = visualize(KEY, objective, 28, basis="pixel", robust=False, **options)
        lines = [np.median([variation(image) for image in each.images]) for each in (smooth, rough)]
        assert lines[0] <= 0.6 * lines[1], path
