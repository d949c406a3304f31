"""Predictions in COCO's results format are what its own tools read, and measure as `evaluate` does."""

import contextlib
import io
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from cnnjax.config import ConfigError, augmentation, experiment, section
from cnnjax.data import coco, image_ids, run_lengths
from cnnjax.data.source import Facts
from cnnjax.programs import evaluate, predict
from cnnjax.programs._found_by_name import columns, found_by_name, told
from cnnjax.train.examples import Examined
from tests.data.labelled import as_coco
from tests.programs.blocks import CATEGORIES, scenes
from tests.programs.finding import begun

QUIET = {"quiet": True, "tensorboard": False, "curves": False}
NUMBERS = ("ap", "ap50", "ap75")
SIZES = ("small", "medium", "large")
TWELVE = (*NUMBERS, *(f"ap_{s}" for s in SIZES), "ar1", "ar10", "ar100", *(f"ar_{s}" for s in SIZES))


def started(root, workdir, *, masks, fit="pad", size=32, width=40):
    return begun(
        experiment(
            data=section("data", "coco", root=str(root), size=size, width=width, masks=masks, fit=fit),
            model=section("models", "tests.programs.blocks:finder", masks=masks),
            task=section("tasks", "detection"),
            augment=augmentation(),
            optimizer=section("optimizers", "sgd", lr=1e-9),
            schedule=section("schedules", "constant"),
            train={"steps": 1, "batch": 4, "devices": 1},
            eval={"test": False},
            report=QUIET,
        ),
        workdir,
    )


def asked(run, output, *flags):
    for name in predict.FLAGS:
        predict.FLAGS[name].unparse()
    predict.main([f"--workdir={run.workdir}", f"--output={output}", *map(str, flags)])
    return json.loads(output.read_text())


