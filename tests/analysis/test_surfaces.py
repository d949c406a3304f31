"""Planes, ways and curvature where they are known: of quadratics, and of a small net's whole Hessian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.analysis import (
    filter_normalized,
    hessian_eigenvalues,
    hessian_trace,
    interpolation,
    landscape,
    trajectory,
)

NUMBERS = np.random.default_rng(0)
NOTHING = np.zeros(1, np.float32)  # a batch of one example that is not looked at
KEY = jax.random.key(0)


def bowl(params, batch):
    """x² + 10 y²."""
    return params["x"] ** 2 + 10 * params["y"] ** 2 + batch


def at(x, y):
    return {"x": np.float32(x), "y": np.float32(y)}


def test_a_plane_through_the_minimum_has_elliptic_contours():
    found = landscape(bowl, at(0, 0), NOTHING, (at(1, 0), at(0, 10**-0.5)), extent=2.0, points=9)
    a, b = np.meshgrid(found.places, found.places)
    np.testing.assert_allclose(found.losses, a**2 + b**2, atol=1e-5)  # 1 : √10 is a circle in these directions
    assert found.places[4] == 0


def test_the_way_between_two_minima_has_a_barrier_and_a_bowl_has_none():
    def wells(params, batch):
        return (params["x"] ** 2 - 1) ** 2 + batch

    found = interpolation(wells, {"x": np.float32(-1)}, {"x": np.float32(1)}, NOTHING, points=11, beyond=0.5)
    assert found.barrier == pytest.approx(1)
    np.testing.assert_allclose(found.losses, ((2 * found.shares - 1) ** 2 - 1) ** 2, atol=1e-5)
    assert {0.0, 1.0} < set(found.shares)
    assert interpolation(bowl, at(1, 0), at(0, 1), NOTHING).barrier == 0


def test_a_direction_is_as_long_as_each_filter_and_moves_no_bias():
    params = {"kernel": NUMBERS.normal(size=(3, 3, 2, 4)).astype(np.float32), "bias": np.ones(4, np.float32)}
    params["kernel"][..., 1] *= 100
    found = filter_normalized(KEY, params)
    np.testing.assert_allclose(
        np.linalg.norm(found["kernel"].reshape(-1, 4), axis=0),
        np.linalg.norm(params["kernel"].reshape(-1, 4), axis=0),
        rtol=1e-5,
    )
    assert not found["bias"].any()


def test_a_training_that_ran_in_a_plane_is_found_there():
    plane, _ = np.linalg.qr(NUMBERS.normal(size=(12, 2)))
    places = NUMBERS.normal(size=(6, 2)) @ np.diag([3, 1])
    rows = places @ plane.T + 5
    found = trajectory([{"a": row[:8].reshape(2, 4), "b": row[8:]} for row in rows])
    assert found.share.sum() == pytest.approx(1)
    assert found.share[0] > found.share[1]
    directions = np.stack([np.concatenate([d["a"].reshape(-1), d["b"]]) for d in found.directions])
    np.testing.assert_allclose(found.places @ directions + rows[-1], rows, atol=1e-10)
    assert not found.places[-1].any()
    with pytest.raises(ValueError, match="there are 2 checkpoints; a plane takes three"):
        trajectory([{}, {}])


def test_eigenvalues_and_trace_of_a_quadratic_are_exact():
    turn, _ = np.linalg.qr(NUMBERS.normal(size=(6, 6)))
    values = np.array([9.0, 4.0, 1.0, 0.5, -0.25, -2.0])
    matrix = (turn * values @ turn.T).astype(np.float32)

    def quadratic(params, batch):
        flat = jnp.concatenate([params["a"].reshape(-1), params["b"]])
        return 0.5 * flat @ batch["matrix"][0] @ flat + batch["zero"]

    params = {"a": np.ones((2, 2), np.float32), "b": np.ones(2, np.float32)}
    batch = {"matrix": matrix[None], "zero": NOTHING}
    found = hessian_eigenvalues(KEY, quadratic, params, batch)
    np.testing.assert_allclose(found.values, values, atol=1e-4)
    assert found.weights.sum() == pytest.approx(1)
    trace = hessian_trace(KEY, quadratic, params, batch, draws=400)
    assert abs(trace.value - values.sum()) < 4 * trace.error
    diagonal = hessian_trace(
        KEY, quadratic, params, batch | {"matrix": np.diag(values).astype(np.float32)[None]}, draws=400
    )
    assert (diagonal.value, diagonal.error) == pytest.approx((values.sum(), 0), abs=1e-5)


def test_the_top_eigenvalues_of_a_small_net_are_those_of_its_whole_hessian():
    x, y = NUMBERS.normal(size=(20, 3)).astype(np.float32), NUMBERS.integers(0, 2, 20)

    def loss(params, batch):
        logits = jnp.tanh(batch[0] @ params["first"]) @ params["second"]
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), batch[1][:, None], -1)[:, 0]

    params = {"first": NUMBERS.normal(size=(3, 5)), "second": NUMBERS.normal(size=(5, 2))}
    params = {name: leaf.astype(np.float32) for name, leaf in params.items()}

    def flat(vector):
        split = {"first": vector[:15].reshape(3, 5), "second": vector[15:].reshape(5, 2)}
        return jnp.mean(loss(split, (x, y)))

    start = np.concatenate([leaf.reshape(-1) for leaf in params.values()])
    whole = np.linalg.eigvalsh(np.asarray(jax.jit(jax.hessian(flat))(start), np.float64))[::-1]
    found = hessian_eigenvalues(KEY, loss, params, (x, y), steps=14)
    np.testing.assert_allclose(found.values[:3], whole[:3], rtol=1e-3)
    assert found.values[-1] == pytest.approx(whole[-1], rel=1e-2)
    assert hessian_eigenvalues(KEY, loss, params, (x, y), steps=2).values[0] <= whole[0] + 1e-5
