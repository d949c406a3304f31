"""Updates that are not finite: skipped, rolled back, given up; the parameters never know of them."""

import json

import jax
import numpy as np
import pytest

import cnnjax
from cnnjax.config import augmentation, change, experiment, section
from cnnjax.data.stream import order
from cnnjax.train.loop import Diverged, Preempted
from tests.train.test_resume import StopAt
from tests.trainings import lines, same

COUNT, BATCH, STEPS = 1437, 64, 20

pytestmark = pytest.mark.usefixtures("once")


def config(**spoil):
    """A short run whose batches are spoiled as the options of `spoil` say."""
    return experiment(
        data=section("data", "digits"),
        model=section("models", "mlp", hidden=(32,), norm="batch"),
        task=section("tasks", "classification"),
        augment=augmentation(train=("normalize", "tests.train.poison:spoil"), eval=("normalize",), spoil=spoil),
        optimizer=section("optimizers", "adam", lr=2e-3),
        schedule=section("schedules", "constant"),
        train={"steps": STEPS, "batch": BATCH, "devices": 1},
        eval={"steps": 20},
        checkpoint={"steps": 8},
        report={"page": False, "steps": 4, "quiet": True, "tensorboard": False, "curves": False},
    )


def spoiled(first, count):
    """Options that spoil one example in each of `count` batches from step `first` on; all lie in one epoch."""
    index, epoch = zip(*(order(COUNT, BATCH, first + i, seed=0) for i in range(count)), strict=True)
    assert len(set(np.concatenate(epoch))) == 1
    return {"epoch": float(epoch[0][0]), **{name: float(rows[0]) for name, rows in zip("abc", index, strict=False)}}


def finite(state):
    return all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves((state.params, state.model_state)))


def events(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines() if '"event"' in line]


@pytest.fixture(scope="module")
def rolled(once, tmp_path_factory):
    """A run of three bad updates in a row: its state is frozen after step 13, which is noticed at the stop of 16."""
    return cnnjax.run(config(**spoiled(10, 3)), tmp_path_factory.mktemp("rolled"))


@pytest.mark.parametrize("count", [1, 2])
def test_bad_updates_fewer_than_three_in_a_row_are_skipped_and_counted(count, tmp_path):
    trained = cnnjax.run(config(**spoiled(10, count)), tmp_path)
    assert finite(trained.state)
    assert (int(trained.state.bad), int(trained.state.rollbacks), int(trained.state.step)) == (count, 0, STEPS)


def test_three_in_a_row_roll_back_to_the_last_good_state_and_go_on_past_them(rolled):
    assert finite(rolled.state)
    # the checkpoint of step 8 is the last good one; the batches of steps 8 to 12 are gone past
    assert int(rolled.state.rollbacks) == 1
    assert int(rolled.state.skipped) == 13 - 8
    (event,) = events(rolled.workdir)
    assert (event["step"], event["name"], event["tripped"]) == (8, "rolled back", 13)
    steps = [line["step"] for line in lines(rolled.workdir) if line["kind"] == "train"]
    assert steps == list(range(4, STEPS + 1, 4))


def test_a_bad_window_before_the_first_checkpoint_rolls_back_to_the_start(tmp_path):
    trained = cnnjax.run(config(**spoiled(1, 3)), tmp_path)
    assert int(trained.state.skipped) == 4
    assert finite(trained.state)


def test_bad_batches_for_ever_end_with_exit_code_4_and_a_good_state(tmp_path):
    with pytest.raises(Diverged, match=r"3 updates in a row were not finite, steps \d+ to \d+ \(examples ") as caught:
        cnnjax.run(config(always=1.0), tmp_path)
    assert caught.value.exit_code == 4
    assert json.loads((tmp_path / "status.json").read_text())["status"] == "diverged"


def test_a_learning_rate_that_blows_up_never_leaves_a_parameter_that_is_not_finite(tmp_path):
    with pytest.raises(Diverged, match=r"lower optimizer.lr \(1e\+30\)"):
        cnnjax.run(change(config(), {"optimizer.lr": 1e30}), tmp_path)


def test_the_numbers_after_a_roll_back_do_not_depend_on_when_it_is_noticed(rolled, tmp_path):
    at_once = cnnjax.run(change(config(**spoiled(10, 3)), {"report.steps": 1}), tmp_path)
    same(at_once.state.params, rolled.state.params)


def test_a_run_stopped_while_its_state_is_frozen_is_resumed_and_rolls_back_as_if_it_had_not_been(
    rolled, tmp_path, monkeypatch
):
    made = config(**spoiled(10, 3))
    with monkeypatch.context() as patch:
        StopAt(14, patch)
        with pytest.raises(Preempted, match=f"at step 14 of {STEPS}"):
            cnnjax.run(made, tmp_path)
    same(cnnjax.run(made, tmp_path).state, rolled.state)
    assert lines(tmp_path) == lines(rolled.workdir)
