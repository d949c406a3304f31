"""A run whose config, data or machine is another when it goes on: what is refused, what is said, what then runs."""

import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

import cnnjax
from cnnjax.config import augmentation, change, experiment, section
from cnnjax.runs import provenance
from cnnjax.runs.checkpoints import CheckpointError, Checkpoints
from cnnjax.runs.manifest import manifest_of, seal
from cnnjax.runs.provenance import OtherData
from cnnjax.runs.signals import Stop
from cnnjax.runs.workdir import read_json
from cnnjax.sweep.points import packs_of, resolved
from cnnjax.sweep.training import train_pack
from cnnjax.train.job import prepare
from cnnjax.train.loop import Diverged, Preempted
from tests.train.test_resume import StopAt
from tests.trainings import lines, same

STEPS = 12

pytestmark = pytest.mark.usefixtures("once")


def config(data=(), **changes):
    """A tiny net; checkpoints at 4, 8 and 12, lines at every second step."""
    made = experiment(
        data=section("data", *data) if data else section("data", "digits"),
        model=section("models", "mlp", hidden=(8,)),
        task=section("tasks", "classification"),
        augment=augmentation(train=("normalize",), eval=("normalize",)),
        optimizer=section("optimizers", "sgd", lr=0.01),
        schedule=section("schedules", "constant"),
        train={"steps": STEPS, "batch": 16, "devices": 1},
        eval={"steps": 12, "test": False},
        checkpoint={"steps": 4},
        report={"page": False, "steps": 2, "tensorboard": False, "curves": False},
    )
    return change(made, {path.replace("__", "."): value for path, value in changes.items()})


def stopped(made, workdir, at, monkeypatch, **options):
    with monkeypatch.context() as patch:
        StopAt(at, patch)
        with pytest.raises(Preempted, match=f"at step {at} of"):
            cnnjax.run(made, workdir, **options)


@pytest.fixture(scope="module")
def halfway(once, tmp_path_factory):
    """A run that was stopped at step 6, so that it has checkpoints at 4 and 6."""
    workdir = tmp_path_factory.mktemp("halfway") / "run"
    with pytest.MonkeyPatch.context() as patch:
        stopped(config(), workdir, 6, patch)
    assert sorted(path.name for path in (workdir / "checkpoints").iterdir()) == ["4", "6"]
    return workdir


@pytest.fixture
def run(halfway, tmp_path):
    return shutil.copytree(halfway, tmp_path / "run")


def rates(workdir):
    return {line["step"]: line["lr"] for line in lines(workdir) if line["kind"] == "train"}


def reseal(checkpoint, **changes):
    """Writes a checkpoint's manifest with other words; those that are None are as an older release left them."""
    head = manifest_of(checkpoint)
    (checkpoint / "manifest.json").unlink()
    seal(checkpoint, {key: value for key, value in (head | changes).items() if value is not None})


def test_a_number_that_may_change_is_what_runs_and_what_is_written(run, capsys):
    trained = cnnjax.run(config(optimizer__lr=0.02), run, allow_changes=True)
    assert rates(run) == pytest.approx({2: 0.01, 4: 0.01, 6: 0.01, 8: 0.02, 10: 0.02, 12: 0.02})
    assert float(trained.state.hparams["optimizer.lr"]) == np.float32(0.02)
    assert read_json(run / "config.json")["config"]["optimizer"]["lr"] == 0.02
    assert read_json(run / "config.json")["before"] == [{"optimizer.lr": 0.01}]
    assert Checkpoints(run).record(12)["config"]["optimizer"]["lr"] == 0.02
    assert "optimizer.lr changed: 0.01 → 0.02" in capsys.readouterr().out


def test_a_number_that_was_changed_stays_so_when_killed_before_the_next_save(run, monkeypatch):
    changed = config(optimizer__lr=0.02)
    stopped(changed, run, 7, monkeypatch, allow_changes=True)
    shutil.rmtree(run / "checkpoints" / "7")  # as if it had been killed: the newest is of the old number
    reference = cnnjax.run(changed, shutil.copytree(run, run.with_name("other")))
    same(reference.state, cnnjax.run(changed, run).state)
    assert rates(run)[8] == pytest.approx(0.02)


