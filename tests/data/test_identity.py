"""A data set is told from any other by what is cheap to know of it."""

import numpy as np
import pytest
from PIL import Image

from cnnjax.data import _pictures as pictures
from cnnjax.data import digits, folder, from_arrays, masks, points
from cnnjax.data.source import Memory, Part, Source
from cnnjax.data.stream import into_memory


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Two classes of eight pictures each, for training, and of five for tests."""
    root, draw = tmp_path_factory.mktemp("drawn") / "a", np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 5)):
        for kind in ("ant", "bee"):
            (root / split / kind).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw.integers(0, 256, (6, 6, 3), np.uint8)).save(root / split / kind / f"{number}.png")
    return root


@pytest.fixture(params=["whole", "streamed"])
def root(request, drawn, tmp_path, monkeypatch):
    """A copy of them elsewhere, which is read whole, or as it is asked for."""
    import shutil

    if request.param == "streamed":
        monkeypatch.setattr(pictures, "_SMALL", 0)
    return shutil.copytree(drawn, tmp_path / "elsewhere")


def grey(path):
    Image.fromarray(np.zeros((6, 6, 3), np.uint8)).save(path)


def rename_class(root):
    for split in ("train", "test"):
        (root / split / "bee").rename(root / split / "cow")


CHANGES = {
    "a picture added": (lambda root: grey(root / "train/bee/8.png"), {"counts", "mean", "examples"}),
    "a picture removed": (lambda root: (root / "train/bee/3.png").unlink(), {"counts", "mean", "examples"}),
    "a picture renamed": (lambda root: (root / "train/bee/3.png").rename(root / "train/bee/x.png"), {"examples"}),
    "a picture exchanged": (lambda root: grey(root / "train/ant/0.png"), {"mean", "examples"}),
    "a test picture added": (lambda root: grey(root / "test/ant/8.png"), {"counts", "examples"}),
    "a class renamed": (rename_class, {"names", "examples"}),
}


@pytest.mark.parametrize("what", CHANGES)
def test_pictures_and_classes_that_come_go_or_change_their_names_are_seen(what, root, drawn):
    before = folder(root=str(root)).identity
    assert before == folder(root=str(drawn)).identity, "where they lie is no matter"
    change, words = CHANGES[what]
    change(root)
    after = folder(root=str(root)).identity
    assert {word for word in before if before[word] != after[word]} == words


def test_how_a_set_is_held_does_not_change_what_it_is(root, drawn, monkeypatch):
    monkeypatch.setattr(pictures, "_SMALL", 2**28)
    wanted = folder(root=str(drawn), holdout=4).identity
    monkeypatch.setattr(pictures, "_SMALL", 0)
    source = folder(root=str(root), holdout=4)
    assert source.identity["examples"] == wanted["examples"]
    test = into_memory(source.test, workers=0)
    held = Source(into_memory(source.train, workers=0), into_memory(source.eval, workers=0), test, source.facts)
    assert held.identity == source.identity
    arrays = digits()
    streamed = Part(arrays.train, np.arange(len(arrays.train)))
    assert Source(streamed, arrays.test, arrays.test, arrays.facts).identity == arrays.identity


def test_arrays_are_told_by_all_that_they_hold():
    image, label = np.arange(4 * 9).reshape(4, 3, 3, 1).astype(np.uint8), np.array([0, 1, 0, 1])
    test = {"image": image[:2], "label": label[:2]}

    def told(image, label):
        return from_arrays({"image": image, "label": label}, test).identity["examples"]

    assert told(image, label) == told(image.copy(), label.copy())
    others = [told(image[::-1], label), told(image, 1 - label), told(image, label)]
    assert len({each["train"] for each in others}) == 3
    assert len({each["test"] for each in others}) == 1


def test_a_split_that_can_say_nothing_of_its_examples_says_so():
    class Own:
        resident = False

        def __len__(self):
            return 3

        def read(self, indices):
            return {"image": np.zeros((len(indices), 2, 2, 1), np.uint8)}

    facts = digits().facts
    test = Memory({"image": np.zeros((1, 2, 2, 1), np.uint8)})
    examples = Source(Own(), test, test, facts).identity["examples"]
    assert examples["train"] == ""
    assert examples["eval"] == examples["test"] != ""


@pytest.mark.parametrize("what", ["a point moved", "a mask exchanged"])
def test_labels_that_are_no_classes_belong_to_what_a_set_is(tmp_path, what):
    draw = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    table = ["file,nose_x,nose_y"]
    for number in range(10):
        Image.fromarray(draw.integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / f"images/{number}.png")
        Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / f"masks/{number}.png")
        table.append(f"images/{number}.png,{number % 7},3")
    (tmp_path / "points.csv").write_text("\n".join(table))
    read = {"a point moved": points, "a mask exchanged": masks}[what]
    before = read(root=str(tmp_path), size=8).identity
    assert read(root=str(tmp_path), size=8).identity == before
    (tmp_path / "points.csv").write_text("\n".join(table).replace("9.png,2,3", "9.png,2,4"))
    Image.fromarray(np.ones((8, 8), np.uint8)).save(tmp_path / "masks/9.png")
    assert read(root=str(tmp_path), size=8).identity["examples"] != before["examples"]
