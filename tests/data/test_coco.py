"""COCO's files: every box, mask and joint where it is, and what can't be used by file and id."""

import os

import numpy as np
import pytest
from PIL import Image

from cnnjax.data import _pictures as pictures
from cnnjax.data import check, coco
from tests.data.labelled import (
    POSES,
    SIZE,
    as_coco,
    block,
    everything,
    refused,
    save,
)


def test_cocos_boxes_lie_on_their_blocks_and_crowds_are_ignored(tmp_path):
    as_coco(tmp_path, "train2017", range(6))
    as_coco(tmp_path, "val2017", range(3))
    source = coco(root=str(tmp_path), most=5)
    assert source.facts.counts == {"train": 6, "eval": 3, "test": 3}
    assert source.facts.names == ("cat", "dog"), "by category id, gaps closed"
    fields = everything(source.train)
    assert {name: value.shape[1:] for name, value in fields.items()} == {
        "image": (24, 40, 3), "boxes": (5, 4), "classes": (5,), "present": (5,), "ignored": (5,), "areas": (5,),
        "pixel_area": (),
    }  # fmt: skip
    np.testing.assert_array_equal(fields["present"], [[1, 1, 0, 0, 0]] * 6)
    np.testing.assert_array_equal(fields["classes"][:, :2], [[0, 1]] * 6)
    np.testing.assert_array_equal(fields["ignored"][:, 1], [0, 1] * 3)
    assert not fields["ignored"][:, [0, 2, 3, 4]].any()
    for number in range(6):
        for row, value in ((0, 200), (1, 100)):
            y0, x0, y1, x1 = fields["boxes"][number, row].astype(int)
            assert (fields["image"][number, y0:y1, x0:x1] == value).all()
            assert (fields["image"][number] == value).sum() == 3 * (y1 - y0) * (x1 - x0)
    check(source, 4)


def test_cocos_polygons_and_run_lengths_become_instances(tmp_path):
    as_coco(tmp_path)
    fields = everything(coco(root=str(tmp_path), masks=True, most=3).train)
    instances = np.select([fields["image"][..., 0] == 200, fields["image"][..., 0] == 100], [1, 2], 0)
    np.testing.assert_array_equal(fields["instances"], instances)


def test_of_two_things_at_a_pixel_the_smaller_one_is_seen_and_crowds_lie_below(tmp_path):
    def overlap(content):
        for annotation in content["annotations"]:
            crowd = annotation["iscrowd"]
            x0, y0, x1, y1 = (0, 0, 4, 4) if crowd else (0, 0, 20, 20) if annotation["id"] % 10 else (0, 0, 10, 10)
            polygon = [[x0, y0, x1, y0, x1, y1, x0, y1]]
            annotation |= {"bbox": [x0, y0, x1 - x0, y1 - y0], "segmentation": polygon}

    as_coco(tmp_path, change=overlap, numbers=range(10))
    fields = everything(coco(root=str(tmp_path), masks=True, most=3).train)
    crowd = fields["ignored"][:, 1] == 1
    assert (fields["instances"][:, 2, 2] == 1).all()
    np.testing.assert_array_equal(fields["instances"][:, 15, 15], np.where(crowd, 0, 2))


def test_cocos_people_are_cut_out_with_their_joints(tmp_path):
    as_coco(tmp_path, numbers=range(10))
    source = coco(root=str(tmp_path), points=True, size=32, width=48)
    assert source.facts.counts == {"train": 8, "eval": 2, "test": 2}, "one example a row that has keypoints"
    extra = source.facts.extra
    assert extra["point_names"] == ("nose", "left_eye", "right_eye")
    assert (extra["mirror"], extra["skeleton"]) == ((0, 2, 1), ((0, 1), (0, 2)))
    fields = everything(source.test)
    assert fields["points"].shape == (2, 3, 2)
    assert fields["visible"].all()
    assert fields["present"].tolist() == [[1], [1]]
    y0, x0, y1, x1 = fields["boxes"][0, 0]
    assert 0.7 < max((y1 - y0) / 32, (x1 - x0) / 48) <= 0.85, "1.25 times as large as the box"
    wanted = np.float32([[(y - 3) / 6, (x - 4) / 8] for y, x in np.add(POSES[0], 0.5)])
    np.testing.assert_allclose((fields["points"][0] + 0.5 - [y0, x0]) / [y1 - y0, x1 - x0], wanted, atol=1e-5)


