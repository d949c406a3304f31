"""COCO's JSON files: their pictures with rows, their categories, and the folders in which the pictures lie."""

import dataclasses
import glob
import json
import math
import os
import re
import reprlib

from cnnjax.archives import text_of
from cnnjax.data._boxed import Picture, Row
from cnnjax.data._listing import few, split_of
from cnnjax.data.source import DataError


def annotation_files(base, pattern):
    """{split: (file, the text that stands for {split})} of the files below base that the pattern means."""
    if "{split}" not in pattern:
        if not os.path.isfile(os.path.join(base, pattern)):
            raise DataError(f"{base} has no {pattern}{_there(base)}")
        return {"train": (pattern, "")}
    found = {}
    form = re.compile(re.escape(pattern).replace(re.escape("{split}"), "(?P<split>[^/]+?)", 1))
    for path in sorted(glob.glob(os.path.join(glob.escape(base), pattern.replace("{split}", "*")))):
        name = os.path.relpath(path, base)
        match = form.fullmatch(name)
        if match and (split := split_of(match["split"])):
            if split in found:
                raise DataError(f"{base} has both {found[split][0]} and {name}; one file for {split} is needed")
            found[split] = name, match["split"]
    if "train" not in found:
        raise DataError(
            f"{base} has no {pattern} with train, or a word like it, in the place of {{split}}{_there(base)}\n"
            "name one file of all pictures, --config.data.annotations=FILE.json, or with {split} one for each split"
        )
    return found


def _there(base):
    """What JSON files there are, in words."""
    found = sorted(
        os.path.relpath(path, base)
        for depth in ("*.json", "*/*.json")
        for path in glob.glob(os.path.join(glob.escape(base), depth))
    )
    return f"; it has {few(found)}" if found else "; it has no .json files"


