"""A run that stops and goes on is the run that never stopped: the same state, the same lines, bit for bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import cnnjax
from cnnjax.config import section
from cnnjax.runs.checkpoints import Checkpoints
from cnnjax.train.job import PreparedRun
from cnnjax.train.loop import Preempted
from tests.trainings import eventful, lines, same

STEPS = 24

pytestmark = pytest.mark.usefixtures("once")


def config(**changes):
    """Everything that could remember something: batch norm, dropout, crops, mixup, averages, momentum."""
    made = eventful(
        optimizer=section("optimizers", "adamw", lr=0.01, ema=0.9),
        holdout=100,
        train={"steps": STEPS, "batch": 64, "devices": 1},
        eval={"steps": 8},
        checkpoint={"steps": 5},
        report={"page": False, "steps": 4, "quiet": True, "tensorboard": False, "curves": False},
    )
    with made.unlocked():
        for path, value in changes.items():
            room, key = path.split("__")
            made[room][key] = value
    return made


@pytest.fixture(scope="module")
def straight(once, tmp_path_factory):
    """The run that nothing disturbs."""
    workdir = tmp_path_factory.mktemp("straight")
    return cnnjax.run(config(), workdir), lines(workdir)


class StopAt:
    """Asks the loop to stop before a step, as a signal would: by sending one."""

    def __init__(self, step, monkeypatch):
        from cnnjax.data.stream import Stream

        original = Stream.batches

        def batches(stream, t, *more):
            if t == step - 1:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.01)
            return original(stream, t, *more)

        monkeypatch.setattr(Stream, "batches", batches)


@pytest.mark.parametrize("step", [1, 21, *(pytest.param(k, marks=pytest.mark.proofs) for k in (6, 8, 22, STEPS - 1))])
def test_a_run_stopped_at_any_step_and_resumed_is_the_same_bit_for_bit(step, straight, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        StopAt(step, patch)
        with pytest.raises(Preempted, match=f"at step {step} of {STEPS}"):
            cnnjax.run(config(), tmp_path)
    assert json.loads((tmp_path / "status.json").read_text())["status"] == "interrupted"
    resumed = cnnjax.run(config(), tmp_path)
    same(resumed.state, straight[0].state)
    assert lines(tmp_path) == straight[1]


@pytest.mark.parametrize("at", [8, STEPS])
def test_a_signal_during_an_evaluation_stops_it_and_the_run_goes_on_with_it(at, straight, tmp_path, monkeypatch):
    original, seen = PreparedRun.passes, []

    def passes(prepared, split, waiting):
        seen.append(split)
        for batch in original(prepared, split, waiting):
            if len(seen) == 2 * at // 8:  # each evaluation goes over a split twice: averages, then parameters
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.01)
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(PreparedRun, "passes", passes)
        with pytest.raises(Preempted, match=f"at step {at} of {STEPS}"):
            cnnjax.run(config(checkpoint__steps=4), tmp_path)
    assert not [line for line in lines(tmp_path) if line["step"] == at and line["kind"] == "eval"]
    resumed = cnnjax.run(config(checkpoint__steps=4), tmp_path)
    same(resumed.state, straight[0].state)
    assert lines(tmp_path) == straight[1]
    with Checkpoints(tmp_path, metric="accuracy") as kept:
        assert kept.restore(resumed.state, STEPS)[2]["accuracy"] == resumed.metrics["eval"]["accuracy"]


def test_a_complete_run_called_again_trains_nothing_and_keeps_its_lines(straight):
    workdir, before = straight[0].workdir, straight[1]
    same(cnnjax.run(config(), workdir).state, straight[0].state)
    assert lines(workdir) == before


def test_lines_that_are_taken_from_under_a_run_are_there_at_its_end_and_lost_ones_are_said(
    straight, tmp_path, monkeypatch, capsys
):
    from cnnjax.data.stream import Stream

    original, path = Stream.batches, tmp_path / "metrics.jsonl"

    def batches(stream, t, *more):
        if t == 13:
            path.unlink()
        return original(stream, t, *more)

    with monkeypatch.context() as patch:
        patch.setattr(Stream, "batches", batches)
        cnnjax.run(config(), tmp_path)
    assert f"{path} was deleted under the run; it is written anew, with its 4 lines\n" in capsys.readouterr().err
    assert lines(tmp_path) == straight[1]
    text = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(text[:3] + text[4:]))
    cnnjax.run(config(), tmp_path)
    assert capsys.readouterr().err == f"{path}: line 4 (between steps 8 and 16) is lost\n"
    *kept, event = lines(tmp_path)
    assert kept == straight[1][:3] + straight[1][4:]
    assert (event["name"], event["lines"]) == ("lines lost", [[4, 4]])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of orbax, whose files are gone
def test_a_workdir_that_is_moved_under_its_run_is_made_anew_and_the_run_ends_as_ever(
    straight, tmp_path, monkeypatch, capsys
):
    from cnnjax.data.stream import Stream

    original, workdir = Stream.batches, tmp_path / "run"

    def batches(stream, t, *more):
        if t == 13:
            workdir.rename(tmp_path / "elsewhere")
        return original(stream, t, *more)

    with monkeypatch.context() as patch:
        patch.setattr(Stream, "batches", batches)
        same(cnnjax.run(config(), workdir).state, straight[0].state)
    said = capsys.readouterr().err
    assert said.startswith(
        f"workdir {workdir} was moved to {tmp_path / 'elsewhere'}/metrics.jsonl under the run; it is"
    )
    assert said.count("\n") == 1
    assert lines(workdir) == straight[1]
    same(cnnjax.load(workdir).state.params, cnnjax.load(straight[0].workdir, checkpoint="last").state.params)
    assert json.loads((workdir / "status.json").read_text())["status"] == "complete"


COMMAND = """
import sys; sys.path.insert(0, {root!r})
import cnnjax
from tests.train.test_resume import config
cnnjax.run(config(), {workdir!r})
"""


@pytest.mark.doors
def test_killed_again_and_again_it_still_ends_with_the_same_state(straight, tmp_path):
    command = COMMAND.format(root=str(Path(__file__).parents[2]), workdir=str(tmp_path))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    for lines_before_kill in (2, 5, 8):
        process = subprocess.Popen([sys.executable, "-c", command], env=environment, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 90
        metrics = tmp_path / "metrics.jsonl"
        while process.poll() is None and time.monotonic() < deadline:
            if metrics.exists() and len(metrics.read_text().splitlines()) >= lines_before_kill:
                process.kill()
            time.sleep(0.002)
        process.wait()
        process.stderr.close()
        assert process.returncode in (0, -signal.SIGKILL)
    same(cnnjax.run(config(), tmp_path).state, straight[0].state)
    assert lines(tmp_path) == straight[1]


def test_a_changed_config_is_refused_with_both_values_and_the_way_out(straight):
    with pytest.raises(ValueError, match=r"optimizer.lr: 0.01 → 0.02\n.*--allow_changes"):
        cnnjax.run(config(optimizer__lr=0.02), straight[0].workdir)


def test_harmless_changes_are_recorded(straight, tmp_path):
    workdir = shutil.copytree(straight[0].workdir, tmp_path / "run")
    cnnjax.run(config(report__steps=2), workdir)
    assert json.loads((workdir / "config.json").read_text())["before"] == [{"report.steps": 4}]


def test_the_best_checkpoint_is_of_the_eval_split_and_loads_with_its_metrics(straight):
    evals = {line["step"]: line["accuracy"] for line in straight[1] if line.get("split") == "eval"}
    loaded = cnnjax.load(straight[0].workdir)
    assert int(loaded.state.step) in evals or int(loaded.state.step) % 5 == 0
    measured = loaded.measure("eval")
    assert measured["accuracy"] == pytest.approx(loaded.metrics["eval"]["accuracy"])


def test_evaluate_measures_every_split_of_a_workdir(straight):
    metrics = cnnjax.evaluate(straight[0].workdir, split="test", checkpoint="last")
    assert metrics["step"] == STEPS
    assert metrics["accuracy"] == straight[1][-1]["accuracy"]
