"""Pascal VOC's files: every box where it is, and what can't be used by file and object."""

import shutil
import zipfile

import numpy as np
import pytest

from cnnjax.data import check, voc
from tests.data.labelled import (
    BOXES,
    OBJECT,
    as_voc,
    block,
    everything,
    moved,
    refused,
    save,
)


def test_vocs_boxes_lie_on_their_blocks_and_difficult_ones_are_ignored(tmp_path):
    as_voc(
        tmp_path / "VOCdevkit" / "VOC2007", lists={"train": range(6), "val": (6, 7), "test": (8, 9), "cat_train": ()}
    )
    source = voc(root=str(tmp_path), most=3)
    assert source.facts.counts == {"train": 6, "eval": 2, "test": 2}
    assert source.facts.names == ("cat", "dog")
    fields = everything(source.train)
    np.testing.assert_array_equal(fields["ignored"], [[0, number % 2, 0] for number in range(6)])
    for number in range(6):
        np.testing.assert_array_equal(fields["boxes"][number, :2], [moved(box, number) for box in BOXES])


def test_voc_without_lists_or_with_trainval_alone_is_split_all_the_same(tmp_path):
    as_voc(tmp_path)
    assert voc(root=str(tmp_path)).facts.counts == {"train": 8, "eval": 2, "test": 2}
    as_voc(tmp_path, lists={"trainval": range(7), "test": range(7, 10)})
    assert voc(root=str(tmp_path)).facts.counts == {"train": 7, "eval": 3, "test": 3}


def test_pixels_may_count_from_0_and_boxes_that_begin_there_are_else_passed_over(tmp_path):
    early = OBJECT.format(kind="cat", difficult=0, y0=3, x0=0, y1=9, x1=12)
    as_voc(tmp_path, more=lambda number: early * (number == 4))
    source = voc(root=str(tmp_path))
    assert everything(source.train)["present"].sum() == 16
    assert source.train.bad == {
        "JPEGImages/000004.png: object 1": "a box that begins at 0 where pixels count from 1 on; "
        "set data.first=0 where they count from 0"
    }
    fields = everything(voc(root=str(tmp_path), first=0).train)
    assert fields["present"].sum() == 17
    assert fields["boxes"][3, 0].tolist() == [3, 0, 9, 12]


def test_vocs_boxes_of_no_area_are_passed_over_and_a_broken_file_with_its_picture(tmp_path):
    flat = OBJECT.format(kind="cat", difficult=0, y0=5, x0=7, y1=5, x1=7)
    as_voc(tmp_path, more=lambda number: flat * (number == 1))
    (tmp_path / "Annotations" / "000002.xml").write_text("<annotation>")
    (tmp_path / "JPEGImages" / "000003.png").unlink()
    source = voc(root=str(tmp_path), size=24)
    assert set(source.train.bad) == {
        "JPEGImages/000001.png: object 1",
        "JPEGImages/000002.png",
        "JPEGImages/000003.jpg",
    }
    assert "000002.xml: ParseError" in source.train.bad["JPEGImages/000002.png"]


def test_an_object_of_which_nobody_says_whether_it_is_difficult_is_not(tmp_path):
    said = {1: "", 2: "Unspecified", 3: "1"}
    more = {number: OBJECT.format(kind="cat", difficult=text, y0=3, x0=5, y1=9, x1=9) for number, text in said.items()}
    as_voc(tmp_path, more=lambda number: more.get(number, ""))
    assert everything(voc(root=str(tmp_path)).train)["ignored"][:3, 0].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("more", "options", "text"),
    [
        (
            {"y0": 9, "x0": 5, "y1": 3, "x1": 9},
            {},
            "000001.xml: JPEGImages/000001.png, object 1, has the box y0 x0 y1 x1",
        ),
        (
            {"y0": 3, "x0": 5, "y1": 9, "x1": 41},
            {},
            "[2 4 9 41]; it must lie in the picture of 24×40 pixels, to 0.5 pixels; correct it, or leave it out",
        ),
        ({"y0": 3, "x0": 5, "y1": 9, "x1": "w"}, {}, "000001.xml: object 1 has bndbox/xmax 'w'; it must be a number"),
        ({"difficult": "yes"}, {}, "000001.xml: object 1 has difficult 'yes'; it must be a number"),
        (
            {"kind": "owl"},
            {},
            "000009.xml: object 1 is a 'owl', which the training set lacks: cat, dog; correct its name",
        ),
        ({"kind": " "}, {}, "000009.xml: object 1 has no name"),
        ({}, {"most": 2}, "JPEGImages/000001.png has 3 boxes, more than data.most=2; set data.most=3"),
    ],
)
def test_what_voc_files_can_not_mean_is_refused_by_file_and_object(tmp_path, more, options, text):
    where = 9 if "kind" in more else 1
    thing = OBJECT.format(**{"kind": "cat", "difficult": 0, "y0": 3, "x0": 5, "y1": 9, "x1": 9} | more)
    as_voc(tmp_path, more=lambda number: thing * (number == where), lists={"train": range(9), "val": (9,)})
    assert text in refused(voc, root=str(tmp_path), **options)


def test_boxes_outside_a_picture_whose_file_says_no_size_are_found_as_it_is_read(tmp_path):
    thing = OBJECT.format(kind="cat", difficult=0, y0=3, x0=5, y1=9, x1=41)
    as_voc(tmp_path, more=lambda number: thing * (number == 1), size=())
    text = refused(voc, root=str(tmp_path))
    assert text.startswith("JPEGImages/000001.png has object 1 with the box y0 x0 y1 x1 [2 4 9 41]; it must lie in")


def test_a_picture_of_another_size_than_its_file_says_is_refused_by_the_name_of_that_file(tmp_path):
    as_voc(tmp_path)
    save(block(3)[:, 1:], tmp_path / "JPEGImages" / "000003.png")
    text = refused(voc, root=str(tmp_path), size=24)
    assert text.startswith("JPEGImages/000003.png has 24×39 pixels, but Annotations/000003.xml says 24×40: its labels")


def test_folders_that_are_no_voc_are_refused(tmp_path):
    assert "a folder with Annotations/ and JPEGImages/ is needed, and it has none" in refused(voc, root=str(tmp_path))
    as_voc(tmp_path / "a")
    as_voc(tmp_path / "b")
    assert "and it has several: " in refused(voc, root=str(tmp_path))
    shutil.rmtree(tmp_path / "a" / "JPEGImages")
    assert "has Annotations/ but no JPEGImages/" in refused(voc, root=str(tmp_path / "a"))


@pytest.mark.proofs
def test_the_blood_cells_of_bccd_are_read_whole_but_for_two_boxes_of_no_area(tmp_path, real):
    with zipfile.ZipFile(real("bccd") / "BCCD_Dataset-1.0.zip") as archive:
        archive.extractall(tmp_path)
    source = voc(root=str(tmp_path), size=96, width=128, most=30)
    assert source.facts.counts == {"train": 205, "eval": 87, "test": 72}
    assert source.facts.names == ("Platelets", "RBC", "WBC")
    splits = (source.train, source.eval, source.test)
    bad = [name for split in splits for name in split.bad]
    assert bad == ["JPEGImages/BloodImage_00343.jpg: object 4", "JPEGImages/BloodImage_00338.jpg: object 13"]
    classes = np.concatenate([split.arrays["classes"][split.arrays["present"] > 0] for split in splits])
    assert np.bincount(classes).tolist() == [361, 4153, 372]
    check(source, 32)
