"""A directory per class: which files, in which order, and what happens where some cannot be read."""

import json
import os
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from cnnjax.data import DataError, Stream, check, folder, passes
from cnnjax.data import _pictures as pictures
from cnnjax.data._listing import labelled
from cnnjax.data.folders import Files
from cnnjax.refusals import ConfigError


def paint(file, value, size=(8, 8), **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(file, **options)


@pytest.fixture
def streamed(monkeypatch):
    """Sets count as large from the first byte on, so that they are decoded as they are asked for."""
    monkeypatch.setattr(pictures, "_SMALL", 0)


def classes(root, count=10, split="", names=("ant", "bee")):
    for label, name in enumerate(names):
        for number in range(count):
            paint(root / split / name / f"{number:02}.png", 100 * label + number)


def test_the_three_directories_are_the_three_splits(tmp_path):
    for split, count in (("train", 6), ("val", 3), ("test", 2)):
        classes(tmp_path, count, split)
    source = folder(root=str(tmp_path))
    assert source.facts.counts == {"train": 12, "eval": 6, "test": 4}
    assert source.facts.names == ("ant", "bee")
    assert source.facts.shape == (8, 8, 3)
    fields = source.train.read(np.arange(12))
    np.testing.assert_array_equal(fields["image"][:, 0, 0, 0], [*range(6), *range(100, 106)])
    np.testing.assert_array_equal(fields["label"], [0] * 6 + [1] * 6)
    assert fields["image"].dtype == np.uint8


def test_without_splits_every_fifth_file_is_the_test_set(tmp_path):
    classes(tmp_path)
    source = folder(root=str(tmp_path))
    assert source.facts.counts == {"train": 16, "eval": 4, "test": 4}
    assert source.eval is source.test
    np.testing.assert_array_equal(source.test.read(np.arange(4))["image"][:, 0, 0, 0], [0, 5, 100, 105])


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("training_set", "validation_set", "test_set"),
        ("Train", "dev", "TESTING"),
        ("train2017", "val2017", "test-imgs"),
    ],
)
def test_names_that_mean_splits_are_understood(tmp_path, train, val, test):
    for name, count in ((train, 6), (val, 3), (test, 2)):
        classes(tmp_path, count, name)
    source = folder(root=str(tmp_path))
    assert source.facts.counts == {"train": 12, "eval": 6, "test": 4}
    assert source.facts.names == ("ant", "bee")


def test_directories_as_archives_bring_them_are_looked_into(tmp_path):
    classes(tmp_path / "cats-and-dogs", 6, "training_set/training_set")
    classes(tmp_path / "cats-and-dogs", 2, "test_set/test_set")
    (tmp_path / "__MACOSX").mkdir()
    source = folder(root=str(tmp_path))
    assert source.facts.counts == {"train": 12, "eval": 4, "test": 4}
    assert source.facts.names == ("ant", "bee")


@pytest.mark.parametrize("name", ["seg_train", "trained", "valley", "test_old_ones", "val.1.bak"])
def test_a_directory_that_may_be_a_split_is_never_taken_for_a_class(tmp_path, name):
    classes(tmp_path, 3)
    classes(tmp_path, 3, name)
    with pytest.raises(DataError) as refused:
        folder(root=str(tmp_path))
    assert str(refused.value) == (
        f"{tmp_path} has {name}/, whose name is like a split's and which holds directories (ant, bee)\n"
        "name splits train/, eval/ and test/; a class of that name must hold its pictures itself"
    )


def test_a_class_may_be_called_like_a_split_where_it_holds_pictures(tmp_path):
    classes(tmp_path, 5, names=("trainer", "valley"))
    assert folder(root=str(tmp_path)).facts.names == ("trainer", "valley")
    classes(tmp_path / "other", 5, "train", names=("train", "plane"))
    assert folder(root=str(tmp_path / "other")).facts.names == ("plane", "train")


def test_two_directories_of_one_split_are_refused(tmp_path):
    classes(tmp_path, 2, "train")
    classes(tmp_path, 2, "Training_images")
    with pytest.raises(DataError, match=r"has both Training_images/ and train/; one directory for train is needed"):
        folder(root=str(tmp_path))


