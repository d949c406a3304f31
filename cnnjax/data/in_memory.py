"""Sets that are arrays already: given from Python, or stored in an .npz file."""

from collections.abc import Mapping
from typing import Annotated

import numpy as np

from cnnjax.annotations import Count, FilePath, Gives
from cnnjax.archives import ArchiveError, arrays_in
from cnnjax.data.source import NOTHING, NUMBERED, DataError, Memory, Source, assemble, check, every_fifth, numbered
from cnnjax.fields import EXTRA, INPUTS, WORDS, of_kind
from cnnjax.refusals import nearest, on_disk

__all__ = ["arrays", "from_arrays"]

_SPLITS = ("train", "eval", "test")


def arrays(*, path: FilePath = "", holdout: Count = 0) -> Annotated[Source, Gives(**dict.fromkeys(WORDS, ""))]:
    """The set in the .npz file `path`, with arrays train_image, train_label, test_image, test_label and so on.

    A name is train_, eval_ or test_ and a field of the batch (image, label, segments, …). Without test_… the test
    set is eval_…, and without both it is every fifth example; a file with image and label alone is a training set.
    `names`, an array of strings, names the classes; what `facts.extra` may hold (segment_names, point_names, mirror,
    skeleton, words, rate) is an array of that name. Nothing pickled is ever read.
    """
    splits, names, extra = _stored(path)
    if "train" not in splits:
        raise DataError(f"{path} has no training images; it needs train_image and train_label, or image and label")
    try:
        if "test" in splits or "eval" in splits:
            test = splits.get("test", splits.get("eval"))
            own = splits["eval"] if "eval" in splits and "test" in splits else NOTHING
            return from_arrays(splits["train"], test, own, holdout=holdout, names=names, extra=extra)
        train, test = every_fifth(Memory(splits["train"]))
        return from_arrays(train.arrays, test.arrays, holdout=holdout, names=names, extra=extra)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def from_arrays(
    train: Mapping[str, np.ndarray],
    test: Mapping[str, np.ndarray],
    eval: Mapping[str, np.ndarray] = NOTHING,
    *,
    holdout: Count = 0,
    names: tuple = (),
    extra: Mapping = NOTHING,
) -> Source:
    """A Source of arrays in memory: each split a dict of batch fields, such as image (N, H, W, C) and label (N,).

    Inputs are uint8, uint16 (which becomes float), or float in [0, 1]. Images without a channel axis get one.
    Without `names` the classes are called 0, 1, … up to the greatest of `label` or, of boxes, `classes`. `extra` is
    what `facts.extra` may hold. Other fields pass through.
    """
    splits = [Memory(_tidy(fields)) for fields in (train, test, eval) if fields]
    if len(splits) < 2 + bool(eval):
        raise DataError("a training and a test split are needed, each with at least one field")
    fields = splits[0].arrays
    for split in splits[1:]:
        if set(split.arrays) != set(fields):
            raise DataError(f"the splits differ in their fields: {sorted(fields)} and {sorted(split.arrays)}")
    found = [name for name in INPUTS if name in fields]
    if not found:
        raise DataError(f"no input among the fields {sorted(fields)}; one of {', '.join(INPUTS)} is needed")
    for word in ("label", "classes"):
        if not names and word in fields and len(fields[word]):
            names = numbered(fields[word], word, splits[0])
    source = assemble(splits[0], splits[-1], splits[1], holdout=holdout, names=names, input=found[0], extra=extra)
    check(source, 1)
    return source


def _tidy(fields):
    fields = {name: np.asarray(value) for name, value in fields.items()}
    for name, value in fields.items():
        if value.ndim == 0:
            raise DataError(f"field {name} is a single value; a field has one row per example")
        if value.dtype.kind not in "fiub":
            raise DataError(
                f"field {name} has type {value.dtype}, as ragged rows or text make; give numbers, rows alike"
            )
        if name == "label":
            fields[name] = _labels(value)
        elif name in of_kind("picture") and value.dtype.kind != "f" and value.dtype not in (np.uint8, np.uint16):
            raise DataError(f"{name} has type {value.dtype}; give uint8, uint16, or float in [0, 1]")
        elif name in of_kind("picture") and value.dtype == np.uint16:
            fields[name] = value.astype(np.float32) / 65535
        elif value.dtype.kind == "f":
            fields[name] = value.astype(np.float32)
        else:
            fields[name] = _narrowed(value)
    if "image" in fields and fields["image"].ndim == 3:
        fields["image"] = fields["image"][..., None]
    return fields


def _labels(value):
    if value.dtype.kind not in "iu" or value.size != len(value):
        raise DataError(f"label has shape {value.shape} and type {value.dtype}; give one whole number an example")
    value = _narrowed(value.reshape(len(value)))
    return value if value.dtype.itemsize == 8 or value.dtype == np.uint32 else value.astype(np.int32)


def _narrowed(value):
    """Whole numbers in 32 bits where they fit; those that do not are refused by name later, not wrapped."""
    if value.dtype.kind == "b" or value.dtype.itemsize < 4:
        return value
    limits = np.iinfo(np.int32)
    fits = not value.size or (limits.min <= value.min() and value.max() <= limits.max)
    return value.astype(np.int32) if fits else value


def _stored(path):
    """Splits as dicts of fields, and class names, from an .npz file."""
    if not path:
        raise DataError("data.path is empty; name the .npz file, --config.data.path=FILE.npz")
    file = on_disk(path, "data.path").expanduser()
    if not file.is_file():
        raise DataError(f"data.path is {path}; there is no such file")
    try:
        loaded = arrays_in(file)
    except ArchiveError as error:
        raise DataError(f"{path}: {error}") from None
    for name in ("names", *EXTRA):
        if name in loaded and loaded[name].size > NUMBERED:
            raise DataError(f"{path}: {name} holds {loaded[name].size:,} values; there are at most {NUMBERED:,}")
    names = tuple(str(name) for name in np.ravel(loaded.pop("names", ())))
    extra = {name: loaded.pop(name).tolist() for name in EXTRA if name in loaded}
    splits = {}
    for name, value in loaded.items():
        split, _, field = name.partition("_")
        split, field = (split, field) if split in _SPLITS else ("train", name)
        if field not in WORDS:
            near = nearest(field, (*WORDS, *EXTRA, "names"), count=1, cutoff=0.5)
            raise DataError(
                f"{path} has an array {name!r}{f', did you mean {near[0]!r}?' if near else ''}; "
                f"names are train_, eval_, test_ or nothing and one of {', '.join(WORDS)}; "
                f"or, for all splits, names, {', '.join(EXTRA)}"
            )
        splits.setdefault(split, {})[field] = value
    return splits, names, extra
