"""Pictures with mask files: every pixel's class or thing, and what has no partner or no meaning by name."""

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

from cnnjax.config import gives
from cnnjax.data import Stream, check, masks
from cnnjax.data import _pictures as pictures
from tests.data.labelled import BOXES, block, everything, moved, refused, save

PALETTE = [10, 10, 10, 250, 0, 0, 0, 0, 250]


def drawn(number, values=(0, 1, 2), kind=np.uint8):
    """The mask of picture i: ground, first block, second block."""
    mask = np.full((24, 40), values[0], kind)
    for box, value in zip(BOXES, values[1:], strict=True):
        y0, x0, y1, x1 = moved(box, number)
        mask[y0:y1, x0:x1] = value
    return mask


def as_masks(root, numbers=range(10), images="images", labels="masks", make=drawn, end=".png"):
    for number in numbers:
        save(block(number), root / images / f"{number:03}.png")
        mask = make(number)
        if isinstance(mask, Image.Image):
            (root / labels).mkdir(parents=True, exist_ok=True)
            mask.save(root / labels / f"{number:03}{end}")
        else:
            save(mask, root / labels / f"{number:03}{end}")


def coloured(number):
    return np.uint8([(9, 9, 9), (250, 0, 0), (0, 0, 250)])[drawn(number)]


def indexed(number):
    image = Image.fromarray(drawn(number), "P")
    image.putpalette(PALETTE)
    return image


def table(root, text):
    root.mkdir(parents=True, exist_ok=True)
    (root / "colors.txt").write_text(text)
    return "colors.txt"


def truth(fields):
    return np.select([fields["image"][..., 0] == 200, fields["image"][..., 0] == 100], [1, 2], 0)


GREY, RGB = "0 ground\n1 cat\n2 big dog\n", "name,r,g,b\nground,9,9,9\ncat,250,0,0\nbig dog,0,0,250\n"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (drawn, ""),
        (indexed, ""),
        (indexed, GREY),
        (indexed, RGB.replace("9,9,9", "10,10,10")),
        (coloured, RGB),
        (lambda number: np.dstack([coloured(number), np.full((24, 40), 255, np.uint8)]), RGB),
        (lambda number: np.stack([drawn(number)] * 3, -1), GREY),
        (lambda number: drawn(number, (0, 100, 200)), "0 ground\n100 cat\n200 big dog\n"),
        (lambda number: drawn(number, (0, 1000, 60000), np.uint16), "0 ground\n1000\tcat\n60000\tbig dog\n"),
        (lambda number: drawn(number, (0, 3, 0)), "0 ground\n3 cat\n255 big dog\n5 cat"),
    ],
)
def test_values_palette_indices_and_colours_become_classes(tmp_path, make, text):
    as_masks(tmp_path, make=make)
    source = masks(root=str(tmp_path), colors=table(tmp_path, text) if text else "")
    assert source.facts.counts == {"train": 8, "eval": 2, "test": 2}
    assert source.facts.extra["segment_names"] == (("ground", "cat", "big dog") if text else ("0", "1", "2"))
    fields = everything(source.train)
    wanted = truth(fields)
    np.testing.assert_array_equal(fields["segments"], np.where(wanted == 2, 0, wanted) if "5 cat" in text else wanted)
    check(source, 4)


def test_what_the_table_calls_ignore_counts_nowhere(tmp_path):
    as_masks(tmp_path, make=coloured)
    colors = table(tmp_path, "9 9 9 ground\n250 0 0 ignore\n0 0 250 dog")
    source = masks(root=str(tmp_path), colors=colors)
    assert source.facts.extra["segment_names"] == ("ground", "dog")
    assert set(np.unique(everything(source.train)["segments"])) == {0, 1, 255}


def test_the_splits_are_directories_above_or_below_or_lists(tmp_path):
    for split, count in (("train", 6), ("val", 3)):
        as_masks(tmp_path / "a", range(count), f"{split}/images", f"{split}/masks")
        as_masks(tmp_path / "b", range(count), f"img/{split}2017", f"gt/{split}2017", end="_mask.png")
    assert masks(root=str(tmp_path / "a")).facts.counts == {"train": 6, "eval": 3, "test": 3}
    found = masks(root=str(tmp_path / "b"), images="img", labels="gt").facts.counts
    assert found == {"train": 6, "eval": 3, "test": 3}
    as_masks(tmp_path / "c")
    (tmp_path / "c" / "test.txt").write_text("003\n001.png\n")
    (tmp_path / "c" / "val.txt").write_text("009\n")
    source = masks(root=str(tmp_path / "c"))
    assert source.facts.counts == {"train": 7, "eval": 1, "test": 2}
    np.testing.assert_array_equal(everything(source.test)["segments"], [drawn(3), drawn(1)])
    (tmp_path / "c" / "val.txt").write_text("99\n")
    assert refused(masks, root=str(tmp_path / "c")).endswith("val.txt names 99, which no picture is called")