def test_one_file_serves_all_splits_and_pictures_may_lie_beside_it(tmp_path):
    as_coco(tmp_path, "all", range(10), images="annotations")
    source = coco(root=str(tmp_path), annotations="annotations/instances_all.json")
    assert source.facts.counts == {"train": 8, "eval": 2, "test": 2}
    np.testing.assert_array_equal(everything(source.test)["boxes"][:, 0, 1], [4, 9])
    for split, number in (("train", 4), ("valid", 2)):
        as_coco(tmp_path / "exported", split, range(number), images=split)
        (tmp_path / "exported" / split / "_annotations.coco.json").write_bytes(
            (tmp_path / "exported" / "annotations" / f"instances_{split}.json").read_bytes()
        )
    source = coco(root=str(tmp_path / "exported"), annotations="{split}/_annotations.coco.json")
    assert source.facts.counts == {"train": 4, "eval": 2, "test": 2}


@pytest.mark.parametrize("fit", ["pad", "squash", "crop"])
def test_boxes_and_instances_follow_what_fit_and_exif_make_of_the_picture(tmp_path, fit):
    as_coco(tmp_path, numbers=range(5))
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.rot90(block(1))  # what a viewer turns back
    save(stored, tmp_path / "train" / "001.png", exif=exif)
    source = coco(root=str(tmp_path), size=48, width=48, fit=fit, masks=True, most=2)
    check(source, 1)
    for fields in (everything(source.train), everything(source.test)):
        for image, boxes, present, instances in zip(
            fields["image"], fields["boxes"], fields["present"], fields["instances"], strict=True
        ):
            for row, value in ((0, 200), (1, 100)):
                if present[row]:
                    y0, x0, y1, x1 = np.rint(boxes[row]).astype(int)
                    inner = image[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1, 0]
                    assert np.abs(inner.astype(int) - value).max() < 10
                    for y, x in ((y0 - 2, x0 + 1), (y1 + 1, x0 + 1), (y0 + 1, x0 - 2), (y0 + 1, x1 + 1)):
                        assert not (0 <= y < 48 and 0 <= x < 48) or image[y, x, 0] < 20
                    assert (instances[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] == row + 1).all()
                    assert (instances == row + 1).sum() == pytest.approx((y1 - y0) * (x1 - x0), rel=0.15)


def test_what_a_crop_cuts_away_but_for_a_sliver_is_no_row_and_its_pixels_are_of_nobody(tmp_path):
    def aside(content):
        for annotation in content["annotations"][::2]:
            annotation |= {"bbox": [0, 4, 8.7, 8], "segmentation": [[0, 4, 8.7, 4, 8.7, 12, 0, 12]]}

    as_coco(tmp_path, numbers=range(5), change=aside)
    source = coco(root=str(tmp_path), size=24, fit="crop", masks=True, most=2)  # columns 8 to 32 stay
    check(source, 1)
    fields = everything(source.train)
    assert not fields["present"][:, 0].any()
    assert (fields["instances"][:, 4:12, 0] == 255).all()
    assert set(np.unique(fields["instances"])) == {0, 2, 255}


def annotation(number=3, **changes):
    def change(content):
        content["annotations"][number] |= changes

    return change


def without(key, number=3):
    def change(content):
        content["annotations"][number].pop(key)

    return change


def turned(content):
    content["images"][1] |= {"width": SIZE[0], "height": SIZE[1]}
    content["annotations"] = [row for row in content["annotations"] if row["image_id"] != 101]


