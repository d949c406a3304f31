"""The page that a run leaves: all that is known of it, drawn, from nothing but the page."""

import dataclasses
import re

import numpy as np
import pytest

import cnnjax
from cnnjax.analysis import confusion_sets, temperature
from cnnjax.archives import arrays_in
from cnnjax.config import load
from cnnjax.data.in_memory import from_arrays
from cnnjax.train import loop
from cnnjax.train.examples import examine
from tests.browsing import seen

EVIL = r"<script>window.ran = 1</script> $\bad{$"
FLAGS = (
    *("train.steps=20", "train.devices=1", "model.name=mlp", "model.hidden=32", "augment.train=shift,normalize"),
    *("data.holdout=300", "report.quiet=yes", "report.tensorboard=no", "report.curves=no", "eval.steps=10"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the digits that holds some out, with its page."""
    config = load("digits", [f"--config.{flag}" for flag in FLAGS])
    return cnnjax.run(config, tmp_path_factory.mktemp("page") / "run")


@pytest.fixture(scope="module")
def page(run):
    return (run.workdir / "report.html").read_text()


def test_a_run_leaves_a_page_of_all_that_is_known_of_it(run, page):
    for part in ("results", "classes", "calibration", "the best and the worst", "data", "net", "origin"):
        assert f"<h2>{part}</h2>" in page
    assert f"{run.metrics['test']['accuracy']:.4f}" in page
    for words in ("1,137 train, 300 eval, 360 test", "shift", "dense1/kernel"[:6], "optimizer", "jax"):
        assert words in page
    assert len(page) < 3_000_000
    assert "<script" not in page


def test_the_files_that_a_page_links_to_are_beside_it(run, page):
    links = re.findall(r"<a href='([^#'][^']*)'", page)
    assert {"config.json", "metrics.jsonl", "tables-test.npz"} <= set(links)
    assert all((run.workdir / link).is_file() for link in links)


def test_the_sets_on_the_page_are_those_of_the_whole_test_set(run, page):
    counts = arrays_in(run.workdir / "tables-test.npz")["confusion"]
    rows = re.findall(r"<tr><td class='text'>(\d)</td><td class='text long'>([^<]*)</td></tr>", page)
    found = {int(name): others for name, others in rows}
    wanted = {k: ", ".join(f"{j} ×{n}" for j, n in row) for k, row in enumerate(confusion_sets(counts)) if row}
    assert found == wanted
    assert len(wanted) > 2


def test_the_temperature_is_fitted_on_what_was_held_out_and_on_nothing_else(run, page):
    held, test = (examine(run, split, distributions=True).rows for split in ("eval", "test"))
    fitted = temperature(held["probabilities"], held["truth"])
    assert f"Temperature {fitted:.3f}, fitted on 300 held-out examples" in page
    assert abs(fitted - temperature(test["probabilities"], test["truth"])) > 0.002


def test_a_part_of_a_split_is_evenly_spaced_and_knows_its_places(digits_run):
    whole, part = examine(digits_run), examine(digits_run, most=90, distributions=True)
    np.testing.assert_array_equal(part.rows["index"], np.arange(90) * 4)
    np.testing.assert_allclose(part.rows["loss"], whole.rows["loss"][::4], rtol=1e-5)
    np.testing.assert_allclose(part.rows["probabilities"].sum(1), 1, rtol=1e-5)
    assert "probabilities" not in whole.rows
    assert list(whole.best(2)) == list(np.argsort(whole.rows["loss"], kind="stable")[:2])


def test_a_browser_shows_every_figure_of_a_run_and_complains_of_nothing(run):
    found = seen(run.workdir / "report.html", width=390, dark=True)
    assert not found["errors"]
    assert all(complete and wide > 100 for complete, wide in found["images"])
    assert len(found["images"]) == 4  # the matrix, the best, the worst, a batch
    assert len(found["charts"]) == 2
    assert min(found["charts"]) > 100
    assert found["wide"] <= 0


def hostile():
    """Data whose names are code."""
    image = np.random.default_rng(0).integers(0, 255, (64, 8, 8, 1), np.uint8)
    split = {"image": image, "label": np.arange(64) % 2}
    return from_arrays(split, split, names=(EVIL, f"b{EVIL}"))


def test_names_of_classes_are_nothing_but_names_and_no_temperature_is_fitted_on_the_test_set(tmp_path):
    flags = ("data.name=tests.programs.test_run_page:hostile", "train.batch=16", "train.steps=2", *FLAGS[1:4])
    flags = (*flags, *FLAGS[6:9], "augment.train=normalize")
    trained = cnnjax.run(load("digits", [f"--config.{flag}" for flag in flags]), tmp_path / EVIL.replace("/", "|"))
    text = (trained.workdir / "report.html").read_text()
    assert "<script" not in text
    assert text.count("&lt;script&gt;") > 4
    assert "No temperature: nothing was held out to fit it on (data.holdout)" in text
    assert "after temperature" not in text


def test_a_page_can_be_left_out_and_one_that_fails_changes_nothing_of_the_run(tmp_path, capsys, digits_run):
    def fails(trained):
        raise OSError(28, "No space left on device")

    assert not (digits_run.workdir / "report.html").exists()
    again = loop.run(digits_run.config, tmp_path / "a", conclude=fails)
    said = capsys.readouterr().err
    assert "report.html failed (No space left on device); training goes on without it" in said
    assert dataclasses.asdict(again.state.replace(params={}))["step"] == 20
