"""Records of prepared tensorflow-datasets sets: which of their features are read, and how they become words."""

import io
import os
from typing import NamedTuple

import numpy as np

from cnnjax import _versions
from cnnjax.data._boxed import Row, no_area, seated
from cnnjax.data._pictures import Pictures, opened, upright_size
from cnnjax.data._planes import classes, grey, plane
from cnnjax.data.source import BESIDE, DataError, within_budget

_IGNORED = ("is_crowd", "is_difficult")


class Features(NamedTuple):
    """Names of the features that are read, "" for those that are not; `boxes` and their classes with a slash."""

    image: str
    label: str
    boxes: str
    kinds: str
    ignored: str
    areas: str
    masks: str


class Records(Pictures):
    """One split of a prepared set; files are opened in the process that reads them."""

    def __init__(self, directory, split, features, count, names, *, most=0, table=(), **options):
        super().__init__(count, **options)
        self.directory, self.split, self.features, self.names = str(directory), split, features, names
        self.most, self.table, self._records = most, table, ()

    def __getstate__(self):
        return {**self.__dict__, "_records": ()}

    def called(self, place):
        return f"{self.directory} {self.split}[{place}]"

    def encoded(self, places):
        if not self._records:
            self._records = information(self.directory).as_data_source(self.split)
        return [
            self._taken(int(place), record)
            for place, record in zip(places, self._fetched([int(place) for place in places]), strict=True)
        ]

    def listing(self):
        """Names and sizes of the set's files, the split, and which of its records these are."""
        with os.scandir(self.directory) as files:
            held = sorted((file.name, file.stat().st_size) for file in files if ".array_record" in file.name)
        yield f"{held} {self.split}".encode(errors="surrogateescape")
        yield self.rows.astype(np.int64).tobytes()

    def _fetched(self, places):
        """Serialized records, together; one at a time where a file is damaged, and errors for those that are lost."""
        try:
            return self._records.__getitems__(places)
        except Exception as error:
            if len(places) == 1:
                return [error]
            return [record for place in places for record in self._fetched([place])]

    def _taken(self, place, record):
        """The image's bytes and words: what tensorflow-datasets makes of a record costs as much as decoding it."""
        try:
            if isinstance(record, Exception):
                raise record
            fields = _versions.fields_of_record(record)
            data = self._only(fields[self.features.image].bytes_list.value)
            words = self._words(place, fields, data)
        except DataError:
            raise
        except Exception as error:  # whatever a damaged record does to its parser
            return error, self._nothing()
        if not 0 <= words.get("label", 0) < len(self.names):
            raise DataError(
                f"{self.called(place)} has label {words['label']}; labels go from 0 to {len(self.names) - 1}. "
                f"A split without labels is no test set: set data.test to another"
            )
        return data, words

    def _only(self, values):
        if len(values) != 1:
            wanted = [name for name in (self.features.image, self.features.label, self.features.masks) if name]
            raise ValueError(f"no single {' and '.join(wanted)} in the record")
        return values[0]

    def _words(self, place, fields, data):
        words = {}
        if self.features.label:
            words["label"] = np.int32(self._only(fields[self.features.label].int64_list.value))
        if self.features.boxes:
            words |= self._boxes(place, fields, data, words.get("label", 0))
        if self.features.masks:
            stored = self._only(fields[self.features.masks].bytes_list.value)
            try:
                words["segments"] = classes(grey(plane(stored)), self.table)
            except DataError as error:
                raise DataError(f"{self.called(place)} {error}") from None
        return words

    def _boxes(self, place, fields, data, label):
        """The words of the boxes, which are stored as shares of the picture's sides."""
        with opened(io.BytesIO(data)) as image:
            size = upright_size(image)
        boxes = np.array(fields[self.features.boxes].float_list.value, np.float64).reshape(-1, 4) * [*size, *size]
        kinds = list(fields[self.features.kinds].int64_list.value) if self.features.kinds else [label] * len(boxes)
        ignored = list(fields[self.features.ignored].int64_list.value) if self.features.ignored else [0] * len(boxes)
        areas = self._areas(fields, len(boxes))
        if not len(boxes) == len(kinds) == len(ignored) == len(areas):
            raise ValueError(f"{len(boxes)} boxes, but {len(kinds)} of their labels in the record")
        kept = [row for row in range(len(boxes)) if self._usable(place, row, boxes[row], kinds[row], size)]
        if len(kept) > self.most:
            many = f"{len(kept)} boxes, more than data.most={self.most}; set data.most={len(kept)}"
            raise DataError(f"{self.called(place)} has {many}")
        kinds, ignored = np.array(kinds, int)[kept], np.array(ignored, int)[kept]
        said = {"boxes": boxes[kept], "kinds": kinds, "ignored": ignored, "areas": areas[kept]}
        return seated(np.arange(len(kept)), self.most, **said)

    def _areas(self, fields, count):
        """(n,) as the set says them, nan where it says none."""
        if not self.features.areas:
            return np.full(count, np.nan)
        stored = fields[self.features.areas]
        return np.array(stored.int64_list.value or stored.float_list.value, np.float64)

    def _usable(self, place, row, box, kind, size):
        name, row = self.called(place), Row(f"box {row + 1}", tuple(box), kind)
        if not 0 <= kind < len(self.names):
            raise DataError(f"{name}, {row.name}, has label {kind}; labels go from 0 to {len(self.names) - 1}")
        if why := no_area(row, f"{name}, {row.name},", size):
            self.bad[f"{name}{BESIDE}{row.name}"] = why
            within_budget(self)
        return not why

    def _nothing(self):
        words = {"label": np.int32(0)} if self.features.label else {}
        if self.features.boxes:
            words |= seated([], self.most, boxes=np.zeros((0, 4)), kinds=[], ignored=[], areas=np.zeros(0))
        return words | ({"segments": np.zeros((1, 1), np.uint8)} if self.features.masks else {})


