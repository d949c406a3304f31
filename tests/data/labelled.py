"""Small sets in the layouts of annotations, made by code: blocks of colour of which every edge is known."""

import json

import numpy as np
import pytest
from PIL import Image

from cnnjax.data import DataError, check

BOXES = [(3, 4, 9, 12), (10, 20, 22, 28)]  # y0 x0 y1 x1 of picture 0; in picture i they lie i pixels further right
SIZE = 24, 40
POSES = [[(5, 6), (5, 10), (8, 8)], [(12, 21), (12, 27), (20, 24)]]  # y x: nose, left and right eye of each


def moved(box, number):
    y0, x0, y1, x1 = box
    return y0, x0 + number, y1, x1 + number


def block(number, size=SIZE):
    """Picture i: the first block is 200, the second 100, on 10."""
    image = np.full((*size, 3), 10, np.uint8)
    for box, value in zip(BOXES, (200, 100), strict=True):
        y0, x0, y1, x1 = moved(box, number)
        image[y0:y1, x0:x1] = value
    return image


def save(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)


def as_coco(root, split="train", numbers=range(6), change=lambda content: None, images="{split}"):
    """COCO's layout: categories 3 (cat) and 7 (dog), the second block of odd pictures is a crowd in run lengths."""
    content = {"categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}], "images": [], "annotations": []}
    content["categories"][1] |= {"keypoints": ["nose", "left_eye", "right_eye"], "skeleton": [[1, 2], [1, 3]]}
    for number in numbers:
        save(block(number), root / images.format(split=split) / f"{number:03}.png")
        image = {"id": 100 + number, "file_name": f"{number:03}.png", "height": SIZE[0], "width": SIZE[1]}
        content["images"].append(image)
        for row, box in enumerate(BOXES):
            y0, x0, y1, x1 = moved(box, number)
            crowd = row == 1 and number % 2 == 1
            polygon = [[x0, y0, x1, y0, x1, y1, x0, y1]]
            content["annotations"].append(
                {
                    "id": 10 * number + row,
                    "image_id": 100 + number,
                    "category_id": (3, 7)[row],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "iscrowd": int(crowd),
                    "segmentation": {"size": list(SIZE), "counts": runs((y0, x0, y1, x1))} if crowd else polygon,
                    "keypoints": [n for y, x in POSES[row] for n in (x + number, y, 2)] if row == 0 else [0] * 9,
                }
            )
    change(content)
    file = root / "annotations" / f"instances_{split}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def runs(box):
    """The run lengths of a box, down the columns."""
    y0, x0, y1, x1 = box
    mask = np.zeros(SIZE, np.uint8)
    mask[y0:y1, x0:x1] = 1
    flat = np.concatenate([[0], mask.T.ravel(), [2]])
    ends = np.flatnonzero(np.diff(flat))
    return np.diff(np.concatenate([[0], ends])).tolist()


OBJECT = (
    "<object><name>{kind}</name><difficult>{difficult}</difficult><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
    "<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox><part><bndbox><xmin>9999</xmin></bndbox></part></object>"
)


def as_voc(root, names=range(10), lists=(), more=lambda number: "", size=SIZE):
    """VOC's layout: a cat, and a dog that is difficult in odd pictures; pixels count from 1 on, both ends included."""
    for number in names:
        save(block(number), root / "JPEGImages" / f"{number:06}.png")
        text = more(number)
        for kind, box in zip(("cat", "dog"), BOXES, strict=True):
            y0, x0, y1, x1 = moved(box, number)
            difficult = number % 2 * (kind == "dog")
            text += OBJECT.format(kind=kind, difficult=difficult, y0=y0 + 1, x0=x0 + 1, y1=y1, x1=x1)
        whole = f"<size><width>{size[1]}</width><height>{size[0]}</height></size>" if size else ""
        file = root / "Annotations" / f"{number:06}.xml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"<annotation>{whole}{text}</annotation>")
    for split, numbers in dict(lists).items():
        file = root / "ImageSets" / "Main" / f"{split}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{number:06}\n" for number in numbers))


def as_table(root, lines, header="file,nose_x,nose_y,left_eye_x,left_eye_y,right_eye_x,right_eye_y,right_eye_visible"):
    """A table of points, and the pictures that it is of."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "points.csv").write_text("\n".join([header, *lines]) + "\n")


def table_line(number, visible=1):
    """The line of picture i, which is written too by whoever wants it."""
    flat = [n for y, x in POSES[0] for n in (x + number, y)]
    return ",".join(map(str, [f"images/{number:03}.png", *flat, visible]))


def everything(split):
    return split.read(np.arange(len(split)))


def refused(make, **options):
    def use():
        source = make(**options)
        check(source, 1)
        everything(source.train)

    with pytest.raises(DataError) as error:
        use()
    assert error.value.exit_code == 3
    assert len(str(error.value).splitlines()) <= 3
    return str(error.value)
