"""Optimizers, schedules and tasks: every numeric option is an argument of the program, and does what it says."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnnjax import tasks
from cnnjax.data import Facts
from cnnjax.train import optimizers, schedules

FACTS = Facts(shape=(8, 8, 1), classes=3, extra={"segment_names": ("0", "1", "2")})


def numeric(entry):
    """The names of an entry's options that are traced."""
    return [name for name, p in inspect.signature(entry).parameters.items() if p.annotation is float]


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


@pytest.mark.parametrize(("entry", "option"), cases(tasks, ["classification", "segmentation", "gan"]))
def test_a_task_is_traced_once_for_two_values_of_a_numeric_option(entry, option):
    traces = []
    image = jnp.full((2, 8, 8, 1), 0.5)
    fields = {"image": image, "label": jnp.array([0, 1]), "segments": jnp.zeros((2, 8, 8), int), "valid": jnp.ones(2)}
    wide = {"classification": jnp.ones((2, 3)), "segmentation": jnp.ones((2, 8, 8, 3)), "gan": image}[entry.__name__]

    def net(params, inputs, key, *, train, part="", state=()):
        return (wide if part != "discriminator" else jnp.ones((2, 1))), {}

    @jax.jit
    def loss(value):
        traces.append(value)
        task = entry(FACTS, **{option: value})
        return task.loss(net, {"discriminator": {}}, fields, jax.random.key(0), {})[0]

    assert np.isfinite(loss(jnp.float32(0.1))).all()
    loss(jnp.float32(0.2))
    assert len(traces) == 1


@pytest.mark.parametrize("name", schedules.__all__)
def test_a_schedule_stays_in_its_range_and_none_but_the_triangle_rises(name):
    factors = np.array([getattr(schedules, name)(jnp.float32(p)) for p in np.linspace(0, 1, 21)])
    assert factors.min() >= -1e-6
    assert factors.max() <= 1 + 1e-6
    if name != "triangle":
        assert factors[0] == pytest.approx(1)
        assert (np.diff(factors) <= 1e-6).all()


def test_schedules_end_where_they_say():
    assert float(schedules.cosine(jnp.float32(1.0), floor=0.1)) == pytest.approx(0.1)
    assert float(schedules.exponential(jnp.float32(1.0), last=0.01)) == pytest.approx(0.01, rel=1e-3)
    assert float(schedules.multistep(jnp.float32(0.6))) == pytest.approx(0.1)
    assert float(schedules.triangle(jnp.float32(0.23))) == pytest.approx(1.0)
    assert float(schedules.triangle(jnp.float32(1.0))) == pytest.approx(0.07)


@pytest.mark.parametrize("name", optimizers.__all__)
def test_an_optimizer_brings_a_small_loss_down(name):
    entry = getattr(optimizers, name)
    transformation = entry(lr={"lars": 30.0, "adagrad": 0.1, "sgd": 0.05}.get(name, 0.02))
    target = jnp.arange(6.0).reshape(3, 2) / 6

    def loss(params):
        return jnp.sum((params["kernel"] - target) ** 2)

    params = {"kernel": jnp.ones((3, 2)), "bias": jnp.zeros(2)}
    state = transformation.init(params)
    before = loss(params)
    for _ in range(40):
        updates, state = transformation.update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
    assert loss(params) < before / 2


def test_decay_touches_what_it_is_told_to():
    params = {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}
    nothing = jax.tree.map(jnp.zeros_like, params)
    for decay_on, bias in (("all", -0.1), ("kernels", 0.0)):
        transformation = optimizers.sgd(lr=1.0, decay=0.1, decay_on=decay_on)
        updates, _ = transformation.update(nothing, transformation.init(params), params)
        np.testing.assert_allclose(updates["bias"], bias)
        np.testing.assert_allclose(updates["kernel"], -0.1)
    with pytest.raises(ValueError, match=r"optimizer\.decay_on is 'biases'; it must be one of kernels, all"):
        optimizers.sgd(decay_on="biases")
