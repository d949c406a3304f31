"""Attributions judged: against plain loops, and by what a net that learned nothing leaves of them."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import spearmanr

from cnnjax.analysis import faithfulness, inside_share, judging, pointing_game, randomized, sanity
from tests.models.variants import filled
from tests.train.nets import layered

X = np.random.default_rng(1).random((2, 16, 16, 3), np.float32)
WEIGHT = np.random.default_rng(2).normal(size=(16 * 16 * 3, 3)).astype(np.float32)


def linear(x):
    return x.reshape(len(x), -1) @ WEIGHT


def blurry(images, sigma):
    return np.asarray(jax.jit(judging.blur, static_argnums=1)(images, sigma))


def test_the_share_inside_counts_what_is_positive():
    attribution = np.array([[[[1.0, 1.0], [-5.0, 1.0]], [[3.0, 1.0], [0.0, 0.0]]], np.full((2, 2, 2), -1.0)])
    masks = np.array([[[1, 1], [0, 0]], [[1, 1], [1, 1]]])
    np.testing.assert_array_equal(inside_share(attribution, masks), [2 / 6, np.nan])


def test_the_pointing_game_asks_where_the_largest_is():
    attribution = np.zeros((3, 8, 8, 1))
    attribution[0, 2, 3] = attribution[1, 5, 5] = attribution[2, 7, 7] = 1
    masks = np.zeros((3, 8, 8), bool)
    masks[:2, 2:4, 2:4] = True
    assert pointing_game(attribution, masks).tolist() == [True, False, False]
    assert pointing_game(attribution, masks, tolerance=2).tolist() == [True, False, False]
    assert pointing_game(attribution, masks, tolerance=3).tolist() == [True, True, False]  # 2√2 pixels away
    with pytest.raises(ValueError, match=r"attribution is \(3, 8, 8, 1\), masks are \(3, 8, 7\)"):
        pointing_game(attribution, masks[..., :7])


def test_deletion_and_insertion_are_those_of_a_plain_loop():
    attribution = np.random.default_rng(3).normal(size=(2, 16, 16, 1)).astype(np.float32)
    found = faithfulness(linear, X, np.array([1, 2]), attribution, steps=9, sigma=1.5)
    blurred = blurry(X, 1.5)
    for image in range(2):
        order = np.argsort(-attribution[image].ravel(), kind="stable")
        for step, share in enumerate(np.linspace(0, 1, 9)):
            chosen = np.zeros(256, bool)
            chosen[order[: round(share * 256)]] = True
            chosen = chosen.reshape(16, 16, 1)
            for name, x in (
                ("deletion", np.where(chosen, blurred[image], X[image])),
                ("insertion", np.where(chosen, X[image], blurred[image])),
            ):
                expected = softmax(linear(x[None]))[0, image + 1]
                assert getattr(found, name)[step, image] == pytest.approx(float(expected), rel=1e-4)
    np.testing.assert_allclose(found.deletion_area, np.trapezoid(found.deletion, found.shares, axis=0))
    np.testing.assert_allclose(found.deletion[0], found.insertion[-1], rtol=1e-5)


def test_what_the_answer_is_made_of_is_missed_sooner_than_anything_else():
    true = (X - blurry(X, 3.0)) * WEIGHT[:, 1].reshape(1, 16, 16, 3)
    areas = [faithfulness(linear, X, 1, given, sigma=3.0) for given in (true, -true)]
    assert (areas[0].deletion_area < areas[1].deletion_area).all()
    assert (areas[0].insertion_area > areas[1].insertion_area).all()


def test_a_blur_keeps_what_is_the_same_everywhere_up_to_the_edge():
    np.testing.assert_allclose(blurry(np.full((1, 9, 7, 2), 0.3, np.float32), 2.0), 0.3, rtol=1e-5)


def test_rank_correlations_are_scipys():
    numbers = np.random.default_rng(0)
    for a, b in ((numbers.random(50), numbers.random(50)), (numbers.integers(0, 4, 50), numbers.integers(0, 4, 50))):
        assert judging.rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert judging.rank_correlation(np.ones(5), np.arange(5)) == 0


def test_layers_are_drawn_anew_from_the_top_and_stay_drawn():
    net = layered(outputs=3)
    variables = filled(net, X.shape[1:])
    steps = list(randomized(jax.random.key(1), net, variables, X))
    assert [layer for layer, _ in steps] == ["head", "c3", "c1"]
    for done, (_, drawn) in enumerate(steps, 1):
        same = [
            np.array_equal(drawn["params"][layer]["kernel"], variables["params"][layer]["kernel"])
            for layer in ("head", "c3", "c1")
        ]
        assert same == [False] * done + [True] * (3 - done)


class Three(nn.Module):
    """Three layers on each other."""

    @nn.compact
    def __call__(self, x):
        x = x.reshape(len(x), -1)
        for _ in range(2):
            x = nn.relu(nn.Dense(4)(x))
        return nn.Dense(3)(x)


def test_nothing_is_left_of_the_weights_of_a_linear_function_and_all_of_what_the_image_alone_gives():
    class Linear(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3, name="layer")(x.reshape(len(x), -1))

    variables = jax.jit(Linear().init)(jax.random.key(0), X)
    found = sanity(jax.random.key(1), (Linear(), variables), X, 1)
    assert found.layers == ("layer",)
    assert found.correlation.shape == (1, 2)
    assert np.abs(found.correlation).max() < 0.25


def test_a_net_that_forgets_layer_by_layer_is_compiled_once():
    """Arrays that are bound to a device and such that are not would take a program each, layer by layer."""
    net, compiled = Three(), []
    variables = jax.jit(net.init)(jax.random.key(0), X)
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **more: compiled.append(more.get("fun_name")) if "backend_compile" in event else None
    )
    try:
        found = sanity(jax.random.key(1), (net, variables), X, 1)
    finally:
        jax.monitoring.clear_event_listeners()
    assert len(found.layers) == 3
    assert len(compiled) < 3 + len(found.layers), compiled
