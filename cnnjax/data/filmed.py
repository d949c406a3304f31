"""Clips on disk: a folder of numbered pictures each, or an animated GIF or WebP, one directory per class."""

import io
import os
import re
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from PIL import Image

from cnnjax.annotations import AtLeastOne, Count, FilePath, Gives
from cnnjax.data._bearable import refuse_bombs
from cnnjax.data._files import OnDisk, contents, directory, joined
from cnnjax.data._listing import ENDINGS, classes_of, few, known_classes, split_directories
from cnnjax.data._pictures import (
    Budget,
    Fit,
    Mixed,
    _in_channels,
    _opaque,
    fitted,
    opened,
    picture,
    reason,
    strictly,
    vet,
)
from cnnjax.data.placing import Placing
from cnnjax.data.source import DataError, Source, none_usable, within_budget
from cnnjax.refusals import refuse_misfits

__all__ = ["ANIMATED", "clips", "films"]

ANIMATED = (".gif", ".webp")
"""How the names of files end that may hold a clip."""

_ALONE = Placing((1.0, 1.0), (0.0, 0.0), (1, 1), (1, 1))  # of a clip no place is carried anywhere


def clips(
    *,
    root: FilePath = "",
    frames: AtLeastOne = 16,
    stride: AtLeastOne = 1,
    each: AtLeastOne = 1,
    size: Count = 0,
    width: Count = 0,
    fit: Fit = "crop",
    channels: Literal[1, 3] = 3,
    budget: Budget = -1,
    holdout: Count = 0,
) -> Annotated[Source, Gives(label="", group="")]:
    """The videos under `root`, one directory per class, as uint8 clips of `frames` frames, every `stride`-th.

        root/train/wave/0001/frame1.png … frame40.png     a folder of pictures, in the order of their numbers
        root/train/wave/0002.gif                          or an animated GIF or WebP
        root/test/…                                       else every fifth video, by class and name, is for testing

    Of each video come `each` clips, evenly spaced from its first frame to its last, or the one in the middle. They have
    its number as `group`: they are held out together, and evaluation measures videos by their mean probabilities
    beside clips. A video of fewer frames than a clip takes is passed over by name, within `budget`, as one that can't
    be read. From `size` on as `folder`.
    """
    refuse_misfits(clips, locals(), path="data.")
    vet(size, width)
    base = directory(root)
    found = split_directories(base)
    names = classes_of(found["train"])
    options = {"shape": (size, width or size, channels), "depth": 8, "fit": fit if size else "", "budget": budget}
    options |= {"frames": frames, "stride": stride, "each": each}
    listed = {split: _videos(base, where, names) for split, where in found.items()}
    if len(listed) == 1:
        whole = listed["train"]
        listed = {"train": [v for n, v in enumerate(whole) if n % 5], "test": whole[::5]}
    splits = {split: Filmed(base, videos, train=split == "train", **options) for split, videos in listed.items()}
    if not size:
        _measure(splits.values())
    return joined(splits, size=True, holdout=holdout, names=names)


def films(
    paths: Sequence[str | os.PathLike],
    shape: tuple[AtLeastOne, AtLeastOne, AtLeastOne, Literal[1, 3]],
    *,
    stride: AtLeastOne = 1,
    fit: Fit = "crop",
) -> tuple[np.ndarray, dict[str, str]]:
    """The middle of each video as (N, *shape) uint8, as `clips` reads it, and why others can't be read.

    A video is a folder of numbered pictures or a file. Those that can't be read are left out.
    """
    refuse_misfits(films, locals(), path="data.")
    read, bad = [], {}
    for path in map(str, paths):
        try:
            with strictly():
                data = _stored(*os.path.split(os.path.abspath(path)), shape[0], stride, (0, 1))
                read.append(_decoded(data, tuple(shape), stride, (0, 1), fit))
        except MemoryError:
            raise
        except Exception as error:  # whatever a decoder stumbles over in a damaged file
            bad[path] = reason(error)
    return np.stack(read) if read else np.zeros((0, *shape), np.uint8), bad


