"""A net of texts from the command line's point of view: trained, asked, measured, by folds."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest

import cnnjax
from cnnjax.config import ConfigError, augmentation, change, experiment, section
from cnnjax.data import DataError
from cnnjax.programs import evaluate, predict
from cnnjax.sweep.points import packs_of, resolved
from cnnjax.train.job import prepare
from cnnjax.train.step import _counting

QUIET = {"quiet": True, "tensorboard": False, "page": False, "curves": False}


def config(path, **data):
    return experiment(
        data=section("data", "texts", path=str(path), **data),
        model=section("models", "textcnn", windows=(2, 3), width=8, size=8, dropout=0.0),
        task=section("tasks", "classification"),
        augment=augmentation(train=(), eval=()),
        optimizer=section("optimizers", "adamw", lr=0.02),
        schedule=section("schedules", "constant"),
        train={"steps": 60, "batch": 20, "devices": 1},
        eval={"steps": 60},
        report=QUIET,
    )


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    """Sixty lines each for and against a film."""
    folder = tmp_path_factory.mktemp("reviews")
    draw, rest = np.random.default_rng(0), ["the", "a", "film", "plot", "actor", "scene", "with", "of", "and", "is"]
    for name, words in (("pos", ("superb", "moving")), ("neg", ("dull", "tedious"))):
        lines = [[*draw.choice(rest, draw.integers(2, 7)), draw.choice(words)] for _ in range(60)]
        (folder / f"{name}.txt").write_text("\n".join(" ".join(draw.permutation(line)) for line in lines))
    return folder


@pytest.fixture(scope="module")
def run(reviews, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run") / "a"
    assert cnnjax.run(config(reviews), workdir).metrics["test"]["accuracy"] > 0.95
    return workdir


def test_texts_are_answered_by_themselves_and_by_the_line_of_their_file(run, tmp_path, capsys):
    (tmp_path / "more.txt").write_text("a dull plot\nsuperb zeugma\n")
    (tmp_path / "more.jsonl").write_text('{"text": "moving actor"}\n')
    out, file = tmp_path / "drawn", tmp_path / "p.csv"
    paths = [str(tmp_path / "more.txt"), str(tmp_path / "more.jsonl")]
    predict.main([f"--workdir={run}", "--text=A superb film", *paths, f"--out={out}", f"--output={file}", "--top=1"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("the first 7 words; 14 are known, then nothing")
    found = [line.rsplit("  ", 1)[0].split() for line in lines[1:]]
    assert [words[0].rpartition("/")[2] for words in found] == ["more.txt:1", "more.txt:2", "more.jsonl:1", "A"]
    assert "1 word unknown" in lines[2]
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [row["name"] for row in rows] == ["neg", "pos", "pos", "pos"]
    assert rows[3]["text"] == "A superb film"
    assert sorted(path.name for path in out.iterdir()) == [
        "00000-more-1.png",
        "00000-more-2.png",
        "00001-more-1.png",
        "text1.png",
    ]


def test_texts_without_words_and_files_that_are_none_are_told_and_the_others_answered(run, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(predict.UnreadableError) as story:
        predict.main([f"--workdir={run}", "--text=dull", "--text=...", "--text= ", "--text=", str(tmp_path / "a.png")])
    assert story.value.exit_code == 3
    assert str(story.value).splitlines() == [
        "4 of 5 texts could not be read; the others are above",
        f"  {tmp_path}/a.png:1 is not UTF-8 (byte 0x89); save the file as UTF-8",
        "  ...: there is no word in '...'",
        "  text3: there is no word in ' '",
        "  text4: there is no word in ''",
        "give texts that have words, in UTF-8 or as the run's data",
    ]
    assert "neg" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="--tile is 8, of picture files, not of texts"):
        predict.main([f"--workdir={run}", "--text=dull", "--tile=8"])


def test_the_worst_examples_are_named_with_their_text(run, tmp_path, capsys):
    evaluate.main([f"--workdir={run}", "--worst=3", f"--output={tmp_path / 'rows.csv'}", f"--out={tmp_path / 'worst'}"])
    table = capsys.readouterr().out.partition("path ")[2].splitlines()
    assert table[0].split()[:2] == ["text", "truth"]
    assert all(".txt:" in line for line in table[1:4])
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert len(rows) == 24
    assert all({"superb", "moving", "dull", "tedious"} & set(row["text"].split()) for row in rows)


def test_ten_folds_are_one_program_in_which_every_text_is_measured_once_and_trains_nine_times(reviews):
    made = config(reviews, together=True, folds=10)
    runs = resolved(made, [{"data.fold": float(fold)} for fold in range(10)], "none")
    assert [len(pack.runs) for pack in packs_of(runs)] == [10]
    prepared = prepare(made)
    index = np.arange(120)
    counted, task = {True: np.zeros(120), False: np.zeros(120)}, SimpleNamespace(unlabelled=False)
    for fold in range(10):
        for trains in (True, False):
            fields = {"index": index, "valid": np.ones(120, np.float32)}
            counted[trains] += np.asarray(
                _counting(prepared.program, task, {"data.fold": np.float32(fold)}, fields, trains=trains)["valid"]
            )
    assert (counted[True] == 9).all()
    assert (counted[False] == 1).all()


@pytest.mark.proofs
def test_a_fold_is_measured_alone(reviews, tmp_path, capsys):
    made = change(config(reviews, together=True, folds=10), {"data.fold": 3.0, "train.steps": 2, "eval.steps": 2})
    found = cnnjax.run(made, tmp_path / "fold")
    evaluate.main([f"--workdir={tmp_path / 'fold'}", f"--output={tmp_path / 'rows.csv'}"])
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert [int(row["index"]) for row in rows] == list(range(3, 120, 10))
    right = np.mean([row["truth"] == row["prediction"] for row in rows])
    assert found.metrics["test"]["accuracy"] == pytest.approx(right)


def test_folds_that_can_not_be_are_refused(reviews, tmp_path):
    for changes, words in (
        ({"data.folds": 10}, "data.folds is 10, but the data have a test set of their own; .* data.together=True"),
        ({"data.fold": 2.0}, r"data.fold is 2, but data.folds is 0; say of how many, --config.data.folds=10"),
        ({"data.together": True}, "the data are one set for training and testing, but data.folds is 0"),
        ({"data.together": True, "data.folds": 10, "data.fold": 10.0}, "data.fold is 10 and data.folds 10; .* 0 to 9"),
        ({"data.together": True, "data.folds": 10, "data.fold": 0.5}, "data.fold is 0.5 and data.folds 10"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=words):
            prepare(change(config(reviews), changes))
