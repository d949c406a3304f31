"""Early stopping and the schedule that waits: what evaluations leave behind, resumed bit for bit, packs included."""

import json
import shutil

import jax
import numpy as np
import pytest

import cnnjax
from cnnjax.config import ConfigError, change
from cnnjax.runs.checkpoints import Checkpoints
from cnnjax.sweep.local import run_sweep
from cnnjax.sweep.points import packs_of, resolved
from cnnjax.train.loop import Preempted
from cnnjax.train.watching import Watch, nothing_seen
from tests.sweep.points import alike, get_config, lines
from tests.train.test_resume import StopAt, same

pytestmark = pytest.mark.usefixtures("once")

# The net learns nothing after the first evaluations: its loss is no better, its accuracy neither.
STILL = {
    "model.norm": "none",
    "optimizer.lr": 0.0,
    "optimizer.ema": 0.0,
    "schedule.warmup_steps": 0,
    "eval.steps": 2,
    "report.steps": 2,
}


def config(**changes):
    return change(get_config(), {**STILL, "checkpoint.steps": 6, **changes})


def waiting(**changes):
    return config(**{"schedule.name": "plateau", "schedule.patience": 2, "schedule.gamma": 0.5, **changes})


@pytest.fixture(scope="module")
def impatient(once, tmp_path_factory):
    """A run without progress that three evaluations end."""
    return cnnjax.run(config(**{"train.patience": 3}), tmp_path_factory.mktemp("impatient") / "run")


def rates(workdir):
    return [line["lr"] for line in lines(workdir) if line["kind"] == "train"]


def test_patience_counts_evaluations_in_a_row_that_are_no_better():
    memory, watch = nothing_seen(), Watch("loss", False, patience=3, drop_after=2)
    seen = []
    for step, loss in enumerate([2.0, 1.0, 1.0, 1.5, float("nan"), 1.2, 0.5, 0.6], 1):
        memory = watch.after(memory, step, {"loss": loss})
        memory = watch.after(memory, step, {"loss": 99.0})  # measured again, it is counted once
        seen.append((float(memory["best"]), int(memory["stale"]), int(memory["drops"]), watch.exhausted(memory)))
    best, stale, drops, exhausted = zip(*seen, strict=True)
    assert best == (2, 1, 1, 1, 1, 1, 0.5, 0.5)
    assert stale == (0, 0, 1, 2, 3, 4, 0, 1)
    assert drops == (0, 0, 0, 1, 1, 2, 2, 2)
    assert exhausted == (False,) * 4 + (True,) * 2 + (False,) * 2
    with pytest.raises(ConfigError, match=r"checkpoint\.metric is 'los'; nearest: loss"):
        Watch("los", False, patience=3).after(nothing_seen(), 1, {"loss": 1.0})


def test_a_run_without_progress_ends_early_whole_and_for_good(impatient, tmp_path):
    trained, tmp_path = impatient, shutil.copytree(impatient.workdir, tmp_path / "run")
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["status"], status["step"], status["steps"]) == ("complete", 8, 24)
    assert int(trained.state.step) == 8
    assert set(trained.metrics["test"]) == {"loss", "accuracy"}
    before = lines(tmp_path)
    assert [line["name"] for line in before if line["kind"] == "event"] == ["stopped early"]
    assert before[-1]["split"] == "test"
    assert before[-1]["step"] == 8
    again = cnnjax.run(config(**{"train.patience": 3}), tmp_path)
    same(again.state, trained.state)
    assert lines(tmp_path) == before
    further = cnnjax.run(config(**{"train.patience": 5}), tmp_path, allow_changes=True)
    assert int(further.state.step) == 12


def test_the_rate_falls_where_evaluations_get_no_better_and_a_stopped_run_knows_how_far_it_was(tmp_path, monkeypatch):
    made = waiting(**{"train.patience": 6})
    straight = cnnjax.run(made, tmp_path / "straight")
    assert float(straight.state.watch["drops"]) == 3
    with monkeypatch.context() as patch:
        StopAt(7, patch)
        with pytest.raises(Preempted, match="at step 7"):
            cnnjax.run(made, tmp_path / "stopped")
    resumed = cnnjax.run(made, tmp_path / "stopped")
    same(resumed.state, straight.state)
    assert lines(tmp_path / "stopped") == lines(tmp_path / "straight")


def test_the_factor_is_gamma_to_the_number_of_drops(tmp_path):
    made = waiting(**{"optimizer.lr": 1e-12})
    cnnjax.run(made, tmp_path)
    drops = np.array([0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5])
    np.testing.assert_allclose(rates(tmp_path), 1e-12 * 0.5**drops, rtol=1e-5)


POINTS = [{"train.patience": 3}, {"train.patience": 5, "seed": 1}, {"schedule.patience": 1}]


@pytest.fixture(scope="module")
def alone(once, tmp_path_factory):
    """The points, each trained by itself."""
    runs = resolved(waiting(), POINTS, tmp_path_factory.mktemp("alone"))
    return {run.name: cnnjax.run(run.config, run.workdir) for run in runs}


@pytest.mark.parametrize("strategy", [pytest.param("turns", marks=pytest.mark.proofs), "vmap"])
def test_members_of_a_pack_stop_and_slow_down_each_for_itself(strategy, alone, tmp_path):
    (pack,) = packs_of(resolved(waiting(), POINTS, tmp_path))  # one program
    assert not run_sweep(waiting(), POINTS, tmp_path, strategy=strategy, say=lambda _: None)
    for run in pack.runs:
        solo = alone[run.name]
        assert alike(lines(run.workdir), lines(solo.workdir), exact=strategy == "turns"), run.name
        with Checkpoints(run.workdir) as checkpoints:
            step, state, _ = checkpoints.restore(solo.state)
        assert step == run.status["step"] == int(solo.state.step)
        assert jax.device_get(state.watch) == jax.device_get(solo.state.watch)
    assert [run.status["step"] for run in pack.runs] == [8, 12, 24]


def test_nothing_is_selected_by_the_test_set(tmp_path):
    for changes, option in (({"train.patience": 2}, "train.patience is 2"), ({}, "schedule.name is 'plateau'")):
        made = (config if changes else waiting)(**{"data.holdout": 0, **changes})
        with pytest.raises(ConfigError, match=rf"{option}, but nothing is held out.*\n.*data.holdout=200"):
            cnnjax.run(made, tmp_path)


def test_when_it_looks_matters_to_a_run_that_stops_by_what_it_sees(impatient):
    with pytest.raises(ConfigError, match=r"eval\.steps: 2 → 3"):
        cnnjax.run(config(**{"train.patience": 3, "eval.steps": 3}), impatient.workdir)


def test_checkpoints_from_before_evaluations_were_counted_are_restored(impatient, tmp_path):
    with Checkpoints(tmp_path / "old") as checkpoints:
        checkpoints.save(8, impatient.state.replace(watch={}), wait=True)
        step, state, _ = checkpoints.restore(impatient.state.replace(watch=nothing_seen()))
    assert step == 8
    assert int(state.watch["stale"]) == 0


def test_the_best_checkpoint_by_a_loss_is_that_of_the_least(tmp_path):
    made = config(**{"optimizer.lr": 0.03, "checkpoint.metric": "loss", "checkpoint.steps": 2})
    cnnjax.run(made, tmp_path)
    losses = {line["step"]: line["loss"] for line in lines(tmp_path) if line.get("split") == "eval"}
    assert int(cnnjax.load(tmp_path).state.step) == min(losses, key=losses.get)
