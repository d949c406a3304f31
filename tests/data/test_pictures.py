"""Every kind of JPEG and PNG comes out as the pixels that a viewer shows."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from cnnjax.data import DataError, carry, inverted, pictures
from cnnjax.data._pictures import Pictures, fitted, opened, picture, upright_size
from cnnjax.data._png16 import deep_png

RNG = np.random.default_rng(0)
SMOOTH = np.stack(np.meshgrid(np.arange(24) * 8, np.arange(16) * 12, indexing="xy"), -1).astype(np.uint8)
COLOUR = np.concatenate([SMOOTH, 255 - SMOOTH[..., :1]], -1)  # (16, 24, 3)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def read(data, channels=3, depth=8, shape=(16, 24), fit=""):
    return picture(data, shape=(*shape, channels), depth=depth, fit=fit)[0]


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


EXACT = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}


@pytest.mark.parametrize("kind", ["WEBP", "BMP", "TIFF", "GIF"])
def test_other_kinds_of_files_are_read_and_of_many_pictures_the_first(kind):
    flat = np.zeros((16, 24, 3), np.uint8)
    flat[:, :12], flat[:, 12:] = (200, 40, 90), (20, 180, 60)
    frames = [Image.fromarray(image) for image in (flat, 255 - flat, flat // 2)]
    more = {} if kind == "BMP" else {"save_all": True, "append_images": frames[1:]}
    np.testing.assert_array_equal(read(encoded(frames[0], kind, **EXACT.get(kind, {}), **more)), flat)


def test_sixteen_bit_grey_of_a_tiff_is_kept_and_what_has_more_is_refused():
    deep = RNG.integers(0, 65536, (16, 24)).astype(np.uint16)
    data = encoded(Image.fromarray(deep), "TIFF")
    np.testing.assert_array_equal(read(data, channels=1, depth=16)[..., 0], deep)
    np.testing.assert_array_equal(read(data, channels=1)[..., 0], np.rint(deep / 257).astype(np.uint8))
    with pytest.raises(ValueError, match="samples of 32 bits; write 8 or 16"):
        read(encoded(Image.fromarray(deep.astype(np.int32) * 100), "TIFF"))
    with pytest.raises(ValueError, match="samples that are floats; write 8 or 16 bits"):
        read(encoded(Image.fromarray(deep.astype(np.float32) / 65535), "TIFF"))


def turned(image, kind, orientation):
    """A file whose EXIF says how to turn it so that one sees the image."""
    undone = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's transpositions that a viewer would undo
    image = Image.fromarray(image)
    stored = image if orientation == 1 else image.transpose(Image.Transpose(undone[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(stored, kind, exif=exif, **(EXACT.get(kind, {})))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(kind, orientation):
    data = turned(COLOUR, kind, orientation)
    got = read(data)
    assert got.shape == COLOUR.shape
    with opened(io.BytesIO(data)) as image:
        assert upright_size(image) == COLOUR.shape[:2]
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
    high = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(deep_png(data, high), deep)
    assert np.abs(high[..., 0].astype(int) - (deep[..., 0] >> 8)).max() == 0
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
    assert (fitted(wide, (10, 10), "crop")[0] == 200).all()
    assert (fitted(wide.swapaxes(0, 1), (20, 20), "crop")[0][2:-2, 2:-2] == 200).all()


def test_pad_keeps_everything_on_black():
    got = fitted(np.full((10, 20, 1), 90, np.uint8), (20, 20), "pad")[0]
    assert (got[5:15] == 90).all()
    assert (got[:5] == 0).all()
    assert (got[15:] == 0).all()


def test_squash_keeps_everything_distorted():
    image = np.zeros((8, 16, 3), np.uint8)
    image[:, 8:] = 255
    got = fitted(image, (8, 8), "squash")[0]
    assert (got[:, :3] == 0).all()
    assert (got[:, 5:] == 255).all()


def test_sixteen_bits_survive_a_change_of_size():
    image = np.full((8, 16, 3), 40_001, np.uint16)
    assert (fitted(image, (4, 4), "crop")[0] == 40_001).all()


def test_a_large_jpeg_shrinks_to_what_its_full_decoding_gives():
    y, x = np.mgrid[:480, :640]
    photo = np.stack([x * 255 // 640, y * 255 // 480, (x + y) * 255 // 1120], -1).astype(np.uint8)
    data = encoded(Image.fromarray(photo), "JPEG", quality=95)
    full = fitted(photo, (48, 48), "crop")[0].astype(int)
    assert np.abs(read(data, shape=(48, 48), fit="crop").astype(int) - full).mean() < 2


def marked(height, width, y, x, radius):
    """A grey picture with a soft white spot on one pixel, and the words that tell where it is."""
    places = np.stack(np.mgrid[:height, :width], -1)
    image = 255 * np.exp(-((places - [y, x]) ** 2).sum(-1) / (radius / 2) ** 2)
    inside = np.abs(places - [y, x]).max(-1) <= radius
    box = np.float32([y - radius, x - radius, y + radius + 1, x + radius + 1])
    return np.repeat(np.rint(image).astype(np.uint8)[..., None], 3, -1), {
        "label": np.int32(1),
        "points": np.float32([[y, x], [-900, 5]]),
        "visible": np.float32([1, 1]),
        "boxes": np.stack([box, np.float32([0, 0, 0, 0])]),
        "present": np.float32([1, 0]),
        "corners": np.stack([box[[[0, 1], [0, 3], [2, 3], [2, 1]]]] * 2),
        "segments": inside.astype(np.int32),
        "masks": inside[None],
    }


def centre(weights):
    return (np.stack(np.mgrid[: weights.shape[0], : weights.shape[1]], -1) * weights[..., None]).sum((0, 1)) / (
        weights.sum()
    )


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize(
    ("kind", "file", "shape"),
    [("PNG", (45, 71), (48, 64)), ("PNG", (61, 45), (32, 40)), ("JPEG", (333, 1001), (40, 64))],
    ids=["enlarged", "shrunk", "shrunk by the decoder"],
)
def test_a_marked_pixel_its_point_its_box_and_its_segment_stay_together(kind, file, shape, fit, orientation):
    spot = (file[0] // 2 + 5, file[1] // 2 - 6, min(file) // 9)
    image, words = marked(*file, *spot)
    small, placing = picture(turned(image, kind, orientation), shape=(*shape, 3), depth=8, fit=fit)
    assert (placing.file, placing.size) == (file, shape)
    there = carry(words, inverted(placing))
    where = centre(np.where(small[..., 0] > 8, small[..., 0], 0).astype(float))
    np.testing.assert_allclose(there["points"][0], where, atol=0.5)
    np.testing.assert_allclose(there["boxes"][0].reshape(2, 2).mean(0) - 0.5, where, atol=0.5)
    np.testing.assert_allclose(there["corners"][0].mean(0) - 0.5, where, atol=0.5)
    np.testing.assert_allclose(centre(there["segments"] == 1), where, atol=0.5)
    sides = there["boxes"][0, 2:] - there["boxes"][0, :2]
    np.testing.assert_allclose(sides, (2 * spot[2] + 1) / np.array(placing.scale), rtol=1e-5)
    assert (list(there["visible"]), list(there["present"]), int(there["label"])) == ([1, 0], [1, 0], 1)
    assert there["segments"].shape == shape
    padded = fit == "pad"  # what lies on black is of no class
    assert (there["segments"] == 255).any() == padded
    assert not there["masks"][0][there["segments"] != 1].any()
    back = carry(there, placing)
    np.testing.assert_allclose(back["points"][0], spot[:2], atol=1e-3)
    np.testing.assert_allclose(back["boxes"][0], words["boxes"][0], atol=1e-3)
    np.testing.assert_allclose(back["corners"], words["corners"], atol=1e-3)
    np.testing.assert_allclose(placing.matrix @ [*there["points"][0], 1], [*spot[:2], 1], atol=1e-3)
    assert back["segments"].shape == file
    np.testing.assert_allclose(centre(back["segments"] == 1), spot[:2], atol=0.5 * max(placing.scale))
    assert (back["segments"] == 255).any() == (fit == "crop")  # what the crop lost has no class


def test_a_picture_of_its_own_size_and_its_labels_come_through_untouched():
    image, words = marked(16, 24, 7, 9, 3)
    got, placing = picture(encoded(Image.fromarray(image)), shape=(16, 24, 3), depth=8, fit="")
    np.testing.assert_array_equal(got, image)
    np.testing.assert_array_equal(placing.matrix, np.eye(3))
    for word, value in carry(words, inverted(placing)).items():
        if word != "visible":  # the point outside is seen no more
            np.testing.assert_array_equal(value, words[word])


def test_a_box_of_which_the_crop_leaves_next_to_nothing_is_gone_and_a_cut_one_ends_at_the_border():
    _, placing = fitted(np.zeros((10, 40, 3), np.uint8), (10, 10), "crop")  # columns 15 to 25 stay
    boxes = np.float32([[0, 0, 10, 15.5], [2, 10, 8, 20], [0, 0, 9, 9], [3, 18, 5, 21]])
    got = carry({"boxes": boxes}, inverted(placing))
    assert list(got["present"]) == [0, 1, 0, 1]
    np.testing.assert_allclose(got["boxes"][[1, 3]], [[2, 0, 8, 5], [3, 3, 5, 6]])


class Marked(Pictures):
    """Pictures of many sizes with all that may be known of them."""

    def __init__(self, broken=(), **options):
        super().__init__(4, shape=(32, 40, 3), depth=8, fit="pad", budget=9, **options)
        self.broken = broken

    def called(self, place):
        return f"picture {place}"

    def encoded(self, places):
        found = [marked(60 + 9 * place, 50, 30 + place, 20, 4) for place in places]
        data = [ValueError("gone") if place in self.broken else encoded(Image.fromarray(found[row][0]))
                for row, place in enumerate(places)]  # fmt: skip
        return list(zip(data, (words for _, words in found), strict=True))


def test_a_split_of_pictures_carries_every_label_into_its_pixels():
    got = Marked(train=True).read(np.array([2, 0]))
    assert {word: value.shape for word, value in got.items()} == {
        "image": (2, 32, 40, 3), "label": (2,), "points": (2, 2, 2), "visible": (2, 2), "boxes": (2, 2, 4),
        "present": (2, 2), "corners": (2, 2, 4, 2), "segments": (2, 32, 40), "masks": (2, 1, 32, 40),
    }  # fmt: skip
    for row in range(2):
        where = centre(np.where(got["image"][row, ..., 0] > 8, got["image"][row, ..., 0], 0).astype(float))
        np.testing.assert_allclose(got["points"][row, 0], where, atol=0.5)
        np.testing.assert_allclose(centre(got["segments"][row] == 1), where, atol=0.5)


def test_a_broken_picture_is_measured_without_places_and_trained_on_as_the_next():
    got = Marked(broken=(1,), train=False).read(np.arange(4))
    assert list(got["valid"]) == [1, 0, 1, 1]
    assert (got["segments"][1] == 255).all()
    assert not got["present"][1].any()
    assert not got["visible"][1].any()
    got = Marked(broken=(1,), train=True).read(np.arange(3))
    for word in got:
        np.testing.assert_array_equal(got[word][1], got[word][2])


def test_what_is_said_here_of_a_broken_file_stands_alone_and_of_others_words_with_their_kind(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded(Image.fromarray(COLOUR), "JPEG")[:-200])
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    _, _, bad = pictures([tmp_path / name for name in ("a.jpg", "b.jpg", "c.jpg")], (16, 24, 3))
    cut, none, lost = bad.values()
    assert cut.startswith("OSError: ")
    assert none.startswith("no JPEG, PNG, WebP")
    assert lost.startswith("FileNotFoundError: [Errno 2] No such file")


def test_segments_of_another_size_than_their_picture_are_refused_by_name():
    class Torn(Marked):
        def encoded(self, places):
            return [(data, words | {"segments": words["segments"][1:]}) for data, words in super().encoded(places)]

    with pytest.raises(DataError, match="picture 1 has segments of 68×50 places for a picture of 69×50 pixels"):
        Torn(train=True).read(np.array([1]))