class Information:
    """What is known of a prepared set, and its records."""

    def __init__(self, builder):
        self.name, self.features, self.splits = builder.info.full_name, builder.info.features, builder.info.splits
        self.keys = builder.info.supervised_keys or ()
        self._builder = builder

    def as_data_source(self, split):
        """The records of a split as they lie on disk, serialized."""
        return _versions.raw_records(self._builder, split)


def information(directory):
    """What is known of the set that is prepared in a directory."""
    import tensorflow_datasets

    return Information(tensorflow_datasets.builder_from_directory(directory))


def features_of(info, image, label, boxes, masks):
    """The features that are read, and the names of their classes.

    Where the set has no single class, the boxes that it has, or else the masks, are read without being named.
    """
    kinds = {name: type(feature).__name__ for name, feature in info.features.items()}
    labels, pictures = ([name for name, its in kinds.items() if its == kind] for kind in ("ClassLabel", "Image"))
    apart = [name for name in pictures if name != masks]
    image = _chosen(info, "image", image, apart, "Image", info.keys[:1] or ("image",))
    inner = {name: _inside(feature) for name, feature in info.features.items()}
    boxed = [name for name in kinds if _box_of(inner[name]) or kinds[name] == "BBoxFeature"]
    planes, silent = [name for name in pictures if name != image], not (label or labels)
    if boxes or (silent and not masks and len(boxed) == 1):
        boxes = _chosen(info, "boxes", boxes, boxed, "BBoxFeature, or a Sequence of them", ())
    if masks or (silent and not boxes and len(planes) == 1):
        masks = _chosen(info, "masks", masks, planes, "Image, beside the image itself", ())
    within = inner.get(boxes, {})
    own = type(within.get("label")).__name__ == "ClassLabel"
    if own or (silent and (boxes or masks)):
        names, label = within["label"].names if own else ("thing",) if boxes else (), ""
    else:
        label = _chosen(info, "label", label, labels, "ClassLabel", info.keys[1:])
        names = info.features[label].names
    ignored = next((f"{boxes}/{name}" for name in _IGNORED if name in within), "")
    box = f"{boxes}/{_box_of(within)}" if within else boxes
    areas = f"{boxes}/area" if "area" in within else ""
    return Features(image, label, box, f"{boxes}/label" if own else "", ignored, areas, masks), tuple(names)


def _inside(feature):
    """The features in a sequence of them, by name; {} of others."""
    inner = getattr(feature, "feature", {}) if type(feature).__name__ == "Sequence" else {}
    return dict(inner.items()) if hasattr(inner, "items") else {}


def _box_of(inner):
    return next((name for name, feature in inner.items() if type(feature).__name__ == "BBoxFeature"), "")


def _chosen(info, option, wanted, choices, kind, said):
    """The feature that an option names, or of which there is but one, or that the set says itself."""
    said = next(iter(said), "")
    name = wanted or (said if said in choices else choices[0] if len(choices) == 1 else "")
    if name not in choices:
        raise DataError(
            f"{info.name}: data.{option} is {wanted!r}; it must name a feature of kind {kind}: "
            f"{', '.join(choices) or 'this set has none'}"
        )
    return name
