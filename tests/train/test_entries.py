"""Optimizers and schedules: every numeric option is an argument of the program, and does what it says."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnnjax.config.signatures import options_of
from cnnjax.train import optimizers, schedules


def numeric(entry):
    """The names of an entry's options that are traced."""
    return [name for name, option in options_of(entry).items() if option.numeric]


def cases(room, names):
    return [
        pytest.param(getattr(room, name), option, id=f"{name}-{option}")
        for name in names
        for option in numeric(getattr(room, name))
    ]


@pytest.mark.parametrize(("entry", "option"), cases(optimizers, optimizers.__all__))
def test_an_optimizer_is_traced_once_for_two_values_of_a_numeric_option(entry, option):
    traces = []
    params = {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}

    @jax.jit
    def step(value):
        traces.append(value)
        transformation = entry(**{option: value})
        updates, _ = transformation.update(jax.tree.map(jnp.ones_like, params), transformation.init(params), params)
        return updates

    first, second = step(jnp.float32(0.1)), step(jnp.float32(0.2))
    assert len(traces) == 1
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((first, second)))


@pytest.mark.parametrize(("entry", "option"), cases(schedules, schedules.__all__))
def test_a_schedule_is_traced_once_for_two_values_of_a_numeric_option(entry, option):
    traces = []

    @jax.jit
    def factor(value):
        traces.append(value)
        return entry(jnp.float32(0.4), **{option: value})

    assert 0 <= factor(jnp.float32(0.1)) <= 1
    factor(jnp.float32(0.2))
    assert len(traces) == 1


@pytest.mark.parametrize("name", schedules.__all__)
def test_a_schedule_stays_in_its_range_and_none_but_the_triangle_rises(name):
    factors = np.asarray(jax.jit(jax.vmap(getattr(schedules, name)))(np.linspace(0, 1, 21, dtype=np.float32)))
    assert factors.min() >= -1e-6
    assert factors.max() <= 1 + 1e-6
    if name != "triangle":
        assert factors[0] == pytest.approx(1)
        assert (np.diff(factors) <= 1e-6).all()


def test_schedules_end_where_they_say():
    @jax.jit
    def ends():
        return {
            "cosine": schedules.cosine(jnp.float32(1.0), floor=0.1),
            "exponential": schedules.exponential(jnp.float32(1.0), last=0.01),
            "multistep": schedules.multistep(jnp.float32(0.6)),
            "triangle": schedules.triangle(jnp.float32([0.23, 1.0])),
        }

    found = ends()
    assert float(found["cosine"]) == pytest.approx(0.1)
    assert float(found["exponential"]) == pytest.approx(0.01, rel=1e-3)
    assert float(found["multistep"]) == pytest.approx(0.1)
    assert found["triangle"] == pytest.approx([1.0, 0.07])


@pytest.mark.parametrize("name", optimizers.__all__)
def test_an_optimizer_brings_a_small_loss_down(name):
    entry = getattr(optimizers, name)
    transformation = entry(lr={"lars": 30.0, "adagrad": 0.1, "sgd": 0.05, "adadelta": 10.0}.get(name, 0.02))
    target = np.arange(6, dtype=np.float32).reshape(3, 2) / 6

    def loss(params):
        return ((params["kernel"] - target) ** 2).sum()

    def step(_, carry):
        params, state = carry
        updates, state = transformation.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    before = {"kernel": np.ones((3, 2), np.float32), "bias": np.zeros(2, np.float32)}
    steps = jax.jit(lambda params: jax.lax.fori_loop(0, 40, step, (params, transformation.init(params))))
    after, _ = steps(before)
    assert loss(jax.device_get(after)) < loss(before) / 2


def test_decay_touches_what_it_is_told_to():
    params = {"kernel": np.ones((3, 2), np.float32), "bias": np.ones(2, np.float32)}
    nothing = jax.tree.map(np.zeros_like, params)
    for decay_on, bias in (("all", -0.1), ("kernels", 0.0)):
        transformation = optimizers.sgd(lr=1.0, decay=0.1, decay_on=decay_on)
        move = jax.jit(lambda move=transformation: move.update(nothing, move.init(params), params))
        updates, _ = move()
        np.testing.assert_allclose(updates["bias"], bias)
        np.testing.assert_allclose(updates["kernel"], -0.1)
    with pytest.raises(ValueError, match=r"optimizer\.decay_on is 'biases'; allowed: all, kernels"):
        optimizers.sgd(decay_on="biases")


def test_adadelta_and_schedule_free_go_as_their_papers_write():
    """Algorithms in NumPy: Zeiler 2012 with the rate 1, Defazio 2024 on Adam without momentum."""
    gradients = np.random.default_rng(0).normal(size=(5, 3))
    begin = np.array([1.0, -2.0, 0.5])

    def moved(transformation):
        @jax.jit
        def step(params, state, gradient):
            updates, state = transformation.update(gradient, state, params)
            return optax.apply_updates(params, updates), state

        params, state = jnp.float32(begin), transformation.init(jnp.float32(begin))
        for gradient in gradients:
            params, state = step(params, state, jnp.float32(gradient))
        return np.asarray(params)

    x, of_gradients, of_steps = begin.copy(), 0.0, 0.0
    for gradient in gradients:
        of_gradients = 0.95 * of_gradients + 0.05 * gradient**2
        step = -np.sqrt(of_steps + 1e-6) / np.sqrt(of_gradients + 1e-6) * gradient
        of_steps = 0.95 * of_steps + 0.05 * step**2
        x = x + step
    np.testing.assert_allclose(moved(optimizers.adadelta()), x, rtol=1e-5)

    x = z = y = begin
    square = 0.0
    for t, gradient in enumerate(gradients, 1):
        square = 0.999 * square + 0.001 * gradient**2
        z = z - 0.1 * gradient / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)
        x = (1 - 1 / t) * x + z / t
        y = 0.9 * x + 0.1 * z
    np.testing.assert_allclose(moved(optimizers.schedule_free(lr=0.1)), y, rtol=1e-4)
