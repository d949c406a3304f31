"""Segments, boxes, points and pictures that a network predicts come back in the pixels of the files."""

import csv
import json

import jax
import numpy as np
import pytest
from PIL import Image

import cnnjax
from cnnjax.config import ConfigError, augmentation, experiment, load, section
from cnnjax.data import carry, pictures
from cnnjax.data.source import Facts
from cnnjax.programs import _run_page, predict
from cnnjax.programs._answers import tables
from tests.programs.finding import begun, spot

QUIET = {"quiet": True, "tensorboard": False, "page": False, "curves": False}
FILES = {"wide.png": (60, 130, 1), "tall.jpg": (150, 90, 6)}  # what one sees, and the EXIF orientation
MARKS = {"wide.png": (22, 70), "tall.jpg": (66, 40)}


def started(workdir, what):
    task = {"name": "tests.programs.finding:forecast"} if what == "forecast" else {}
    config = experiment(
        data=section("data", f"tests.programs.finding:{'windows' if task else 'spots'}"),
        model=section("models", f"tests.programs.finding:{'lasting' if task else 'centroid'}"),
        task=section("tasks", **(task or {"name": "tests.programs.finding:finding", "what": what})),
        augment=augmentation(),
        optimizer=section("optimizers", "sgd", lr=1e-9),
        schedule=section("schedules", "constant"),
        train={"steps": 1, "batch": 4, "devices": 1},
        report=QUIET,
        eval={"test": False},
    )
    return begun(config, workdir)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """run(what): a run whose predictions are such words, made once."""
    made, folder = {}, tmp_path_factory.mktemp("finding")

    def run(what):
        made[what] = made.get(what) or started(folder / what, what)
        return made[what]

    return run


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Pictures with one spot each, larger than what the nets read, one of them turned by its EXIF."""
    folder = tmp_path_factory.mktemp("photos")
    for name, (height, width, orientation) in FILES.items():
        image = Image.fromarray(spot(height, width, *MARKS[name], radius=5.0))
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = image.transpose(Image.Transpose.ROTATE_90) if orientation == 6 else image
        stored.save(folder / name, exif=exif, quality=95)
    return folder


def asked(run, photos, output, *flags):
    predict.main([f"--workdir={run.workdir}", f"--output={output}", *flags, str(photos)])
    return {entry["image"].rpartition("/")[2]: entry for entry in json.loads(output.read_text())}


def test_a_point_lies_on_the_spot_of_the_file(run, photos, tmp_path, capsys):
    found = asked(run("points"), photos, tmp_path / "a.json")
    for name, mark in MARKS.items():
        (point,) = found[name]["points"]
        gap = np.abs(np.array([point["y"], point["x"]]) - mark)
        assert gap.max() < 0.5 * 150 / 32
        assert found[name]["size"] == list(FILES[name][:2])
    assert f"0 {point['y']:.1f},{point['x']:.1f}" in capsys.readouterr().out


def test_a_box_surrounds_the_spot_and_has_a_name_and_a_score_and_rows_that_are_absent_are_left_out(
    run, photos, tmp_path, capsys
):
    found = asked(run("boxes"), photos, tmp_path / "a.json", f"--out={tmp_path / 'drawn'}")
    for name, mark in MARKS.items():
        (box,) = found[name]["boxes"]
        assert (box["row"], box["class"], box["name"], box["score"]) == (1, 1, "star", pytest.approx(0.9))
        middle = np.array([box["y0"] + box["y1"], box["x0"] + box["x1"]]) / 2 - 0.5
        assert np.abs(middle - mark).max() < 0.5 * 150 / 32
    assert "1 box  star 0.90 [" in capsys.readouterr().out
    for name in FILES:
        with Image.open(tmp_path / "drawn" / name.replace("jpg", "png")) as drawn:
            pixels = np.asarray(drawn.convert("RGB")).astype(int)
        frame = np.abs(pixels - [86, 180, 233]).max(-1) < 12  # the colour of the second class
        assert frame.sum() > 100


def test_the_masks_of_rows_are_entries_that_json_can_hold():
    words = {"scores": np.float32([0.2, 0.9]), "masks": np.float32(np.arange(8).reshape(2, 2, 2) > 2)}
    found = json.loads(json.dumps(tables(words, Facts(), 3)))
    assert found["masks"] == [{"row": 1, "share": 1.0}, {"row": 0, "share": 0.25}]


def test_a_table_has_a_line_for_each_row(run, photos, tmp_path):
    predict.main([f"--workdir={run('boxes').workdir}", f"--output={tmp_path / 'a.csv'}", str(photos)])
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert list(rows[0]) == ["image", "row", "class", "name", "score", "y0", "x0", "y1", "x1", "error"]
    assert [row["name"] for row in rows] == ["star", "star"]


def test_values_are_lists_and_a_line_of_json_is_a_picture(run, photos, tmp_path):
    predict.main([f"--workdir={run('values').workdir}", f"--output={tmp_path / 'a.jsonl'}", str(photos)])
    entries = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [np.shape(entry["target"]) for entry in entries] == [(2, 2), (2, 2)]
    np.testing.assert_allclose(entries[0]["target"][1], 2 * np.array(entries[0]["target"][0]), rtol=1e-6)


def test_a_picture_that_was_made_is_written_and_drawn_beside_its_file(run, photos, tmp_path):
    found = asked(run("image"), photos, tmp_path / "a.json", f"--out={tmp_path / 'drawn'}")
    with Image.open(tmp_path / found["wide.png"]["files"]["image"]) as made:
        assert made.size == (8, 6)
        assert found["wide.png"]["image"] == str(photos / "wide.png")
        level = np.asarray(made)[0, 0] / 255
    with Image.open(tmp_path / "drawn" / "wide.png") as drawn:
        pixels = np.asarray(drawn.convert("L")) / 255
    assert (np.abs(pixels[:, -60:] - level) < 0.01).mean() > 0.5


def test_what_can_not_be_drawn_is_said(run, photos, tmp_path):
    with pytest.raises(ConfigError, match="what is predicted can't be drawn: secret"):
        predict.main([f"--workdir={run('secret').workdir}", f"--out={tmp_path / 'drawn'}", str(photos)])
    predict.main([f"--workdir={run('secret').workdir}", f"--output={tmp_path / 'a.npz'}", str(photos)])
    with np.load(tmp_path / "a.npz") as held:
        assert held["secret"].shape == (2, 100)


def test_a_picture_is_never_drawn_over_itself(run, photos, tmp_path):
    with pytest.raises(ConfigError, match=r"--out is .*, where wide.png would be drawn over itself"):
        predict.main([f"--workdir={run('points').workdir}", f"--out={photos}", str(photos)])
    with pytest.raises(ConfigError, match=r"--out is .*, which can't be made: .*; it must be a folder"):
        predict.main([f"--workdir={run('points').workdir}", f"--out={photos}/wide.png", str(photos)])


def test_examples_in_arrays_are_answered_and_drawn_one_by_one(run, tmp_path, capsys):
    images = np.stack([spot(32, 40, y, 20) for y in (10, 12, 20)])
    np.savez(tmp_path / "three.npz", image=images)
    flags = [f"--workdir={run('points').workdir}", f"--output={tmp_path / 'a.json'}", f"--out={tmp_path / 'drawn'}"]
    predict.main([*flags, str(tmp_path / "three.npz")])
    entries = json.loads((tmp_path / "a.json").read_text())
    assert [entry["image"] for entry in entries] == [f"{tmp_path}/three.npz[{i}]" for i in range(3)]
    np.testing.assert_allclose([entry["points"][0]["y"] for entry in entries], [10, 12, 20], atol=0.1)
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == {f"three[{i}].png" for i in range(3)}


def test_a_forecast_is_drawn_behind_its_series_with_the_truth(run, tmp_path, capsys):
    fields = run("forecast").source.test.arrays
    np.savez(tmp_path / "waves.npz", **fields)
    workdir = f"--workdir={run('forecast').workdir}"
    predict.main([workdir, f"--output={tmp_path / 'a.json'}", f"--out={tmp_path}", str(tmp_path / "waves.npz")])
    entries = json.loads((tmp_path / "a.json").read_text())
    np.testing.assert_allclose(entries[2]["target"], fields["series"][2, -1:].repeat(6, 0), rtol=1e-6)
    with Image.open(tmp_path / "waves[2].png") as drawn:
        pixels = np.asarray(drawn.convert("RGB")).astype(int)
    assert (np.abs(pixels - [213, 94, 0]).max(-1) < 30).sum() > 100  # what was predicted
    assert ((pixels < 40).all(-1)).sum() > 100  # the truth, and the axes


def test_the_last_steps_of_a_table_are_forecast_and_one_that_is_too_short_is_said(run, tmp_path, capsys):
    (tmp_path / "a.csv").write_text("day,level\n" + "".join(f"2024-01-{d:02},{d / 10}\n" for d in range(1, 31)))
    (tmp_path / "b.csv").write_text("level\n1\n2\n")
    flags = [f"--workdir={run('forecast').workdir}", f"--output={tmp_path / 'a.json'}"]
    with pytest.raises(ValueError, match=r"b.csv: it has 2 steps; the net reads 24"):
        predict.main([*flags, str(tmp_path / "a.csv"), str(tmp_path / "b.csv")])
    first, second = json.loads((tmp_path / "a.json").read_text())
    assert first["file"] == str(tmp_path / "a.csv")
    np.testing.assert_allclose(first["target"], np.full((6, 1), 3.0), rtol=1e-6)
    assert "it has 2 steps" in second["error"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"tokens": np.zeros((2, 5), int)}, r"no array series in it, only tokens; it must be \(N, 24, 1\)"),
        ({"series": np.zeros((2, 5, 1))}, r"series has shape \(2, 5, 1\); it must be \(N, 24, 1\)"),
        ({"series": np.zeros((2, 24, 1), complex)}, "series has type complex128; it must be float32, as in training"),
    ],
)
def test_arrays_that_do_not_fit_are_said(run, tmp_path, fields, reason):
    np.savez(tmp_path / "a.npz", **fields)
    with pytest.raises(ValueError, match=reason):
        predict.main([f"--workdir={run('forecast').workdir}", str(tmp_path / "a.npz")])


def test_a_picture_for_a_net_of_series_is_refused(run, photos):
    with pytest.raises(ConfigError, match=r"reads series \(24, 1\), not pictures; give an .npz file with series"):
        predict.main([f"--workdir={run('forecast').workdir}", str(photos)])


@pytest.fixture(scope="module")
def scenes(tmp_path_factory, root):
    """A small U-Net for shapes."""
    flags = "data.train=8 data.test=3 data.size=32 model.width=4 model.depth=1 model.norm=none train.steps=1"
    quiet = "train.batch=8 train.devices=1 eval.test=no report.quiet=yes report.tensorboard=no"
    config = load(f"{root}/configs/shapes.py", [f"--config.{flag}" for flag in f"{flags} {quiet}".split()])
    return begun(config, tmp_path_factory.mktemp("scenes") / "run")


def test_segments_have_the_size_of_their_files_in_every_form(scenes, photos, tmp_path, capsys):
    entries = asked(scenes, photos, tmp_path / "a.json", f"--out={tmp_path / 'drawn'}", "--top=2")
    predict.main([f"--workdir={scenes.workdir}", f"--output={tmp_path / 'a.npz'}", str(photos)])
    files = sorted(photos.iterdir())
    images, placings, _ = pictures(files, (32, 32, 3))
    segments = scenes.predict(images)["segments"]
    with np.load(tmp_path / "a.npz") as held:
        assert list(held["file"]) == [str(file) for file in files]
        assert held["unreadable"].shape == (0, 2)
        for row, file in enumerate(files):
            wanted = carry({"segments": segments[row]}, placings[row])["segments"]
            assert wanted.shape == FILES[file.name][:2]
            np.testing.assert_array_equal(held[f"segments_{row}"], wanted)
            entry = entries[file.name]
            with Image.open(tmp_path / entry["files"]["segments"]) as drawn:
                assert drawn.mode == "P"
                np.testing.assert_array_equal(np.asarray(drawn), wanted)
            known = wanted[wanted != 255]
            most = np.bincount(known).argmax()
            assert entry["segments"][0]["class"] == most
            assert entry["segments"][0]["name"] == scenes.facts.extra["segment_names"][most]
            assert entry["segments"][0]["share"] == pytest.approx((known == most).mean())
            with Image.open(tmp_path / "drawn" / f"{file.stem}.png") as sheet:
                assert min(sheet.size) > 150
    line = capsys.readouterr().out.splitlines()[1].split()
    assert line[1:3] == [
        entries["tall.jpg"]["segments"][0]["name"],
        f"{entries['tall.jpg']['segments'][0]['share']:.1%}",
    ]


@pytest.mark.proofs
def test_a_picture_in_tiles_is_that_of_one_tile_that_holds_it_whole_in_its_own_pixels(scenes, tmp_path, capsys):
    picture = cnnjax.data.shapes(train=1, test=1, size=120).test.arrays["image"][0]
    Image.fromarray(picture[:, :100]).save(tmp_path / "large.png")
    found = {}
    for tile in (16, 128):
        for name in predict.FLAGS:
            predict.FLAGS[name].unparse()
        flags = (f"--tile={tile}", f"--output={tmp_path / 'a.npz'}", f"--out={tmp_path / 'drawn'}")
        predict.main([f"--workdir={scenes.workdir}", *flags, str(tmp_path / "large.png")])
        with np.load(tmp_path / "a.npz") as held:
            found[tile] = held["segments_0"]
    assert found[16].shape == (120, 100)
    np.testing.assert_array_equal(found[16], found[128])
    inner = np.s_[24:96, 24:76]  # beyond the reach of a border, which is mirrored here
    whole = np.asarray(jax.jit(scenes.answer)(scenes.variables, picture[None, :, :100])["segments"][0])
    np.testing.assert_array_equal(found[16][inner], whole[inner])
    assert len(np.unique(whole[inner])) > 1


def test_tiles_that_can_not_be_are_refused_in_a_line(run, scenes, photos):
    for name in predict.FLAGS:
        predict.FLAGS[name].unparse()
    with pytest.raises(ConfigError, match=r"--tile is 15; it must be a multiple of the net's stride, 2: 16"):
        predict.main([f"--workdir={scenes.workdir}", "--tile=15", str(photos)])
    with pytest.raises(ConfigError, match=r"tiles are for segments; the network predicts points: leave it out"):
        predict.main([f"--workdir={run('points').workdir}", "--tile=16", str(photos)])
    for name in predict.FLAGS:
        predict.FLAGS[name].unparse()


def test_a_file_that_can_not_be_read_stands_in_every_form_with_its_reason(run, photos, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"nothing")
    for form in ("csv", "json", "jsonl", "npz"):
        with pytest.raises(ValueError, match="1 of 3 pictures could not be read"):
            predict.main(
                [
                    f"--workdir={run('boxes').workdir}",
                    f"--output={tmp_path}/a.{form}",
                    str(photos),
                    f"{tmp_path}/broken.png",
                ]
            )
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", "a.json", "a.jsonl", "a.npz", "broken.png"}
    reason = "no JPEG, PNG, WebP, BMP, TIFF or GIF, or one with a damaged header"
    assert json.loads((tmp_path / "a.json").read_text())[2] == {"image": f"{tmp_path}/broken.png", "error": reason}
    assert json.loads((tmp_path / "a.jsonl").read_text().splitlines()[2])["error"] == reason
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert list(rows[0]) == ["image", "row", "class", "name", "score", "y0", "x0", "y1", "x1", "error"]
    assert rows[-1]["error"] == reason
    with np.load(tmp_path / "a.npz") as held:
        assert held["unreadable"].tolist() == [[f"{tmp_path}/broken.png", reason]]
        assert held["boxes"].shape == (2, 2, 4)


def test_the_page_of_a_run_draws_what_it_predicts_whatever_that_is(run, scenes):
    found = {what: run(what) for what in ("points", "boxes", "image", "forecast")} | {"segments": scenes}
    np.savez(scenes.workdir / "tables-test.npz", **scenes.tables("test"))  # as an evaluation leaves them
    for what, trained in found.items():
        _run_page.write(trained)
        text = (trained.workdir / "report.html").read_text()
        for part in ("results", "the best and the worst", "data", "net", "origin"):
            assert f"<h2>{part}</h2>" in text, what
        assert ("<h2>classes</h2>" in text) == (what == "segments")
        assert "<h2>calibration</h2>" not in text
        assert text.count("least loss: ") == 2 * min(4, trained.facts.counts["test"]), what  # caption, and what is read
        assert text.count("<img") + text.count("<svg") >= 8, what
        assert len(text) < 3_000_000
