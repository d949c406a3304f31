"""Forecasts are scored in the data's own unit, beside forecasts that come with the data."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.fields import Facts
from cnnjax.tasks import forecasting

DRAWS = np.random.default_rng(0)
MEAN, STD = np.float32([50, -3]), np.float32([4, 2])
FACTS = Facts(
    "series",
    fields={"series": ((6, 2), np.float32), "target": ((4, 2), np.float32), "references": ((1, 4, 2), np.float32)},
    black=tuple(-MEAN / STD),
    white=tuple((1 - MEAN) / STD),
    extra={"reference_names": ("naive",), "seasonal_error": (2.0, 0.5)},
)


def batch_of(count):
    raw = (MEAN + STD * DRAWS.normal(size=(count, 10, 2))).astype(np.float32)
    naive = raw[:, None, 2:6]
    series = (raw[:, :6] - MEAN) / STD  # as the evaluation pipeline leaves it
    return {"series": series, "target": raw[:, 6:], "references": naive, "valid": np.ones(count, np.float32)}


def test_the_measures_are_those_of_plain_loops_in_the_units_of_the_data():
    task, batch = forecasting(FACTS), batch_of(7)
    outputs = DRAWS.normal(size=(7, 8)).astype(np.float32)
    sums = jax.jit(task.tally)(outputs, batch)
    found = task.summarize(jax.tree.map(np.asarray, sums), {})
    for suffix, told in (("", outputs.reshape(7, 4, 2) * STD + MEAN), ("_naive", batch["references"][:, 0])):
        off, square, share, scaled = [], [], [], []
        for i, j, c in np.ndindex(7, 4, 2):
            guess, truth = float(told[i, j, c]), float(batch["target"][i, j, c])
            off.append(abs(guess - truth))
            square.append(off[-1] ** 2)
            share.append(200 * off[-1] / (abs(guess) + abs(truth)))
            scaled.append(off[-1] / FACTS.extra["seasonal_error"][c])
        for name, values in (("mae", off), ("mse", square), ("smape", share), ("mase", scaled)):
            assert found[name + suffix] == pytest.approx(np.mean(values), rel=1e-5), name
    assert found["mae_by_step"].shape == (2, 4)
    np.testing.assert_allclose(found["mae_by_step"].mean(1), [found["mae"], found["mae_naive"]], rtol=1e-5)
    assert task.metric == "mae"
    assert not task.higher


@pytest.mark.parametrize("around", ["last", "mean"])
def test_around_a_level_a_series_that_is_lifted_is_forecast_as_much_higher(around):
    task, batch = forecasting(FACTS, around=around, scaled=True), batch_of(3)

    def net(params, fields, key):
        return jnp.tanh(fields["series"]).reshape(3, -1)[:, :8], {}

    def told(lift):
        fields = {**batch, "series": batch["series"] + lift / STD}
        return task.predict(task.forward(net, {}, fields, jax.random.key(0))[0], fields)["target"]

    found, lifted = jax.jit(told)(np.zeros(2, np.float32)), jax.jit(told)(np.float32([100, -7]))
    np.testing.assert_allclose(lifted - found, np.broadcast_to([100, -7], (3, 4, 2)), rtol=1e-4)


def test_without_references_and_without_a_season_the_plain_measures_are_left():
    facts = dataclasses.replace(FACTS, extra={})
    batch = {name: value for name, value in batch_of(5).items() if name != "references"}
    task = forecasting(facts, criterion="huber")
    sums = jax.jit(task.tally)(np.zeros((5, 8), np.float32), batch)
    assert set(task.summarize(sums, {})) == {"mae", "mse", "smape", "mae_by_step"}


def test_data_without_a_target_in_the_series_columns_is_refused():
    fields = {"series": ((6, 2), np.float32), "target": ((4, 1), np.float32)}
    with pytest.raises(ValueError, match=r"needs a target \(L, 2\) of a series; the data has series \(6, 2\)"):
        forecasting(dataclasses.replace(FACTS, fields=fields))
    with pytest.raises(ValueError, match=r"task.name is 'forecasting', which needs series, target;"):
        forecasting(dataclasses.replace(FACTS, fields={"series": ((6, 2), np.float32)}))
    with pytest.raises(ValueError, match=r"the net's outputs are \(5, 4, 8\); forecasting needs \(B, 8\)"):
        forecasting(FACTS).predict(np.zeros((5, 4, 8)), {})
