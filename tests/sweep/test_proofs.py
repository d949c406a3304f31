"""Long proofs of sweeps, at their full size."""

import pytest

from cnnjax.config import load
from cnnjax.sweep.local import run_sweep
from cnnjax.sweep.search import evolve
from cnnjax.sweep.space import log_uniform, sample
from cnnjax.sweep.table import table_of

FLAGS = ("--config.data.holdout=400", "--config.train.epochs=10", "--config.report.curves=false")


@pytest.mark.proofs
def test_a_population_is_at_least_as_good_as_as_many_fixed_rates_over_four_decades(at_home, tmp_path):
    config = load("configs/digits.py", (*FLAGS, "--config.report.tensorboard=false", "--config.report.page=false"))
    space = {"optimizer.lr": log_uniform(1e-4, 1.0)}
    points = [{**point, "seed": k} for k, point in enumerate(sample(space, 16))]
    assert not run_sweep(config, points, tmp_path / "fixed")
    _, dead = evolve(config, space, tmp_path / "population", members=16)
    assert not dead
    fixed, population = (table_of(tmp_path / name) for name in ("fixed", "population"))
    for table in (fixed, population):
        print([round(row["eval.accuracy"], 4) for row in table.rows], [row["test.accuracy"] for row in table.rows[:3]])
    assert population.rows[0]["eval.accuracy"] >= fixed.rows[0]["eval.accuracy"]