def test_files_are_listed_as_a_walk_of_the_tree_finds_them(tmp_path):
    """And in the order that it always had; pipes are no pictures, linked ones are."""
    for place in ("ant/2.png", "ant/10.PNG", "ant/deep/er/1.jpeg", "ant/deep/0.tiff", "bee/.hidden.png", "bee/a b.gif"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(b"")
    os.mkfifo(tmp_path / "ant" / "pipe.png")
    os.symlink(tmp_path / "ant" / "2.png", tmp_path / "bee" / "linked.png")
    paths, labels = labelled(str(tmp_path), str(tmp_path), ("ant", "bee"))
    assert paths[:4] == ["ant/10.PNG", "ant/2.png", "ant/deep/0.tiff", "ant/deep/er/1.jpeg"]
    assert paths[4:] == ["bee/a b.gif", "bee/linked.png"]
    assert labels == [0, 0, 0, 0, 1, 1]


def test_four_thousand_files_are_listed_in_a_moment(tmp_path):
    """4 ms of processor time; 130 where every file became a path."""
    (tmp_path / "ant").mkdir()
    for number in range(4000):
        os.close(os.open(tmp_path / "ant" / f"{number}.png", os.O_CREAT))
    took = []
    for _ in range(3):
        before = time.process_time()
        assert len(labelled(str(tmp_path), str(tmp_path), ("ant",))[0]) == 4000
        took.append(time.process_time() - before)
    assert min(took) < 0.05


def test_files_of_no_image_ending_and_hidden_ones_do_not_count(tmp_path):
    classes(tmp_path)
    (tmp_path / "ant" / "notes.txt").write_text("not a picture")
    (tmp_path / "ant" / "._00.png").write_bytes(b"a resource fork")
    (tmp_path / ".git").mkdir()
    paint(tmp_path / "bee" / "deeper" / "CAPITAL.PNG", 7)
    assert sum(folder(root=str(tmp_path)).facts.counts[split] for split in ("train", "test")) == 21


def test_streamed_and_resident_read_the_same(tmp_path, monkeypatch):
    classes(tmp_path)
    (tmp_path / "ant" / "03.png").write_bytes(b"broken")
    resident = folder(root=str(tmp_path))
    monkeypatch.setattr(pictures, "_SMALL", 0)
    streamed = folder(root=str(tmp_path))
    assert resident.train.resident
    assert not streamed.train.resident
    for split in ("train", "test"):
        one, other = getattr(resident, split), getattr(streamed, split)
        for field, values in one.read(np.arange(len(one))).items():
            np.testing.assert_array_equal(values, other.read(np.arange(len(other)))[field])


@pytest.mark.parametrize("how", ["empty", "cut", "text", "renamed", "bomb"])
def test_a_broken_training_file_is_replaced_by_the_next_and_named(tmp_path, how, streamed):
    classes(tmp_path / "train")
    classes(tmp_path / "test")
    file = tmp_path / "train" / "ant" / "04.png"
    if how == "empty":
        file.write_bytes(b"")
    elif how == "cut":
        file.write_bytes(file.read_bytes()[:-30])
    elif how == "text":
        file.write_text("this is no picture")
    elif how == "renamed":
        file.write_bytes(b"PSD" + bytes(40))
    else:
        head, body = struct.pack(">4sIIBBBBB", b"IHDR", 30_000, 30_000, 1, 0, 0, 0, 0), b"IDAT" + zlib.compress(b"")
        chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (head, body)]
        file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    log = tmp_path / "bad_records.jsonl"
    source = folder(root=str(tmp_path), size=8)
    with Stream(source.train, batch=20, workers=0, bad_records=str(log)) as stream:
        batch = stream.batches(0)
        seen = {
            int(index): int(value)
            for index, value in zip(batch["index"][0], batch["image"][0, :, 0, 0, 0], strict=True)
        }
        assert seen[4] == 5
        assert (batch["valid"] == 1).all()
        stream.batches(1)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["record"] for line in lines] == ["train/ant/04.png"]
    words = {"empty": "empty", "cut": "truncated", "bomb": "decompression bomb"}.get(
        how, "no JPEG, PNG, WebP, BMP, TIFF or GIF"
    )
    assert words in lines[0]["reason"]


def test_a_png_called_jpg_is_read(tmp_path):
    classes(tmp_path)
    (tmp_path / "ant" / "00.png").rename(tmp_path / "ant" / "00.jpg")
    assert folder(root=str(tmp_path)).test.read(np.array([0]))["image"].max() == 0


def test_a_named_pipe_is_no_picture_and_nobody_waits_for_it(tmp_path, streamed):
    classes(tmp_path)
    os.mkfifo(tmp_path / "ant" / "pipe.png")  # is not even listed
    for place in ("ant/03.png", "bee/05.png"):  # for training, and for the test
        (tmp_path / place).unlink()
        (tmp_path / place).symlink_to(tmp_path / "ant" / "pipe.png")
    source = folder(root=str(tmp_path), size=8)
    with Stream(source.train, batch=16, workers=1) as stream:
        assert (stream.batches(0)["valid"] == 1).all()
    assert [batch["valid"].sum() for batch in passes(source.test, 4, workers=0)] == [3]
    words = "it is no regular file but a pipe or a device"
    assert (source.train.bad, source.test.bad) == ({"ant/03.png": words}, {"bee/05.png": words})
    assert folder(root=str(tmp_path)).facts.shape == (8, 8, 3)


