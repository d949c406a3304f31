"""Pictures and arrays that are small as files and large in memory, or slow, are refused by name, or read soon."""

import gzip
import struct

import numpy as np
import pytest
from PIL import Image

from cnnjax.data import DataError, arrays, folder, mnist, pictures
from cnnjax.data._pictures import picture, strictly
from tests import hostile
from tests.data.test_pictures import png16


def read(data, channels=3, depth=8, shape=(64, 64)):
    with strictly(), hostile.bounded():
        return picture(data, shape=(*shape, channels), depth=depth, fit="crop")[0]


@pytest.mark.parametrize("line_filter", [1, 4])
def test_sixteen_bits_take_little_more_time_than_eight_whatever_the_filter(line_filter):
    """12 million pixels took 3 s along diagonals, 88 million more than 15."""
    assert (read(hostile.png(4000, 3000, kind=2, depth=16, line_filter=line_filter)) == 0).all()


def test_a_large_picture_of_sixteen_bits_keeps_every_one_of_them():
    deep = np.random.default_rng(0).integers(0, 65536, (301, 203, 4)).astype(np.uint16)
    deep[..., 3] = 65535
    got = picture(png16(deep), shape=(301, 203, 3), depth=16, fit="")[0]
    np.testing.assert_array_equal(got, deep[..., :3])


@pytest.mark.parametrize(("width", "depth"), [(9400, 8), (5900, 16)])
def test_a_picture_whose_pixels_are_out_of_proportion_to_its_file_is_refused(width, depth):
    """88 million pixels of 8 bits with alpha took 26 s and 8 GB."""
    data = hostile.png(width, width, kind=6, depth=depth)
    assert len(data) < 10**6
    with pytest.raises(ValueError, match=r"\d\d\d MiB of pixels in a file of 0\.\d MiB, a decompression bomb\?"):
        read(data)


def test_an_honest_picture_of_alpha_takes_no_more_memory_than_its_pixels_twice():
    noise = np.random.default_rng(0).integers(0, 256, (1500, 2000, 4)).astype(np.uint8)
    data = hostile.saved(Image.fromarray(noise).save, "PNG", compress_level=1)
    with hostile.bounded(megabytes=100):  # 12 MB of pixels; in 64 bits they were 240
        got = picture(data, shape=(1500, 2000, 3), depth=8, fit="")[0]
    colour, alpha = noise[::97, ::89, :3].astype(float), noise[::97, ::89, 3:] / 255
    assert np.abs(got[::97, ::89] - (colour * alpha + 255 * (1 - alpha))).max() <= 0.5 + 1e-6


def test_a_pixel_in_a_tile_of_many_is_refused():
    """13 s and 1.6 GB for one pixel."""
    with pytest.raises(ValueError, match="tiles of 20000×20000 pixels in a picture of 1×1"):
        read(hostile.tiff_of_one_pixel(20_000))
    tiled = hostile.tiff_of_one_pixel(64)
    assert read(tiled, shape=(1, 1)).shape == (1, 1, 3)


def test_a_jpeg_of_many_scans_is_refused_and_one_of_the_usual_ten_read():
    """Every 53 bytes were a pass over all pixels: a day for a megabyte."""
    jpeg = hostile.saved(Image.new("RGB", (4000, 4000)).save, "JPEG", progressive=True)
    assert read(jpeg).shape == (64, 64, 3)
    with pytest.raises(ValueError, match="20,010 scans of 4000×4000 pixels; save it again, or as a PNG"):
        read(hostile.many_scans(jpeg, 20_000))


def test_a_bomb_is_passed_over_by_name(tmp_path):
    for kind in "ab":
        (tmp_path / kind).mkdir()
        for number in range(5):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / kind / f"{number}.png")
    (tmp_path / "a" / "3.png").write_bytes(hostile.png(5900, 5900, kind=6, depth=16))
    with hostile.bounded():
        source = folder(root=str(tmp_path), size=8)
        _, _, bad = pictures([tmp_path / "a" / "3.png"], (8, 8, 3))
    assert list(source.train.bad) == ["a/3.png"]
    assert "a decompression bomb?" in source.train.bad["a/3.png"]
    assert list(bad.values()) == list(source.train.bad.values())


def test_a_file_larger_than_any_picture_is_not_read(tmp_path):
    with open(tmp_path / "a.png", "wb") as file:
        file.truncate(5 * 2**30)
    with hostile.bounded():
        _, _, bad = pictures([tmp_path / "a.png"], (8, 8, 3))
    assert bad == {f"{tmp_path}/a.png": "the file has 5.0 GiB; at most 1 GiB is read"}


def refused(path):
    with pytest.raises(DataError) as error, hostile.bounded():
        arrays(path=str(path))
    return str(error.value)


def test_an_archive_that_grows_a_thousandfold_is_no_data_set(tmp_path):
    path = hostile.bomb_of_zeros(tmp_path / "a.npz", "image", 260)
    assert path.stat().st_size < 3e5
    assert refused(path).startswith(f"{path}: it would unpack to 260 MiB, 1,0")
    path.write_bytes(hostile.list_of_members(100_000))
    assert refused(path) == f"{path}: its list of members has 5,200,000 bytes; at most 4,194,304 are read"
    np.savez_compressed(path, image=np.zeros((20, 4, 4, 1), np.uint8), names=np.zeros(3_000_000, np.uint8))
    assert refused(path) == f"{path}: names holds 3,000,000 values; there are at most 1,048,576"


def test_an_archive_may_grow_by_what_is_usual(tmp_path):
    """64 MB of zeros, which compress as well as any bomb, are read: it is the size that makes one."""
    path = hostile.bomb_of_zeros(tmp_path / "a.npz", "image", 64)
    with hostile.bounded(), pytest.raises(DataError, match="the training split has no examples"):
        arrays(path=str(path))  # of the one example none is left


def test_the_official_files_of_mnist_unpack_to_no_more_than_they_have(tmp_path):
    (tmp_path / "mnist").mkdir()
    for name, dimensions in (("train-images-idx3", 3), ("train-labels-idx1", 1)):
        for part in (name, name.replace("train", "t10k")):
            head = struct.pack(f">I{dimensions}I", 0x800 + dimensions, *(2**29, 1, 1)[:dimensions])
            with gzip.open(tmp_path / "mnist" / f"{part}-ubyte.gz", "wb") as file:
                file.write(head + bytes(2**20))
    with hostile.bounded(), pytest.raises(DataError, match="is no idx file of bytes in 3 dimensions"):
        mnist(root=str(tmp_path))
