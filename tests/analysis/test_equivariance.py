"""Equivariance: nothing is lost where theory says so, and Lie derivatives are the slopes that one can write down."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from cnnjax import models, ops
from cnnjax.analysis import Field, affine, equivariance_errors, lie_derivative, lie_errors
from cnnjax.analysis._motion import cubic_taps, generator

NUMBERS = np.random.default_rng(0)
KERNEL, POINT = NUMBERS.normal(size=(3, 3, 1, 4)), NUMBERS.normal(size=(1, 1, 4, 3))
IMAGES = NUMBERS.random((2, 13, 12, 1))
FINE, COARSE = Field((3, 3), (3, 3), (1, 1), (0, 0)), Field((4, 4), (4, 4), (2, 2), (0, 0))


def turning_alike(kernel):
    """The mean of a kernel and its turns by 90°."""
    return np.mean([np.rot90(kernel, turn) for turn in range(4)], 0)


@pytest.mark.parametrize("motion", ["down", "right", "rotation", "scale", "shear"])
def test_a_motion_is_the_exponential_of_its_generator(motion):
    np.testing.assert_allclose(affine(motion, -0.7), scipy.linalg.expm(-0.7 * generator(motion)), atol=1e-12)


@pytest.mark.parametrize("border", ["edge", "constant", "reflect"])
def test_cubic_sampling_is_that_of_warp(border):
    image = NUMBERS.random((1, 6, 7, 2))
    places = NUMBERS.uniform(-4, 10, (5, 5, 2))
    index, weight = cubic_taps(places, (6, 7), border)
    found = np.sum(image.reshape(-1, 2)[index] * weight[..., None], 0)
    with jax.enable_x64(True):
        expected = jax.jit(lambda x, places: ops.warp(x, places, method="cubic", border=border))(image[0], places)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_convolution_moves_with_the_image_and_a_pooling_by_its_stride_alone():
    def maps(x):
        conv = ops.conv(x, KERNEL)
        return {"conv": conv, "pool": ops.max_pool(jnp.tanh(ops.conv(conv, POINT)), 2)}

    moves = {"1": affine("down", 1), "2": affine("right", 2), "-2": affine("down", -2), "half": affine("right", 0.5)}
    with jax.enable_x64(True):
        found = equivariance_errors(maps, IMAGES, moves, fields={"conv": FINE, "pool": COARSE})
    assert found.layers == ("conv", "pool")
    assert found.error[0].max() <= 1e-24, "of what is linear, also between the pixels"
    assert found.error[1, [0, 3]].min() > 0.01
    assert found.error[1, 1:3].max() <= 1e-24
    assert found.places[:, 0].tolist() == [10 * 10, 2 * 5], "a pooled map is read where four places are known"
    assert found.places[:, 1].tolist() == [11 * 8, 5 * 4]
    assert found.decibels[0, 0] > 240


def test_a_kernel_that_turns_into_itself_turns_with_the_image():
    """And a mirrored image gives the mirrored map where the kernel is its own mirror."""
    kernel, wide = NUMBERS.normal(size=(5, 5, 1, 4)), Field((5, 5), (5, 5), (1, 1), (0, 0))
    turned, mirrored = turning_alike(kernel), kernel + kernel[:, ::-1]

    def maps(x):
        return {"turned": ops.conv(x, turned), "mirrored": ops.conv(x, mirrored)}

    images, moves = IMAGES[:, :12], {"turn": affine("rotation", 90), "mirror": np.diag([1.0, -1, 1])}
    with jax.enable_x64(True):
        found = equivariance_errors(maps, images, moves, fields={"turned": wide, "mirrored": wide})
    assert found.error[0, 0] <= 1e-20 < 0.01 < found.error[0, 1]
    assert found.error[1, 1] <= 1e-20 < 0.01 < found.error[1, 0]


def test_a_global_pool_behind_a_circular_convolution_says_the_same_wherever_the_image_is():
    def maps(x):
        conv = jnp.tanh(ops.conv(x, KERNEL, padding="circular"))
        return {"conv": conv, "output": conv.mean((1, 2))}

    moves = {"a": affine("down", 5), "b": affine("right", -7) @ affine("down", 2), "c": affine("down", 0.5)}
    same = Field((3, 3), (3, 3), (1, 1), (-1, -1))
    with jax.enable_x64(True):
        found = equivariance_errors(maps, IMAGES, moves, fields={"conv": same}, border="circular")
    assert found.error[:, :2].max() <= 1e-24
    assert found.places[0].tolist() == [13 * 12] * 3
    assert found.error[0, 2] > 1e-4


def test_what_is_blurred_before_places_are_left_out_moves_better_with_the_image():
    def maps(x):
        map = jax.nn.relu(ops.conv(x, KERNEL))
        return {"max": ops.max_pool(map, 2), "blur": ops.blur_pool(map, 2, blur=3)}

    image = np.cumsum(np.cumsum(NUMBERS.normal(size=(4, 40, 40, 1)), 1), 2)
    wide = Field((6, 6), (6, 6), (2, 2), (-1, -1))
    found = equivariance_errors(
        maps, (image - image.mean()) / image.std(), {"1": affine("down", 1)}, fields={"max": COARSE, "blur": wide}
    ).decibels
    assert found[1, 0] >= found[0, 0] + 5


@pytest.fixture(scope="module")
def net():
    net = models.convnet(outputs=3, layers=(("conv", 3, 3), ("conv", 4, 3, 2)))
    return net, jax.jit(net.init)(jax.random.key(0), jnp.zeros((1, 16, 16, 1)))


IMAGE = NUMBERS.random((3, 16, 16, 1)).astype(np.float32)


def test_of_a_net_with_padding_what_lies_inside_is_compared(net):
    found = equivariance_errors(net, IMAGE, {"2": affine("down", 2), "far": affine("down", 14)})
    assert found.layers == ("conv1", "conv2", "output")
    assert found.error[:2, 0].max() < 1e-10
    assert np.isnan(found.error[:2, 1]).all()
    assert found.places[:, 1].tolist() == [0, 0, 1]
    assert found.error[2].min() > 1e-8, "the border is in what is said of the whole"


def test_lie_errors_are_those_of_small_moves(net):
    """The derivative is the limit of the difference, of geometric motions and of outputs."""
    step = 1e-3
    with jax.enable_x64(True):
        images, variables = IMAGE.astype(np.float64), jax.tree.map(lambda leaf: leaf.astype(np.float64), net[1])
        smooth = images + np.linspace(0, 3, 16)[:, None, None]
        found = lie_errors((net[0], variables), smooth, ("right", "rotation", "brightness"))
        moves = {motion: affine(motion, step) for motion in ("right", "rotation")}
        small = equivariance_errors((net[0], variables), smooth, moves)
    np.testing.assert_allclose(small.error[2] / step**2, found.error[2, :2], rtol=0.02)
    assert found.error[:2, 0].max() > 1e-6, "a rectifier and a cubic do not commute"
    assert found.error[0, 2] > 0
    assert found.moves == ("right", "rotation", "brightness")


def test_the_lie_derivative_of_a_linear_answer_is_the_slope_of_the_image():
    """Of Σ w·x and a plane wave x = cos(k·u + 1): −Σ w ∂x/∂u, of which a cubic's slope has sin k in the place of k."""
    sizes, wave = (15, 18), np.array([0.2, 0.3])
    y, x = np.mgrid[: sizes[0], : sizes[1]] - np.array([7, 8.5])[:, None, None]
    weight = NUMBERS.normal(size=(*sizes, 1))
    weight[:2] = weight[-2:] = weight[:, :2] = weight[:, -2:] = 0
    phase = wave[0] * y + wave[1] * x + 1
    image = np.cos(phase)[None, ..., None]

    def answer(images):
        return jnp.sum(images * weight, (1, 2))

    slope = np.stack([np.sin(each) * -np.sin(phase) for each in wave])
    true = np.stack([each * -np.sin(phase) for each in wave])
    ways = {
        "down": (1 + 0 * y, 0 * x), "right": (0 * y, 1 + 0 * x), "scale": (np.log(2) * y, np.log(2) * x),
        "rotation": (np.pi / 180 * x, -np.pi / 180 * y), "shear": (0 * y, y),
    }  # fmt: skip
    with jax.enable_x64(True):
        for motion, (down, right) in ways.items():
            found = float(lie_derivative(answer, image, motion)[0, 0])
            expected = -np.sum(weight[..., 0] * (down * slope[0] + right * slope[1]))
            assert found == pytest.approx(expected, rel=1e-10), motion
            limit = -np.sum(weight[..., 0] * (down * true[0] + right * true[1]))
            assert found == pytest.approx(limit, rel=0.05), motion
        brighter = lie_derivative(answer, image, "brightness")
        apart = lie_derivative(answer, image, "contrast")
    np.testing.assert_allclose(brighter[0, 0], weight.sum())
    np.testing.assert_allclose(apart[0, 0], np.log(2) * np.sum(weight * (image[0] - image.mean())))