def test_a_replacement_brings_its_own_label_and_may_be_broken_too(tmp_path, streamed):
    classes(tmp_path / "train", 3)
    classes(tmp_path / "test", 3)
    (tmp_path / "train" / "ant" / "01.png").write_bytes(b"x")
    (tmp_path / "train" / "ant" / "02.png").write_bytes(b"x")
    fields = folder(root=str(tmp_path), size=8).train.read(np.arange(6))
    np.testing.assert_array_equal(fields["image"][:, 0, 0, 0], [0, 100, 100, 100, 101, 102])
    np.testing.assert_array_equal(fields["label"], [0, 1, 1, 1, 1, 1])


def test_a_broken_evaluation_file_counts_for_nothing(tmp_path, streamed):
    classes(tmp_path / "train")
    classes(tmp_path / "test")
    (tmp_path / "test" / "ant" / "04.png").write_bytes(b"x")
    source = folder(root=str(tmp_path), size=8)
    batches = list(passes(source.test, 8, workers=0))
    assert sum(batch["valid"].sum() for batch in batches) == 19
    assert batches[0]["valid"][4] == 0


def test_a_replacement_never_comes_from_what_is_held_out(tmp_path, streamed):
    classes(tmp_path / "train", 30)
    classes(tmp_path / "test", 2)
    for number in range(0, 30, 4):
        (tmp_path / "train" / "ant" / f"{number:02}.png").write_bytes(b"x")
    source = folder(root=str(tmp_path), size=8, holdout=30)
    train = source.train.read(np.arange(30))["image"][:, 0, 0, 0]
    held = source.eval.read(np.arange(30))
    assert not set(train) & set(held["image"][held["valid"] > 0, 0, 0, 0])


def test_more_broken_files_than_the_budget_stop_the_run(tmp_path):
    classes(tmp_path)
    for number in (1, 2):
        (tmp_path / "ant" / f"{number:02}.png").write_bytes(b"x")
    assert len(folder(root=str(tmp_path), size=8).train) == 16
    with pytest.raises(DataError) as refused:
        folder(root=str(tmp_path), size=8, budget=1)
    assert str(refused.value).startswith("2 records cannot be used, data.budget allows 1; the first is ant/01.png:")


def test_worker_processes_report_broken_files_and_keep_to_the_budget(tmp_path):
    classes(tmp_path, 20)
    for number in range(12):
        (tmp_path / "ant" / f"{number:02}.png").write_bytes(b"x")
    paths = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.glob("*/*"))
    log = tmp_path / "bad.jsonl"

    def files(budget):
        options = {"shape": (8, 8, 3), "depth": 8, "fit": "", "budget": budget, "train": True}
        return Files(tmp_path, paths, [0] * 20 + [1] * 20, **options)

    for _ in ("a run", "the same run again writes no name twice"):
        with Stream(files(12), batch=8, workers=2, bad_records=str(log)) as stream:
            stream.batches(0, 5)
        assert len(log.read_text().splitlines()) == 12
    with Stream(files(11), batch=8, workers=2) as stream, pytest.raises(DataError, match="cannot be used, data"):
        stream.batches(0, 5)


def test_images_of_many_sizes_need_a_size(tmp_path):
    classes(tmp_path)
    paint(tmp_path / "bee" / "09.png", 3, size=(8, 12))
    with pytest.raises(DataError) as refused:
        folder(root=str(tmp_path))
    assert str(refused.value) == (
        "the images differ in size: ant/00.png has 8×8 pixels, bee/09.png has 8×12; "
        "set data.size, and data.fit=crop, pad or squash"
    )
    assert folder(root=str(tmp_path), size=6, width=10, fit="pad").facts.shape == (6, 10, 3)


def test_turned_photographs_agree_by_the_size_that_is_seen(tmp_path):
    classes(tmp_path)
    for name in ("ant", "bee"):
        for file in (tmp_path / name).iterdir():
            paint(file, 5, size=(8, 12))
    exif = Image.Exif()
    exif[0x0112] = 6
    paint(tmp_path / "ant" / "03.png", 9, size=(12, 8), exif=exif)
    assert folder(root=str(tmp_path)).facts.shape == (8, 12, 3)


