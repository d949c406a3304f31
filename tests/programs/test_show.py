"""Contact sheets: what is drawn is what the step would see."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from cnnjax import config as sections
from cnnjax.config import ConfigError
from cnnjax.data import Facts
from cnnjax.programs import _drawing, _figures, _gallery, _sheets, show
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


def inputs(path, **fields):
    """The flags of a set of such inputs with a label each."""
    label = np.arange(8) % 2
    np.savez(path, label=label, names=np.array(["no", "yes"]), **fields)
    return ["--config=configs/digits.py", "--config.data.name=arrays", f"--config.data.path={path}", *AS_IT_IS]


AS_IT_IS = (
    "--config.train.batch=4",
    "--config.train.devices=1",
    "--config.augment.train=",
    "--config.augment.eval=",
    "--config.data.holdout=0",
)


@pytest.mark.parametrize(
    ("field", "values", "wide"),
    [
        ("video", np.random.default_rng(0).integers(0, 255, (8, 9, 12, 16, 3), np.uint8), 4),
        ("tokens", np.random.default_rng(0).integers(0, 50, (8, 20)), 1.5),
        ("series", np.random.default_rng(0).random((8, 30, 2), np.float32), 1.5),
        ("series", np.random.default_rng(0).random((8, 30, 40), np.float32), 1.5),
    ],
    ids=["a strip of a video", "words", "curves", "a map of many channels"],
)
def test_inputs_that_are_no_pictures_are_shown_too(at_home, tmp_path, capsys, field, values, wide):
    flags = inputs(tmp_path / "set.npz", **{field: values})
    show.main([*flags, f"--out={tmp_path / 'sheet.png'}", "--examples=1"])
    assert capsys.readouterr().out == f"{tmp_path / 'sheet.png'}: 1 examples of train\n"
    with Image.open(tmp_path / "sheet.png") as drawn:
        assert drawn.size[0] > wide * drawn.size[1] * 0.5
        pixels = np.asarray(drawn.convert("L"))
    assert (pixels < 200).mean() > 0.01


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("sheet.pgn", "--out is '.*sheet.pgn'; it must end in .png, .jpg, .jpeg, .pdf, .svg or .webp"),
        ("no/sheet.png", "--out is '.*no/sheet.png'; there is no folder .*no"),
        ("folder.png", "--out is '.*folder.png', a folder; give the file to write"),
        ("folder.png/set.npz/a.png", "--out is .*; there is no folder"),
    ],
)
def test_what_can_not_be_written_is_said_before_anything_is_read(tmp_path, out, words):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ConfigError, match=words):
        show.main(["--config=no/such/config.py", f"--out={tmp_path / out}"])


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


def colors(panel):
    """What a panel shows, as (H, W, 3) bytes."""
    figure = panel.figure
    FigureCanvasAgg(figure).draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)


def near(pixels, color, most=40):
    return np.abs(pixels - np.round(255 * np.array(to_rgb(color)))).max(-1) < most


WORDS = {
    "segments": np.kron(np.array([[0, 1], [2, 255]]), np.ones((20, 20), int)),
    "boxes": np.float32([[4, 4, 30, 20], [10, 20, 36, 38]]),
    "classes": np.array([0, 1]),
    "scores": np.float32([0.9, 0.2]),
    "present": np.float32([1, 0]),
    "points": np.float32([[5, 30], [30, 8]]),
    "visible": np.float32([1, 1]),
}
EXTRA = {"segment_names": ("background", "cat", "dog"), "point_names": ("nose", "tail"), "skeleton": ((0, 1),)}


def test_each_kind_of_word_is_explained_and_drawn_in_its_colour():
    facts = Facts("image", (40, 40, 3), 2, names=("cat", "dog"), extra=EXTRA)
    words = {"image": np.full((40, 40, 3), 0.5), **WORDS}
    figure = Figure(figsize=(4, 4))
    panel = figure.add_axes((0, 0, 1, 1))
    legend = _drawing.draw(panel, words, facts)
    assert list(legend) == ["cat", "dog", "no class", "nose", "tail"]
    pixels = colors(panel)
    assert near(pixels, "#D55E00").sum() > 100  # a cat's box
    assert pixels[350, 350].max() < 120  # no class
    assert near(pixels[290:320, 60:110], "#56B4E9").any()  # the second point
    assert near(pixels, "white").sum() > 100  # the line between points
    labels = [handle.get_label() for handle in _drawing.explained(legend, 20)]
    assert sorted(labels) == sorted(legend)


def test_masks_have_the_colour_of_their_box_and_one_box_that_of_its_picture():
    masks = np.zeros((2, 24, 24), bool)
    masks[0, 2:10, 2:10], masks[1, 12:20, 12:20] = True, True
    boxes = np.array([[2, 2, 10, 10], [12, 12, 20, 20]], np.float32)
    words = {"image": np.zeros((24, 24, 3), np.uint8), "boxes": boxes, "masks": masks, "classes": np.array([3, 1])}
    facts = Facts("image", (24, 24, 3), names=("a", "b", "c", "d"))
    panel = Figure().add_axes((0, 0, 1, 1))
    assert _drawing.draw(panel, words, facts).keys() == {"b", "d"}
    layer = panel.images[-1].get_array()
    np.testing.assert_allclose(layer[6, 6, :3], _drawing.color(3), atol=0.01)
    np.testing.assert_allclose(layer[16, 16, :3], _drawing.color(1), atol=0.01)
    one = {"image": words["image"], "boxes": boxes[:1], "label": np.int32(2)}
    assert _drawing.draw(Figure().add_axes((0, 0, 1, 1)), one, facts).keys() == {"c"}


def test_boxes_that_are_ignored_are_dotted():
    facts = Facts("image", (40, 40, 3), 2, names=("cat", "dog"))
    drawn = []
    for ignored in (0, 1):
        panel = Figure(figsize=(4, 4)).add_axes((0, 0, 1, 1))
        words = {
            "image": np.zeros((40, 40, 3)),
            "boxes": np.float32([[5, 5, 35, 35]]),
            "ignored": np.float32([ignored]),
        }
        _drawing.draw(panel, words, facts)
        drawn.append([patch.get_linestyle() for patch in panel.patches])
    assert drawn == [["-"], [":"]]


def test_names_of_boxes_that_stand_alone_are_written_beside_them_and_overlap_nowhere():
    facts = Facts("image", (200, 200, 3), 2, names=("cat", "dog"))
    boxes = np.float32([[50, 50, 150, 150], [52, 52, 152, 152], [0, 0, 30, 30], [180, 150, 200, 200]])
    words = {"boxes": boxes, "classes": np.array([0, 1, 1, 0]), "scores": np.float32([0.9, 0.8, 0.7, 0.6])}
    figure = _figures.single({"image": np.zeros((200, 200, 3))}, words, facts, "a picture", size=(200, 200))
    (panel,) = figure.axes
    figure.canvas.draw()
    assert [text.get_text() for text in panel.texts] == ["cat 0.90", "dog 0.80", "dog 0.70", "cat 0.60"]
    extents = [text.get_window_extent() for text in panel.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(extents) for b in extents[:i])
    frame = panel.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 <= frame.y1 for box in extents)


def test_a_forecast_follows_its_series_and_lies_beside_the_truth():
    facts = Facts("series", (30, 1))
    series, target = np.sin(np.arange(30.0))[:, None], np.sin(np.arange(30.0, 40))[:, None]
    figure = _figures.single({"series": series, "target": target}, {"target": target + 0.1}, facts, "a window")
    lines = figure.axes[0].lines
    truth, foretold = (line for line in lines if len(line.get_xdata()) == 10)
    assert list(truth.get_xdata()) == list(foretold.get_xdata()) == list(range(30, 40))
    np.testing.assert_allclose(foretold.get_ydata() - truth.get_ydata(), 0.1)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["truth", "predicted"]


def test_every_class_of_many_has_a_colour_of_its_own():
    assert len({_drawing.color(number) for number in range(48)}) == 48


def test_headings_and_legends_stay_inside_their_figure():
    names = tuple(f"a class with quite a long name, number {i}" for i in range(12))
    facts = Facts("image", (12, 12, 3), extra={"segment_names": names})
    words = {"image": np.zeros((12, 12, 3)), "segments": np.arange(144).reshape(12, 12) // 12}
    heading = "train · crop → flip → " + " → ".join(["rotate"] * 30)
    sheet, single = _figures.sheet([words], facts, heading), _figures.single(words, {}, facts, heading)
    for figure in (sheet, single):
        FigureCanvasAgg(figure).draw()
        width, height = figure.get_size_inches() * figure.dpi
        for text in (*figure.texts, *figure.legends[0].get_texts()):
            box = text.get_window_extent()
            assert box.x0 >= -1
            assert box.x1 <= width + 1
            assert box.y0 >= -1
            assert box.y1 <= height + 1
