"""PNG files of 16 bits a sample with colour or alpha: Pillow keeps only their high bytes."""

import struct
import zlib

import numpy as np

_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def is_deep(head):
    """Whether these first 26 bytes are those of a PNG with 16 bits a sample and more than one channel."""
    return head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) >= 26 and head[24] == 16 and head[25] in (2, 4, 6)


def deep_png(data):
    """(H, W, channels) uint16 of the bytes of such a file; ValueError where they are damaged."""
    header, stream = b"", []
    place = 8
    while place + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + length]
        if len(body) < length or data[place + 8 + length : place + 12 + length] != struct.pack(
            ">I", zlib.crc32(kind + body)
        ):
            raise ValueError(f"PNG chunk {kind!r} is damaged or cut off")
        if kind == b"IHDR":
            header = body
        elif kind == b"IDAT":
            stream.append(body)
        elif kind == b"IEND":
            break
        place += 12 + length
    width, height, _, kind, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    channels = _CHANNELS[kind]
    passes = [p for p in (_ADAM7 if interlaced else ((0, 0, 1, 1),)) if p[0] < height and p[1] < width]
    sizes = [(-(-(height - y) // dy), -(-(width - x) // dx)) for y, x, dy, dx in passes]
    needed = sum(h * (1 + 2 * channels * w) for h, w in sizes)
    raw = zlib.decompressobj().decompress(b"".join(stream), needed)
    if len(raw) < needed:
        raise ValueError(f"PNG is cut off: {len(raw)} of {needed} bytes of pixels")
    image, place = np.empty((height, width, channels), np.uint16), 0
    for (y, x, dy, dx), (h, w) in zip(passes, sizes, strict=True):
        size = h * (1 + 2 * channels * w)
        lines = np.frombuffer(raw, np.uint8, size, place).reshape(h, -1)
        samples = _unfiltered(lines[:, 0], lines[:, 1:].reshape(h, w, 2 * channels))
        image[y::dy, x::dx] = samples.view(">u2")
        place += size
    return image


def _unfiltered(kinds, lines):
    """Undoes PNG's five line filters at once, along diagonals: a pixel needs its left, upper and upper left one."""
    height, width, step = lines.shape
    if kinds.max() > 4:
        raise ValueError(f"PNG line filter {kinds.max()} does not exist")
    done = np.zeros((height + 1, width + 1, step), np.int16)
    kinds = kinds[:, None]
    for diagonal in range(height + width - 1):
        y = np.arange(max(0, diagonal - width + 1), min(height - 1, diagonal) + 1)
        x = diagonal - y
        left, up, corner = done[y + 1, x], done[y, x + 1], done[y, x]
        guess = left + up - corner
        far_left, far_up, far_corner = np.abs(guess - left), np.abs(guess - up), np.abs(guess - corner)
        paeth = np.where(
            (far_left <= far_up) & (far_left <= far_corner), left, np.where(far_up <= far_corner, up, corner)
        )
        kind = kinds[y]
        predicted = np.select([kind == 1, kind == 2, kind == 3, kind == 4], [left, up, (left + up) >> 1, paeth], 0)
        done[y + 1, x + 1] = (lines[y, x] + predicted) & 255
    return done[1:, 1:].astype(np.uint8)