FILE = "annotations/instances_train.json: train/001.png, annotation 11,"
SPOILT = [
    (
        annotation(bbox=[4, 3, -8, 6]),
        {},
        f"{FILE} has the box y0 x0 y1 x1 [3 4 9 -4]; it is inside out, y0 <= y1 and x0 <= x1 are needed; correct it",
    ),
    (
        annotation(bbox=[4, 3, 37, 6]),
        {},
        f"{FILE} has the box y0 x0 y1 x1 [3 4 9 41]; it must lie in the picture of 24×40",
    ),
    (annotation(bbox=[-2, 3, 8, 6]), {}, f"{FILE} has the box y0 x0 y1 x1 [3 -2 9 6]; it must lie in the picture"),
    (
        annotation(bbox=[4, 3, float("nan"), 6]),
        {},
        f"{FILE} has a box of y0 x0 y1 x1 [3 4 9 nan]; it must be four numbers",
    ),
    (annotation(bbox=[4, 3]), {}, "annotation 11, has the bbox [4, 3]; it must be four numbers x y width height"),
    (without("bbox"), {}, "annotation 11, has the bbox None"),
    (
        annotation(category_id=5),
        {},
        "annotation 11, has category_id 5; the categories are 3, 7; give it one of them, or list its own",
    ),
    (
        annotation(image_id=5),
        {},
        "annotations/instances_train.json: annotation 11 has image_id 5, which no image has; list the image, or leave",
    ),
    (
        without("segmentation"),
        {"masks": True},
        "annotation 11, has no segmentation; give it one, or set data.masks=false",
    ),
    (annotation(segmentation=[[1, 2, 3, 4]]), {"masks": True}, f"{FILE} has a polygon that is not three or more pairs"),
    (
        annotation(segmentation={"size": [24, 41], "counts": [984]}),
        {"masks": True},
        f"{FILE} has a mask of 24×41 pixels; its picture has 24×40; correct it, or set data.masks=false",
    ),
    (
        annotation(segmentation={"size": [24, 40], "counts": "x"}),
        {"masks": True},
        f"{FILE} has a text that holds no run",
    ),
    (annotation(segmentation=5), {"masks": True}, f"{FILE} has the segmentation 5, which is neither polygons nor run"),
    (
        annotation(segmentation={"size": 24, "counts": [960]}),
        {"masks": True},
        f"{FILE} has the size 24, which is no height and width; its picture has 24×40; correct it, or set",
    ),
    *(
        (annotation(segmentation=shape), {"masks": True}, f"{FILE} has a segmentation of which nothing lies in the")
        for shape in (
            [[50, 3, 60, 3, 60, 9, 50, 9]],
            [[50, 3, 60, 3, 60, 9], [4, -9, 8, -9, 8, -2]],
            {"size": list(SIZE), "counts": [960]},
        )
    ),
    (
        lambda c: c["images"][1].update(width=41),
        {},
        "train/001.png has 24×40 pixels, but annotations/instances_train.json",
    ),
    (turned, {"size": 8}, "train/001.png has 24×40 pixels (as it is seen, turned by its EXIF), but annotations/"),
    (
        lambda c: c["images"][1].pop("width"),
        {"masks": True},
        "says no height and width of train/001.png, which its masks",
    ),
    (lambda c: c["images"][1].update(id=100), {}, "annotations/instances_train.json: two images have the same id"),
    (
        lambda c: c["categories"][1].update(id=7),
        {},
        "annotations/instances_train.json: two categories have the same id",
    ),
    (lambda c: c.pop("categories"), {}, "annotations/instances_train.json has no list of categories"),
    (lambda c: c["categories"][1].pop("keypoints"), {"points": True, "size": 8}, "has 0 categories with keypoints"),
    (
        annotation(2, keypoints=[1, 2, 2]),
        {"points": True, "size": 8},
        "annotation 10, has 3 numbers of keypoints, not 9",
    ),
    (
        annotation(2, keypoints=[1, 2, 2, 41, 2, 2, 1, 1, 1]),
        {"points": True, "size": 8},
        "annotation 10, keypoint 2, at x 41, y 2; visible points lie in the picture of 24×40 pixels (height × width), "
        "to 0.5 pixels; correct it, or mark it as not seen",
    ),
    *(
        (
            annotation(2, keypoints=[1, 2, 2, spoilt, 2, 2, 1, 1, 1]),
            {"points": True, "size": 8},
            f"annotation 10, has keypoint 2 as [{said}, 2, 2]; it must be three numbers x y v, 0 0 0 where it is not",
        )
        for spoilt, said in (("x", "'x'"), (None, "None"), (float("nan"), "nan"), (float("inf"), "inf"))
    ),
    (
        annotation(2, keypoints="2, 2, 2"),
        {"points": True, "size": 8},
        "annotation 10, has the keypoints '2, 2, 2'; they must be a list of numbers",
    ),
    *(
        (annotation(2, iscrowd="0"), options, "annotation 10, has iscrowd '0'; it must be 0 or 1, or left out")
        for options in ({}, {"points": True, "size": 8})
    ),
    (annotation(category_id=[3]), {}, "annotation 11, has category_id [3]; the categories are 3, 7; give it one"),
    *(
        (
            lambda c, side=side: c["images"][1].update(height=side),
            {},
            f"annotations/instances_train.json: 001.png has the height {side!r}; it must be a whole number of pixels",
        )
        for side in ("24", 24.5, -24, [24])
    ),
    *(
        (
            lambda c, bones=bones: c["categories"][1].update(skeleton=bones),
            {"points": True, "size": 8},
            f"instances_train.json: the skeleton is {bones}; it must be pairs of points, from 1 to 3, or left out",
        )
        for bones in (5, [[1]], [[1, 4]], [["nose", "tail"]], [[[1], 2]])
    ),
    (
        lambda c: c["categories"][1].update(keypoints=3),
        {"points": True, "size": 8},
        "instances_train.json: a category has the keypoints 3; they must be a list of their names",
    ),
    (annotation(area=float("inf")), {}, "annotation 11, has the area inf; it must be a number of 0 or more, or left"),
    (lambda c: None, {"points": True}, "data.points is true, and people differ in size; set data.size"),
    (lambda c: None, {"most": 1}, "train/000.png has 2 boxes, more than data.most=1; set data.most=2"),
    (lambda c: None, {"annotations": "a_{split}.json"}, "it has annotations/instances_train.json"),
    (lambda c: None, {"annotations": "a.json"}, "has no a.json; it has annotations/instances_train.json"),
    (
        lambda c: c["images"][0].update(file_name="no.png") or c.update(images=c["images"][:1], annotations=[]),
        {},
        "names 'no.png', which is in none of these folders",
    ),
]