@pytest.mark.parametrize("make", [
    lambda number: drawn(number, (0, 7, 300), np.uint16),
    lambda number: np.where(coloured(number) == 9, 0, coloured(number)).astype(np.uint8),
    indexed,
])  # fmt: skip
def test_every_number_or_colour_is_a_thing_with_its_box(tmp_path, make):
    as_masks(tmp_path, make=make)
    source = masks(root=str(tmp_path), word="instances", most=3)
    assert source.facts.names == ("thing",)
    fields = everything(source.train)
    wanted, order = truth(fields), [2, 1] if fields["instances"][0, 3, 5] == 2 else [1, 2]
    np.testing.assert_array_equal(fields["instances"], np.array([0, *order])[wanted])
    for number, index in enumerate((1, 2, 3, 4, 6, 7, 8, 9)):
        boxes = fields["boxes"][number][np.array(order) - 1]
        np.testing.assert_array_equal(boxes, [moved(box, index) for box in BOXES])
    assert fields["present"].tolist() == [[1, 1, 0]] * 8
    check(source, 4)


def test_all_that_tasks_need_of_things_is_said_to_come_of_masks(tmp_path):
    as_masks(tmp_path)
    fields = masks(root=str(tmp_path), word="instances").facts.fields
    given = {word for word, flag in gives(masks).items() if flag == "word=instances"}
    assert given == set(fields) - {"image", "areas", "pixel_area"}


def test_a_picture_may_have_a_directory_of_its_own_with_a_mask_for_each_thing(tmp_path):
    for number in range(5):
        save(block(number), tmp_path / f"id{number}" / "images" / f"id{number}.png")
        (tmp_path / f"id{number}" / "masks").mkdir()
        for row in (1, 2) if number != 3 else ():
            save((drawn(number) == row).astype(np.uint8) * 255, tmp_path / f"id{number}" / "masks" / f"{row}.png")
    source = masks(root=str(tmp_path), word="instances", most=2)
    fields = everything(source.train)
    wanted = truth(fields)
    wanted[2] = 0
    np.testing.assert_array_equal(fields["instances"], wanted)
    assert fields["present"].sum(1).tolist() == [2, 2, 0, 2]
    mask = tmp_path / "id1" / "masks" / "2.png"
    save(np.zeros((24, 39), np.uint8), mask)
    assert refused(masks, root=str(tmp_path), word="instances") == (
        "the masks of id1/images/id1.png differ in size: id1/masks/1.png has 24×40 pixels, "
        "id1/masks/2.png has 24×39; write them in the size of the picture"
    )
    save(np.zeros((24, 40), np.uint8), mask)
    (tmp_path / "test.txt").write_text("id2\nid3\n")
    assert masks(root=str(tmp_path), word="instances").facts.counts == {"train": 3, "eval": 2, "test": 2}
    assert refused(masks, root=str(tmp_path)).endswith("has one mask for each thing in it; set data.word=instances")


def test_more_than_254_things_leave_out_the_number_that_means_nobody_knows(tmp_path):
    crowd = np.arange(1, 301).reshape(15, 20).repeat(1, 0).astype(np.uint16)
    for number in range(5):
        save(np.zeros((15, 20, 3), np.uint8), tmp_path / "images" / f"{number}.png")
        save(crowd, tmp_path / "masks" / f"{number}.png")
    source = masks(root=str(tmp_path), word="instances", most=301)
    check(source, 1)
    fields = everything(source.train)
    assert fields["present"][0].sum() == 300
    assert fields["present"][0, 254] == 0
    assert 255 not in fields["instances"]
    y, x = np.argwhere(fields["instances"][0] == 256)[0]
    assert fields["boxes"][0, 255].tolist() == [y, x, y + 1, x + 1]
    text = refused(masks, root=str(tmp_path), word="instances")
    assert text == "images/1.png has 301 things, more than data.most=100; set data.most=301"


def test_both_words_come_of_one_file_of_numbers(tmp_path):
    as_masks(tmp_path, make=lambda number: drawn(number, (0, 7, 300), np.uint16))
    source, alone = (masks(root=str(tmp_path), word=word, most=3) for word in ("both", "instances"))
    assert source.facts.names == ("thing",)
    assert source.facts.extra["segment_names"] == ("ground", "thing")
    fields = everything(source.train)
    np.testing.assert_array_equal(fields.pop("segments"), truth(fields) > 0)
    for word, values in everything(alone.train).items():
        np.testing.assert_array_equal(fields[word], values)
    check(source, 4)