@pytest.mark.proofs
def test_after_a_roll_back_over_the_change_the_new_number_still_runs(tmp_path, monkeypatch):
    # three spoiled batches from step 9 on: back to the checkpoint at step 6, which is of the old number
    from tests.train.test_faults import config as spoilt
    from tests.train.test_faults import spoiled

    made = change(spoilt(**spoiled(9, 3)), {"optimizer.lr": 0.01})
    made = change(made, {"checkpoint.steps": 20})
    stopped(made, tmp_path, 6, monkeypatch)
    trained = cnnjax.run(change(made, {"optimizer.lr": 0.02}), tmp_path, allow_changes=True)
    assert (int(trained.state.rollbacks), int(trained.state.skipped)) == (1, 12 - 6)
    assert rates(tmp_path)[12] == pytest.approx(0.02)
    assert float(trained.state.hparams["optimizer.lr"]) == np.float32(0.02)


def test_the_advice_of_a_run_that_diverged_works_in_its_workdir(run):
    with pytest.raises(Diverged, match=r"\nlower optimizer.lr \(1e\+30\), .*; --allow_changes goes on from there"):
        cnnjax.run(config(optimizer__lr=1e30), run, allow_changes=True)
    trained = cnnjax.run(config(), run, allow_changes=True)
    assert int(trained.state.step) == STEPS
    assert int(trained.state.rollbacks) == 0
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(trained.state.params))


def test_members_of_a_pack_take_the_numbers_that_were_changed(tmp_path, monkeypatch):
    points = [{"optimizer.lr": 0.01}, {"optimizer.lr": 0.03}]
    (pack,) = packs_of(resolved(config(), points, tmp_path))
    for run, lr in zip(pack.runs, (0.005, 0.03), strict=True):
        stopped(change(run.config, {"optimizer.lr": lr}), run.workdir, 4, monkeypatch)
    first = pack.runs[0]
    identity = read_json(first.workdir / "config.json")["dataset"]
    record = provenance.record_of(first.config, identity)
    assert "0.005 → 0.01" in provenance.check_same_run(first.workdir, record, allow_changes=True)
    with Stop() as stop:
        train_pack(pack, stop, strategy="turns", say=lambda text: None)
    assert rates(first.workdir) == pytest.approx({2: 0.005, 4: 0.005, **dict.fromkeys((6, 8, 10, 12), 0.01)})
    assert set(rates(pack.runs[1].workdir).values()) == {np.float32(0.03)}


def test_a_number_that_a_population_gave_a_member_stays(run):
    prepared = prepare(config())
    with Checkpoints(run, record=Checkpoints(run).record(6)) as checkpoints:
        _, state, _ = checkpoints.restore(prepared.start())
        checkpoints.save(6, state.replace(hparams={**state.hparams, "optimizer.lr": np.float32(0.5)}))
    cnnjax.run(config(), run)
    assert rates(run) == pytest.approx({2: 0.01, 4: 0.01, 6: 0.01, 8: 0.5, 10: 0.5, 12: 0.5})


def test_without_its_config_json_a_run_is_compared_with_its_checkpoints(run, capsys):
    (run / "config.json").unlink()
    with pytest.raises(ValueError, match=r"another config: optimizer.lr: 0.01 → 0.5\n.*--allow_changes"):
        cnnjax.run(config(optimizer__lr=0.5), run)
    with pytest.raises(ValueError, match=r"no config.json\), but checkpoints; train again with its config"):
        cnnjax.load(run)
    cnnjax.run(config(), run)
    assert "config.json was gone; it is written anew, after what the checkpoint at step 6 says" in (
        capsys.readouterr().out
    )
    assert read_json(run / "config.json")["config"]["optimizer"]["lr"] == 0.01


def test_without_its_config_json_and_any_whole_checkpoint_a_run_says_that_there_is_none(run):
    (run / "config.json").unlink()
    for path in run.glob("checkpoints/*/manifest.json"):
        path.write_text("{}")
    with pytest.raises(
        CheckpointError, match=r"no usable checkpoint in .*: damaged are 4.damaged, 6.damaged"
    ) as caught:
        cnnjax.run(config(), run)
    assert caught.value.exit_code == 5


def test_a_checkpoint_of_another_run_is_refused(run, tmp_path):
    other = cnnjax.run(config(optimizer__lr=0.3), tmp_path / "other").workdir
    shutil.copytree(other / "checkpoints" / "12", run / "checkpoints" / "12")
    with pytest.raises(ValueError, match=r"another config: optimizer.lr: 0.3 → 0.01"):
        cnnjax.run(config(), run)