@pytest.mark.parametrize(("change", "options", "text"), SPOILT)
def test_what_coco_files_can_not_mean_is_refused_by_file_and_id(tmp_path, change, options, text):
    as_coco(tmp_path, change=change)
    assert text in refused(coco, root=str(tmp_path), **options)


@pytest.mark.parametrize(("size", "options"), [((24.0, 40.0), {"masks": True}), ((None, None), {})])
def test_a_size_of_whole_floats_is_one_and_of_nulls_is_left_out(tmp_path, size, options):
    def written(content):
        for image in content["images"]:
            image["height"], image["width"] = size
        for row in content["annotations"]:
            row["iscrowd"] = None

    as_coco(tmp_path, change=written)
    fields = everything(coco(root=str(tmp_path), **options).train)
    assert fields["present"].sum(1).tolist() == [2, 2, 2, 2]
    assert not fields["ignored"].any()


def test_a_polygon_too_thin_for_a_pixel_is_a_thing_without_one(tmp_path):
    as_coco(tmp_path, change=annotation(segmentation=[[4.6, 3, 4.8, 3, 4.8, 9, 4.6, 9]]))
    fields = everything(coco(root=str(tmp_path), masks=True).train)
    assert fields["present"][0].sum() == 2
    assert 2 not in fields["instances"][0]


def test_a_skeleton_that_is_null_has_no_bones(tmp_path):
    as_coco(tmp_path, change=lambda content: content["categories"][1].update(skeleton=None))
    assert coco(root=str(tmp_path), points=True, size=8).facts.extra["skeleton"] == ()


def test_a_category_of_another_name_in_another_split_is_refused(tmp_path):
    as_coco(tmp_path)
    as_coco(tmp_path, "val", change=lambda content: content["categories"][0].update(name="wolf"))
    text = refused(coco, root=str(tmp_path))
    assert text == "annotations/instances_val.json: category 7 is 'wolf', in training 'dog'"


def test_a_box_of_no_area_is_passed_over_by_name_and_within_the_budget(tmp_path):
    def flat(content):
        for row in content["annotations"][1:6:2]:
            row["bbox"][2] = 0

    as_coco(tmp_path, change=flat)
    source = coco(root=str(tmp_path))
    bad = {**source.train.bad, **source.test.bad}
    assert list(bad) == [f"train/00{number}.png: annotation {10 * number + 1}" for number in (1, 2, 0)]
    assert bad["train/001.png: annotation 11"] == "the box y0 x0 y1 x1 [10 21 22 21] has no area"
    assert everything(source.train)["present"].sum(1).tolist() == [1, 1, 2, 2]
    text = refused(coco, root=str(tmp_path), budget=2)
    assert text.startswith("3 records cannot be used, data.budget allows 2; the first is train/000.png: annotation 1:")


def test_a_picture_that_is_broken_stands_aside_with_its_boxes(tmp_path, monkeypatch):
    as_coco(tmp_path, numbers=range(6))
    as_coco(tmp_path, "val", range(3))
    (tmp_path / "train" / "002.png").write_bytes(b"x")
    (tmp_path / "val" / "001.png").write_bytes(b"x")
    monkeypatch.setattr(pictures, "_SMALL", 0)
    source = coco(root=str(tmp_path), size=24, masks=True)
    fields = everything(source.train)
    np.testing.assert_array_equal(fields["boxes"][2], fields["boxes"][3])
    assert list(source.train.bad) == ["train/002.png"]
    fields = everything(source.eval)
    assert fields["valid"].tolist() == [1, 0, 1]
    assert not fields["present"][1].any()


def test_a_pipe_in_the_place_of_annotations_is_not_waited_for(tmp_path):
    as_coco(tmp_path)
    file = next(tmp_path.rglob("instances_*.json"))
    file.unlink()
    os.mkfifo(file)
    text = refused(coco, root=str(tmp_path))
    assert "no JSON file that can be read: it is no regular file but a pipe or a device" in text
