"""Attributions: equal to captum's, and the sums that must come out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import analysis, models
from cnnjax.analysis import attribute
from tests.analysis.references import LAYERS, apart, asked, images
from tests.models.variants import filled
from tests.train.nets import layered

PLAIN = ("saliency", "input_x_gradient", "guided_backprop", "deconvnet", "integrated_gradients")
REFERENCES = ["vgg", pytest.param("resnet18", marks=pytest.mark.proofs)]
X = np.random.default_rng(1).random((2, 16, 16, 3), np.float32)
KERNEL = np.random.default_rng(2).normal(size=(16 * 16 * 3, 4)).astype(np.float32)


def linear(x):
    return x.reshape(len(x), -1) @ KERNEL + 1.0


def small(act="relu"):
    net = layered(outputs=4, activation=act)
    return net, jax.tree.map(jnp.asarray, filled(net, X.shape[1:]))


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("method", PLAIN)
def test_gradients_and_their_variants_are_captums(name, method):
    """Of fifty gradients of a deep net in float32 some see a rectifier on its other side: they are in float64."""
    fixture, (net, variables) = asked(name)
    every, exact = int(fixture["every"]), (name, method) == ("resnet18", "integrated_gradients")
    with jax.enable_x64(exact):
        number = jnp.float64 if exact else jnp.float32
        f = net, jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), number), variables)
        found = np.asarray(attribute(f, np.asarray(images(fixture), number), fixture["targets"], method))
    assert apart(found[:, ::every, ::every], fixture[method]) < (1e-6 if exact else 1e-5)


@pytest.mark.parametrize("name", REFERENCES)
def test_grad_cam_is_captums(name):
    fixture, f = asked(name)
    options = {"layer": LAYERS[name], "rectified": False}
    found = analysis.grad_cam(f, images(fixture), fixture["targets"], resizing="none", **options)
    assert apart(found, fixture["grad_cam"]) < 1e-5
    large = analysis.grad_cam(f, images(fixture), fixture["targets"], resizing="nearest", **options)
    times = images(fixture).shape[1] // found.shape[1]
    np.testing.assert_allclose(large, np.repeat(np.repeat(found, times, 1), times, 2))


@pytest.mark.parametrize("name", REFERENCES)
def test_guided_grad_cam_is_captums(name):
    fixture, f = asked(name)
    every = int(fixture["every"])
    found = analysis.guided_grad_cam(f, images(fixture), fixture["targets"], layer=LAYERS[name], resizing="nearest")
    assert apart(np.asarray(found)[:, ::every, ::every], fixture["guided_grad_cam"]) < 1e-5


@pytest.mark.parametrize("name", REFERENCES)
def test_occlusion_is_captums_where_the_last_window_hangs_over_the_edge(name):
    fixture, f = asked(name)
    every = int(fixture["every"])
    found = analysis.occlusion(f, images(fixture), fixture["targets"], window=9, stride=6, value=0.5)
    assert apart(np.asarray(found)[:, ::every, ::every], fixture["occlusion"]) < 5e-5


@pytest.mark.parametrize("method", ["saliency", "integrated_gradients", "input_x_gradient"])
def test_of_a_linear_function_they_are_its_weights(method):
    target = np.array([2, 0])
    found = attribute(linear, X, target, method)
    kernel = np.asarray(KERNEL.T)[target].reshape(X.shape)
    np.testing.assert_allclose(found, kernel if method == "saliency" else kernel * X, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("baseline", [0.0, 0.5])
def test_integrated_gradients_sum_to_the_change_of_the_output(baseline):
    f = small("tanh")
    found = analysis.integrated_gradients(f, X, 1, baseline=baseline)
    net, variables = f
    outputs = jax.jit(net.apply)
    change = (np.asarray(outputs(variables, X)) - outputs(variables, np.full_like(X, baseline)))[:, 1]
    error = np.abs(np.sum(found, (1, 2, 3)) - change)
    assert (error <= 1e-3 * np.abs(change) + 1e-4).all()


def test_grad_cam_of_a_net_that_ends_in_a_global_mean_is_the_class_activation_map():
    net = models.resnet(outputs=4, blocks=(1, 1), width=4, stem="cifar")
    variables = filled(net, X.shape[1:])
    head = variables["params"]["head"]["output"]["kernel"]
    maps = np.asarray(jax.jit(lambda variables: net.apply(variables, X, method="features")["stage2"])(variables))
    cam = np.einsum("bhwc,c->bhw", maps, head[:, 3])[..., None] / np.prod(maps.shape[1:3])
    found = analysis.grad_cam((net, variables), X, 3, resizing="none", rectified=False)
    np.testing.assert_allclose(found, cam, rtol=1e-5, atol=1e-7)
    shown = np.asarray(analysis.grad_cam((net, variables), X, 3))
    assert shown.shape == (2, 16, 16, 1)
    assert float(shown.min()) >= 0
    assert attribute((net, variables), X, 3, "grad_cam").shape == X.shape


def test_smoothed_and_varying_gradients_have_the_statistics_of_what_they_are_of():
    key = jax.random.key(3)
    kernel = np.asarray(KERNEL.T)[[1, 1]].reshape(X.shape)
    np.testing.assert_allclose(analysis.smooth_grad(key, linear, X, 1, samples=8), kernel, rtol=1e-5)
    assert np.asarray(analysis.var_grad(key, linear, X, 1, samples=8)).max() < 1e-10

    def square(x):  # ∂/∂x = 2 x: under noise its mean is 2 x, its variance 4 sigma²
        return jnp.sum(x**2, (1, 2, 3))[:, None]

    mean = np.asarray(analysis.smooth_grad(key, square, X, 0, sigma=0.1, samples=400))
    assert np.abs(mean - 2 * X).max() < 5 * 0.2 / 20
    variance = np.asarray(analysis.var_grad(key, square, X, 0, sigma=0.1, samples=400))
    assert float(variance.mean()) == pytest.approx(0.04, rel=0.02)
    again = analysis.smooth_grad(key, square, X, 0, sigma=0.1, samples=400)
    np.testing.assert_array_equal(mean, again)


def test_occlusion_of_a_linear_function_is_what_the_windows_held():
    found = np.asarray(analysis.occlusion(linear, X, 0, window=4, stride=4))
    held = (KERNEL[:, 0].reshape(16, 16, 3) * X).sum(-1)
    windows = held.reshape(2, 4, 4, 4, 4).sum((2, 4))
    np.testing.assert_allclose(found[..., 0], windows.repeat(4, 1).repeat(4, 2), rtol=1e-4, atol=1e-4)


def test_a_function_a_partial_and_a_net_are_asked_alike():
    net, variables = small()
    expected = attribute((net, variables), X, 1, "guided_backprop")
    for f in (lambda x: net.apply(variables, x), jax.tree_util.Partial(lambda v, x: net.apply(v, x), variables)):
        np.testing.assert_allclose(attribute(f, X, 1, "guided_backprop"), expected, rtol=1e-6)


def test_weights_are_no_constants_of_the_compiled_program():
    """XLA would fold reversed kernels while it compiles, and a program would hold a copy of the net."""
    from cnnjax.analysis import _functions

    net, variables = small()
    for f in ((net, variables), lambda x: net.apply(variables, x)):
        closed = jax.make_jaxpr(lambda f, x: jax.grad(lambda x: f(x).sum())(x))(_functions.as_function(f, X), X)
        assert not [const for const in closed.consts if const.size > 100]
        assert len(closed.jaxpr.invars) > 4


def test_what_can_not_be_asked_is_refused():
    f = small("silu")
    with pytest.raises(ValueError, match="none of relu, relu6 is in the function"):
        attribute(f, X, 1, "guided_backprop")
    with pytest.raises(ValueError, match="method is 'gradcam'; nearest: grad_cam"):
        attribute(f, X, 1, "gradcam")
    with pytest.raises(ValueError, match="images are uint8"):
        attribute(f, np.zeros((1, 16, 16, 3), np.uint8), 1)
    with pytest.raises(ValueError, match=r"target is int64 \(3,\); it must be a class, or 2: one for each image"):
        attribute(f, X, np.arange(3))
    with pytest.raises(ValueError, match="grad_cam looks into a net"):
        attribute(linear, X, 1, "grad_cam")
    with pytest.raises(ValueError, match="window is 4, stride 5"):
        analysis.occlusion(f, X, 1, window=4, stride=5)
    with pytest.raises(ValueError, match=r"gives \(2,\) for images \(2, 16, 16, 3\); it must give \(B, K\)"):
        attribute(lambda x: x.sum((1, 2, 3)), X, 0)
