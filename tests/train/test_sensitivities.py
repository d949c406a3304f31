"""Derivatives of the loss after some steps: those of two runs side by side, with every optimizer."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax.config import ConfigError, augmentation, change, experiment, numeric, section
from cnnjax.train import optimizers
from cnnjax.train.job import prepare
from cnnjax.train.sensitivities import arrays_of, differentiated, sensitivity

STEPS, EXAMPLES = 20, 60
OPTIONS = ("optimizer.lr", "optimizer.decay", "task.smoothing", "augment.brightness.strength")


def config(precision="float64"):
    """Not normalised: pixels that are black in every digit leave gradients of exactly 0."""
    return experiment(
        data=section("data", "digits"),
        model=section("models", "mlp", hidden=(6,), activation="tanh"),
        task=section("tasks", "classification", smoothing=0.1),
        augment=augmentation(train=("brightness",), eval=()),
        optimizer=section("optimizers", "adamw", lr=1e-2),
        schedule=section("schedules", "cosine", warmup_steps=3),
        train={"steps": 40, "batch": 8, "precision": precision, "devices": 1},
    )


def test_derivatives_are_those_of_two_runs_beside_each_other():
    with jax.enable_x64(True):
        prepared = prepare(config())
        program, data = differentiated(prepared, OPTIONS), arrays_of(prepared, STEPS, EXAMPLES)
        values = np.array([numeric(prepared.config)[path] for path in OPTIONS])
        slopes, (_, bad) = program(values, *data)
        assert not bad
        for k, path in enumerate(OPTIONS):
            way = np.eye(len(OPTIONS))[k] * 1e-4 * max(abs(values[k]), 0.01)
            ends = [float(program(values + sign * way, *data)[1][0]) for sign in (1, -1)]
            slope = (ends[0] - ends[1]) / (2 * way[k])
            assert abs(slope) > 1e-3, path
            # pictures are float32
            assert float(slopes[k]) == pytest.approx(slope, rel=1e-5 if "augment" in path else 1e-6), path


@pytest.mark.proofs
def test_the_loss_is_that_of_the_run_itself(tmp_path):
    plain = {"report.page": False, "report.tensorboard": False, "report.curves": False, "report.quiet": True}
    made = change(config("float32"), {"train.steps": 7, "eval.steps": 7, **plain})
    trained = cnnjax.run(made, tmp_path / "run")
    found = sensitivity(made, "optimizer.lr", steps=7)
    assert found.loss == pytest.approx(trained.measure("eval")["loss"], rel=1e-5)
    assert repr(found).startswith("loss 2.")


OTHERS = [pytest.param(name, marks=pytest.mark.proofs) for name in ("adagrad", "lars", "lion", "rmsprop", "sgd")]


@pytest.mark.parametrize("name", ["adam", "adamw", "lamb", *OTHERS])
def test_where_a_gradient_is_zero_an_optimizer_has_a_derivative(name):
    make = getattr(optimizers, name)
    defaults = {k: p.default for k, p in inspect.signature(make).parameters.items() if isinstance(p.default, float)}
    params = {"still": np.ones((2, 3), np.float32), "moved": np.full((2, 3), 0.5, np.float32)}
    ways = {"still": np.zeros((2, 3), np.float32), "moved": np.full((2, 3), 0.1, np.float32)}

    def moved(values, ways):
        optimizer = make(**dict(zip(defaults, values, strict=True)))
        updates, state = optimizer.update(ways, optimizer.init(params), params)
        return optimizer.update(ways, state, params)[0], updates

    values = [jnp.float32(value) for value in defaults.values()]
    tangents = [jnp.ones_like(value) for value in values], ways  # where a gradient is 0, it stays so
    slopes = jax.jit(lambda values, ways: jax.jvp(moved, (values, ways), tangents)[1])(values, ways)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


def test_an_option_that_has_no_derivative_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"options is 'optimizer\.rate'.*optimizer\.lr"):
        sensitivity(config("float32"), "optimizer.rate")
    with pytest.raises(ConfigError, match="options is empty"):
        sensitivity(config("float32"), ())


@pytest.mark.proofs
def test_a_training_that_bursts_has_no_derivative():
    burst = change(config("float32"), {"optimizer.name": "sgd", "optimizer.lr": 1e30})
    with pytest.raises(ConfigError, match="of 3 steps were not finite"):
        sensitivity(burst, ("optimizer.lr",), steps=3, examples=20)