def test_sixteen_bits_and_one_channel_on_request(tmp_path):
    for name, value in (("ant", 1000), ("bee", 60_000)):
        for number in range(5):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(np.full((8, 8), value, np.uint16)).save(tmp_path / name / f"{number}.png")
    source = folder(root=str(tmp_path), depth=16, channels=1)
    assert source.facts.shape == (8, 8, 1)
    np.testing.assert_allclose(source.facts.mean, (1000 + 60_000) / 2 / 65535, rtol=1e-6)
    assert source.train.arrays["image"].dtype == np.float32
    assert set(np.unique(source.train.arrays["image"]) * 65535) == {1000, 60_000}


@pytest.mark.parametrize(
    ("make", "options", "text"),
    [
        (lambda root: None, {"root": ""}, "data.root is empty; name the directory, --config.data.root=DIR"),
        (lambda root: None, {"root": "/nowhere/at/all"}, "data.root is /nowhere/at/all; there is no such directory"),
        (lambda root: None, {}, "has no directories; put each class's images into a directory of its name"),
        (lambda root: classes(root, 2, "test"), {}, "has test/ but no train/; training needs images of its own"),
        (lambda root: (root / "ant").mkdir(), {}, "ant has no .jpg, .jpeg, .png, .webp, .bmp, .tif, .tiff, .gif files"),
        (
            lambda root: classes(root),
            {"fit": "corp"},
            "data.fit is 'corp'; nearest: crop; allowed: crop, pad, squash",
        ),
        (lambda root: classes(root, 1, names=("ant",)), {}, "the training split has no examples"),
        (lambda root: classes(root), {"depth": 12}, "data.depth is 12; it must be one of 8, 16"),
        (lambda root: classes(root), {"channels": 4}, "data.channels is 4; it must be one of 1, 3"),
        (lambda root: classes(root), {"width": 4}, "data.size is 0 and data.width 4"),
        (
            lambda root: (classes(root, 2, "train"), classes(root, 2, "test", ("ant", "beee"))),
            {},
            "beee is a class that the training set lacks, did you mean bee?; it has ant, bee",
        ),
        (
            lambda root: (classes(root, 2, "train"), classes(root, 2, "val"), classes(root, 2, "test")),
            {"holdout": 1},
            "data.holdout is 1, but this set has an evaluation split of its own (4 examples); set data.holdout=0",
        ),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path, make, options, text):
    make(tmp_path)
    with pytest.raises((DataError, ConfigError)) as refused:
        folder(**{"root": str(tmp_path), **options})
    assert text in str(refused.value)
    assert refused.value.exit_code == (2 if isinstance(refused.value, ConfigError) else 3)
    assert len(str(refused.value).splitlines()) <= 3


def test_a_folder_smaller_than_a_batch_is_refused(tmp_path):
    classes(tmp_path)
    with pytest.raises(DataError, match="batch is 32, but the training set has 16 examples; lower train"):
        check(folder(root=str(tmp_path)), 32)


def listed(tmp_path):
    """A folder with a broken picture, and the stream that lists it in a file."""
    classes(tmp_path, 20)
    (tmp_path / "ant" / "04.png").write_bytes(b"x")
    source, log = folder(root=str(tmp_path), size=8), tmp_path / "bad_records.jsonl"
    return log, lambda: Stream(source.train, batch=20, workers=0, bad_records=str(log))


@pytest.mark.parametrize(
    "line", [b'{"record": "a.png", "rea', b"\xff\xff", b"[1]", b'"text"', b"3", b'{"record": []}', b"[" * 100_000]
)
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_of_broken_files_that_is_torn_is_passed_over_and_said_and_spoils_no_other(line, end, tmp_path, capsys):
    log, stream = listed(tmp_path)
    log.write_bytes(b'{"record": "before.png", "reason": "empty"}\n' + line + end)
    with stream() as batches:
        batches.batches(0, 2)
    assert capsys.readouterr().err == f"{log}: a line is no record, and passed over\n"
    first, torn, last = log.read_bytes().split(b"\n")[:-1]
    assert [json.loads(each)["record"] for each in (first, last)] == ["before.png", "ant/04.png"]
    assert torn == line


def test_a_directory_in_the_place_of_the_list_of_broken_files_stops_nothing(tmp_path, capsys):
    log, stream = listed(tmp_path)
    log.mkdir()
    with stream() as batches:
        batches.batches(0, 2)
        assert list(batches.split.bad) == ["ant/04.png"]
    assert capsys.readouterr().err == f"{log}: Is a directory; what is broken is listed no more\n"
