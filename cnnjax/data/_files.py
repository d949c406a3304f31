"""Splits of picture files on disk, whatever their labels are: where they begin, and how their readers end."""

import contextlib
import os
import pathlib

from cnnjax.archives import regular
from cnnjax.data._bearable import file_bytes
from cnnjax.data._pictures import Pictures, opened, reason, source_of, strictly, upright_size
from cnnjax.data.source import NOTHING, DataError, every_fifth, none_usable, within_budget


class OnDisk(Pictures):
    """Image files by their paths below `base`; a subclass gives the `words(place)` of each."""

    def __init__(self, base, paths, **options):
        super().__init__(len(paths), **options)
        self.base, self.paths = str(base), paths

    def called(self, place):
        return self.paths[place]

    def encoded(self, places):
        return [(contents(self.base, self.paths[place]), self.words(place)) for place in places]

    def files_of(self, place):
        """The files that an example is made of."""
        return (self.paths[place],)

    def said(self, place):
        """What is known of an example's labels, as bytes, without reading them from its files."""
        return b""

    def listing(self):
        """Names and sizes of its files, in order, and what is said of them: of 100,000 in half a second."""
        for place in self.rows:
            for path in self.files_of(place):
                size = -1
                with contextlib.suppress(OSError):
                    size = os.stat(os.path.join(self.base, path)).st_size
                yield f"{path}\0{size}\n".encode(errors="surrogateescape")
            yield self.said(place)


def contents(base, path):
    """The bytes of a file, or why there are none."""
    try:
        return file_bytes(os.path.join(base, path)) or ValueError("the file is empty")
    except (OSError, ValueError) as error:
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
                with regular(os.path.join(split.base, name)) as file, opened(file) as image:
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
        raise DataError(none_usable("training", split))
    for split in splits:
        split.shape = (*first[1], split.shape[2])
