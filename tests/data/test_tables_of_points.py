"""Tables of points: every joint where it is, and what can't be used by line."""

import os

import numpy as np
import pytest

from cnnjax.data import check, points
from tests.data.labelled import (
    POSES,
    as_table,
    block,
    everything,
    refused,
    save,
    table_line,
)


def test_a_table_of_points_gives_them_with_their_order_in_a_mirror(tmp_path):
    for number in range(10):
        save(block(number), tmp_path / "images" / f"{number:03}.png")
    as_table(tmp_path, [table_line(number, number % 2) for number in range(9, -1, -1)])
    (tmp_path / "skeleton.txt").write_text("nose left_eye\nnose, right_eye\n")
    source = points(root=str(tmp_path))
    assert source.facts.counts == {"train": 8, "eval": 2, "test": 2}
    assert source.facts.extra == {
        "point_names": ("nose", "left_eye", "right_eye"), "mirror": (0, 2, 1), "skeleton": ((0, 1), (0, 2)),
    }  # fmt: skip
    fields = everything(source.train)
    np.testing.assert_array_equal(fields["points"][0], np.add(POSES[0], [0, 1]))
    np.testing.assert_array_equal(fields["visible"][:, 2], [1, 0, 1, 0, 0, 1, 0, 1])
    fields = everything(points(root=str(tmp_path), size=32, around=2.0).train)
    seen = fields["points"][0][fields["visible"][0] > 0]
    assert 32 / (np.ptp(seen[:, 1]) / 4) == pytest.approx(2 * 5, abs=1), "twice as many pixels as their box is wide"


def test_the_splits_of_a_table_are_a_column_or_tables_of_their_own(tmp_path):
    for number in range(4):
        for folder in (tmp_path, tmp_path / "more" / "train", tmp_path / "more" / "val"):
            save(block(number), folder / "images" / f"{number:03}.png")
    header = "file,split,a_x,a_y"
    as_table(tmp_path, [f"images/00{i}.png,{s},1,2" for i, s in enumerate(("train", "val", "train", "test"))], header)
    source = points(root=str(tmp_path))
    assert source.facts.counts == {"train": 2, "eval": 1, "test": 1}
    assert "mirror" not in source.facts.extra, "nobody knows it"
    for split in ("train", "val"):
        as_table(tmp_path / "more" / split, [table_line(number) for number in range(3)])
    assert points(root=str(tmp_path / "more")).facts.counts == {"train": 3, "eval": 3, "test": 3}


def test_the_order_in_a_mirror_may_be_written_down(tmp_path):
    save(block(0), tmp_path / "images" / "000.png")
    as_table(tmp_path, [f"images/000.png,{'1,2,' * 3}1" for _ in range(6)],
             "file,tip_x,tip_y,a_x,a_y,b_x,b_y,b_visible")  # fmt: skip
    (tmp_path / "mirror.txt").write_text("a b\n")
    assert points(root=str(tmp_path)).facts.extra["mirror"] == (0, 2, 1)
    (tmp_path / "mirror.txt").write_text("a c\n")
    assert "has the line 'a c'; a line is two of the points tip, a, b" in refused(points, root=str(tmp_path))


@pytest.mark.parametrize(
    ("lines", "header", "text"),
    [
        (["a.png,1,2"], "file,a_x,b_y", "points.csv lacks a_y; its columns are file, NAME_x, NAME_y"),
        (["a.png,1,2"], "name,a_x,a_y", "points.csv has name, a_x, a_y; its columns are file, NAME_x"),
        (["a.png,1,2,3"], "file,a_x,a_y,angle", "points.csv has file, a_x, a_y, angle; its columns are file"),
        ([], "file,a_x,a_y", "points.csv has no rows"),
        (["a.png,1,w"], "file,a_x,a_y", "points.csv, line 2, a.png, has a at 1, w (visible 1); it must be numbers"),
        (["a.png,1,"], "file,a_x,a_y", "points.csv, line 2, a.png, has a at 1,  (visible 1); it must be numbers"),
        (["a.png,1,nan"], "file,a_x,a_y", "points.csv, line 2, a.png, has a at 1, nan (visible 1); it must be numbers"),
        (
            ["a.png,1,2,", "a.png,1,2,3,4"],
            "file,a_x,a_y",
            "points.csv, line 3, a.png, has more cells than the first line has columns (3, 4 too many); take them out",
        ),
        ([",1,2"], "file,a_x,a_y", "points.csv, line 2, no file, names no picture"),
        (["a.png,tset,1,2"], "file,split,a_x,a_y", "points.csv, line 2, a.png, has the split 'tset'; it must be train"),
        (
            ["a.png,train,1,2", "a.png,,1,2"],
            "file,split,a_x,a_y",
            "the column split must say train, val or test in every",
        ),
        (
            ["a.png,1,2"] * 5 + ["a.png,41,2"] * 5,
            "file,a_x,a_y",
            "a.png has a at x 41, y 2; visible points",
        ),
    ],
)
def test_what_is_wrong_with_a_table_is_said_by_line(tmp_path, lines, header, text):
    save(block(0), tmp_path / "a.png")
    as_table(tmp_path, lines, header)
    assert text in refused(points, root=str(tmp_path))


def test_a_pipe_in_the_place_of_a_list_is_not_waited_for(tmp_path):
    as_table(tmp_path, [table_line(number) for number in range(10)])
    os.mkfifo(tmp_path / "mirror.txt")
    text = refused(points, root=str(tmp_path))
    assert "mirror.txt is no list of points that can be read: it is no regular file" in text


@pytest.mark.proofs
def test_the_joints_of_lsp_are_read_from_a_table(tmp_path, real):
    scipy_io = pytest.importorskip("scipy.io")
    joints = scipy_io.loadmat(real("lsp_ext400") / "joints.mat")["joints"].transpose(2, 0, 1)
    sides = [f"{side}_{joint}" for side, order in (("right", (2, 1, 0)), ("left", (0, 1, 2)))
             for joint in [("hip", "knee", "ankle")[i] for i in order]]  # fmt: skip
    arms = [f"{side}_{joint}" for side, order in (("right", (2, 1, 0)), ("left", (0, 1, 2)))
            for joint in [("shoulder", "elbow", "wrist")[i] for i in order]]  # fmt: skip
    names = [*sides, *arms, "neck", "head_top"]
    files = sorted((real("lsp_ext400") / "images").iterdir())
    (tmp_path / "images").symlink_to(real("lsp_ext400") / "images")
    header = ",".join(["file", *(name + end for name in names for end in ("_x", "_y", "_visible"))])
    lines = [
        ",".join([f"images/{file.name}", *(str(n) for n in joints[row].ravel())]) for row, file in enumerate(files)
    ]
    as_table(tmp_path, lines, header)
    text = refused(points, root=str(tmp_path), size=96, around=1.3)
    assert text.startswith("images/im00024.jpg has "), "one joint that is marked lies 0.7 pixels above its picture"
    row = [file.name for file in files].index("im00024.jpg")
    joints[row, joints[row, :, 1] < -1, 2] = 0
    lines[row] = ",".join([f"images/{files[row].name}", *(str(n) for n in joints[row].ravel())])
    as_table(tmp_path, lines, header)
    source = points(root=str(tmp_path), size=96, around=1.3)
    assert source.facts.counts == {"train": 320, "eval": 80, "test": 80}
    assert source.facts.extra["mirror"] == (5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13)
    visible = sum(int(split.arrays["visible"].sum()) for split in (source.train, source.test))
    assert visible == 4865
    check(source, 32)
