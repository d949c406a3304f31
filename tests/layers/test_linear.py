"""Layers with a kernel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from cnnjax import ops
from cnnjax.layers import Conv, ConvTranspose, Dense, activation, initializer, pooling


def made(layer, x):
    return jax.tree.map(np.asarray, jax.jit(layer.init_with_output)(jax.random.key(0), x))


def started(layer, *shape):
    return jax.tree.map(np.asarray, jax.jit(layer.init)(jax.random.key(0), np.ones(shape, np.float32)))


@pytest.mark.parametrize(("shape", "window"), [((2, 9, 3), (3,)), ((2, 9, 8, 3), (3, 3)), ((2, 5, 6, 7, 3), (3, 3, 3))])
def test_a_convolution_has_as_many_dimensions_as_its_input(shape, window):
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    out, variables = made(Conv(4, 3, padding=1), x)
    kernel, bias = variables["params"]["kernel"], variables["params"]["bias"]
    assert kernel.shape == (*window, 3, 4)
    expected = jax.jit(lambda x, kernel: ops.conv(x, kernel, padding=1))(x, kernel)
    np.testing.assert_allclose(out, expected + bias, rtol=1e-6)


def test_a_transposed_convolution_doubles_the_size_and_its_kernel_is_that_of_the_adjoint():
    x = np.random.default_rng(1).normal(size=(2, 5, 6, 8)).astype(np.float32)
    out, variables = made(ConvTranspose(3, 2, 2), x)
    assert out.shape == (2, 10, 12, 3)
    assert variables["params"]["kernel"].shape == (2, 2, 3, 8)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float16])
def test_the_compute_dtype_is_that_of_the_input_and_parameters_stay_float32(dtype):
    layers = Conv(4, 3), ConvTranspose(4, 2), Dense(4)
    every = jax.jit(lambda key, x: [layer.init_with_output(key, x) for layer in layers])
    for out, variables in every(jax.random.key(0), np.ones((1, 4, 4, 2), dtype)):
        assert out.dtype == dtype
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_parameters_of_another_shape_are_refused_by_their_path():
    layer = Dense(4)
    variables = started(layer, 1, 3)
    message = r"parameter kernel has shape \(3, 4\); for this input and net it must be \(5, 4\)"
    with pytest.raises(ValueError, match=message):
        layer.apply(variables, np.ones((1, 5), np.float32))


@pytest.mark.parametrize("layer", [Conv(4, 3), ConvTranspose(4, 2), Dense(4)])
def test_pixels_as_whole_numbers_are_refused(layer):
    with pytest.raises(ValueError, match=rf"{type(layer).__name__} got uint8; networks read floats: scale and normal"):
        made(layer, np.ones((1, 4, 4, 2), np.uint8))


@pytest.mark.parametrize(
    ("name", "deviation"),
    [
        ("he_normal", (2 / 72) ** 0.5),
        ("he_fan_out", (2 / (9 * 64)) ** 0.5),
        ("lecun_normal", (1 / 72) ** 0.5),
        ("glorot_uniform", (2 / (72 + 576)) ** 0.5),
        ("torch", (1 / 72) ** 0.5 / 3**0.5),
        ("normal_001", 0.01),
        ("zeros", 0.0),
    ],
)
def test_first_weights_have_the_deviation_of_their_rule(name, deviation):
    kernel = np.asarray(jax.jit(initializer(name), static_argnums=1)(jax.random.key(0), (3, 3, 8, 64)))
    assert abs(kernel.std() - deviation) <= 0.05 * deviation


def test_fan_in_counts_one_group():
    variables = started(Conv(64, 3, groups=8, kernel_init="lecun_normal"), 1, 3, 3, 64)
    assert abs(variables["params"]["kernel"].std() - 72**-0.5) < 0.05 * 72**-0.5


def test_the_bias_of_pytorch_is_uniform_within_one_over_the_root_of_fan_in():
    bias = started(Dense(4000, kernel_init="torch", bias_init="torch"), 1, 25)["params"]["bias"]
    assert 0.19 < np.abs(bias).max() <= 0.2
    assert abs(bias.mean()) < 0.01


def test_a_dirac_kernel_starts_as_the_identity():
    x = np.random.default_rng(1).normal(size=(2, 6, 6, 4)).astype(np.float32)
    out, _ = made(Conv(6, 3, padding=1, kernel_init="dirac"), x)
    np.testing.assert_allclose(out[..., :4], x, atol=1e-6)
    assert out[..., 4:].any()


@pytest.mark.parametrize(
    ("choose", "message"),
    [
        (lambda: initializer("he_norml"), "init is 'he_norml'; nearest: he_normal"),
        (lambda: activation("rellu"), "activation is 'rellu'; nearest: relu"),
        (lambda: pooling("maxx"), "pool is 'maxx'; nearest: max; allowed: avg, blur, lp, max"),
    ],
)
def test_an_unknown_name_is_an_error_with_the_nearest_one(choose, message):
    with pytest.raises(ValueError, match=message):
        choose()


def test_the_scaled_tanh_of_1998_is_one_at_one():
    values = jax.jit(activation("scaled_tanh"))(np.float32([-1, 0, 1]))
    np.testing.assert_allclose(values, [-1, 0, 1], atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gelu_and_its_slope_are_those_of_the_normal_distribution(dtype):
    x = np.linspace(-12, 12, 4001).astype(jnp.dtype(dtype))
    exact = np.asarray(x, np.float64)
    value, slope = jax.jit(jax.vmap(jax.value_and_grad(activation("gelu"))))(x)
    fine = {"float32": {"rtol": 1e-6, "atol": 1e-6}, "bfloat16": {"rtol": 2**-8, "atol": 1e-6}}[dtype]
    np.testing.assert_allclose(np.asarray(value, np.float64), exact * scipy.stats.norm.cdf(exact), **fine)
    slopes = scipy.stats.norm.cdf(exact) + exact * scipy.stats.norm.pdf(exact)
    np.testing.assert_allclose(np.asarray(slope, np.float64), slopes, **fine)
    assert value.dtype == x.dtype


@pytest.mark.parametrize("layer", [Conv(6, 3, spectral=True), Dense(6, spectral=True)])
def test_a_spectral_kernel_comes_to_have_a_largest_singular_value_of_one(layer):
    x = jax.random.normal(jax.random.key(0), (2, 5, 5, 4))
    variables = jax.jit(layer.init)(jax.random.key(1), x)

    @jax.jit
    def settled(variables):
        def step(_, statistics):
            return layer.apply({"params": variables["params"], **statistics}, x, mutable=["batch_stats"])[1]

        return jax.lax.fori_loop(0, 200, step, {"batch_stats": variables["batch_stats"]})

    kernel = np.asarray(variables["params"]["kernel"])
    largest = np.linalg.svd(kernel.reshape(-1, 6), compute_uv=False)[0]
    plain = layer.clone(spectral=False)
    said, known = jax.jit(lambda v, s: (layer.apply({**v, **s}, x), plain.apply({"params": v["params"]}, x)))(
        variables, settled(variables)
    )
    np.testing.assert_allclose(said, known / largest, rtol=1e-4, atol=1e-5)