def test_what_can_not_be_compared_is_refused():
    with pytest.raises(ValueError, match="fields lacks 'conv'; give the receptive field of every map"):
        equivariance_errors(lambda x: {"conv": x}, IMAGES, {"1": affine("down", 1)})
    with pytest.raises(ValueError, match=r"moves\['flat'\] is .* it must be a matrix as `affine` gives"):
        equivariance_errors(lambda x: {"conv": x}, IMAGES, {"flat": np.zeros((3, 3))}, fields={"conv": FINE})
    with pytest.raises(ValueError, match="motion is 'brightness'"):
        affine("brightness", 1)
    with pytest.raises(ValueError, match=r"images are \(13, 12, 1\); they must be \(B, H, W, C\) to be moved"):
        lie_derivative(lambda x: x, IMAGES[0], "down")


@pytest.mark.proofs
def test_a_resnet_moves_by_whole_strides_layer_by_layer():
    net = models.resnet18(outputs=10, stem="cifar", width=8)
    images = np.random.default_rng(1).random((2, 64, 64, 3)).astype(np.float32)
    variables = jax.jit(net.init)(jax.random.key(0), images)
    found = equivariance_errors((net, variables), images, {"8": affine("down", 8), "1": affine("down", 1)})
    known = ~np.isnan(found.error[:, 0])
    assert found.error[known, 0][:-1].max() < 1e-8, "a whole number of every stride"
