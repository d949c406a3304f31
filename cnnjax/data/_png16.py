"""PNG files of 16 bits a sample with colour or alpha: Pillow keeps only their high bytes."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

_START = b"\x89PNG\r\n\x1a\n"
_GREY_ALPHA, _COLOUR_ALPHA = 4, 6


def is_deep(head):
    """Whether these first 26 bytes are those of a PNG with 16 bits a sample and more than one channel."""
    return head[:8] == _START and len(head) >= 26 and head[24] == 16 and head[25] in (2, 4, 6)


def deep_png(data, high):
    """(H, W, channels) uint16 of the bytes of such a file, of which Pillow gives `high`; an error where it is damaged.

    Pillow undoes filters and interlacing by the bytes of a pixel. Of colour it gives the high byte of each sample, or
    the low one where it is told that samples begin with that. Grey with alpha may as well be 8-bit colour with alpha.
    """
    header, stream = _parts(data)
    if header[9] == _GREY_ALPHA:
        bytes_of_two = _opened(header[:8] + bytes([8, _COLOUR_ALPHA]) + header[10:], stream)
        return np.asarray(bytes_of_two).view(">u2").astype(np.uint16)
    samples = high.astype(np.uint16) << 8
    samples |= np.asarray(_opened(header, stream, "16L"))
    return samples


def _parts(data):
    """The bodies of the header and of the pixels' chunks, all chunks checked."""
    header, stream = b"", []
    place = 8
    while place + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 8 + length
        if data[end : end + 4] != struct.pack(">I", zlib.crc32(data[place + 4 : end])):
            raise ValueError(f"PNG chunk {kind!r} is damaged or cut off")
        if kind == b"IHDR":
            header = data[place + 8 : end]
        elif kind == b"IDAT":
            stream.append(data[place + 8 : end])
        elif kind == b"IEND":
            break
        place = end + 4
    return header, b"".join(stream)


def _opened(header, stream, order=""):
    """A Pillow image of a header and compressed pixels, with `order` told of the bytes of a sample."""
    chunks = ((b"IHDR", header), (b"IDAT", stream), (b"IEND", b""))
    whole = [struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))
             for kind, body in chunks]  # fmt: skip
    image = Image.open(io.BytesIO(_START + b"".join(whole)), formats=("PNG",))
    if order:
        image.tile = [(*tile[:3], f"{image.mode};{order}") for tile in image.tile]
    return image