class Filmed(OnDisk):
    """Clips of videos and their classes: `each` of every video, one after the other."""

    word = "video"

    def __init__(self, base, videos, *, frames, stride, each, **options):
        super().__init__(base, [path for path, _ in videos for _ in range(each)], **options)
        self.frames, self.stride, self.each = frames, stride, each
        self.labels = np.asarray([label for _, label in videos], np.int32)

    @property
    def whole(self):
        return (self.frames, *self.shape)

    def words(self, place):
        return {"label": self.labels[place // self.each], "group": np.int32(place // self.each)}

    def classes(self):
        return self.labels[self.rows // self.each]

    def which(self, place):
        """Which clip of its video it is, of how many."""
        return place % self.each, self.each

    def encoded(self, places):
        return [(self._fetched(place), self.words(place)) for place in places]

    def _fetched(self, place):
        try:
            return _stored(self.base, self.paths[place], self.frames, self.stride, self.which(place))
        except (OSError, ValueError) as error:
            return error

    def decoded(self, place, data):
        return _decoded(data, self.whole, self.stride, self.which(place), self.fit), _ALONE

    def files_of(self, place):
        path = self.paths[place]
        full = os.path.join(self.base, path)
        return [f"{path}/{name}" for name in pictures_in(full)] if os.path.isdir(full) else (path,)

    def said(self, place):
        return f"{self.which(place)} of {self.frames} by {self.stride}".encode()


def pictures_in(folder: str | os.PathLike) -> list[str]:
    """The names of the pictures that lie in a folder, in the order of the numbers in them: frame2 before frame10."""
    names = [name for name in os.listdir(folder) if name.lower().endswith(ENDINGS) and not name.startswith(".")]
    return sorted(names, key=lambda name: [(int(p), "") if p.isdigit() else (-1, p) for p in re.split(r"(\d+)", name)])


def _videos(base, where, names):
    """(path below base, label) of a split's videos, by class and name."""
    found = []
    for label in sorted(known_classes(where, names)):
        inner = os.path.join(where, label)
        with os.scandir(inner) as entries:
            inside = sorted((e.name, e.is_dir()) for e in entries if not e.name.startswith("."))
        videos = [name for name, folder in inside if folder or name.lower().endswith(ANIMATED)]
        if not videos:
            has = few([name for name, _ in inside]) or "nothing"
            raise DataError(f"{inner} has no videos, only {has}; each is a folder of its frames, or a GIF or WebP")
        found += [(os.path.relpath(os.path.join(inner, name), base), names.index(label)) for name in videos]
    return found


def _taken(count, frames, stride, which):
    """The numbers of a clip's frames among `count`; ValueError where there are too few."""
    need = (frames - 1) * stride + 1
    if count < need:
        by = f" with data.stride={stride}" if stride > 1 else ""
        raise ValueError(f"{count} frames, but a clip of data.frames={frames}{by} takes {need}")
    number, of = which
    start = round((count - need) * (number / (of - 1) if of > 1 else 0.5))
    return start + stride * np.arange(frames)


def _stored(base, path, frames, stride, which):
    """The bytes of a file, or of the pictures of a clip with their names."""
    full = os.path.join(base, path)
    if not os.path.isdir(full):
        data = contents(base, path)
        if isinstance(data, Exception):
            raise data
        return data
    names = pictures_in(full)
    return [(names[n], contents(full, names[n])) for n in _taken(len(names), frames, stride, which)]


def _decoded(data, shape, stride, which, fit):
    """A clip (T, H, W, C) of bytes that hold all frames, or of the (name, bytes) of its frames."""
    if isinstance(data, bytes):
        image = opened(io.BytesIO(data))
        refuse_bombs(image, data)
        wanted = _taken(getattr(image, "n_frames", 1), shape[0], stride, which)
        return np.stack([_fit(_frame(image, int(number), shape[3]), shape[1:3], fit) for number in wanted])
    seen = np.empty(shape, np.uint8)
    for row, (name, each) in enumerate(data):
        try:
            if isinstance(each, Exception):
                raise each
            seen[row] = picture(each, shape=shape[1:], depth=8, fit=fit)[0]
        except (MemoryError, Mixed):
            raise
        except Exception as error:
            raise ValueError(f"its frame {name}: {reason(error)}") from None
    return seen


def _frame(image, number, channels):
    """(H, W, C) uint8 of a frame of an animation as one sees it, what is transparent on white."""
    image.seek(number)
    whole = np.asarray(image.convert("RGBA"))
    return _in_channels(_opaque(whole), channels)


def _fit(samples, size, fit):
    if samples.shape[:2] == size:
        return samples
    if not fit:
        (height, width), (tall, wide) = samples.shape[:2], size
        raise Mixed(f"{height}×{width} pixels, the others {tall}×{wide}")
    return fitted(samples, size, fit)[0]


def _measure(splits):
    """Gives all splits the size of the first frame that can be read."""
    for split in splits:
        for place in split.rows[:: split.each]:
            try:
                if not (files := split.files_of(place)):
                    raise ValueError("no pictures in it")
                with strictly(), Image.open(os.path.join(split.base, files[0])) as image:
                    size = image.size[::-1]
            except Exception as error:  # whatever a decoder stumbles over in a damaged file
                split.bad[split.called(place)] = reason(error)
                within_budget(split)
                continue
            for each in splits:
                each.shape = (*size, each.shape[2])
            return
    raise DataError(none_usable("training", next(iter(splits))))
