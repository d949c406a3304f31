"""Every kind of JPEG and PNG comes out as the pixels that a viewer shows."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from cnnjax.data._pictures import fitted, picture
from cnnjax.data._png16 import deep_png

RNG = np.random.default_rng(0)
SMOOTH = np.stack(np.meshgrid(np.arange(24) * 8, np.arange(16) * 12, indexing="xy"), -1).astype(np.uint8)
COLOUR = np.concatenate([SMOOTH, 255 - SMOOTH[..., :1]], -1)  # (16, 24, 3)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def read(data, channels=3, depth=8, shape=(16, 24), fit=""):
    return picture(data, shape=(*shape, channels), depth=depth, fit=fit)


def png16(samples, filters=(0, 1, 2, 3, 4), interlaced=False):
    """A 16-bit PNG of samples (H, W, C), its lines filtered in turn by these filters: Pillow cannot write one."""

    def lines(part):
        raw = part.astype(">u2").view(np.uint8).reshape(part.shape[0], -1).astype(int)
        step, above, out = 2 * part.shape[2], np.zeros(raw.shape[1], int), b""
        for number, line in enumerate(raw):
            left = np.concatenate([np.zeros(step, int), line[:-step]])
            corner = np.concatenate([np.zeros(step, int), above[:-step]])
            guess = left + above - corner
            near = [abs(guess - other) for other in (left, above, corner)]
            paeth = np.where(
                (near[0] <= near[1]) & (near[0] <= near[2]), left, np.where(near[1] <= near[2], above, corner)
            )
            kind = filters[number % len(filters)]
            predicted = [0 * left, left, above, (left + above) // 2, paeth][kind]
            out += bytes([kind]) + ((line - predicted) % 256).astype(np.uint8).tobytes()
            above = line
        return out

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width, channels = samples.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    steps = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [samples[y::dy, x::dx] for y, x, dy, dx in steps] if interlaced else [samples]
    data = zlib.compress(b"".join(lines(part) for part in parts if part.size))
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, int(interlaced))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_a_colour_png_comes_out_as_it_was():
    np.testing.assert_array_equal(read(encoded(Image.fromarray(COLOUR))), COLOUR)


def test_a_jpeg_comes_out_nearly_as_it_was():
    assert np.abs(read(encoded(Image.fromarray(COLOUR), "JPEG", quality=95)).astype(int) - COLOUR).mean() < 3


def test_grey_gets_three_equal_channels_and_colour_the_luma_of_one():
    grey = SMOOTH[..., 0]
    np.testing.assert_array_equal(read(encoded(Image.fromarray(grey))), np.repeat(grey[..., None], 3, -1))
    np.testing.assert_array_equal(read(encoded(Image.fromarray(grey)), channels=1), grey[..., None])
    luma = np.asarray(Image.fromarray(COLOUR).convert("L"))
    np.testing.assert_array_equal(read(encoded(Image.fromarray(COLOUR)), channels=1)[..., 0], luma)


def test_one_bit_images_are_black_and_white():
    bits = RNG.random((16, 24)) < 0.5
    np.testing.assert_array_equal(read(encoded(Image.fromarray(bits)), channels=1)[..., 0], bits * 255)


def test_a_palette_is_looked_up():
    image = Image.fromarray(COLOUR).quantize(16)
    np.testing.assert_array_equal(read(encoded(image)), np.asarray(image.convert("RGB")))


def test_transparent_palette_entries_are_white():
    image = Image.fromarray(np.repeat([[0, 1]], 16, 0).repeat(12, 1).astype(np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    got = read(encoded(image, transparency=0))
    assert (got[:, :12] == 255).all()
    assert (got[:, 12:] == [40, 50, 60]).all()


def test_alpha_is_laid_on_white():
    image = np.zeros((16, 24, 4), np.uint8)
    image[:, 8:16] = (100, 0, 200, 128)
    image[:, 16:] = (100, 0, 200, 255)
    got = read(encoded(Image.fromarray(image)))
    assert (got[:, :8] == 255).all()
    assert (got[:, 8:16] == [177, 127, 227]).all()
    assert (got[:, 16:] == [100, 0, 200]).all()
    grey = np.stack([np.full((16, 24), 7, np.uint8), np.full((16, 24), 0, np.uint8)], -1)
    assert (read(encoded(Image.fromarray(grey, "LA"))) == 255).all()


def test_cmyk_jpegs_have_their_colours():
    flat = np.zeros((16, 24, 3), np.uint8)
    flat[:, :12], flat[:, 12:] = (200, 40, 90), (20, 180, 60)
    got = read(encoded(Image.fromarray(flat).convert("CMYK"), "JPEG", quality=95))
    assert np.abs(got[:, 2:8].astype(int) - [200, 40, 90]).max() < 6
    assert np.abs(got[:, 16:22].astype(int) - [20, 180, 60]).max() < 6


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(kind, orientation):
    undone = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's transpositions that a viewer would undo
    image = Image.fromarray(COLOUR)
    stored = image if orientation == 1 else image.transpose(Image.Transpose(undone[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    got = read(encoded(stored, kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {})))
    assert got.shape == COLOUR.shape
    assert np.abs(got.astype(int) - COLOUR).mean() < (3 if kind == "JPEG" else 1e-9)


def test_sixteen_bit_grey_is_scaled_to_eight_or_kept():
    deep = RNG.integers(0, 65536, (16, 24)).astype(np.uint16)
    data = encoded(Image.fromarray(deep))
    np.testing.assert_array_equal(read(data, channels=1, depth=16)[..., 0], deep)
    np.testing.assert_array_equal(read(data, channels=1)[..., 0], np.rint(deep / 257).astype(np.uint8))
    assert read(data, channels=1).std() > 50


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_sixteen_bit_colour_and_alpha_keep_their_low_bytes(channels, interlaced):
    deep = RNG.integers(0, 65536, (16, 24, channels)).astype(np.uint16)
    data = png16(deep, interlaced=interlaced)
    np.testing.assert_array_equal(deep_png(data), deep)
    assert np.abs(np.asarray(Image.open(io.BytesIO(data)))[..., 0].astype(int) - (deep[..., 0] >> 8)).max() == 0
    if channels == 3:
        np.testing.assert_array_equal(read(data, depth=16), deep)
        np.testing.assert_array_equal(read(data), np.rint(deep / 257).astype(np.uint8))
    else:
        assert read(data, depth=16).dtype == np.uint16


def test_eight_bits_fill_sixteen():
    np.testing.assert_array_equal(read(encoded(Image.fromarray(COLOUR)), depth=16), COLOUR.astype(np.uint16) * 257)


@pytest.mark.parametrize("cut", [40, 60, 200])
def test_a_damaged_sixteen_bit_png_is_an_error(cut):
    data = png16(RNG.integers(0, 65536, (16, 24, 3)).astype(np.uint16))
    with pytest.raises((ValueError, OSError, SyntaxError)):
        read(data[:-cut], depth=16)
    flipped = bytearray(data)
    flipped[cut] ^= 1
    with pytest.raises((ValueError, OSError, SyntaxError)):
        read(bytes(flipped), depth=16)


def test_crop_fills_and_loses_both_overhangs_equally():
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    assert (fitted(wide, (10, 10), "crop") == 200).all()
    assert (fitted(wide.swapaxes(0, 1), (20, 20), "crop")[2:-2, 2:-2] == 200).all()


def test_pad_keeps_everything_on_black():
    got = fitted(np.full((10, 20, 1), 90, np.uint8), (20, 20), "pad")
    assert (got[5:15] == 90).all()
    assert (got[:5] == 0).all()
    assert (got[15:] == 0).all()


def test_squash_keeps_everything_distorted():
    image = np.zeros((8, 16, 3), np.uint8)
    image[:, 8:] = 255
    got = fitted(image, (8, 8), "squash")
    assert (got[:, :3] == 0).all()
    assert (got[:, 5:] == 255).all()


def test_sixteen_bits_survive_a_change_of_size():
    image = np.full((8, 16, 3), 40_001, np.uint16)
    assert (fitted(image, (4, 4), "crop") == 40_001).all()


def test_a_large_jpeg_shrinks_to_what_its_full_decoding_gives():
    y, x = np.mgrid[:480, :640]
    photo = np.stack([x * 255 // 640, y * 255 // 480, (x + y) * 255 // 1120], -1).astype(np.uint8)
    data = encoded(Image.fromarray(photo), "JPEG", quality=95)
    full = fitted(photo, (48, 48), "crop").astype(int)
    assert np.abs(read(data, shape=(48, 48), fit="crop").astype(int) - full).mean() < 2
