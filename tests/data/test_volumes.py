"""Solids as arrays of voxels, a file for each class."""

import gzip

import numpy as np
import pytest

from cnnjax.data import DataError, check, voxels


def solids(count=10, size=4, dtype=np.float64):
    """Grids with one voxel filled, the n-th at height n modulo the size (of the last axis)."""
    grids = np.zeros((count, 1, size, size, size), dtype)
    grids[np.arange(count), 0, 1, 2, np.arange(count) % size] = 1
    return grids


def packed(path, grids):
    with gzip.open(path, "wb") as file:
        np.save(file, grids)


@pytest.fixture
def two(tmp_path):
    packed(tmp_path / "cup.npy.gz", solids())
    np.save(tmp_path / "hat.npy", solids(5, dtype=bool)[:, 0])
    return tmp_path


def test_slices_go_from_the_ground_up_and_every_fifth_of_a_class_is_a_test(two):
    source = voxels(root=str(two))
    check(source, 4)
    assert source.facts.names == ("cup", "hat")
    assert source.facts.shape == (4, 4, 4, 1)
    assert source.facts.counts == {"train": 12, "eval": 3, "test": 3}
    video = source.train.arrays["video"]
    assert video.dtype == np.uint8
    assert video.sum() == 12 * 255
    np.testing.assert_array_equal(video[:8, :, 1, 2, 0].argmax(1), [1, 2, 3, 0, 2, 3, 0, 1])
    np.testing.assert_array_equal(source.train.arrays["label"], [0] * 8 + [1] * 4)
    lying = voxels(root=str(two), upright="first").train.arrays["video"]
    np.testing.assert_array_equal(np.moveaxis(lying, 3, 1), video)


def test_grids_without_a_voxel_are_passed_over_by_name_within_the_budget(two):
    grids = solids(6)
    grids[[0, 3]] = 0
    np.save(two / "mug.npy", grids)
    source = voxels(root=str(two))
    assert source.train.bad == {f"mug.npy[{place}]": "no voxel is filled" for place in (0, 3)}
    assert source.facts.counts["train"] == 12 + 3
    with pytest.raises(DataError, match=r"2 records cannot be used, data\.budget allows 1; the first is mug\.npy\[0\]"):
        voxels(root=str(two), budget=1)


@pytest.mark.parametrize(
    ("grids", "words"),
    [
        (np.zeros((3, 4, 4)), r"mug\.npy has shape \(3, 4, 4\); it must be \(N, X, Y, Z\), or \(N, 1, X, Y, Z\)"),
        (np.full((3, 4, 4, 4), 2.0), r"mug\.npy has float64 from 2\.0 to 2\.0; give 0 to 1, or bytes"),
        (np.full((3, 4, 4, 4), np.nan), r"mug\.npy has float64 from nan to nan"),
        (solids(5, 6), r"mug\.npy has grids of 6×6×6, the others of 4×4×4; bring all to one size"),
        (np.array(["a"]), r"mug\.npy has shape \(1,\)"),
        (np.array([{}]), r"mug\.npy: it holds pickled Python objects, which are never loaded"),
    ],
)
def test_arrays_that_are_no_solids_are_refused_by_file(two, grids, words):
    np.save(two / "mug.npy", grids)
    with pytest.raises(DataError, match=words):
        voxels(root=str(two))


def test_files_that_can_not_be_read_and_folders_without_any_are_refused(two, tmp_path_factory):
    with pytest.raises(DataError, match=r"where no file ends in \.npy or \.npy\.gz, one for each class"):
        voxels(root=str(tmp_path_factory.mktemp("empty")))
    whole = (two / "cup.npy.gz").read_bytes()
    (two / "cup.npy.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cup\.npy\.gz: it is not a readable \.npy file"):
        voxels(root=str(two))
    with gzip.open(two / "cup.npy.gz", "wb", compresslevel=9) as file:
        for _ in range(2**4 + 1):
            file.write(bytes(2**24))
    with pytest.raises(DataError, match=r"cup\.npy\.gz: it unpacks to more than 256 MiB"):
        voxels(root=str(two))
    np.save(two / "cup.npy", solids())
    with pytest.raises(DataError, match="which has a class twice: cup"):
        voxels(root=str(two))


@pytest.mark.proofs
def test_chairs_and_monitors_are_told_apart_however_they_are_turned(tmp_path, real, train_apart):
    root = f"--config.data.root={real('voxels')}"
    assert train_apart("configs/voxels.py:turned", tmp_path, root).measure("test")["accuracy"] >= 0.98
