"""What an evaluation says of classes and of single examples, in words, in files and in pictures."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

import cnnjax
from cnnjax.config import ConfigError, augmentation, experiment, section
from cnnjax.programs import _mistakes, _worst, evaluate
from cnnjax.train.examples import examine
from cnnjax.train.job import prepare
from cnnjax.train.trained import Trained

SHAPES = "tests.tasks.shapes_of_task"


@pytest.fixture
def digits(digits_run) -> Path:
    return digits_run.workdir


def told(capsys, *flags) -> str:
    for name in evaluate.FLAGS:
        evaluate.FLAGS[name].unparse()
    evaluate.main(list(flags))
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def scenes() -> Trained:
    """A net for pixels that has learned nothing, in two microbatches of three pictures and the rest."""
    prepared = prepare(
        experiment(
            data=section("data", "shapes", train=8, test=8),
            model=section("models", "tests.train.nets:scenes", width=4),
            task=section("tasks", "segmentation"),
            augment=augmentation(train=("normalize",), eval=("normalize",)),
            optimizer=section("optimizers", "sgd"),
            schedule=section("schedules", "constant"),
            train={"steps": 1, "batch": 4, "devices": 1},
            eval={"batch": 3},
        )
    )
    return Trained(prepared.config, Path(), prepared, prepared.layout.replicate(prepared.start()), {})


def test_classes_are_measured_one_by_one_and_the_most_confused_pair_stands_first(digits, tmp_path, capsys):
    rows, pictures = tmp_path / "rows.csv", tmp_path / "worst"
    flags = (f"--workdir={digits}", f"--output={rows}", "--worst=3", f"--out={pictures}")
    said = json.loads(told(capsys, *flags, "--json"))
    assert said["accuracy"] == cnnjax.evaluate(digits)["accuracy"]
    with rows.open() as file:
        examples = list(csv.DictReader(file))
    assert list(examples[0]) == ["index", "path", "truth", "prediction", "probability", "truth_probability", "loss"]
    assert [int(row["index"]) for row in examples] == list(range(360))
    losses = np.array([float(row["loss"]) for row in examples])
    assert losses.mean() == pytest.approx(said["loss"], rel=1e-5)
    right = np.mean([row["truth"] == row["prediction"] for row in examples])
    assert right == pytest.approx(said["accuracy"])
    np.testing.assert_allclose(np.exp(-losses), [float(row["truth_probability"]) for row in examples], rtol=1e-3)
    pairs = said["confused"]
    first = pairs[0]
    taken = [row for row in examples if (row["truth"], row["prediction"]) == (first["truth"], first["taken_for"])]
    assert len(taken) == first["count"] == max(pair["count"] for pair in pairs)
    (own,) = (row for row in said["per_class"] if row["class"] == first["truth"])
    assert own["count"] == sum(row["truth"] == first["truth"] for row in examples)
    assert [row["index"] for row in said["worst"]] == np.argsort(-losses)[:3].tolist()
    assert len(list(pictures.glob("00*.png"))) == 3
    assert (pictures / "worst.png").is_file()
    text = told(capsys, f"--workdir={digits}", "--worst=1")
    assert f"{first['truth']} taken for {first['taken_for']}" in text
    assert "calibration  ECE 0." in text
    assert said["worst"][0]["path"] in text


def test_a_confidence_is_the_probability_of_the_class_that_is_predicted(digits):
    found = examine(cnnjax.load(digits))
    rows, calibration = found.rows, found.tables["calibration"]
    assert rows["probability"].sum() == pytest.approx(calibration[:, 0].sum(), rel=1e-6)
    assert (rows["truth_probability"] <= rows["probability"] + 1e-7).all()
    error = _mistakes.summary(found, cnnjax.load(digits).facts)["calibration"]["error"]
    bins = np.clip((rows["probability"] * 15).astype(int), 0, 14)
    right = rows["truth"] == rows["prediction"]
    gaps = [abs((right - rows["probability"])[bins == k].sum()) for k in range(15)]
    assert error == pytest.approx(sum(gaps) / len(right), rel=1e-5)


def test_of_places_each_class_has_its_overlap_and_the_worst_pictures_stand_beside_their_truth(scenes, tmp_path):
    found = examine(scenes, "test")
    said = _mistakes.summary(found, scenes.facts)
    names = scenes.facts.extra["segment_names"]
    assert [row["class"] for row in said["per_class"]] == list(names)
    overlaps = {f"iou_{row['class']}": row["iou"] for row in said["per_class"]}
    assert {name: value for name, value in found.metrics.items() if name.startswith("iou_")} == pytest.approx(overlaps)
    assert found.rows["right"].mean() == pytest.approx(found.metrics["pixel_accuracy"], rel=1e-5)
    words = _mistakes.text("test", found, said, 0, {})
    assert not re.search(r"\biou_", words)
    assert " iou " in words
    worst = _mistakes.entries(found, scenes.facts, scenes.source.test, found.worst(2))
    assert worst[0]["loss"] == found.rows["loss"].max() >= worst[1]["loss"]
    assert _worst.draw(scenes, "test", worst, _worst.vet(str(tmp_path / "out"))) == 2
    assert len(list((tmp_path / "out").glob("*.png"))) == 3


def test_few_numbers_stand_in_columns_and_what_has_neither_class_nor_number_has_its_loss(tmp_path):
    rooms = {"data": ("data", "waves"), "model": ("models", "causal"), "task": ("tasks", "forecasting")}
    prepared = prepare(
        experiment(
            **{name: section(room, f"{SHAPES}:{entry}") for name, (room, entry) in rooms.items()},
            augment=augmentation(train=("normalize",), eval=("normalize",)),
            optimizer=section("optimizers", "sgd"),
            schedule=section("schedules", "constant"),
            train={"steps": 1, "batch": 4, "devices": 1},
        )
    )
    run = Trained(prepared.config, Path(), prepared, prepared.layout.replicate(prepared.start()), {})
    found = examine(run)
    written = _mistakes.entries(found, run.facts, run.source.test, range(7))
    _mistakes.write(str(tmp_path / "rows.csv"), written)
    with (tmp_path / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    truth = [[float(row[f"truth_{k}"]) for k in range(4)] for row in rows]
    np.testing.assert_allclose(truth, run.source.test.arrays["target"][..., 0], rtol=1e-4)
    assert _mistakes.summary(found, run.facts) == {}
    assert "loss" in _worst.heading(written[0])


def test_files_and_folders_that_cannot_be_written_are_refused_before_anything_is_loaded(tmp_path):
    for name in evaluate.FLAGS:
        evaluate.FLAGS[name].unparse()
    missing = f"--workdir={tmp_path / 'none'}"
    with pytest.raises(ConfigError, match=r"--output is 'rows.txt'; it must end in \.csv or \.json, in a folder"):
        evaluate.main([missing, "--output=rows.txt"])
    with pytest.raises(ConfigError, match=r"--out is .*, which can't be made: No such file"):
        evaluate.main([missing, "--output=", f"--out={tmp_path / 'a' / 'b'}"])
    with pytest.raises(ConfigError, match=r"split is 'tset'; nearest: test"):
        evaluate.main([missing, "--out=", "--split=tset"])
