"""Convolution against loops, the lectures, its own adjoint, and what it says when it is asked for nonsense."""

import itertools
import json

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from jax.test_util import check_grads

from cnnjax import ops
from tests.ops.references import conv as looped


@st.composite
def problems(draw, floats=(np.float32,)):
    """x, kernel, cotangent seed and the options of a convolution that fits."""
    n = draw(st.integers(1, 3))
    side = st.integers(1, 3)
    window, stride, dilation = (tuple(draw(side) for _ in range(n)) for _ in range(3))
    pairs = tuple((draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in range(n))
    least = [max(1, (k - 1) * d + 1 - a - b) for k, d, (a, b) in zip(window, dilation, pairs, strict=True)]
    sizes = [draw(st.integers(m, m + 4)) for m in least]
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    inputs, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 3)) * groups
    numbers = np.random.default_rng(draw(st.integers(0, 99)))
    x = numbers.normal(size=(draw(st.integers(1, 2)), *sizes, inputs * groups)).astype(np.float32)
    kernel = numbers.normal(size=(*window, inputs, outputs)).astype(np.float32)
    return x, kernel, {"stride": stride, "padding": pairs, "dilation": dilation, "groups": groups}


@hypothesis.given(problems())
def test_convolution_is_the_loop_that_defines_it(problem):
    x, kernel, options = problem
    expected = looped(x, kernel, options["stride"], options["padding"], options["dilation"], options["groups"])
    found = jax.jit(lambda x, kernel: ops.conv(x, kernel, **options))(x, kernel)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@hypothesis.given(problems())
def test_the_transposed_convolution_is_the_exact_adjoint(problem):
    x, kernel, options = problem
    shape = jax.eval_shape(lambda x, kernel: ops.conv(x, kernel, **options), x, kernel).shape
    other = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    rests = [
        m + a + b - (k - 1) * d - 1 - (p - 1) * s
        for m, (a, b), k, d, s, p in zip(
            x.shape[1:-1], options["padding"], kernel.shape, options["dilation"], options["stride"], shape[1:-1],
            strict=False,
        )
    ]  # fmt: skip
    hypothesis.assume(min(rests) >= 0)

    @jax.jit
    def both(x, other, kernel):
        return ops.conv(x, kernel, **options), ops.conv_transpose(other, kernel, output_padding=rests, **options)

    y, back = both(x, other, kernel)
    assert back.shape == x.shape
    np.testing.assert_allclose(np.vdot(y, other), np.vdot(x, back), rtol=1e-3, atol=1e-3)


@hypothesis.given(problems())
def test_gradients_are_those_of_xla(problem):
    x, kernel, options = problem
    n = kernel.ndim - 2
    letters = "DHW"[3 - n :]

    def plain(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, options["stride"], options["padding"], rhs_dilation=options["dilation"],
            feature_group_count=options["groups"], dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
        )  # fmt: skip

    def ours(x, kernel):
        return ops.conv(x, kernel, **options)

    shape = jax.eval_shape(ours, x, kernel).shape
    seed = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    gradients = jax.jit(lambda seed, *pair: [jax.vjp(f, *pair)[1](seed) for f in (ours, plain)])(seed, x, kernel)
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@jax.jit
def _same(x, kernel):
    return ops.conv(x, kernel, padding="same")