def test_connected_parts_of_classes_are_things(tmp_path):
    random = np.random.default_rng(0)
    rough = [scipy.ndimage.gaussian_filter(random.normal(size=(3, 24, 40)), (0, 2, 2)).argmax(0) for _ in range(5)]
    as_masks(tmp_path, range(5), make=lambda number: rough[number].astype(np.uint8))
    source = masks(root=str(tmp_path), word="both", colors=table(tmp_path, GREY))
    assert source.facts.names == ("cat", "big dog")
    assert source.facts.extra["segment_names"] == ("ground", "cat", "big dog")
    fields = everything(source.train)
    for number, kinds in enumerate(rough[1:]):
        np.testing.assert_array_equal(fields["segments"][number], kinds)
        found = fields["instances"][number]
        assert fields["present"][number].sum() == sum(scipy.ndimage.label(kinds == k)[1] for k in (1, 2))
        for k in (1, 2):
            parts, count = scipy.ndimage.label(kinds == k)
            for part in range(1, count + 1):
                (row,) = np.unique(found[parts == part])
                np.testing.assert_array_equal(found == row, parts == part)
                assert fields["classes"][number, row - 1] == k - 1
    check(source, 4)
    text = refused(masks, root=str(tmp_path), word="both", colors="colors.txt", most=2)
    assert text.startswith("images/001.png has ")
    assert "things, more than data.most=2; set data.most=" in text