def measured(root, results, what, drop=()):
    """COCO's twelve numbers of results."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(root / "annotations" / "instances_test.json"))
        entries = [{key: value for key, value in entry.items() if key not in drop} for entry in results]
        evaluation = COCOeval(truth, truth.loadRes(entries), what)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("boxes")
    scenes(folder / "set")
    return folder / "set", started(folder / "set", folder / "run", masks=False)


def test_boxes_measured_by_cocos_own_tool_are_what_evaluate_says(boxes, tmp_path, capsys):
    root, run = boxes
    results = asked(run, tmp_path / "found.coco.json", root / "test")
    assert "image ids are those of annotations/instances_{split}.json" in capsys.readouterr().out
    ours, theirs = run.measure("test"), measured(root, results, "bbox")
    assert 0.1 < ours["ap"] < 0.9
    np.testing.assert_allclose([ours[name] for name in NUMBERS], theirs[:3], atol=1e-6)
    np.testing.assert_allclose([ours[f"ar{most}"] for most in (1, 10, 100)], theirs[6:9], atol=1e-6)
    assert {entry["category_id"] for entry in results} == {each["id"] for each in CATEGORIES}


@pytest.mark.proofs
def test_masks_measured_by_cocos_own_tool_are_what_evaluate_says(tmp_path):
    root = tmp_path / "set"
    scenes(root, size=lambda rng: [(128, 160), (96, 160), (128, 128)][rng.integers(3)])  # twice what the net sees
    run = started(root, tmp_path / "run", masks=True, size=64, width=80)
    results = asked(run, tmp_path / "found.coco.json", root / "test")
    ours = run.measure("test")
    assert 0.1 < ours["mask_ap"] < 0.9
    assert ours["ap_medium"] > 0, "medium in the file's pixels, small in the net's"
    for before, what, drop in (("mask_", "segm", ("bbox",)), ("", "bbox", ())):
        theirs = measured(root, results, what, drop)
        np.testing.assert_allclose([ours.get(f"{before}{name}", -1) for name in TWELVE], theirs, atol=1e-6)


def test_sizes_are_those_of_the_annotations_whatever_the_boxes_are(tmp_path):
    root = tmp_path / "set"
    scenes(root, count=8)
    for file in (root / "annotations").iterdir():
        content = json.loads(file.read_text())
        for row in content["annotations"]:
            row["area"] = (900.0, 1024.0, 1025.5, 9216.0, 9217)[row["id"] % 5]
        file.write_text(json.dumps(content))
    run = started(root, tmp_path / "run", masks=False)
    results = asked(run, tmp_path / "found.coco.json", root / "test")
    ours, theirs = run.measure("test"), measured(root, results, "bbox")
    assert (theirs[3:6] > 0).all()
    np.testing.assert_allclose([ours[name] for name in TWELVE], theirs, atol=1e-6)


def test_results_hold_every_score_whatever_is_drawn_and_printed(boxes, tmp_path, capsys):
    root, run = boxes
    picture = root / "test" / "test-01.png"
    results = asked(run, tmp_path / "found.coco.json", picture, "--threshold=0.5")
    line = capsys.readouterr().out.splitlines()[-1]
    sure = [entry for entry in results if entry["score"] > 0.5]
    assert 0 < len(sure) < len(results)
    assert f"{len(sure)} box" in line
    (entry,) = asked(run, tmp_path / "found.json", picture, "--threshold=0.5")
    assert [box["score"] for box in entry["boxes"]] == pytest.approx([entry["score"] for entry in sure])
    assert {entry["image_id"] for entry in results} == {3007}


def test_each_class_of_boxes_has_its_own_precision_and_its_curve_is_drawn(boxes, tmp_path, capsys):
    _, run = boxes
    for name in evaluate.FLAGS:
        evaluate.FLAGS[name].unparse()
    evaluate.main([f"--workdir={run.workdir}", "--worst=2", f"--out={tmp_path / 'worst'}"])
    said, numbers = capsys.readouterr().out, run.measure("test")
    precision = run.tables("test")["precision"]
    head, cat, dog = said[said.index("class ") :].splitlines()[:3]
    assert head.split() == ["class", "ap", "ap50", "precision", "recall", "reach"]
    for line, name, curve in zip((cat, dog), ("cat", "dog"), precision, strict=True):
        first, ap, ap50, *_, reach = line.split()
        assert (first, float(ap)) == (name, pytest.approx(numbers[f"ap_{name}"], abs=1e-4))
        assert float(ap50) == pytest.approx(curve.mean(), abs=1e-4)
        assert float(reach) == np.flatnonzero(curve > 0).max() / 100
    assert "ap_cat" not in said.partition("class ")[0]
    assert {path.name for path in (tmp_path / "worst").iterdir()} > {"tables.png", "worst.png"}


def test_each_point_has_its_shares_at_every_stage_and_what_there_is_none_of_has_none():
    curve = np.linspace(0, 1, 101) * np.array([[1.0], [0.5]])
    found = Examined({"pck20": 0.15, "pck20_nose": 0.2}, {"pck": curve, "pck_stage1": curve / 2}, {})
    said = found_by_name(found, Facts(extra={"point_names": ("nose", "tail")}))
    assert said["points"][0] == pytest.approx(
        {"point": "nose", "pck05": 0.05, "pck10": 0.1, "pck20": 0.2, "pck50": 0.5, "pck20_stage1": 0.1}
    )
    assert told(said) == {"pck20_nose", "pck20_tail"}
    nothing = Examined({}, {"precision": np.full((1, 101), np.nan)}, {})
    assert columns(found_by_name(nothing, Facts(names=("ant",)))["found"]).split()[-6:] == ["ant", *"–" * 5]


def test_pictures_are_known_by_their_place_by_their_name_or_by_the_number_in_it(boxes, tmp_path, capsys):
    root, run = boxes
    for name in ("train-00.png", "000042.png", "mine.png"):
        Image.open(root / "train" / "train-00.png").save(tmp_path / name)
    results = asked(run, tmp_path / "found.coco.json", *sorted(tmp_path.glob("*.png")))
    assert {entry["image_id"] for entry in results} == {42, "mine.png", 1000}
    assert "image ids are the names of 2 files: not all are in annotations/" in capsys.readouterr().out
    (tmp_path / "more").mkdir()
    Image.open(root / "train" / "train-00.png").save(tmp_path / "more" / "mine.png")
    with pytest.raises(ConfigError, match=r"mine.png and .*mine.png would have the same image_id mine.png; ask about"):
        asked(run, tmp_path / "found.coco.json", tmp_path / "mine.png", tmp_path / "more" / "mine.png")


def test_categories_are_called_as_in_the_annotations_and_people_alone_where_there_are_points(tmp_path):
    as_coco(tmp_path)
    assert coco(root=str(tmp_path)).facts.extra["class_ids"] == (3, 7)
    posed = coco(root=str(tmp_path), points=True, size=32)
    assert (posed.facts.extra["class_ids"], posed.facts.names) == ((3,), ("cat",))
    file = tmp_path / "train" / "004.png"
    assert image_ids([file], str(tmp_path), "annotations/instances_{split}.json") == {file: 104}


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_run_lengths_are_those_of_cocos_own_tool(share):
    from pycocotools import mask as theirs

    for seed in range(20):
        rng = np.random.default_rng(seed)
        mask = rng.random(rng.integers(1, 70, 2)) < share
        counts = theirs.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
        assert run_lengths(mask) == {"size": list(mask.shape), "counts": counts.decode()}