@hypothesis.given(st.integers(0, 4), st.integers(0, 4))
def test_a_shifted_image_gives_shifted_outputs(down, right):
    numbers = np.random.default_rng(0)
    image = np.zeros((1, 20, 20, 2), np.float32)
    image[:, 6:10, 6:10] = numbers.normal(size=(1, 4, 4, 2))
    kernel = numbers.normal(size=(3, 3, 2, 4)).astype(np.float32)
    moved = np.roll(image, (down, right), (1, 2))
    np.testing.assert_allclose(
        _same(moved, kernel), np.roll(_same(image, kernel), (down, right), (1, 2)), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_every_dtype_stays_itself_in_value_and_gradients(dtype):
    @jax.jit
    def both(x, kernel):
        y, back = jax.vjp(lambda x, kernel: ops.conv(x, kernel, padding=1), x, kernel)
        return y, back(y)

    with jax.enable_x64(dtype == "float64"):
        x = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype(jnp.dtype(dtype))
        kernel = np.random.default_rng(1).normal(size=(3, 3, 3, 4)).astype(jnp.dtype(dtype))
        y, gradients = both(x, kernel)
        assert [y.dtype, *(g.dtype for g in gradients)] == [dtype] * 3
        exact = looped(np.float64(x), np.float64(kernel), (1, 1), ((1, 1),) * 2, (1, 1), 1)
        tolerance = {"float32": 1e-5, "bfloat16": 3e-2, "float64": 1e-13}[dtype]
        np.testing.assert_allclose(np.float64(y), exact, rtol=tolerance, atol=tolerance * np.abs(exact).max())


def test_derivatives_of_every_order_agree_with_differences():
    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(size=(1, 5, 4, 2))
        kernel = np.random.default_rng(1).normal(size=(3, 2, 1, 4))
        f = lambda x, kernel: jnp.sin(ops.conv(x, kernel, stride=(2, 1), padding=1, groups=2))  # noqa: E731
        check_grads(f, (x, kernel), 2)


def test_the_lecture_of_three_by_three_comes_out():
    x = np.arange(9.0).reshape(1, 3, 3, 1)
    kernel = np.arange(4.0).reshape(2, 2, 1, 1)
    y, flipped = jax.jit(lambda x, kernel: (ops.conv(x, kernel), ops.conv(x, kernel, flip=True)))(x, kernel)
    assert np.squeeze(y).tolist() == [[19, 25], [37, 43]]
    assert np.squeeze(flipped).tolist() == [[5, 11], [23, 29]]
    both = jax.jit(ops.conv)(np.concatenate([x, x + 1], -1), np.concatenate([kernel, kernel + 1], 2))
    assert np.asarray(both)[0, 0, 0, 0] == 56


def test_the_volume_of_the_course_notes_comes_out(root):
    demo = json.loads((root / "tests/fixtures/ops/lecture_convolution.json").read_text())
    x, kernel = np.float32(demo["input_hwc"])[None], np.float32(demo["kernel_hwio"])
    y = np.asarray(jax.jit(lambda x: ops.conv(x, kernel, stride=2, padding=1))(x))[0] + np.float32(demo["bias"])
    assert y.tolist() == demo["output_hwc"]


def test_a_moving_average_is_a_convolution():
    series = np.random.default_rng(0).normal(size=9).astype(np.float32)
    y = jax.jit(ops.conv)(series[None, :, None], np.full((2, 1, 1), 0.5))
    np.testing.assert_allclose(np.squeeze(y), (series[1:] + series[:-1]) / 2, rtol=1e-6)


def test_a_causal_convolution_keeps_the_length_and_never_sees_the_future():
    x = np.random.default_rng(0).normal(size=(1, 10, 2)).astype(np.float32)
    kernel = np.ones((3, 2, 4), np.float32)
    padding = ops.causal_padding(3, dilation=2)
    f = jax.jit(lambda x: ops.conv(x, kernel, padding=padding, dilation=2))
    other = np.concatenate([x[:, :6], np.full((1, 4, 2), 9, np.float32)], 1)
    y, changed = np.asarray(f(x)), np.asarray(f(other))
    assert y.shape == (1, 10, 4)
    np.testing.assert_array_equal(y[:, :6], changed[:, :6])


def test_separable_convolution_is_two_convolutions():
    x, depth = np.ones((1, 5, 5, 3)), np.ones((3, 3, 1, 6))
    point = np.ones((1, 1, 6, 2))
    assert np.asarray(jax.jit(ops.separable_conv)(x, depth, point))[0, 0, 0, 0] == 54


def test_named_paddings_have_the_sizes_of_the_lectures():
    @jax.jit
    def padded(x, kernel):
        each = [ops.conv(x, kernel, padding=name) for name in ("full", "same", "valid")]
        return *each, ops.conv(x, kernel, padding="same", stride=2)

    assert [y.shape[1] for y in padded(np.ones((1, 8, 8, 1)), np.ones((3, 3, 1, 1)))] == [10, 8, 6, 4]


def _said(call):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the text is read by the caller)
        call()
    return str(caught.value)


@pytest.mark.parametrize(
    ("x", "kernel", "options", "words"),
    [
        ((1, 8, 8, 3), (3, 3, 4, 5), {}, ["groups is 1", "(1, 8, 8, 3)", "(3, 3, 4, 5)"]),
        ((1, 8, 8, 4), (3, 3, 2, 5), {"groups": 2}, ["groups is 2", "5 outputs"]),
        ((1, 8, 3), (3, 3, 3, 5), {}, ["x (1, 8, 3)", "kernel (3, 3, 3, 5)", "4 dimensions, not 3"]),
        ((1, 2, 2, 3), (3, 3, 3, 5), {}, ["does not fit", "3", "2"]),
        ((1, 8, 8, 3), (3, 3, 3, 5), {"stride": 0}, ["stride is 0", "at least 1"]),
        ((1, 8, 8, 3), (3, 3, 3, 5), {"stride": (1, 2, 3)}, ["stride is (1, 2, 3)", "2 spatial dimensions"]),
        ((1, 8, 8, 3), (3, 3, 3, 5), {"padding": "sane"}, ["'sane'", "nearest: same"]),
        ((1, 8, 8, 3), (3, 3, 3, 5), {"padding": -1}, ["padding is -1", "at least 0"]),
        ((1, 8, 8, 3), (3, 3, 3, 5), {"dilation": 1.5}, ["dilation is 1.5", "int"]),
        ((1, 8, 8, 3), (3, 3, 3, 3, 3, 5), {}, ["kernel has shape", "1, 2 or 3"]),
    ],
)
def test_what_does_not_fit_is_refused_when_it_is_traced(x, kernel, options, words):
    def call():
        jax.eval_shape(lambda x, k: ops.conv(x, k, **options), np.zeros(x, np.float32), np.zeros(kernel, np.float32))

    said = _said(call)
    assert all(word in said for word in words), said


