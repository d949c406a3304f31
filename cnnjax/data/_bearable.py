"""What of a picture can be seen before it is decoded: whether it would take more than a file of its size is worth."""

import os

from PIL import Image

from cnnjax.archives import regular
from cnnjax.data._png16 import is_deep

_LONGEST = 2**30  # bytes of a file; the most pixels that are read have fewer
_FREELY = 2**28  # bytes of pixels that a file of any size may hold: all that are read of 8-bit colour
_TIMES = 100  # how often its size a file may hold beyond; photographs do 3 to 30 times
_PASSES = 2**32  # pixels that the scans of a progressive JPEG may go over, 48 times the most there can be
_WIDE, _TALL = 322, 323  # a TIFF's tiles
_BYTES = {"I": 4, "F": 4, "I;16": 2, "I;16B": 2, "I;16L": 2}


def file_bytes(path):
    """The bytes of a file that may be a picture; ValueError where there are more than any picture has."""
    with regular(path) as file:
        if (size := os.fstat(file.fileno()).st_size) > _LONGEST:
            raise ValueError(f"the file has {size / 2**30:.1f} GiB; at most {_LONGEST >> 30} GiB is read")
        return file.read()


def refuse_bombs(image, data):
    """Raises ValueError for an opened image, of these bytes, whose pixels are out of proportion to them."""
    width, height = image.size
    if image.format == "TIFF" and _WIDE in image.tag_v2 and _TALL in image.tag_v2:
        wide, tall = image.tag_v2[_WIDE], image.tag_v2[_TALL]
        if wide < 1 or tall < 1 or -(-width // wide) * wide * -(-height // tall) * tall > Image.MAX_IMAGE_PIXELS:
            raise ValueError(f"tiles of {tall}×{wide} pixels in a picture of {height}×{width}")
    if image.format in ("JPEG", "MPO") and (scans := data.count(b"\xff\xda")) * width * height > _PASSES:
        raise ValueError(f"{scans:,} scans of {height}×{width} pixels; save it again, or as a PNG")
    size = width * height * len(image.getbands()) * (2 if is_deep(data[:26]) else _BYTES.get(image.mode, 1))
    if size > max(_FREELY, _TIMES * len(data)):
        raise ValueError(
            f"{size / 2**20:,.0f} MiB of pixels in a file of {len(data) / 2**20:.1f} MiB, a decompression bomb?"
        )
