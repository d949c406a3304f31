"""Image files as arrays, and a split of them that lives with a few broken ones."""

import contextlib
import copy
import io
import traceback
import warnings
from typing import Annotated, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from cnnjax.annotations import Bounds
from cnnjax.data._bearable import refuse_bombs
from cnnjax.data._png16 import deep_png, is_deep
from cnnjax.data.placing import Placing, carry, inverted, unread
from cnnjax.data.source import BESIDE, NOTHING, DataError, assemble, none_usable, refuse_empty, within_budget
from cnnjax.data.stream import into_memory

Fit = Literal["crop", "pad", "squash"]
Depth = Literal[8, 16]
Budget = Annotated[int, Bounds(-1)]
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
_AT_ONCE = 2**18  # samples whose numbers are changed together
_SMALL = 2**28  # bytes of pixels up to which a set is read whole, once
_MANY = 2000  # files from which on worker processes read it faster than this one alone
_ORIENTATION = 0x0112
_UPRIGHT = {  # by the EXIF orientation, what makes the picture stand as it was seen
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


def vet(size: int, width: int) -> None:
    """Refuses a width without a size."""
    if width and not size:
        raise DataError(f"data.size is {size} and data.width {width}; give the size, or 0 for images of one size")


class Pictures:
    """A split of encoded images; a subclass gives `called(place)`, a name, and `encoded(places)` → [(data, labels)].

    The data are the bytes of a file, or the error met in getting them; the labels are the words of one example,
    {"label": 3, "boxes": (N, 4), …}, in the pixels of the file as it is seen upright: they come out in the image's.
    `rows` are the places that the split has. Images are uint8, or with `depth` 16 floats in [0, 1].

    A broken image is noted in `bad` and, for training (`train`), stands aside for the next readable one, image and
    label, so that what is read is a function of the files alone; elsewhere its place is filled with 0 and not valid.
    """

    resident, word = False, "image"

    def __init__(self, count, *, shape, depth, fit, budget, train):
        self.rows, self.train, self.bad = np.arange(count), train, {}
        self.shape, self.depth, self.fit, self.allowed = tuple(shape), depth, fit, budget

    def __len__(self):
        return len(self.rows)

    @property
    def budget(self):
        return max(10, len(self) // 1000) if self.allowed < 0 else self.allowed

    def name(self, index):
        return self.called(self.rows[index])

    def only(self, indices, train):
        part = copy.copy(self)
        part.rows, part.train = self.rows[indices], train
        names = {part.name(index) for index in range(len(part))} if self.bad else ()
        part.bad = {name: reason for name, reason in self.bad.items() if name.partition(BESIDE)[0] in names}
        return part

    @property
    def whole(self):
        """The shape of one example."""
        return self.shape

    def decoded(self, place, data):
        """The example in these bytes, and its Placing in the file."""
        return picture(data, shape=self.shape, depth=self.depth, fit=self.fit, window=self.window(place))

    def kept(self, read):
        """The numbers of a decoded example as they are kept."""
        return read if self.depth == 8 else read.astype(np.float32) / 65535

    def window(self, place):
        """(y0, x0, y1, x1) in whole pixels of the file as it is seen: what is cut out of it; () for all of it."""
        return ()

    def vet(self, place, words, size):
        """Raises a ValueError, without the file's name, for labels that one of this size (height, width) can't have."""

    def read(self, indices):
        with strictly():
            return self._read(indices)

    def _read(self, indices):
        image = np.zeros((len(indices), *self.whole), np.uint8 if self.depth == 8 else np.float32)
        labels, valid = [{}] * len(indices), np.ones(len(indices), np.float32)
        waiting = {row: int(index) for row, index in enumerate(indices)}
        while waiting:
            fetched = self.encoded([self.rows[index] for index in waiting.values()])
            again = {}
            for (row, index), (data, words) in zip(waiting.items(), fetched, strict=True):
                placing = self._decoded(index, data, image[row])
                if placing:
                    labels[row] = self._carried(index, words, placing)
                elif self.train:
                    again[row] = self._next(index)
                else:
                    labels[row] = unread(words, self.shape[:2])
                    image[row], valid[row] = 0, 0
            waiting = again
        fields = {self.word: image} | {word: np.stack([each[word] for each in labels]) for word in (labels or [{}])[0]}
        return fields if self.train else {**fields, "valid": valid}

    def _next(self, index):
        """The first example behind a broken one of which nothing says that it is broken too."""
        for step in range(1, len(self)):
            if self.name(following := (index + step) % len(self)) not in self.bad:
                return following
        raise DataError(none_usable("training", self))

    def _carried(self, index, words, placing):
        try:
            self.vet(self.rows[index], words, placing.file)
            return carry(words, inverted(placing))
        except ValueError as error:
            raise DataError(f"{self.name(index)} has {error}") from None

    def _decoded(self, index, data, out):
        """Where the picture, which is written to `out`, lies in its file; None where it can't be read."""
        name = self.name(index)
        if name in self.bad:
            return None
        try:
            if isinstance(data, Exception):
                raise data
            read, placing = self.decoded(self.rows[index], data)
            out[...] = self.kept(read)
        except MemoryError:
            raise
        except Mixed as error:
            raise DataError(f"{name} has {error}; {error.cure}") from None
        except Exception as error:  # whatever a decoder stumbles over in a damaged file
            self.bad[name] = reason(error)
            within_budget(self)
            return None
        return placing


def source_of(train, eval, test, *, holdout, names, extra=NOTHING):
    """The Source of these splits of pictures, in memory if they are small."""
    refuse_empty(train, eval, test)
    splits = {id(split): split for split in (train, eval, test)}
    sizes = [len(split) * int(np.prod(split.whole)) * (1 if split.depth == 8 else 4) for split in splits.values()]
    if sum(sizes) <= _SMALL:
        for place, split in splits.items():
            splits[place] = into_memory(split, workers=-1 if len(split) >= _MANY else 0)
    word = train.word
    train, eval, test = (splits[id(split)] for split in (train, eval, test))
    return assemble(train, eval, test, holdout=holdout, names=names, input=word, extra=extra)


class Mixed(Exception):
    """An image of another size than the others, where none was asked for."""

    cure = "set data.size (and data.fit) to bring all to one size"


def reason(error):
    """One line on why a file could not be read: what this package says itself, or another's words and their kind."""
    text = " ".join(str(error).split())
    return (text if _is_ours(error) else f"{type(error).__name__}: {text}")[:200]


def _is_ours(error):
    """Whether an exception was raised here as a sentence, and not by a library or the system."""
    if type(error) not in (ValueError, OSError) or getattr(error, "errno", None) or not error.__traceback__:
        return False
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_globals["__name__"].partition(".")[0] == "cnnjax"


@contextlib.contextmanager
def strictly():
    """Decoders' warnings are silent here, but a decompression bomb is an error.

    For as many pictures as are read together: to enter it takes a fifth of the time that a small picture takes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def opened(file):
    """A Pillow image of a JPEG, PNG, WebP, BMP, TIFF or GIF file object, header read; of several frames the first."""
    try:
        return Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError:  # its text holds the address of an object in memory
        raise ValueError("no JPEG, PNG, WebP, BMP, TIFF or GIF, or one with a damaged header") from None


def upright(samples, orientation):
    """(H, W, …) turned as an EXIF orientation says."""
    return _UPRIGHT.get(orientation, lambda a: a)(samples)


def orientation_of(image):
    """The EXIF orientation of an opened image, 1 where it has none."""
    return image.getexif().get(_ORIENTATION, 1)


def upright_size(image):
    """(height, width) of an opened image as it is seen."""
    width, height = image.size
    if image.format == "TIFF":  # whose size Pillow has turned already
        width, height = image.tag_v2[256], image.tag_v2[257]
    turned = orientation_of(image) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)


def picture(data, *, shape, depth, fit, window=()):
    """(H, W, C) uint8, or uint16 for depth 16, of an image file's bytes, and its Placing in the file.

    `fit` "" demands the size to be right already. Of a `window` (y0, x0, y1, x1) that part is read that there is.
    """
    image = opened(io.BytesIO(data))
    refuse_bombs(image, data)
    (width, height), halved = image.size, None
    if fit and not window and image.format != "PNG":
        # the decoder's own halving, as long as twice the size asked for remains
        halved = image.draft(image.mode, (2 * max(shape[:2]),) * 2)
    image.load()
    samples = _samples(image, data)
    orientation = orientation_of(image)
    samples = _opaque(upright(samples, orientation))
    samples = _in_depth(_in_channels(samples, min(samples.shape[2], shape[2])), depth)
    samples = _in_channels(samples, shape[2])  # grey is repeated last
    size = samples.shape[:2]
    decoded = Placing((1.0, 1.0), (0.0, 0.0), size, size)
    if halved:
        scale = height / halved[1][3], width / halved[1][2]
        decoded = _placed((height, width), scale, size, orientation)
    if window:
        samples, decoded = _cut(samples, window)
        size = decoded.size
    if size == shape[:2]:
        return samples, decoded
    if not fit:
        raise Mixed(f"{size[0]}×{size[1]} pixels, the others {shape[0]}×{shape[1]}")
    samples, placing = fitted(samples, shape[:2], fit)
    return samples, _within(placing, decoded)


def _cut(samples, window):
    """The part of a picture in a window, and its Placing there."""
    size = samples.shape[:2]
    top, left = (min(max(low, 0), length - 1) for low, length in zip(window[:2], size, strict=True))
    part = samples[top : max(window[2], top + 1), left : max(window[3], left + 1)]
    return part, Placing((1.0, 1.0), (float(top), float(left)), part.shape[:2], size)


def _placed(stored, scale, size, orientation):
    """The Placing of a picture that was decoded at 1/`scale` of its stored height and width, then turned upright.

    Its last pixels may hang over the file's end, which after a mirror is the beginning.
    """
    if orientation in (5, 6, 7, 8):
        stored, scale = stored[::-1], scale[::-1]
    mirrored = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    over = [(s * n - whole) * flip for s, n, whole, flip in zip(scale, size, stored, mirrored, strict=True)]
    return Placing(tuple(scale), (-over[0], -over[1]), tuple(size), tuple(stored))


def _within(inner, outer):
    """The Placing in the outer's file of a picture that lies in the picture of the outer one."""
    scale = tuple(a * b for a, b in zip(inner.scale, outer.scale, strict=True))
    offset = tuple(a * s + o for a, s, o in zip(inner.offset, outer.scale, outer.offset, strict=True))
    return Placing(scale, offset, inner.size, outer.file)


def _samples(image, data):
    """(H, W, 1 to 4) uint8 or uint16 in grey, grey + alpha, colour or colour + alpha."""
    if is_deep(data[:26]):
        return deep_png(data, np.asarray(image))
    if image.mode.startswith("I"):
        samples = np.asarray(image)
        if samples.min(initial=0) < 0 or samples.max(initial=0) > 65535:
            raise ValueError("samples of 32 bits; write 8 or 16")
        return samples.astype(np.uint16)[..., None]
    if image.mode == "F":
        raise ValueError("samples that are floats; write 8 or 16 bits, or an .npz file")
    if image.mode in ("P", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "LA", "RGB", "RGBA"):
        image = image.convert("RGB")
    samples = np.asarray(image)
    return samples[..., None] if samples.ndim == 2 else samples


def _opaque(samples):
    """Without its alpha channel: laid on white, as a page would show it."""
    if samples.shape[2] in (1, 3):
        return samples
    full = np.uint32(np.iinfo(samples.dtype).max)

    def laid(rows):
        colour, alpha = rows[..., :-1].astype(np.uint32), rows[..., -1:].astype(np.uint32)
        return (colour * alpha + full * (full - alpha) + full // 2) // full  # below 2³² for 16 bits too

    return _by_rows(laid, samples, samples.shape[2] - 1, samples.dtype)


def _by_rows(change, samples, channels, dtype):
    """`change(rows)` of all rows of samples (H, W, C), a few together: all of a large picture in 32 bits are many."""
    changed = np.empty((*samples.shape[:2], channels), dtype)
    step = max(1, _AT_ONCE // max(samples[0].size, 1))
    for first in range(0, len(samples), step):
        changed[first : first + step] = change(samples[first : first + step])
    return changed


def _in_channels(samples, channels):
    if samples.shape[2] == channels:
        return samples
    if channels == 3:
        return np.repeat(samples, 3, 2)

    def luma(rows):  # of ITU-R 601, in 1/65536
        red, green, blue = np.moveaxis(rows.astype(np.uint32), -1, 0)
        return ((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16)[..., None]

    return _by_rows(luma, samples, 1, samples.dtype)


def _in_depth(samples, depth):
    if depth == 8 and samples.dtype == np.uint16:
        return _by_rows(
            lambda rows: (rows.astype(np.uint32) * 255 + 32767) // 65535, samples, samples.shape[2], np.uint8
        )
    if depth == 16 and samples.dtype == np.uint8:
        return samples.astype(np.uint16) * 257
    return samples


def fitted(samples, size, fit):
    """The picture in size (height, width), bilinear and smoothed where it shrinks, and its Placing in the given one.

    crop: fills it and loses what overhangs, equally on both sides; pad: all of it, on black; squash: all, distorted.
    """
    (height, width), (tall, wide) = samples.shape[:2], size
    box, inner = (0, 0, width, height), (tall, wide)
    if fit == "crop":
        scale = max(tall / height, wide / width)
        down, across = (height - tall / scale) / 2, (width - wide / scale) / 2
        box = (max(across, 0), max(down, 0), min(width - across, width), min(height - down, height))
    elif fit == "pad":
        scale = min(tall / height, wide / width)
        inner = min(max(round(height * scale), 1), tall), min(max(round(width * scale), 1), wide)
    small = _resized(samples, inner, box)
    top, left = (tall - inner[0]) // 2, (wide - inner[1]) // 2
    scale = (box[3] - box[1]) / inner[0], (box[2] - box[0]) / inner[1]
    placing = Placing(scale, (box[1] - top * scale[0], box[0] - left * scale[1]), (tall, wide), (height, width))
    if inner == (tall, wide):
        return small, placing
    canvas = np.zeros((tall, wide, samples.shape[2]), samples.dtype)
    canvas[top : top + inner[0], left : left + inner[1]] = small
    return canvas, placing


def _resized(samples, size, box):
    target = {"size": size[::-1], "resample": Image.Resampling.BILINEAR, "box": box}
    if samples.dtype == np.uint8:
        image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else np.ascontiguousarray(samples))
        small = np.asarray(image.resize(**target))
        return small[..., None] if small.ndim == 2 else small
    planes = [Image.fromarray(samples[..., c].astype(np.float32)).resize(**target) for c in range(samples.shape[2])]
    return np.clip(np.rint(np.stack([np.asarray(plane) for plane in planes], -1)), 0, 65535).astype(np.uint16)