class Parsed:
    """The records of one file: `names` of categories by id, `pictures` with rows, `points` and `skeleton` by name."""

    def __init__(self, base, file, word):
        self.file, self._base = file, base
        content = _loaded(os.path.join(base, file), file)
        records = {key: self._records(content, key) for key in ("categories", "images", "annotations")}
        self.names = {
            self._of(record, "id", "category"): str(record.get("name", "")) for record in records["categories"]
        }
        if len(self.names) != len(records["categories"]):
            raise DataError(f"{file}: two categories have the same id")
        self.posed = [record for record in records["categories"] if record.get("keypoints")]
        self._images = {self._of(record, "id", "image"): record for record in records["images"]}
        if len(self._images) != len(records["images"]):
            raise DataError(f"{file}: two images have the same id")
        self._rows = {number: [] for number in self._images}
        for record in records["annotations"]:
            image = self._of(record, "image_id", "annotation")
            if image not in self._rows:
                raise DataError(
                    f"{file}: annotation {record.get('id')} has image_id {image}, which no image has; "
                    "list the image, or leave the annotation out"
                )
            self._rows[image].append(record)
        self._folder = self._folder_of([self._path(record) for record in records["images"]], word)

    def ids(self):
        """The id of every image by its path below base."""
        return {self._folder + self._path(record): number for number, record in self._images.items()}

    def pictures(self, kinds, *, masks=False):
        """Every picture and its rows, by file name; `kinds` are the classes by category id."""
        return [
            self._picture(number, [self._row(number, record, kinds, masks) for record in self._rows[number]])
            for number in self._ordered()
        ]

    def people(self, kinds, count, *, masks=False):
        """A picture for every row of which a point is marked, by file name and id."""
        made = []
        for number in self._ordered():
            for record in sorted(self._rows[number], key=lambda record: str(record.get("id")).zfill(20)):
                marks, where = record.get("keypoints") or [], self._where(number, record)
                if not isinstance(marks, list):
                    raise DataError(f"{where} has the keypoints {reprlib.repr(marks)}; they must be a list of numbers")
                if _crowd(record, where) or not any(marks[2::3]):
                    continue
                if len(marks) != 3 * count:
                    raise DataError(f"{where} has {len(marks)} numbers of keypoints, not {3 * count}")
                row = self._row(number, record, kinds, masks)
                points = tuple((y, x, v) for x, y, v in zip(marks[::3], marks[1::3], marks[2::3], strict=True))
                if not _are_numbers(marks):
                    wrong = next(place for place, point in enumerate(points) if not _are_numbers(point))
                    raise DataError(
                        f"{where} has keypoint {wrong + 1} as {reprlib.repr(marks[3 * wrong : 3 * wrong + 3])}; "
                        "it must be three numbers x y v, 0 0 0 where it is not marked"
                    )
                made.append(self._picture(number, [dataclasses.replace(row, points=points)]))
        return made

    def _ordered(self):
        return sorted(self._images, key=lambda number: self._path(self._images[number]))

    def _picture(self, number, rows):
        record = self._images[number]
        size = self._side(record, "height"), self._side(record, "width")
        return Picture(self._folder + self._path(record), self.file, size if all(size) else (), rows)

    def _side(self, record, key):
        """A side of a picture in pixels, 0 where the file does not say it."""
        side = 0 if record.get(key) is None else record[key]
        if not isinstance(side, int | float) or side < 0 or side % 1 != 0:
            raise DataError(
                f"{self.file}: {self._path(record)} has the {key} {reprlib.repr(side)}; "
                "it must be a whole number of pixels, or left out"
            )
        return int(side)

    def _where(self, number, record):
        return f"{self.file}: {self._path(self._images[number])}, annotation {record.get('id')},"

    def _row(self, number, record, kinds, masks):
        where = self._where(number, record)
        kind, box = record.get("category_id"), record.get("bbox")
        if not isinstance(kind, int | float | str) or kind not in kinds:
            known = few([str(number) for number in kinds])
            raise DataError(
                f"{where} has category_id {reprlib.repr(kind)}; the categories are {known}; "
                "give it one of them, or list its own"
            )
        if not (isinstance(box, list) and len(box) == 4 and all(isinstance(n, int | float) for n in box)):
            raise DataError(f"{where} has the bbox {box}; it must be four numbers x y width height")
        x, y, width, height = box
        shape = record.get("segmentation") if masks else ()
        if masks and not shape:
            raise DataError(f"{where} has no segmentation; give it one, or set data.masks=false")
        ignored, area = _crowd(record, where), record.get("area", math.nan)
        if not isinstance(area, int | float) or area < 0 or area == math.inf:
            raise DataError(f"{where} has the area {area!r}; it must be a number of 0 or more, or left out")
        return Row(f"annotation {record.get('id')}", (y, x, y + height, x + width), kinds[kind], ignored, shape, area)

    def _records(self, content, key):
        records = content.get(key) if isinstance(content, dict) else ()
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise DataError(f"{self.file} has no list of {key}; COCO's files hold images, annotations and categories")
        return records

    def _of(self, record, key, what):
        if not isinstance(record.get(key), int | str):
            raise DataError(f"{self.file}: {what} {record.get('id', '')} has no {key}".replace("  ", " "))
        return record[key]

    def _path(self, record):
        return str(record.get("file_name", ""))

    def _folder_of(self, paths, word):
        """Where the first of the pictures that is there lies, below base, with a slash at its end."""
        beside = os.path.dirname(self.file)
        tried = [word, f"images/{word}", "images", "", beside, f"{beside}/images", "JPEGImages"]
        tried = [f"{folder.strip('/')}/" if folder.strip("/") else "" for folder in tried]
        for path in paths[:10]:
            for folder in tried:
                if path and os.path.isfile(os.path.join(self._base, folder, path)):
                    return folder
        if not paths:
            raise DataError(f"{self.file} has no images")
        folders = ", ".join(dict.fromkeys(folder or "itself" for folder in tried))
        raise DataError(f"{self.file} names {paths[0]!r}, which is in none of these folders of {self._base}: {folders}")


def _crowd(record, where):
    """Whether an annotation is one of a crowd."""
    said = record.get("iscrowd")
    if said not in (None, 0, 1):
        raise DataError(f"{where} has iscrowd {reprlib.repr(said)}; it must be 0 or 1, or left out")
    return bool(said)


def _are_numbers(values):
    return {*map(type, values)} <= {int, float} and math.isfinite(sum(values))


def _loaded(path, name):
    try:
        with text_of(path) as file:
            return json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{name} is no JSON file that can be read: {' '.join(str(error).split())[:200]}") from None
