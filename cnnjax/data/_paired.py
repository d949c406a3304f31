"""Which mask files belong to which picture, split by split."""

import os
from collections.abc import Sequence

from cnnjax.data._listing import ENDINGS, few, listed, split_of, subdirectories
from cnnjax.data.source import DataError

_BEHIND = ("", "_mask", "-mask", "_label", "_labels")  # what a mask's name may have behind its picture's


def pairs(base: str, images: str, masks: str) -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    """{split: (a picture's path below base, those of its masks) of each}; all are train's where no split is said.

    One mask for each picture: in base/images and base/masks, in these two of every split, or in the splits of these
    two. Or every picture has a directory of its own, with the two in it: then each mask is one thing.
    """
    inside = subdirectories(base)
    if images in inside:
        if masks not in inside:
            raise DataError(f"{base} has {images}/ but no {masks}/; set data.labels to the directory of the mask files")
        parts = {split_of(name): name for name in subdirectories(os.path.join(base, images)) if split_of(name)}
        if parts:
            _refuse_untrained(base, parts)
            return {split: _paired(base, f"{images}/{name}", f"{masks}/{name}") for split, name in parts.items()}
        return _by_lists(base, _paired(base, images, masks))
    parts = {split_of(name): name for name in inside if split_of(name)}
    if parts:
        _refuse_untrained(base, parts)
        return {split: _of_directory(base, f"{name}/", images, masks) for split, name in parts.items()}
    return _by_lists(base, _of_directory(base, "", images, masks))


def _of_directory(base, inner, images, masks):
    """The pairs of one split's directory."""
    names = subdirectories(os.path.join(base, inner))
    if images in names:
        return _paired(base, f"{inner}{images}", f"{inner}{masks}")
    own = [name for name in names if os.path.isdir(os.path.join(base, inner, name, images))]
    if not own:
        where = os.path.join(base, inner)
        raise DataError(
            f"{where} has no {images}/ (data.images), nor directories that have it; "
            f"{f'it has {few(names)}' if names else 'it has no directories'}"
        )
    return [_thing_by_thing(base, f"{inner}{name}", images, masks) for name in own]


def _thing_by_thing(base, inner, images, masks):
    """The picture of a directory of its own, and the masks of its things."""
    pictures = _listed(base, f"{inner}/{images}")
    if len(pictures) != 1:
        raise DataError(f"{os.path.join(base, inner)}/{images} has {len(pictures)} pictures; one is needed")
    return pictures[0], tuple(_listed(base, f"{inner}/{masks}"))


def _paired(base, images, masks):
    """Every picture of a directory and the one mask of its name."""
    pictures, files = _listed(base, images), _listed(base, masks)
    if not pictures:
        raise DataError(f"{os.path.join(base, images)} has no pictures ({', '.join(ENDINGS)})")
    known = {_stem(file): file for file in files}
    if len(known) < len(files):
        twice = sorted({_stem(file) for file in files if known[_stem(file)] != file})
        raise DataError(f"{os.path.join(base, masks)} has two masks of the same name: {few(twice)}")
    found = {path: next((_stem(path) + end for end in _BEHIND if _stem(path) + end in known), "") for path in pictures}
    if alone := [path for path, stem in found.items() if not stem]:
        raise DataError(
            f"{_many(alone, 'picture has', 'pictures have')} no mask of the same name in {masks}/: {few(alone)}"
        )
    if over := sorted(set(known) - set(found.values())):
        raise DataError(
            f"{_many(over, 'mask has', 'masks have')} no picture of the same name in {images}/: {few(over)}"
        )
    return [(path, (known[stem],)) for path, stem in found.items()]


def _by_lists(base, made: Sequence):
    """Pairs by split as train.txt, val.txt and test.txt have it; what no list names is train's."""
    lists = {split_of(os.path.splitext(file)[0]): file for file in sorted(os.listdir(base)) if file.endswith(".txt")}
    lists = {split: file for split, file in lists.items() if split}
    named = {
        split: [os.path.splitext(name)[0] for name in listed(os.path.join(base, file))] for split, file in lists.items()
    }
    stems = {_stem(path) if len(masks) == 1 else path.split("/")[-3]: (path, masks) for path, masks in made}
    for split, names in named.items():
        if unknown := [name for name in names if name not in stems]:
            raise DataError(f"{os.path.join(base, lists[split])} names {few(unknown)}, which no picture is called")
    taken = {name for names in named.values() for name in names}
    named.setdefault("train", [name for name in stems if name not in taken])
    return {split: [stems[name] for name in names] for split, names in named.items()}


def _refuse_untrained(base, parts):
    if "train" not in parts:
        raise DataError(f"{base} has {few(sorted(parts.values()))} but no train/; training needs pictures of its own")


def _listed(base, inner):
    """Paths below base of the picture files in a directory, by name."""
    directory = os.path.join(base, inner)
    if not os.path.isdir(directory):
        raise DataError(f"there is no {directory}")
    return [f"{inner}/{name}" for name in sorted(os.listdir(directory)) if name.lower().endswith(ENDINGS)]


def _stem(path):
    return os.path.splitext(os.path.basename(path))[0]


def _many(names, one, several):
    return f"{len(names)} {one if len(names) == 1 else several}"