def test_checkpoints_of_older_releases_go_on_with_a_word_and_take_changed_numbers(run, capsys):
    for step in ("4", "6"):
        reseal(run / "checkpoints" / step, run=None)
    story = read_json(run / "config.json")
    (run / "config.json").write_text(json.dumps({key: value for key, value in story.items() if key != "dataset"}))
    reference = cnnjax.run(config(), shutil.copytree(run, run.with_name("same")))
    assert "the checkpoint at step 6 is of an older release: its config and data are taken to be these" in (
        capsys.readouterr().out
    )
    assert int(reference.state.step) == STEPS
    # an older release wrote the changed number into config.json, and trained on with the first
    story["config"]["optimizer"]["lr"], story["before"] = 0.02, [{"optimizer.lr": 0.01}]
    (run / "config.json").write_text(json.dumps(story))
    cnnjax.run(config(optimizer__lr=0.02), run)
    assert rates(run)[8] == pytest.approx(0.02)


def test_other_versions_commits_and_devices_are_said_in_a_line_and_recorded(run, monkeypatch, capsys):
    here = provenance._origin()
    away = {**here, "commit": "0" * 40, "versions": {**here["versions"], "jax": "0.1.2"}, "devices": {"gpu:A": 8}}
    for step in ("4", "6"):
        record = {**Checkpoints(run).record(int(step)), **away}
        reseal(run / "checkpoints" / step, run=record)
    (run / "config.json").unlink()
    cnnjax.run(config(), run)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "changed" in line]
    devices = ", ".join(f"{count} × {name}" for name, count in here["devices"].items())
    assert f"versions.jax changed: 0.1.2 → {jax.__version__}; " in line
    assert f"devices changed: 8 × gpu:A → {devices}" in line
    assert "commit changed: 000000000000 → " in line
    (before,) = read_json(run / "config.json")["before"]
    assert (before["versions.jax"], before["devices"]) == ("0.1.2", "8 × gpu:A")
    assert Checkpoints(run).record(12)["versions"] == here["versions"]
    cnnjax.run(config(), run)
    assert "changed" not in capsys.readouterr().out, "it is said once"


def painted(root, kinds=("ant", "bee", "cow"), count=12):
    draw = np.random.default_rng(0)
    for split in ("train", "test"):
        for kind in kinds:
            (root / split / kind).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw.integers(0, 256, (6, 6, 3), np.uint8)).save(root / split / kind / f"{number}.png")
    return root


def test_data_that_changed_while_a_run_stood_still_are_refused_with_the_way_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("cnnjax.train.loop.prepare", prepare)  # each time anew
    root, workdir = painted(tmp_path / "data"), tmp_path / "run"
    made = config(("folder",), data__root=str(root), data__workers=0)
    stopped(made, workdir, 5, monkeypatch)
    (root / "train" / "ant" / "0.png").rename(tmp_path / "0.png")
    with pytest.raises(OtherData, match=r"other data than are there now: dataset.counts.train: 36 → 35; ") as caught:
        cnnjax.run(made, workdir)
    assert "\nbring them back as they were, use another --workdir, or --allow_changes" in str(caught.value)
    assert (caught.value.exit_code, len(str(caught.value).splitlines())) == (3, 2)
    (tmp_path / "0.png").rename(root / "train" / "ant" / "0.png")
    for split in ("train", "test"):
        (root / split / "cow").rename(root / split / "dog")
    with pytest.raises(OtherData, match=r"dataset.names: \['ant', 'bee', 'cow'\] → \['ant', 'bee', 'dog'\]"):
        cnnjax.run(made, workdir)
    for name in ("config.json", "facts.json"):
        (workdir / name).unlink()
    with pytest.raises(OtherData, match=r"dataset.names"):
        cnnjax.run(made, workdir)
    trained = cnnjax.run(made, workdir, allow_changes=True)
    assert int(trained.state.step) == STEPS
    assert "dataset.names changed: " in capsys.readouterr().out
    assert read_json(workdir / "config.json")["before"][0]["dataset.names"] == ["ant", "bee", "cow"]
    cnnjax.run(made, workdir)
    assert "changed" not in capsys.readouterr().out


def test_data_of_a_run_of_an_older_release_are_compared_by_their_facts(run):
    story, facts = read_json(run / "config.json"), read_json(run / "facts.json")
    del story["dataset"]
    facts["facts"]["counts"]["train"] += 1
    (run / "config.json").write_text(json.dumps(story))
    (run / "facts.json").write_text(json.dumps(facts))
    for step in ("4", "6"):
        reseal(run / "checkpoints" / step, run=None)
    with pytest.raises(OtherData, match=r"dataset.counts.train: 1438 → 1437\n"):
        cnnjax.run(config(), run)
