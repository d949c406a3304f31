"""Pictures and what a network says of them, from the command line."""

import csv
import json

import jax
import numpy as np
import pytest
from PIL import Image

from cnnjax import models, weights
from cnnjax.config import ConfigError
from cnnjax.data import Facts
from cnnjax.programs import _asking, _served, predict, process
from tests import hostile

MODEL = "--model=resnet20"


@pytest.fixture
def run(digits_run):
    return digits_run


@pytest.fixture
def pictures(tmp_path, run):
    """A folder with three digits and a file that is none."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for i, name in enumerate(("a.png", "b.png", "more/c.png")):
        Image.fromarray(run.source.test.arrays["image"][i, ..., 0]).save(folder / name)
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def said(argv):
    """What the program raises, after it has printed."""
    with pytest.raises(ValueError) as error:  # noqa: PT011
        predict.main([str(word) for word in argv])
    return str(error.value), process.exit_code(error.value)


def test_the_likeliest_classes_are_those_of_python_and_broken_pictures_are_named(run, pictures, capsys, tmp_path):
    out = tmp_path / "out.json"
    words, code = said(
        [f"--workdir={run.workdir}", "--top=2", f"--output={out}", f"--out={tmp_path / 'drawn'}", pictures]
    )
    assert code == 3
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == {"a.png", "b.png", "c.png"}
    assert words.splitlines() == [
        "1 of 4 pictures could not be read; the others are above",
        f"  {pictures}/broken.jpg: no JPEG, PNG, WebP, BMP, TIFF or GIF, or one with a damaged header",
        "save them again as PNG or JPEG, or leave them out",
    ]
    wanted = run.predict(run.source.test.arrays["image"][:3])["probabilities"]
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"{run.workdir} at step 20: crop to 28×28 grey, then normalize"
    assert printed[1].split()[:2] == [f"{pictures}/a.png", run.facts.names[wanted[0].argmax()]]
    found = json.loads(out.read_text())
    assert [entry["image"].removeprefix(f"{pictures}/") for entry in found] == [
        "a.png",
        "b.png",
        "broken.jpg",
        "more/c.png",
    ]
    assert "error" in found.pop(2)
    for entry, row in zip(found, wanted, strict=True):
        assert [each["class"] for each in entry["top"]] == list(np.argsort(-row)[:2])
        assert entry["top"][0]["probability"] == pytest.approx(row.max(), rel=1e-5)


def test_more_pictures_than_are_read_at_once_keep_their_order(run, pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(_asking, "AT_ONCE", 2)
    out = tmp_path / "out.csv"
    (pictures / "broken.jpg").unlink()
    predict.main([f"--workdir={run.workdir}", "--images", str(pictures), "--top=1", f"--output={out}"])
    rows = list(csv.DictReader(out.read_text().splitlines()))
    wanted = run.predict(run.source.test.arrays["image"][:3])["label"]
    assert [int(row["class"]) for row in rows] == list(wanted)
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_a_net_of_the_zoo_with_weights_from_elsewhere_says_how_it_reads_pictures(tmp_path, capsys):
    net = models.resnet20(outputs=3)
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda k, x: net.init(k, x, train=False), jax.random.key(0), np.zeros((1, 32, 32, 3)))
    variables = jax.tree.map(lambda leaf: 0.5 * rng.random(leaf.shape, np.float32), shapes)
    weights.save(net, variables, tmp_path / "a.safetensors")
    (tmp_path / "names.txt").write_text("cat\ndog\nyak\n")
    picture = rng.integers(0, 255, (40, 40, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    flags = [MODEL, f"--weights={tmp_path}/a.safetensors", "--size=32", "--resize=40", "--top=3"]
    predict.main([*flags, "--outputs=3", f"--names={tmp_path}/names.txt", str(tmp_path / "a.png")])
    story, line = capsys.readouterr().out.splitlines()
    assert story == (
        f"resnet20 with {tmp_path}/a.safetensors: shorter side to 40, the middle 32×32 in colour, "
        "mean [0.485, 0.456, 0.406], std [0.229, 0.224, 0.225]"
    )
    x = (picture[None, 4:36, 4:36] / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    wanted = np.asarray(jax.nn.softmax(jax.jit(net.apply)(variables, x.astype(np.float32))[0]))
    best = ("cat", "dog", "yak")[wanted.argmax()]
    assert line.split()[:3] == [f"{tmp_path}/a.png", best, f"{wanted.max():.1%}"]
    broken = jax.tree.map(lambda leaf: leaf * np.float32("nan"), variables)
    weights.save(net, broken, tmp_path / "nan.safetensors")
    words, code = said([MODEL, f"--weights={tmp_path}/nan.safetensors", *flags[2:], "--outputs=3", f"{tmp_path}/a.png"])
    assert (code, words) == (2, "the network's answers are not finite; are its weights, mean and std right?")
    words, code = said([*flags, f"{tmp_path}/a.png"])
    assert code == 2
    assert "of another shape: head.output.bias (3,) for params/head/output/bias (1000,)" in words
    assert words.endswith("\n--outputs=1000 says how many classes the file has")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["x.png"], "give the directory of a run, --workdir=runs/a, or --model=resnet18 with --weights=FILE"),
        ([MODEL, "x.png"], "give the directory of a run"),
        (["--workdir=a"], "no files are named; give files or folders"),
        (["--workdir=a", "--images=tests/fixtrues"], "has 'tests/fixtrues'; there is no .*; nearest: tests/fixtures"),
        (["--workdir=a", "configs"], "has 'configs', a folder without .jpg, .jpeg, .png, .webp, .* files"),
        (["--workdir=a", "--output=a.txt", "x.png"], "--output is 'a.txt'; it must end in .csv, .json, .jsonl or .npz"),
        ([MODEL, "--weights=no.pth", "README.md"], r"--weights=no.pth can't be read: No such file"),
        ([MODEL, "--weights=no.pth", "--mean=a", "README.md"], "--mean is a; it must be numbers between commas"),
        ([MODEL, "--weights=no.pth", "--mean=0.5", "README.md"], "--mean has 1 numbers and --std 3"),
        (
            [MODEL, "--weights=no.pth", "--std=0,1,1", "README.md"],
            "and --std 0,1,1; they must be finite, and std above 0",
        ),
        ([MODEL, "--weights=no.pth", "--mean=nan,0,0", "README.md"], "--mean is nan,0,0 .* must be finite"),
        (["--workdir=a", "--", "-dash.png"], "has '-dash.png'; there is no such file"),
        (["-workdir", "runs/nothing", "README.md"], "runs/nothing holds no run"),
        ([MODEL, "--weights=no.pth", "--size=300", "README.md"], "--resize=256 is less than --size=300"),
        (["--workdir=runs/nothing", "README.md"], "runs/nothing holds no run"),
    ],
)
def test_what_can_not_be_done_is_said_in_a_line(at_home, argv, words):
    with pytest.raises(ConfigError, match=words):
        predict.main(argv)


def test_a_value_that_begins_with_a_dash_is_no_flag():
    options = ["--mean", "-1,0,0", "--workdir=x", "-top", "3"]
    assert predict._apart([*options, "a.png", "--", "-b.png"]) == (options, ["-b.png", "a.png"])


def test_a_network_of_something_else_than_pictures_is_refused():
    served = _served.Served(None, {}, None, None, Facts("series", (40, 4)), np.dtype("f4"), {}, 0, "", None, None)
    with pytest.raises(
        ConfigError,
        match=r"the network reads series \(40, 4\), not pictures; give an .npz file with series \(N, 40, 4\)",
    ):
        served.read([])


def test_of_series_that_can_not_be_read_nothing_is_said_of_pictures():
    story = str(predict._unreadable([("a.csv", "it has 5 steps; the net reads 40")], 2, 1, Facts("series", (40, 4))))
    assert story.splitlines() == [
        "1 of 2 series could not be read; the others are above",
        "  a.csv: it has 5 steps; the net reads 40",
        "give tables whose last steps can be read as the run's data, or leave them out",
    ]


def test_help_is_a_page():
    lines = predict.__doc__.strip().splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 110


@pytest.fixture
def of_floats():
    """What reads the arrays of files for a net that was trained on pictures of floats."""
    facts = Facts("image", (4, 4, 1), 2, mean=(0.5,), std=(0.2,))
    return _served.Served(None, {}, None, None, facts, np.dtype(np.float32), {}, 0, "", None, None)


def test_pictures_of_another_range_than_the_training_had_are_refused_by_example(of_floats, tmp_path):
    """Bytes as floats were answered without a word, with what a net says of a white wall."""
    image = np.random.default_rng(0).random((3, 4, 4, 1))
    np.savez(tmp_path / "a.npz", image=image)
    assert of_floats.arrays(tmp_path / "a.npz")["image"].dtype == np.float32
    image[1, 2, 2] = 254
    np.savez(tmp_path / "a.npz", image=image)
    with pytest.raises(ValueError, match=r"example 1 has image 254\.0; floats go from 0 to 1: divide by the largest"):
        of_floats.arrays(tmp_path / "a.npz")
    image[1, 2, 2] = np.nan
    np.savez(tmp_path / "a.npz", image=image)
    with pytest.raises(ValueError, match="example 1 has values of image that are not finite"):
        of_floats.arrays(tmp_path / "a.npz")


def test_what_is_asked_about_is_read_within_bounds(of_floats, tmp_path):
    path = hostile.bomb_of_zeros(tmp_path / "a.npz", "image", 260)
    with hostile.bounded(), pytest.raises(ValueError, match=r"it would unpack to 260 MiB, 1,0\d\d times its size"):
        of_floats.arrays(path)
    with open(tmp_path / "names.txt", "wb") as file:
        file.truncate(2**36)
    with (
        hostile.bounded(),
        pytest.raises(ConfigError, match=r"names\.txt has more than 16,777,216 letters; give a name"),
    ):
        _served._named(str(tmp_path / "names.txt"), 10)
