"""Files are read without running anything, and refused where they hold more than tensors."""

import io
import json
import os
import pickle
import zipfile
from collections import OrderedDict

import ml_dtypes
import numpy as np
import pytest

from cnnjax import weights
from cnnjax.weights import _pickles


@pytest.fixture
def folder(root):
    return root / "tests/fixtures/weights"


class Trap:
    """An object that makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def archive(path, pickled, **stored):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickled)
        for name, value in stored.items():
            file.writestr(f"archive/data/{name}", value)
    return path


@pytest.mark.parametrize("name", ["tensors.pth", "tensors_old.pth"])
def test_both_layouts_of_pytorch_give_the_tensors(folder, name):
    tensors = weights.read(folder / name)
    whole = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for key, value in {"whole": whole, "tied": whole, "view": whole[1, :, 1:3], "turned": whole.T}.items():
        np.testing.assert_array_equal(tensors[key], value if key != "turned" else whole.transpose(2, 1, 0))
    np.testing.assert_array_equal(tensors["half"], np.array([1.5, -2], np.float16))
    np.testing.assert_array_equal(tensors["brain"].astype(np.float32), [1.5, -2])
    np.testing.assert_array_equal(tensors["flags"], [True, False])
    assert tensors["count"] == 7
    assert tensors["empty"].shape == (0, 3)


def test_the_state_dict_is_found_in_a_training_checkpoint(folder):
    assert set(weights.read(folder / "checkpoint.pth")) >= {"0.weight", "0.bias", "1.running_mean"}


def test_what_stands_beside_a_state_dict_does_not_hide_it(tmp_path):
    """PyTorch's own ImageNet example keeps its best accuracy as a tensor."""
    one = rebuilt(4, 0, (2, 2), (2, 1))[2:-1].removeprefix(b"}X\x01\x00\x00\x00w").removesuffix(b"s")
    best, inner = b"X\x04\x00\x00\x00best" + one, b"}X\x01\x00\x00\x00w" + one + b"s"
    pickled = b"\x80\x02}(" + best + b"X\x0a\x00\x00\x00state_dict" + inner + b"u."
    path = archive(tmp_path / "a.pth", pickled, **{"0": np.arange(4.0, dtype="f4").tobytes()})
    assert set(weights.read(path)) == {"w"}


def test_lists_of_lists_of_lists_are_refused_at_once(tmp_path):
    deep = []
    for _ in range(60):
        deep = [deep, deep]
    with pytest.raises(weights.RefusedError, match="holds no dict of tensors"):
        weights.read(archive(tmp_path / "a.pth", pickle.dumps({"state_dict": {"a": deep}}, 2)))


def test_a_parameter_is_a_tensor(folder):
    np.testing.assert_array_equal(weights.read(folder / "parameter.pth")["weight"], np.ones((2, 3)))


@pytest.mark.parametrize("name", ["module.pth", "module_old.pth"])
def test_a_whole_module_is_refused(folder, name):
    with pytest.raises(weights.RefusedError, match=r"names torch.nn.modules.container.Sequential; only tensors"):
        weights.read(folder / name)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_that_calls_something_is_refused_and_does_not_run(tmp_path, protocol):
    trap = tmp_path / "sprung"
    dangerous = pickle.dumps({"weight": Trap(trap)}, protocol=protocol)
    (tmp_path / "bare.pth").write_bytes(dangerous)
    for path in (tmp_path / "bare.pth", archive(tmp_path / "zip.pth", dangerous)):
        with pytest.raises(weights.RefusedError):
            weights.read(path)
    assert not trap.exists()
    pickle.loads(dangerous)
    assert trap.exists()  # the trap works where pickles run


@pytest.mark.parametrize(
    "text",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"ctorch._utils\n_rebuild_tensor_v2\n(tR.",
        b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01h\x05s.",
        b"(i__main__\nThing\n.",
        b"\x80\x02]K\x01b.",
        b"\x80\x04\x95",
        b"\x80\x02K\x01K\x02R.",
        b"\x80\x02(.",
        b"\x80\x02}}a.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02}(K\x01u.",
    ],
)
def test_damaged_and_strange_pickles_are_refused(text):
    with pytest.raises(_pickles.RefusedError):
        _pickles.Pickles(io.BytesIO(text)).next()


