"""Policies: each draw is one operation at its magnitude, in torchvision's ranges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.augment import colors, policies, textures
from tests.augment.scenes import applied, facts

SIZE, AMOUNT = (12, 16), 0.5
RANDAUGMENT = (0.3, [n * 150 / 331 for n in SIZE], 30.0)  # shear, translation, rotation at full magnitude


@pytest.fixture(scope="module")
def draws():
    """What every operation makes of one image at half magnitude: matrices (14, 3, 3), images (14, H, W, 3)."""
    image = (np.random.default_rng(0).integers(30, 200, (*SIZE, 3)) / 255).astype(np.float32)

    def one(chosen):
        matrix = policies._matrix(SIZE, chosen, AMOUNT, *RANDAUGMENT)
        return matrix, policies._recolored(image, chosen, AMOUNT, 1.0, 0.9, 4.0, 0.0)

    matrices, images = jax.jit(jax.vmap(one))(jnp.arange(14))
    return image, dict(
        zip(policies.OPERATIONS, zip(np.asarray(matrices), np.asarray(images), strict=True), strict=True)
    )


def about_centre(linear):
    centre = np.array([(n - 1) / 2 for n in SIZE])
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, centre - np.array(linear) @ centre
    return matrix


def test_the_moves_are_the_matrices_of_their_formulas(draws):
    _, found = draws
    cosine, sine = np.cos(np.radians(15)), np.sin(np.radians(15))
    wanted = {
        "rotate": about_centre([[cosine, sine], [-sine, cosine]]),
        "shear along the width": about_centre([[1, 0], [-0.15, 1]]),
        "shear along the height": about_centre([[1, -0.15], [0, 1]]),
        "translate along the width": np.array([[1, 0, 0], [0, 1, 16 * 75 / 331], [0, 0, 1]]),
        "translate along the height": np.array([[1, 0, 12 * 75 / 331], [0, 1, 0], [0, 0, 1]]),
    }
    for name, (matrix, _) in found.items():
        np.testing.assert_allclose(matrix, wanted.get(name, np.eye(3)), atol=1e-5, err_msg=name)


def test_the_colours_are_those_of_the_entries_and_everything_else_keeps_the_image(draws):
    image, found = draws
    changes = (colors.luminance, textures.smoothed, colors.stretched, colors.equalized)
    grey, smoothed, stretched, equalized = map(np.asarray, jax.jit(lambda x: [f(x) for f in changes])(image))
    blend = {
        "brightness": 0 * image,
        "saturation": grey,
        "contrast": grey.mean(),
        "sharpness": smoothed,
    }
    wanted = {name: np.clip(1.45 * image - 0.45 * poor, 0, 1) for name, poor in blend.items()}
    wanted["posterize"] = np.floor(np.round(image * 255) / 4) * 4 / 255
    wanted["solarize"] = np.asarray(jax.jit(colors.solarized)(image, 128 / 255))
    wanted["autocontrast"] = stretched
    wanted["equalize"] = equalized
    for name, (_, out) in found.items():
        if name in wanted:
            np.testing.assert_allclose(out, wanted[name], atol=2e-3, err_msg=name)
        else:
            assert np.array_equal(out, image), name


def test_every_operation_is_drawn_about_as_often():
    rows = 700
    fields = {
        "image": np.zeros((rows, 8, 8, 1), np.uint8),
        "points": np.tile(np.array([[[2.0, 3.0]]], np.float32), (rows, 1, 1)),
    }
    out = applied(("trivialaugment",), fields, about=facts((8, 8, 1)), words=("points",))
    moved = (np.abs(out["points"] - fields["points"]).max((1, 2)) > 1e-5).mean()
    assert abs(moved - 5 / 14) < 4 * np.sqrt(5 / 14 * 9 / 14 / rows)
