"""Splits of picture files with rows of boxes, and what else is known of each: a mask, points, whether it is ignored."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnnjax.data._files import OnDisk
from cnnjax.data._rasters import mask_of
from cnnjax.data.source import BESIDE, NOTHING, DataError, within_budget
from cnnjax.fields import IGNORE

_MARGIN = 0.5  # pixels by which a box may lie outside its picture, as the table of words has it
_CURE = "correct it, or leave it out"


@dataclass(frozen=True, slots=True)
class Row:
    """One thing in a picture: its name there, its box y0 x0 y1 x1 in pixels, and its class."""

    name: str
    box: tuple
    kind: int
    ignored: bool = False
    shape: object = ()  # as COCO's `segmentation`
    area: float = np.nan  # as the file says it, of a mask where there is one; nan where it says none
    points: tuple = ()  # y x visible of each


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture, the file that its rows stand in, and the size that this says it has, () where it does not."""

    path: str
    file: str
    size: tuple
    rows: Sequence[Row]


class Boxed(OnDisk):
    """Pictures of which each has up to `most` rows; a row of no area is passed over, by name.

    `masks` draws the rows' shapes into `instances`. With `points`, their number, a picture has one row, is cut out
    around it, `around` times as large as its box, and has its points.
    """

    def __init__(self, base, pictures, *, most, masks=False, points=0, around=1.0, bad=NOTHING, **options):
        super().__init__(base, [picture.path for picture in pictures], **options)
        self.bad.update(bad)
        self.most, self.masks, self.count, self.around = most, masks, points, around
        if masks and (lost := next((picture for picture in pictures if not picture.size), ())):
            raise DataError(f"{lost.file} says no height and width of {lost.path}, which its masks need")
        rows = [[row for row in picture.rows if self._usable(picture, row)] for picture in pictures]
        within_budget(self)
        flat = [row for some in rows for row in some]
        self.starts = np.cumsum([0, *map(len, rows)])
        self.names = np.array([row.name for row in flat], np.str_)
        self.boxes = np.array([row.box for row in flat], np.float32).reshape(-1, 4)
        self.kinds = np.array([row.kind for row in flat], np.int32)
        self.ignored = np.array([row.ignored for row in flat], bool)
        self.areas = np.array([row.area for row in flat], np.float32)
        self.marks = np.array([row.points for row in flat], np.float32).reshape(-1, points, 3) if points else ()
        self.shapes = [row.shape for row in flat] if masks else ()
        self.sizes = [picture.size for picture in pictures]
        self.said_in = [picture.file for picture in pictures]
        _refuse_many(pictures, np.diff(self.starts) + (np.diff(self.starts) >= IGNORE) * masks, most)

    def _usable(self, picture, row):
        why = no_area(row, f"{picture.file}: {picture.path}, {row.name},", picture.size)
        if why:
            self.bad[f"{picture.path}{BESIDE}{row.name}"] = why
        return not why

    def said(self, place):
        rows = slice(self.starts[place], self.starts[place + 1])
        told = [self.boxes[rows], self.kinds[rows], self.ignored[rows], *([self.marks[rows]] if self.count else [])]
        told += [self.areas[rows]] if np.isfinite(self.areas[rows]).any() else []
        return b"".join(each.tobytes() for each in told)

    def words(self, place):
        rows = slice(self.starts[place], self.starts[place + 1])
        seats = np.arange(rows.stop - rows.start)
        if self.masks:  # there 255 means that nobody knows: no thing may have this number
            seats += seats >= IGNORE - 1
        areas, drawn = self.areas[rows], ()
        if self.masks:
            drawn, own = self._instances(place, rows, seats)
            areas = np.where(np.isnan(areas), own, areas)
        said = {"boxes": self.boxes[rows], "kinds": self.kinds[rows], "ignored": self.ignored[rows], "areas": areas}
        words = seated(seats, self.most, **said) | ({"instances": drawn} if self.masks else {})
        if self.count:
            marks = self.marks[rows.start]
            words |= {"points": marks[:, :2], "visible": (marks[:, 2] > 0).astype(np.float32)}
        return words

    def _instances(self, place, rows, seats):
        """(H, W), what is ignored at the bottom, else the larger below the smaller; and the pixels (n,) of each."""
        sides = self.boxes[rows, 2:] - self.boxes[rows, :2]
        things, areas = np.zeros(self.sizes[place], np.uint16), np.zeros(len(sides), np.float32)
        for row in np.lexsort([-sides.prod(1), ~self.ignored[rows]]):
            try:
                shape = self.shapes[rows.start + row]
                mask = mask_of(shape, things.shape)
                things[mask], areas[row] = 1 + seats[row], mask.sum()
                if not areas[row] and _beyond(shape, things.shape):
                    raise ValueError("a segmentation of which nothing lies in the picture")
            except ValueError as error:
                name = f"{self.said_in[place]}: {self.paths[place]}, {self.names[rows.start + row]},"
                height, width = things.shape
                raise DataError(
                    f"{name} has {error}; its picture has {height}×{width}; correct it, or set data.masks=false"
                ) from None
        return things, areas

    def window(self, place):
        """Around the one row of a picture with points, of the form that is asked for, so that nothing is distorted."""
        if not self.count:
            return ()
        return around(self.boxes[self.starts[place]], self.around, self.shape)

    def vet(self, place, words, size):
        said = tuple(self.sizes[place])
        if said and said != tuple(size):
            turned = " (as it is seen, turned by its EXIF)" if said == tuple(size)[::-1] else ""
            raise ValueError(
                f"{size[0]}×{size[1]} pixels{turned}, but {self.said_in[place]} says {said[0]}×{said[1]}: "
                "its labels are of another picture, or of one of another size"
            )
        rows = slice(self.starts[place], self.starts[place + 1])
        for name, box in zip(self.names[rows], self.boxes[rows], strict=True):
            if not said and (outside := _outside(box, size)):
                raise ValueError(f"{name} with the box {shown(box)}; {outside}")
        if self.count:
            names = [f"{self.names[rows.start]}, keypoint {number + 1}," for number in range(self.count)]
            refuse_outside(words["points"], words["visible"], size, names)