def test_ordinary_values_are_read_as_pickle_reads_them():
    value = {
        "a": [1, -2, 3.5, None, True, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        "b": OrderedDict(c="ü" * 300),
        "long": 2**80,
        "self": {},
    }
    for protocol in (2, 3, 4, 5):
        assert _pickles.Pickles(io.BytesIO(pickle.dumps(value, protocol=protocol))).next() == value


def rebuilt(storage_size, offset, size, stride, key="0"):
    """The pickle of a dict with one tensor."""
    text = b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage"
    text += b"ctorch\nFloatStorage\n"
    text += b"X%c\x00\x00\x00%bX\x03\x00\x00\x00cpu" % (len(key), key.encode())
    numbers = pickle.dumps((storage_size,), 2)[2:-2].removesuffix(b"\x85")
    text += numbers.split(b"\x85")[0] + b"tQ"
    for value in (offset, size, stride):
        text += pickle.dumps(value, 2)[2:-1]
    return text + b"\x89NtRs."


def test_a_tensor_that_reaches_beyond_its_storage_is_refused(tmp_path):
    good = archive(tmp_path / "good.pth", rebuilt(4, 0, (2, 2), (2, 1)), **{"0": np.arange(4.0, dtype="f4").tobytes()})
    np.testing.assert_array_equal(weights.read(good)["w"], [[0, 1], [2, 3]])
    for name, pickled, message in [
        ("repeated", rebuilt(4, 0, (10**12,), (0,)), r"size \(1000000000000,\) repeats its 4 stored numbers"),
        ("far", rebuilt(4, 1, (2, 2), (2, 1)), "reaches beyond its storage of 4 numbers"),
        ("negative", rebuilt(4, 0, (2, 2), (-2, 1)), "stride"),
        ("short", rebuilt(5, 0, (2, 2), (2, 1)), "has 16 bytes; 5 Float were declared"),
        ("away", rebuilt(4, 0, (2, 2), (2, 1), key="../../etc"), "lacks archive/data/../../etc"),
    ]:
        path = archive(tmp_path / f"{name}.pth", pickled, **{"0": bytes(16)})
        with pytest.raises(weights.RefusedError, match=message):
            weights.read(path)


def test_safetensors_and_npz_come_back_as_they_were_written(tmp_path):
    rng = np.random.default_rng(0)
    tensors = {f"a.{dtype}": rng.integers(0, 2, (2, 3)).astype(dtype) for dtype in ("f4", "f2", "f8", "i8", "u1", "?")}
    tensors |= {"scalar": np.float32(3), "none": np.zeros((0, 4), np.float32), "turned": rng.random((3, 4)).T}
    weights.write(tmp_path / "a.safetensors", tensors, metadata={"net": "x"})
    np.savez(tmp_path / "a.npz", **tensors)
    for name in ("a.safetensors", "a.npz"):
        back = weights.read(tmp_path / name)
        assert set(back) == set(tensors)
        for key, value in tensors.items():
            np.testing.assert_array_equal(back[key], value)
            assert back[key].dtype == value.dtype
            assert back[key].shape == value.shape


def test_what_numpy_has_no_name_for_is_read_and_what_is_no_number_refused(tmp_path):
    np.savez(tmp_path / "a.npz", w=np.asarray([1.5, -2], ml_dtypes.bfloat16))
    np.testing.assert_array_equal(weights.read(tmp_path / "a.npz")["w"].astype(np.float32), [1.5, -2])
    np.savez(tmp_path / "a.npz", w=np.ones(2), note=np.asarray("made in May"))
    assert set(weights.read(tmp_path / "a.npz")) == {"w"}
    for value in (1j, np.datetime64("2026-01-01")):
        np.savez(tmp_path / "b.npz", w=np.asarray([value]))
        with pytest.raises(weights.RefusedError, match=r"b.npz: w is .*; read are F64"):
            weights.read(tmp_path / "b.npz")


def test_the_other_order_of_bytes_is_written_in_this_ones(tmp_path):
    weights.write(tmp_path / "a.safetensors", {"w": np.asarray([1.0, 2.0], ">f4")})
    np.testing.assert_array_equal(weights.read(tmp_path / "a.safetensors")["w"], [1, 2])
    for tensors, notes in (({"__metadata__": np.ones(1)}, {}), ({}, {"a": 1})):
        with pytest.raises(ValueError, match="metadata must be text by name, and no tensor can be called"):
            weights.write(tmp_path / "b.safetensors", tensors, metadata=notes)


def test_a_header_of_any_length_is_read(tmp_path):
    """A length whose first byte is that of a pickle must not be taken for one."""
    for count in range(1, 60):
        weights.write(tmp_path / "a.safetensors", {f"w{i}": np.zeros(1, np.float32) for i in range(count)})
        assert len(weights.read(tmp_path / "a.safetensors")) == count


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 800]}}, "bytes 0 to 800 of 8"),
        ({"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, "of shape"),
        ({"w": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}, "of shape"),
        ({"w": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}, "of shape"),
        ({"w": {"dtype": "C64", "shape": [1], "data_offsets": [0, 8]}}, "is C64; read are F64"),
        ({"w": {"dtype": "F32", "shape": [2]}}, "can't be read"),
        ({"w": [1]}, "can't be read"),
        ({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, "bytes 4 to 8 belong to no tensor"),
        ({key: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for key in "wv"}, "bytes 0 to 8 belong to two"),
        ([1, 2], "can't be read"),
    ],
)
def test_a_false_header_is_refused(tmp_path, header, message):
    text = json.dumps(header).encode()
    (tmp_path / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(weights.RefusedError, match=message) as error:
        weights.read(tmp_path / "a.safetensors")
    assert str(tmp_path / "a.safetensors") in str(error.value)


@pytest.mark.parametrize("start", [(2**63).to_bytes(8, "little"), b"", b"\x10", b"\x00" * 8 + b"{", b"GIF89a" * 3])
def test_what_is_no_file_of_weights_is_refused(tmp_path, start):
    (tmp_path / "a").write_bytes(start)
    with pytest.raises(weights.RefusedError):
        weights.read(tmp_path / "a")


@pytest.mark.parametrize("name", ["tensors.pth", "tensors_old.pth", "checkpoint.pth", "a.npz", "a.safetensors"])
def test_a_file_that_was_cut_short_or_has_other_bytes_is_refused_in_a_line_that_names_it(folder, tmp_path, name):
    source = folder / name if name.endswith(".pth") else tmp_path / name
    tensors = {"w": np.arange(40, dtype=np.float32).reshape(5, 8), "b": np.zeros(3, np.float16)}
    if name == "a.npz":
        np.savez_compressed(source, **tensors)
    elif name == "a.safetensors":
        weights.write(source, tensors)
    whole, broken, rng = source.read_bytes(), tmp_path / "broken", np.random.default_rng(0)
    cases = [whole[:end] for end in np.linspace(0, len(whole) - 1, 60, dtype=int)]
    for place in rng.integers(0, len(whole), 150):
        cases.append(whole[:place] + bytes([rng.integers(256)]) + whole[place + 1 :])
    refused = []
    for case in cases:
        broken.write_bytes(case)
        try:
            weights.read(broken)  # a number may have changed: only a checksum would know
        except weights.RefusedError as error:
            refused.append(str(error))
    assert len(refused) >= 60
    assert all(str(broken) in story and "\n" not in story for story in refused)


def test_an_npz_with_objects_in_it_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", w=np.array([Trap(tmp_path / "sprung")], dtype=object))
    with pytest.raises(weights.RefusedError, match=r"a.npz: w.npy holds pickled Python objects, which are"):
        weights.read(tmp_path / "a.npz")
    assert not (tmp_path / "sprung").exists()


def test_a_pipe_is_refused_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.pth")
    with pytest.raises(weights.RefusedError, match=r"a.pth is a pipe; give a file"):
        weights.read(tmp_path / "a.pth")


def test_an_archive_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("../outside.txt", "x")
    with pytest.raises(weights.RefusedError, match="neither NumPy's nor PyTorch's"):
        weights.read(tmp_path / "a.zip")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    weights.write(tmp_path / "a.safetensors", {"w": np.zeros(2, np.float32)})
    with pytest.raises(ValueError, match="w is complex64; safetensors holds"):
        weights.write(tmp_path / "a.safetensors", {"w": np.zeros(2, np.complex64)})
    assert weights.read(tmp_path / "a.safetensors")["w"].dtype == np.float32
    with pytest.raises(IsADirectoryError, match="is a folder; give the file to write"):
        weights.write(tmp_path, {"w": np.zeros(2, np.float32)})
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]
