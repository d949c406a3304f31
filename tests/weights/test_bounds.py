"""Files of weights that are made to keep their reader busy are refused, or read, at once."""

import json
import pickle

import numpy as np
import pytest

from cnnjax import weights
from cnnjax.weights import _pickles, _torch_files
from tests import hostile

FLOATS = np.arange(4.0, dtype="f4").tobytes()
VIEW = b"K\x00K\x04\x85K\x01\x85"  # offset 0, size (4,), stride (1,)
BACK = 2**61 - 1  # Python gives its multiples the hash of 0


def number(value: int) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


def read(path):
    with hostile.bounded():
        return weights.read(path)


def refused(path, message):
    with pytest.raises(weights.RefusedError, match=message) as error:
        read(path)
    assert str(path) in str(error.value)
    assert len(str(error.value)) <= 601
    assert str(error.value).isprintable()


KEY = "a key of a dict is of type (tuple|int), or too large; names and numbers are read"
PICKLES = {
    "keys of keys": (b"}" + hostile.doubled(60) + b"K\x01s", KEY),
    "keys of keys, together": (b"}(" + hostile.doubled(60) + b"K\x01u", KEY),
    "keys of keys, in an ordered dict": (
        b"ccollections\nOrderedDict\n](" + hostile.doubled(60) + b"K\x01\x86e\x85R",
        KEY,
    ),
    "keys of one hash": (b"}(" + b"".join(number(BACK * n) + b"N" for n in range(20_000)) + b"u", KEY),
    "a storage by such a key": (hostile.storage(key=hostile.doubled(60)), "that is no storage of numbers"),
    "a name of pairs": (hostile.doubled(60) + hostile.text("b") + b"\x93", "names something by what is no text"),
    "a size of pairs": (
        b"}" + hostile.text("w") + hostile.tensor(b"K\x00" + hostile.doubled(60) + b"h\x00") + b"s",
        "a tensor's offset, size and stride are no whole numbers that belong together",
    ),
    "a size beyond 64 bits": (
        b"}" + hostile.text("w") + hostile.tensor(b"K\x00" + (number(2**2000) + b"\x85") * 2) + b"s",
        "a tensor's offset, size and stride are no whole numbers that belong together",
    ),
    "many dimensions": (
        b"}" + hostile.text("w") + hostile.tensor(b"K\x00" + (b"(" + b"K\x01" * 100_000 + b"t") * 2) + b"s",
        "a tensor has 100,000 dimensions; at most 64 are read",
    ),
    "marks in marks": (b"(" * 400_000 + b"t" * 400_000, "holds no dict of tensors"),
    "a deep stack of marks": (b"K\x01" * 300_000 + b"(t" * 300_000, "holds no dict of tensors"),
    "many opcodes": (b"K\x01" * 3_000_000, "the file has more than 1,000,000 pickle opcodes; save the state dict"),
    "copies of a dict": (
        b"](" + b"K\x01K\x02\x86" * 10_000 + b"eq\x00ccollections\nOrderedDict\nq\x01" + b"h\x01h\x00\x85R" * 3000,
        "the file has more than 1,000,000 pickle opcodes; save the state dict alone",
    ),
    "a memory of one hash": (
        b"K\x01" + b"".join(b"p%d\n" % (BACK * n) for n in range(1, 20_000)),
        "it remembers a value by a number of more than 32 bits",
    ),
    "many names of a tensor": (
        b"}" + hostile.text("w") + hostile.tensor(VIEW) + b"q\x01s("
        + b"".join(b"J" + n.to_bytes(4, "little") + b"h\x01" for n in range(150_000)) + b"u",
        "has 150,001 tensors; at most 100,000 are read",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_that_stands_for_more_than_it_has_is_refused_at_once(tmp_path, name):
    """Nested keys of 300 bytes never came to an end; dicts, marks and memory were quadratic."""
    opcodes, message = PICKLES[name]
    refused(hostile.torch_file(tmp_path / "a.pth", b"\x80\x02" + opcodes + b".", **{"0": FLOATS}), message)


def test_the_older_layout_shares_its_opcodes_and_names_its_storages_by_text(tmp_path):
    start = b"".join(pickle.dumps(value, 2) for value in (_torch_files.MAGIC, 1001, {"little_endian": True}))
    (tmp_path / "a.pth").write_bytes(start + b"\x80\x02}.\x80\x02](" + hostile.doubled(60) + b"e.")
    refused(tmp_path / "a.pth", "lists its storages by something else than names")
    busy = b"\x80\x02" + b"K\x01" * 700_000 + b"."
    (tmp_path / "b.pth").write_bytes(start + busy + busy)
    refused(tmp_path / "b.pth", "the file has more than 1,000,000 pickle opcodes")


def test_as_many_opcodes_as_any_network_needs_are_read(tmp_path):
    """Ten thousand tensors, and the same again as an optimizer's moments; old ones have large keys."""
    state = b"".join(hostile.text(f"layer{n}.weight") + b"h\x01" for n in range(10_000))
    moments = b"".join(number(140_000_000_000_000 + n) + b"}(K\x00h\x01K\x01h\x01u" for n in range(10_000))
    opcodes = hostile.tensor(VIEW) + b"q\x010}(" + hostile.text("model") + b"}(" + state + b"u"
    opcodes += hostile.text("optimizer") + b"}(" + moments + b"uu"
    found = read(hostile.torch_file(tmp_path / "a.pth", b"\x80\x02" + opcodes + b".", **{"0": FLOATS}))
    assert len(found) == 10_000
    np.testing.assert_array_equal(found["layer7.weight"], np.arange(4))


def test_an_ordered_dict_of_pairs_as_python_2_wrote_it_is_read():
    pairs = b"](" + hostile.text("a") + b"K\x01\x86" + hostile.text("b") + b"K\x02\x86e\x85R."
    stream = b"\x80\x02ccollections\nOrderedDict\n" + pairs
    assert _pickles.Pickles(hostile.io.BytesIO(stream)).next() == pickle.loads(stream) == {"a": 1, "b": 2}


def safetensors(path, header: bytes):
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    return path


LONGEST = 2**23


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b'{"a":[' + b"{}," * 30_000_000 + b"{}]}", "a header of 90,000,010 bytes; at most 8,388,608 are read"),
        pytest.param(
            b'{"a":[' + b"{}," * (LONGEST // 3 - 5) + b"{}]}",
            "has a header that can't be read",
            marks=pytest.mark.proofs,
        ),
        (b'{"a":' * (LONGEST // 5), "is damaged or was cut short"),
        (
            json.dumps({"w": {"dtype": "F32", "shape": [2**62] * 300_000, "data_offsets": [0, 0]}}).encode(),
            r"w of shape \(4611686018427387904, .*…$",
        ),
        (
            json.dumps({"\x1b[2J" * 2000: {"dtype": "C64", "shape": [1], "data_offsets": [0, 0]}}).encode(),
            r"\\x1b\[2J\\x1b",
        ),
    ],
    ids=["90 MB", "many objects", "deep", "a size of 300,000", "a name that clears the screen"],
)
def test_a_header_is_bounded_and_what_is_said_of_it_too(tmp_path, header, message):
    """A header of 90 MB took 25 s."""
    path = safetensors(tmp_path / "a.safetensors", header)
    with pytest.raises(weights.RefusedError, match=message) as error:
        read(path)
    assert len(str(error.value)) < 6000
    assert str(error.value).isprintable()
    with hostile.bounded():
        assert weights.notes(path) == {}


@pytest.mark.parametrize("name", ["a" * 1001, "layer1\x1b[2J", "layer1\nall is well"])
def test_a_name_that_can_not_be_shown_is_refused_in_a_line(tmp_path, name):
    """A name of a million letters was a message of as many, one with escape sequences moved the cursor."""
    weights.write(tmp_path / "a.safetensors", {name: np.zeros(1)})
    np.savez(tmp_path / "a.npz", **{name: np.zeros(1)})
    for file in ("a.safetensors", "a.npz"):
        refused(tmp_path / file, rf"has a tensor with a name of {len(name):,} letters: (a|layer1)")


def test_a_header_that_could_not_be_read_back_is_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"names and notes take 8,\d+,\d+ bytes; at most 8,388,608 are read back"):
        weights.write(tmp_path / "a.safetensors", {"w": np.zeros(1)}, metadata={"note": "x" * LONGEST})
    assert not any(tmp_path.iterdir())


def test_an_archive_that_grows_a_thousandfold_is_refused_and_so_is_one_of_too_many_members(tmp_path):
    """3 MB became 3 GB."""
    path = hostile.bomb_of_zeros(tmp_path / "a.npz", "w", 260)
    refused(path, r"it would unpack to 260 MiB, 1,0\d\d times its size; if that is meant, write it uncompressed")
    (tmp_path / "b.npz").write_bytes(hostile.list_of_members(100_000))
    refused(tmp_path / "b.npz", "its list of members has 5,200,000 bytes; at most 4,194,304 are read")
    body = hostile.saved(np.save, np.zeros(10_000_000, np.uint8))
    refused(hostile.one_over_another(tmp_path / "c.npz", "w{}.npy", body, 9), "its members lie over one another")
    refused(hostile.one_over_another(tmp_path / "d.pth", "a/data/{}", body, 9), "its members lie over one another")