def seated(seats, most, *, boxes, kinds, ignored, areas):
    """The words of `most` rows of which these (n,) are there: box, class, whether it is ignored, area (nan: its box's).

    All in pixels of the file, of which a pixel of the picture covers `pixel_area`, 1 as long as it is the file's.
    """
    areas = np.where(np.isnan(areas), (boxes[:, 2:] - boxes[:, :2]).prod(1), areas)
    words = {
        "boxes": np.zeros((most, 4), np.float32),
        "classes": np.zeros(most, np.int32),
        "present": np.zeros(most, np.float32),
        "ignored": np.zeros(most, np.float32),
        "areas": np.zeros(most, np.float32),
    }
    for word, values in zip(words, (boxes, kinds, 1, ignored, areas), strict=True):
        words[word][seats] = values
    return words | {"pixel_area": np.float32(1)}


def no_area(row, where, size):
    """Why a row is to be passed over, "" if it is a box; one that can't be a box at all is refused."""
    y0, x0, y1, x1 = row.box
    if not np.isfinite(row.box).all():
        raise DataError(f"{where} has a box of {shown(row.box)}; it must be four numbers; {_CURE}")
    if y1 < y0 or x1 < x0:
        raise DataError(
            f"{where} has the box {shown(row.box)}; it is inside out, y0 <= y1 and x0 <= x1 are needed; {_CURE}"
        )
    if y1 == y0 or x1 == x0:
        return f"the box {shown(row.box)} has no area"
    if size and (outside := _outside(row.box, size)):
        raise DataError(f"{where} has the box {shown(row.box)}; {outside}")
    return ""


def around(box, share, shape):
    """(y0, x0, y1, x1), whole pixels, of what lies around a box: `share` times as large, in the form of (H, W, …)."""
    low, high = np.array(box[:2], float), np.array(box[2:], float)
    tall = max(share * (high[0] - low[0]), share * (high[1] - low[1]) * shape[0] / shape[1], 1)
    half = np.array([tall, tall * shape[1] / shape[0]]) / 2
    middle = (low + high) / 2
    ends = np.concatenate([np.floor(middle - half + 1e-6), np.ceil(middle + half - 1e-6)])
    return tuple(int(end) for end in ends)


def refuse_outside(points, visible, size, names):
    """Raises a ValueError for a visible one of points (K, 2) that lies outside a picture of this size."""
    outside = ((points < -0.5 - _MARGIN) | (points > np.array(size) - 0.5 + _MARGIN)).any(-1) & (visible > 0)
    if outside.any():
        number = int(outside.argmax())
        y, x = points[number]
        raise ValueError(
            f"{names[number]} at x {x:.6g}, y {y:.6g}; visible points lie in the picture of "
            f"{size[0]}×{size[1]} pixels (height × width), to {_MARGIN} pixels; correct it, or mark it as not seen"
        )


def shown(box):
    """A box in words."""
    return f"y0 x0 y1 x1 [{' '.join(f'{float(edge):.6g}' for edge in box)}]"


def _outside(box, size):
    if min(box[:2]) < -_MARGIN or box[2] > size[0] + _MARGIN or box[3] > size[1] + _MARGIN:
        return f"it must lie in the picture of {size[0]}×{size[1]} pixels, to {_MARGIN} pixels; {_CURE}"
    return ""


def _beyond(shape, size):
    """Whether a shape that has no pixel lies outside a picture of this size, and is not only too thin for one."""
    if isinstance(shape, dict):
        return True
    corners = [np.reshape(part, (-1, 2))[:, ::-1] for part in shape]
    return all(((part < -_MARGIN).all(0) | (part > np.array(size) + _MARGIN).all(0)).any() for part in corners)


def _refuse_many(pictures, counts, most):
    """Refuses pictures of more rows than `most`, by the name of the one that has the most."""
    if len(counts) and counts.max() > most:
        picture = pictures[int(counts.argmax())]
        raise DataError(
            f"{picture.file}: {picture.path} has {counts.max()} boxes, more than data.most={most}; "
            f"set data.most={counts.max()}"
        )
