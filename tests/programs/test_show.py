"""Contact sheets: what is drawn is what the step would see."""

import numpy as np
import pytest
from PIL import Image

from cnnjax import config as sections
from cnnjax.config import ConfigError
from cnnjax.data import Facts
from cnnjax.programs import _drawing, _gallery, _sheets, show
from cnnjax.train.job import prepare


def test_a_sheet_of_training_examples_is_a_picture(at_home, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    show.main(["--config=configs/digits.py", f"--out={out}", "--examples=6"])
    assert capsys.readouterr().out == f"{out}: 6 examples of train\n"
    with Image.open(out) as drawn:
        picture = np.asarray(drawn.convert("RGB"))
    assert min(picture.shape[:2]) > 100
    assert picture.std() > 30


def test_segments_and_mixed_labels_are_drawn(at_home, tmp_path):
    out = tmp_path / "sheet.png"
    show.main(["--config=configs/shapes.py", f"--out={out}", "--examples=4", "--split=eval"])
    with Image.open(out) as picture:
        assert picture.size[0] > 100
    facts = prepare(sections.load("configs/digits.py")).source.facts
    target = np.zeros(10, np.float32)
    target[[3, 7]] = 0.25, 0.75
    assert _drawing.title({"target": target}, facts) == f"{facts.names[7]} 0.75 + {facts.names[3]} 0.25"


def test_the_batch_of_a_step_is_the_one_that_training_takes(at_home):
    prepared = prepare(sections.load("configs/digits.py", ["--config.optimizer.accumulate=2"]))
    batch = _sheets.at_step(prepared, prepared.source.train, 5)
    stream = prepared.batches(prepared.source.train)
    wanted = stream.batches(5, 1)
    stream.close()
    assert np.array_equal(batch["index"], np.asarray(wanted["index"])[0])
    assert batch["image"].shape[:2] == batch["index"].shape
    assert np.array_equal(batch["image"][0, :3], prepared.source.train.read(batch["index"][0, :3])["image"])


def test_a_mistyped_split_is_named():
    with pytest.raises(ConfigError, match="--split is 'trian'; it must be train, eval or test"):
        show.main(["--config=configs/digits.py", "--split=trian"])


@pytest.mark.proofs
def test_the_gallery_shows_every_augmentation(tmp_path):
    out = tmp_path / "gallery.png"
    show.main(["--gallery", f"--out={out}"])
    with Image.open(out) as picture:
        assert picture.size[0] > 500


def test_an_example_of_the_gallery_keeps_its_marks_on_its_picture():
    picture = _gallery._scene()
    facts = Facts("image", picture.shape, 2, mean=(0.5,) * 3, std=(0.25,) * 3)
    fields = {"image": picture[None], "points": np.array([[[34.0, 98.0]]], np.float32)}
    out = _gallery._augmented(facts, "rotate", fields | {"index": np.zeros(1, int), "epoch": np.zeros(1, int)})
    y, x = np.round(out["points"][0]).astype(int)
    np.testing.assert_allclose(out["image"][y, x] * 255, picture[34, 98], atol=2)
