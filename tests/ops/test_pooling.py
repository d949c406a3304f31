"""Pooling against loops over windows, and the worked examples of the lectures."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from jax.test_util import check_grads

from cnnjax import ops
from tests.ops.references import pool as looped


@st.composite
def problems(draw):
    n = draw(st.integers(1, 3))
    side = st.integers(1, 3)
    window, stride, dilation = (tuple(draw(side) for _ in range(n)) for _ in range(3))
    pads = tuple(draw(st.integers(0, (k - 1) * d // 2)) for k, d in zip(window, dilation, strict=True))
    sizes = [
        draw(st.integers(max(1, (k - 1) * d + 1 - 2 * p), 7)) for k, d, p in zip(window, dilation, pads, strict=True)
    ]
    numbers = np.random.default_rng(draw(st.integers(0, 99)))
    x = numbers.normal(size=(draw(st.integers(1, 2)), *sizes, draw(st.integers(1, 3)))).astype(np.float32)
    return x, window, {"stride": stride, "padding": pads, "dilation": dilation}, draw(st.booleans())


def _pairs(x, window, options, ceil):
    """The padding with which every window is whole, and the number of places, counted by walking."""
    pairs = []
    for m, k, s, p, d in zip(
        x.shape[1:-1], window, options["stride"], options["padding"], options["dilation"], strict=True
    ):
        starts = [i for i in range(0, m + 2 * p, s) if i + (k - 1) * d + 1 <= m + 2 * p]
        following = starts[-1] + s
        if ceil and following < m + p and following <= m + 2 * p - ((k - 1) * d + 1) + s - 1:
            starts.append(following)
        pairs.append((p, max(p, starts[-1] + (k - 1) * d + 1 - m - p)))
    return pairs


@hypothesis.given(problems())
def test_pools_are_the_loops_that_define_them(problem):
    x, window, options, ceil = problem
    pairs = _pairs(x, window, options, ceil)
    pools = ops.max_pool, ops.lp_pool
    for found, reduce, fill in zip(
        jax.jit(lambda x: [pool(x, window, ceil=ceil, **options) for pool in pools])(x),
        (lambda patch: patch.max(1), lambda patch: np.sqrt((patch**2).sum(1))),
        (-np.inf, 0),
        strict=True,
    ):
        expected = looped(x, reduce, window, options["stride"], pairs, options["dilation"], fill)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@hypothesis.given(problems(), st.booleans())
def test_an_average_counts_pixels_or_the_asked_padding_but_never_the_overhang(problem, count_padding):
    x, window, options, ceil = problem
    pairs = _pairs(x, window, options, ceil)
    real = np.ones_like(x)
    counted = np.pad(real, [(0, 0), *((p, p) for p in options["padding"]), (0, 0)]) * 0 + 1 if count_padding else real
    kept = [(a - p, b - p) for (a, b), p in zip(pairs, options["padding"], strict=True)] if count_padding else pairs
    total = looped(x, lambda patch: patch.sum(1), window, options["stride"], pairs, options["dilation"], 0)
    count = looped(counted, lambda patch: patch.sum(1), window, options["stride"], kept, options["dilation"], 0)
    y = jax.jit(lambda x: ops.avg_pool(x, window, ceil=ceil, count_padding=count_padding, **options))(x)
    np.testing.assert_allclose(y, total / np.maximum(count, 1), rtol=1e-5, atol=1e-5)


def test_the_lectures_two_by_two_pool_comes_out():
    x = np.arange(9.0).reshape(1, 3, 3, 1)
    pools = jax.jit(lambda x: (ops.max_pool(x, 2, stride=1), ops.max_pool(x, 2, ceil=True)))(x)
    assert [pool.squeeze().tolist() for pool in map(np.asarray, pools)] == [[[4, 5], [7, 8]]] * 2
    assert jax.jit(lambda x: ops.max_pool(x, 2))(np.zeros((1, 224, 224, 64))).shape == (1, 112, 112, 64)


@pytest.mark.parametrize(("window", "stride"), [(2, 2), (3, 2), (2, 1)])
def test_of_equal_values_the_first_in_window_order_has_the_whole_gradient(window, stride):
    x = np.random.default_rng(0).integers(0, 2, (2, 7, 7, 3)).astype(np.float32)
    places = (7 - window) // stride + 1
    seed = np.random.default_rng(1).normal(size=(2, places, places, 3))
    expected = np.zeros(x.shape)
    for b, i, j, c in np.ndindex(*seed.shape):
        patch = x[b, i * stride : i * stride + window, j * stride : j * stride + window, c]
        di, dj = np.unravel_index(patch.argmax(), patch.shape)
        expected[b, i * stride + di, j * stride + dj, c] += seed[b, i, j, c]
    back = jax.jit(lambda x, seed: jax.vjp(lambda x: ops.max_pool(x, window, stride=stride), x)[1](seed)[0])
    np.testing.assert_allclose(back(x, seed.astype(np.float32)), expected, rtol=1e-5, atol=1e-5)


def test_a_pool_of_nan_is_nan():
    x = np.float32([1, np.nan, 2, 3]).reshape(1, 4, 1)
    assert np.isnan(jax.jit(lambda x: ops.max_pool(x, 2))(x)).tolist() == [[[True], [False]]]


def test_the_norm_of_a_dead_window_has_no_gradient():
    x = np.zeros((1, 4, 4, 1))
    pools = (lambda x: ops.lp_pool(x, 2).sum()), (lambda x: ops.global_pool(x, "lp").sum())
    np.testing.assert_array_equal(jax.jit(lambda x: [jax.grad(pool)(x) for pool in pools])(x), [x, x])
    with jax.enable_x64(True):
        alive = np.arange(16.0).reshape(x.shape) + 1
        check_grads(jax.jit(lambda x: ops.lp_pool(x, 2, p=3.0)), (alive,), 2)


def test_three_turned_filters_under_one_maximum_answer_alike():
    five = np.array([[0, 1, 0], [0, 1, 1], [0, 0, 1]], np.float32)
    turns = np.stack([np.rot90(five, i) for i in range(3)], -1)[:, :, None]
    answer = jax.jit(lambda turn: ops.channel_pool(ops.conv(turn[None, :, :, None], turns), 1)[0, 0, 0, 0])
    assert [float(answer(turn)) for turn in np.moveaxis(turns[:, :, 0], -1, 0)] == [4.0] * 3


def test_adaptive_bins_cover_the_input_as_in_pytorch():
    x = np.arange(7.0).reshape(1, 7, 1)
    largest, mean = jax.jit(lambda x: (ops.adaptive_pool(x, 3, "max"), ops.adaptive_pool(x, 3)))(x)
    assert np.ravel(largest).tolist() == [2, 4, 6]
    assert np.ravel(mean).tolist() == [1, 3, 5]
    assert jax.jit(lambda x: ops.adaptive_pool(x, (1, 4)))(np.ones((2, 5, 9, 3))).shape == (2, 1, 4, 3)


def test_pyramids_and_global_pools_take_any_size():
    for sizes in ((4, 4), (9, 5)):
        pools = jax.jit(lambda x: (ops.pyramid_pool(x), ops.global_pool(x)))(np.ones((2, *sizes, 3)))
        assert [pool.shape for pool in pools] == [(2, 21 * 3), (2, 3)]
    assert jax.jit(lambda x: ops.global_pool(x, "max"))(np.arange(6.0).reshape(1, 6, 1)).item() == 5


def test_weights_that_decay_with_age_smooth_a_sensor():
    @jax.jit
    def smoothed(series, weights):
        pools = ops.weighted_pool(series, weights, stride=1), ops.weighted_pool(series, weights)
        return *(pool[0, :, 0] for pool in pools), ops.gaussian_window((3, 5), 1.0)

    each, apart, window = smoothed(np.arange(5.0).reshape(1, 5, 1), np.float32([0.1, 0.3, 0.6]))
    np.testing.assert_allclose(each, [1.5, 2.5, 3.5], rtol=1e-6)
    np.testing.assert_allclose(apart, [1.5], rtol=1e-6)  # the window's stride
    np.testing.assert_allclose(np.sum(window), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: ops.max_pool(x, 9), "window does not fit"),
        (lambda x: ops.max_pool(x, 0), "window is 0"),
        (lambda x: ops.max_pool(x, 2, stride=-1), "stride is -1"),
        (lambda x: ops.max_pool(x, 2, stride=0), "stride is 0; it must be at least 1"),
        (lambda x: ops.max_pool(x[0, 0], 2), "x has shape (8, 4)"),
        (lambda x: ops.global_pool(x, "mean"), "kind is 'mean'"),
        (lambda x: ops.channel_pool(x, 3), "groups is 3; it must divide the 4 channels"),
    ],
)
def test_what_cannot_be_pooled_is_refused(call, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (read below)
        call(np.zeros((1, 8, 8, 4), np.float32))
    assert words in str(caught.value)


def test_an_average_can_be_transposed_alone_and_pools_of_tiles_differentiated_thrice():
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    (spread,) = jax.jit(jax.linear_transpose(lambda x: ops.avg_pool(x, 2), x))(np.ones((2, 2, 2, 3), np.float32))
    np.testing.assert_array_equal(spread, np.full(x.shape, 0.25))

    def along(f):
        return lambda x: jax.jvp(f, (x,), (x,))[1]

    for pool in (ops.max_pool, ops.avg_pool):

        def cubic(x, pool=pool):
            return jnp.sum(pool(x, 2) ** 3)

        ways = cubic, along(along(along(cubic))), jax.hessian(cubic), jax.jacrev(jax.jacrev(cubic))
        once, thrice, forward, back = map(np.asarray, jax.jit(lambda x, ways=ways: [way(x) for way in ways])(x))
        np.testing.assert_allclose(thrice, 27 * once, rtol=1e-5)
        np.testing.assert_allclose(forward, back, atol=1e-5)


@pytest.mark.parametrize(("size", "window", "stride", "padding", "ceil"), [
    (28, 2, 2, 0, False), (7, 2, 2, 0, False), (7, 2, 2, 0, True), (56, 3, 2, 1, False), (55, 3, 2, 0, False),
])  # fmt: skip
def test_blurred_pooling_has_the_sizes_of_max_pooling(size, window, stride, padding, ceil):
    x = np.random.default_rng(0).normal(size=(1, size, size, 2)).astype(np.float32)
    options = {"stride": stride, "padding": padding, "ceil": ceil}
    blurred, largest = jax.jit(lambda x: [pool(x, window, **options) for pool in (ops.blur_pool, ops.max_pool)])(x)
    assert blurred.shape == largest.shape


def test_blurred_pooling_is_max_pooling_and_a_binomial_window():
    x = np.random.default_rng(0).normal(size=(8, 10)).astype(np.float32)
    dense = scipy.ndimage.maximum_filter(x, 2, origin=-1)[:-1, :-1]
    row = np.array([1, 2, 1]) / 4
    expected = scipy.ndimage.correlate(dense, np.outer(row, row), mode="mirror")[::2, ::2]
    found = jax.jit(lambda x: ops.blur_pool(x[None, ..., None], 2)[0, ..., 0])(x)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_blurred_pooling_changes_less_with_a_shift_of_one():
    x = scipy.ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(64, 64)), 1.0)[None, ..., None].astype(
        np.float32
    )

    def changed(pool):
        pooled = jax.jit(lambda x: pool(x, 2))
        a, b = np.asarray(pooled(x[:, :-1, :-1])), np.asarray(pooled(x[:, 1:, 1:]))
        return float(np.sum((a - b) ** 2) / np.sum(a**2))

    assert changed(ops.blur_pool) < 0.7 * changed(ops.max_pool)
