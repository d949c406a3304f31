"""Splits of picture files on disk, whatever their labels are: where they begin, and how their readers end."""

import os
import pathlib

from cnnjax.data._pictures import Pictures, opened, reason, source_of, strictly, upright_size
from cnnjax.data.source import NOTHING, DataError, every_fifth, within_budget


class OnDisk(Pictures):
    """Image files by their paths below `base`; a subclass gives the `words(place)` of each."""

    def __init__(self, base, paths, **options):
        super().__init__(len(paths), **options)
        self.base, self.paths = str(base), paths

    def called(self, place):
        return self.paths[place]

    def encoded(self, places):
        return [(contents(self.base, self.paths[place]), self.words(place)) for place in places]


def contents(base, path):
    """The bytes of a file, or why there are none."""
    try:
        return pathlib.Path(base, path).read_bytes() or ValueError("the file is empty")
    except OSError as error:
        return error


def directory(root):
    """The directory that the option `root` names."""
    if not root:
        raise DataError("data.root is empty; name the directory, --config.data.root=DIR")
    base = str(pathlib.Path(root).expanduser())
    if not os.path.isdir(base):
        raise DataError(f"data.root is {root}; there is no such directory")
    return base


def joined(splits, *, size, holdout, names=(), extra=NOTHING):
    """The Source of splits by name, of which only train must be there: of one alone every fifth is the test set."""
    splits = dict(splits)
    if not size:
        with strictly():
            _agree(splits.values())
    if len(splits) == 1:
        splits["train"], splits["test"] = every_fifth(splits["train"])
    test = splits.get("test", splits.get("eval"))
    return source_of(splits["train"], splits.get("eval", test), test, holdout=holdout, names=names, extra=extra)


def _agree(splits):
    """Gives all splits the one shape that their files' headers state; DataError where they differ."""
    first = ()
    for split in splits:
        for index in range(len(split)):
            name = split.name(index)
            try:
                with open(os.path.join(split.base, name), "rb") as file, opened(file) as image:
                    size = upright_size(image)
            except Exception as error:  # whatever a decoder stumbles over in a damaged file
                split.bad[name] = reason(error)
                within_budget(split)
                continue
            first = first or (name, size)
            if size != first[1]:
                raise DataError(
                    f"the images differ in size: {first[0]} has {first[1][0]}×{first[1][1]} pixels, "
                    f"{name} has {size[0]}×{size[1]}; set data.size, and data.fit=crop, pad or squash"
                )
    if not first:
        raise DataError("not one of the files can be read")
    for split in splits:
        split.shape = (*first[1], split.shape[2])
