"""Which directories are splits, which are classes, and the picture files in them, as strings: 95,000 in 0.1 s.

An index of what was found would save 0.06 s of that, and could be out of date.
"""

import difflib
import os
import re
from collections.abc import Iterator, Sequence

from cnnjax.archives import text_of
from cnnjax.data.source import DataError

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
_SPLITS = {
    "train": ("train", "training"),
    "eval": ("eval", "evaluation", "val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
_BEGIN = {"train": "train", "eval": ("eval", "val"), "test": "test"}
_BESIDE = "set|data|images?|imgs?|pictures?|photos?|splits?|folders?|files?"  # words that say nothing more


def subdirectories(directory: str) -> list[str]:
    """The names of the directories in one, sorted, hidden ones left out."""
    with os.scandir(directory) as entries:
        return sorted(e.name for e in entries if not e.name.startswith((".", "__")) and e.is_dir())


def split_of(name: str) -> str:
    """The split that a directory of this name holds: train, eval, test, or "" for none.

    Known are the words themselves, in any case and with numbers, and with words such as set and images beside them:
    `Training_Set`, `val2017`, `test-images`.
    """
    letters = "".join(re.findall("[a-z]+", name.lower()))
    for split, words in _SPLITS.items():
        if re.fullmatch(f"(?:{_BESIDE})*(?:{'|'.join(words)})(?:{_BESIDE})*", letters):
            return split
    return ""


def _near(name):
    """The split that a name seems to mean: it begins with its word, or has it as a word of its own."""
    words = re.findall("[a-z]+", name.lower())
    for split, own in _SPLITS.items():
        if set(words) & set(own) or any(word.startswith(_BEGIN[split]) for word in words[:1]):
            return split
    return ""


def split_directories(base: str) -> dict[str, str]:
    """The directory of each split in `base`; {"train": base} where it has none, and its directories are the classes.

    A directory that stands alone, as archives bring it, is looked into.
    """
    inside = subdirectories(base)
    if len(inside) == 1 and not split_of(inside[0]):
        alone = os.path.join(base, inside[0])
        if any(split_of(name) for name in subdirectories(alone)):
            return split_directories(alone)
    found = {}
    for name in inside:
        split = split_of(name)
        if split in found:
            one = os.path.basename(found[split])
            raise DataError(f"{base} has both {one}/ and {name}/; one directory for {split} is needed")
        if split:
            found[split] = os.path.join(base, name)
    _refuse_near(base, [name for name in inside if not split_of(name) and _near(name) not in {"", *found}])
    if found and "train" not in found:
        one = os.path.basename(next(iter(found.values())))
        raise DataError(f"{base} has {one}/ but no train/; training needs images of its own")
    return {split: _unwrapped(found[split], split) for split in _SPLITS if split in found} or {"train": base}


def _refuse_near(base, names):
    """Raises DataError for names of classes that look like splits and hold directories."""
    for name in names:
        if held := subdirectories(os.path.join(base, name)):
            raise DataError(
                f"{base} has {name}/, whose name is like a split's and which holds directories ({few(held)})\n"
                "name splits train/, eval/ and test/; a class of that name must hold its pictures itself"
            )


def _unwrapped(directory, split):
    """The directory, or the one of the same split that it holds and nothing else (training_set/training_set)."""
    inside = subdirectories(directory)
    if len(inside) == 1 and split_of(inside[0]) == split and subdirectories(os.path.join(directory, inside[0])):
        return _unwrapped(os.path.join(directory, inside[0]), split)
    return directory


def classes_of(directory: str) -> tuple[str, ...]:
    """The classes of a training directory, sorted."""
    names = subdirectories(directory)
    if not names:
        raise DataError(f"{directory} has no directories; put each class's images into a directory of its name")
    return tuple(names)


def known_classes(directory: str, names: Sequence[str]) -> Iterator[str]:
    """The names of a split's directories, each one of the classes `names`."""
    for name in subdirectories(directory):
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f", did you mean {near[0]}?" if near else ""
            where = os.path.join(directory, name)
            raise DataError(f"{where} is a class that the training set lacks{hint}; it has {few(names)}")
        yield name


def labelled(base: str, directory: str, names: Sequence[str]) -> tuple[list[str], list[int]]:
    """Paths below base of a split's pictures, sorted by class and path, and their labels, places in `names`."""
    paths, labels = [], []
    for name in known_classes(directory, names):
        files = list(files_below(base, os.path.relpath(os.path.join(directory, name), base)))
        found = sorted(file for file in files if file.lower().endswith(ENDINGS))
        if not found:
            others = few(sorted({os.path.splitext(file)[1] or os.path.basename(file) for file in files}))
            where, only = os.path.join(directory, name), f", only {others}" if files else ""
            raise DataError(f"{where} has no {', '.join(ENDINGS)} files{only}")
        paths += found
        labels += [names.index(name)] * len(found)
    return paths, labels


def files_below(base: str, inner: str) -> Iterator[str]:
    """Paths below base of the files in a directory and those in it; hidden ones, pipes and devices are left out."""
    with os.scandir(os.path.join(base, inner)) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from files_below(base, f"{inner}/{entry.name}")
            elif not entry.name.startswith(".") and (entry.is_symlink() or entry.is_file(follow_symlinks=False)):
                yield f"{inner}/{entry.name}"


def listed(file: str) -> list[str]:
    """The first word of every line of a text file that is not empty."""
    try:
        with text_of(file) as lines:
            return [line.split()[0] for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"{file} is no list of names that can be read: {error}") from None


def few(names: Sequence[str]) -> str:
    """Up to eight of the names, in words."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