@pytest.mark.parametrize("fit", ["pad", "squash", "crop"])
def test_masks_follow_what_fit_and_exif_make_of_the_picture(tmp_path, fit):
    as_masks(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    for folder, plane in (("images", block(1)), ("masks", drawn(1))):
        save(np.rot90(plane), tmp_path / folder / "001.png", exif=exif)
    source = masks(root=str(tmp_path), size=48, fit=fit)
    fields = everything(source.train)
    known = fields["segments"] != 255
    assert known.all() == (fit != "pad")
    near = np.abs(np.array([10, 200, 100])[fields["segments"] * known] - fields["image"][..., 0].astype(int)) < 50
    assert (near | ~known).mean() > 0.97
    assert (fields["image"][~known] == 0).all()


SPOILT = [
    (
        lambda r: (r / "masks" / "003.png").unlink(),
        {},
        "1 picture has no mask of the same name in masks/: images/003.png",
    ),
    (lambda r: (r / "images" / "003.png").unlink(), {}, "1 mask has no picture of the same name in images/: 003"),
    (lambda r: save(drawn(3), r / "masks" / "003.gif"), {}, "masks has two masks of the same name: 003"),
    (
        lambda r: save(drawn(3)[1:], r / "masks" / "003.png"),
        {},
        "images/003.png has 24×40 pixels, but its mask masks/003.png has 23×40; write the mask in the",
    ),
    (
        lambda r: save(drawn(3)[1:], r / "masks" / "003.png"),
        {"word": "instances"},
        "images/003.png has 24×40 pixels, but its mask masks/003.png has 23×40; write the mask in the",
    ),
    (
        lambda r: save(drawn(3, (0, 1, 300), np.uint16), r / "masks" / "003.png"),
        {},
        "masks/003.png has the value 300 at line 10, column 23; without a table (data.colors) they go from 0 to 255",
    ),
    (
        lambda r: table(r, "0 ground\n1 cat"),
        {"colors": "colors.txt"},
        "masks/001.png has the value 2 at line 10, column 21; colors.txt has 0, 1",
    ),
    (
        lambda r: table(r, "0 0 0 ground\n1 1 1 cat\n"),
        {"colors": "colors.txt"},
        "masks/001.png has the value (2 2 2) at line 10, column 21; colors.txt has (0 0 0), (1 1 1)",
    ),
    (
        lambda r: save(coloured(3), r / "masks" / "003.png"),
        {},
        "masks/003.png has colours, of which nobody knows which cl",
    ),
    (
        lambda r: (r / "masks" / "003.png").unlink() or save(coloured(3), r / "masks" / "003.jpg"),
        {},
        "masks/003.jpg is a JPEG file, which blurs the borders of classes; write masks as PNG",
    ),
    (
        lambda r: table(r, "0 ground\nfoot"),
        {"colors": "colors.txt"},
        "colors.txt, line 2, is 'foot'; a line is VALUE NAME",
    ),
    (lambda r: table(r, "0 a\n0 b"), {"colors": "colors.txt"}, "colors.txt, line 2, gives 0 a second meaning"),
    (
        lambda r: table(r, "0 a\n0 0 1 b"),
        {"colors": "colors.txt"},
        "colors.txt has both values and colours; it needs lines",
    ),
    (
        lambda r: table(r, "0 0 300 b"),
        {"colors": "colors.txt"},
        "colors.txt, line 1, is '0 0 300 b'; a line is VALUE NAME",
    ),
    (
        lambda r: table(r, "0 ignore"),
        {"colors": "colors.txt"},
        "colors.txt names 0 classes; it needs lines of one kind",
    ),
    (lambda r: None, {"colors": "no.txt"}, "data.colors is no.txt, which can't be read"),
    (
        lambda r: table(r, GREY),
        {"colors": "colors.txt", "word": "instances"},
        "data.word=instances has no classes; leave",
    ),
    (
        lambda r: table(r, "0 ground"),
        {"colors": "colors.txt", "word": "both"},
        "colors.txt names ground alone, the ground; things are of the classes after it",
    ),
    (
        lambda r: None,
        {"images": "img"},
        "has no img/ (data.images), nor directories that have it; it has images, masks",
    ),
    (lambda r: None, {"labels": "gt"}, "has images/ but no gt/; set data.labels to the directory of the mask files"),
    (
        lambda r: as_masks(r, range(3), "images/test", "masks/test"),
        {},
        "has test but no train/; training needs pictures",
    ),
    (
        lambda r: as_masks(r, make=lambda n: drawn(n, (0, 255, 0))),
        {},
        "the masks hold 0 and 255 alone, and 255 counts now",
    ),
]


@pytest.mark.parametrize(("change", "options", "text"), SPOILT)
def test_what_masks_can_not_mean_is_refused_by_name(tmp_path, change, options, text):
    as_masks(tmp_path)
    change(tmp_path)
    assert text in refused(masks, root=str(tmp_path), **options)


def test_a_mask_that_is_broken_sets_its_picture_aside(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "_SMALL", 0)
    as_masks(tmp_path)
    (tmp_path / "masks" / "002.png").write_bytes(b"x")
    (tmp_path / "masks" / "005.png").write_bytes(b"x")
    source = masks(root=str(tmp_path), colors=table(tmp_path, GREY))
    fields = everything(source.train)
    np.testing.assert_array_equal(fields["segments"][1], fields["segments"][2])
    assert list(source.train.bad) == ["images/002.png"]
    assert source.train.bad["images/002.png"].startswith("masks/002.png: no JPEG, PNG")
    fields = everything(source.test)
    assert fields["valid"].tolist() == [1, 0]
    assert (fields["segments"][1] == 255).all()
    with Stream(source.train, batch=8, workers=1) as stream:
        assert stream.batches(0)["segments"].shape == (1, 8, 24, 40)


def test_a_large_set_wants_its_classes_in_a_table(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "_SMALL", 0)
    as_masks(tmp_path)
    assert refused(masks, root=str(tmp_path)).endswith("of mask files, data.colors")


@pytest.mark.proofs
def test_the_nuclei_are_read_each_with_its_box(real):
    source = masks(root=str(real("nuclei")), labels="labels", word="instances", most=330, size=256)
    assert source.facts.counts == {"train": 43, "eval": 9, "test": 9}
    check(source, 8)
    names = {path.stem for path in (real("nuclei") / "labels").iterdir()}
    tested = set((real("nuclei") / "test.txt").read_text().split())
    count = {
        name: len(np.unique(np.asarray(Image.open(real("nuclei") / "labels" / f"{name}.png")))) - 1 for name in names
    }
    for split, wanted in ((source.train, names - tested), (source.test, tested)):
        assert split.arrays["present"].sum() == sum(count[name] for name in wanted)
    assert source.train.arrays["instances"].max() <= 331


@pytest.mark.proofs
def test_the_membranes_of_isbi_are_read_as_two_classes(tmp_path, real):
    (tmp_path / "images").symlink_to(real("isbi2012") / "train" / "image")
    (tmp_path / "masks").symlink_to(real("isbi2012") / "train" / "label")
    (tmp_path / "test.txt").write_text("".join(f"{number}\n" for number in range(24, 30)))
    text = refused(masks, root=str(tmp_path), channels=1)
    assert text.startswith("the masks hold 0 and 255 alone, and 255 counts nowhere; say what they mean in a file")
    source = masks(root=str(tmp_path), channels=1, colors=table(tmp_path, "0 membrane\n255 cell\n"))
    assert source.facts.counts == {"train": 24, "eval": 6, "test": 6}
    assert source.facts.shape == (512, 512, 1)
    assert set(np.unique(source.train.arrays["segments"])) == {0, 1}
    assert 0.7 < source.train.arrays["segments"].mean() < 0.85, "cells fill most of it"
    check(source, 8)