@pytest.mark.parametrize("padding", [(0, 0), (1, 2), (2, 0)])
@pytest.mark.parametrize(("stride", "dilation", "rest"), [(1, 2, 1), (1, 3, 2), (2, 3, 2), (2, 4, 3), (2, 2, 1)])
def test_a_transposed_convolution_adds_what_each_input_sends_out(stride, dilation, rest, padding):
    """`output_padding` from the stride on too, as PyTorch allows below the dilation."""
    numbers = np.random.default_rng(0)
    x, kernel = numbers.normal(size=(2, 5, 4)).astype("f4"), numbers.normal(size=(3, 3, 4)).astype("f4")
    sent = np.zeros((2, 4 * stride + 2 * dilation + 1 + rest, 3), "f4")
    for place, tap in itertools.product(range(5), range(3)):
        sent[:, place * stride + tap * dilation] += x[:, place] @ kernel[tap].T
    options = {"stride": stride, "dilation": dilation, "output_padding": rest, "padding": (padding,)}
    y = jax.jit(lambda x, kernel: ops.conv_transpose(x, kernel, **options))(x, kernel)
    np.testing.assert_allclose(y, sent[:, padding[0] : sent.shape[1] - padding[1]], rtol=1e-4, atol=1e-4)


def test_the_kernel_gradient_of_a_full_convolution_reads_the_padded_input():
    """As a window over an input smaller than itself it took 15 to 40 times as long."""

    def lowered(padding, x):
        def total(kernel):
            return ops.conv(x, kernel, padding=padding).sum()

        program = jax.jit(jax.grad(total)).lower(jnp.zeros((5, 16, 16))).as_text()
        return [line for line in program.splitlines() if "stablehlo.convolution" in line]

    (full,) = lowered("full", jnp.zeros((8, 32, 16)))
    assert "pad = [[0, 0]]" in full
    assert "pad = [[2, 2]]" in lowered("same", jnp.zeros((8, 32, 16)))[0]


def test_transposed_convolution_says_what_it_cannot_give():
    x, kernel = np.zeros((1, 4, 4, 3), np.float32), np.zeros((2, 2, 5, 3), np.float32)
    assert "output_padding is 2" in _said(lambda: ops.conv_transpose(x, kernel, stride=2, output_padding=2))
    assert "padding is 'same'" in _said(lambda: ops.conv_transpose(x, kernel, padding="same"))
    assert "leaves nothing" in _said(lambda: ops.conv_transpose(x, kernel, padding=3))
    assert "reads 5" in _said(lambda: ops.conv_transpose(x, kernel.swapaxes(2, 3)))


def test_multiplies_are_counted_from_one_equation():
    jaxpr = jax.make_jaxpr(lambda x, k: ops.conv(x, k, padding=2))(jnp.zeros((1, 32, 32, 3)), jnp.zeros((5, 5, 3, 10)))
    counts = [ops.multiplies(equation) for equation in jaxpr.eqns]
    assert [count for count in counts if count] == [32 * 32 * 10 * 75]


@pytest.mark.parametrize(("padding", "mode"), [("circular", "wrap"), ("reflect", "mirror")])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_border_that_goes_on_is_scipys(padding, mode, stride):
    x, kernel = np.random.default_rng(3).normal(size=(9, 12)), np.random.default_rng(4).normal(size=(3, 5))
    expected = scipy.ndimage.correlate(x, kernel, mode=mode)

    @jax.jit
    def both(x, kernel):
        pair = x[None, ..., None], kernel[..., None, None]
        return ops.conv(*pair, padding=padding)[0, ..., 0], ops.conv(*pair, padding=padding, stride=stride)

    found, strided = both(x, kernel)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert strided.shape[1:3] == (-(-9 // stride), -(-12 // stride))


def test_a_circular_convolution_and_a_shift_may_change_places():
    x, kernel = np.random.default_rng(5).normal(size=(1, 8, 8, 2)), np.random.default_rng(6).normal(size=(3, 3, 2, 3))
    circular = jax.jit(lambda x: ops.conv(x, kernel, padding="circular"))
    moved = circular(np.roll(x, (3, 5), (1, 2)))
    np.testing.assert_allclose(moved, np.roll(circular(x), (3, 5), (1, 2)), atol=1e-6)


def test_a_map_too_small_to_be_mirrored_is_refused():
    with pytest.raises(ValueError, match="too small to be mirrored"):
        ops.conv(np.zeros((1, 2, 9, 1)), np.zeros((5, 5, 1, 1)), padding="reflect")
