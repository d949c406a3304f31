"""What an evaluation finds goes to the lines where it is a number, and to a file of tables where it is an array."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax.config import change, section
from cnnjax.runs.lines import lines_of
from cnnjax.sweep.local import run_sweep
from cnnjax.tasks import classification
from cnnjax.train.recording import with_raw
from tests.sweep.points import get_config


def confused(facts):
    """Classification that also says which class was taken for which."""
    task = classification(facts)

    def rows(outputs, batch):
        return {"guess": jnp.argmax(outputs, -1), "truth": batch["label"]}

    def summarize(sums, rows):
        if not rows:
            return {"accuracy": task.summarize(sums, rows)["accuracy"], "confusion": np.zeros((10, 10))}
        table = np.zeros((facts.classes, facts.classes), np.int64)
        np.add.at(table, (rows["truth"], rows["guess"]), 1)
        return {"accuracy": task.summarize(sums, {})["accuracy"], "confusion": table}

    return dataclasses.replace(task, rows=rows, summarize=summarize)


def config(**changes):
    made = change(get_config(), {"model.name": "tests.train.own_nets:without_train", "train.steps": 16, **changes})
    with made.unlocked():
        made.task = section("tasks", "tests.train.test_recording:confused")
    return made


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose tables are drawn."""
    return cnnjax.run(config(**{"report.curves": True}), tmp_path_factory.mktemp("trained"))


def test_arrays_are_tables_of_every_example_and_no_line_holds_them(trained):
    tmp_path = trained.workdir
    found = {line.get("split", "train") for line in lines_of(tmp_path)}
    assert found == {"train", "eval", "test"}
    assert not any("confusion" in name for line in lines_of(tmp_path) for name in line)
    for split in ("eval", "test"):
        with np.load(tmp_path / f"tables-{split}.npz") as tables:
            assert set(tables) == {"confusion"}  # of the averages; none of the parameters themselves
            table = tables["confusion"]
        labels = getattr(trained.source, split).read(np.arange(len(getattr(trained.source, split))))["label"]
        np.testing.assert_array_equal(table.sum(1), np.bincount(labels, minlength=10))
        assert np.trace(table) / table.sum() == trained.metrics[split]["accuracy"]
        assert (tmp_path / f"tables-{split}.png").read_bytes().startswith(b"\x89PNG")


def test_members_of_a_pack_have_the_tables_of_their_solo_runs(trained, tmp_path):
    assert not run_sweep(config(), [{"seed": 0}, {"seed": 1}], tmp_path / "pack", strategy="turns", say=lambda _: None)
    other = cnnjax.run(config(seed=1), tmp_path / "other")
    for seed, solo in enumerate((trained.workdir, other.workdir)):
        member = tmp_path / "pack" / f"seed={seed}"
        for split in ("eval", "test"):
            mine, theirs = (np.load(folder / f"tables-{split}.npz")["confusion"] for folder in (member, solo))
            np.testing.assert_array_equal(mine, theirs)


def test_the_numbers_of_the_parameters_stand_beside_those_of_the_averages_and_their_tables_do_not():
    own, averaged = {"loss": 2.0, "confusion": np.eye(2)}, {"loss": 1.0, "confusion": np.ones((2, 2))}
    both = with_raw(own, averaged)
    assert {name: np.ndim(value) for name, value in both.items()} == {"loss": 0, "confusion": 2, "raw_loss": 0}
    assert both["confusion"] is averaged["confusion"]
    assert with_raw(own, {}) == own


def test_every_last_word_has_the_headline_metric_and_its_direction(trained):
    status = json.loads((trained.workdir / "status.json").read_text())
    assert (status["status"], status["metric"], status["higher"]) == ("complete", "accuracy", True)
