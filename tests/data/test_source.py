"""What a data set is, and what is refused before anything compiles."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from cnnjax.data import DataError, Memory, arrays, assemble, check, digits, from_arrays, hold_out

RNG = np.random.default_rng(0)


def fields(count=20, classes=3, **changes):
    image = RNG.integers(0, 256, (count, 6, 5, 3), dtype=np.uint8)
    return {"image": image, "label": np.arange(count) % classes, **changes}


def test_importing_the_room_needs_neither_jax_nor_tensorflow():
    program = (
        "import sys, cnnjax.data; print([m for m in ('jax', 'tensorflow', 'tensorflow_datasets') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_statistics_are_those_of_the_training_images_in_units_of_white():
    train = fields(700)
    facts = from_arrays(train, fields()).facts
    np.testing.assert_allclose(facts.mean, train["image"].reshape(-1, 3).mean(0) / 255, rtol=1e-12)
    np.testing.assert_allclose(facts.std, train["image"].reshape(-1, 3).std(0) / 255, rtol=1e-9)
    deep = {**train, "image": train["image"].astype(np.uint16) * 257}
    np.testing.assert_allclose(from_arrays(deep, deep).facts.mean, facts.mean, rtol=1e-6)
    floating = {**train, "image": train["image"] / 255}
    np.testing.assert_allclose(from_arrays(floating, floating).facts.std, facts.std, rtol=1e-6)


class Photographs:
    """A streamed split of white pictures, 256 of them and 50 MB."""

    resident = False

    def __len__(self):
        return 256

    def read(self, indices):
        return {"image": np.full((len(indices), 256, 256, 3), 255, np.uint8), "label": np.zeros(len(indices), int)}


def test_statistics_need_little_more_memory_than_a_few_pictures():
    """400 MB and more where those of all that is looked at were made floats together."""
    photographs = Photographs()
    arrays = photographs.read(np.arange(64))
    for train in (photographs, Memory(arrays)):
        tracemalloc.start()
        try:
            facts = assemble(train, train, train, names=("a",)).facts
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert (facts.mean, facts.std) == ((1.0,) * 3, (0.0,) * 3)
        assert peak < 32e6


def test_what_is_held_out_leaves_the_training_set_and_is_the_same_every_time():
    train, held = hold_out(Memory(fields(100)), 30)
    assert (len(train), len(held)) == (70, 30)
    source = from_arrays(fields(100, marks=np.arange(100)), fields(10, marks=np.arange(10)), holdout=30)
    train, held = source.train.arrays["marks"], source.eval.arrays["marks"]
    np.testing.assert_array_equal(np.sort([*train, *held]), np.arange(100))
    assert (np.diff(train) > 0).all()
    again = from_arrays(fields(100, marks=np.arange(100)), fields(10, marks=np.arange(10)), holdout=30)
    np.testing.assert_array_equal(again.eval.arrays["marks"], held)
    assert source.facts.counts == {"train": 70, "eval": 30, "test": 10}


def test_without_holdout_eval_is_the_test_split_itself():
    source = from_arrays(fields(), fields(10))
    assert source.eval is source.test
    assert from_arrays(fields(), fields(10), holdout=5).eval is not source.test


@pytest.mark.parametrize("holdout", [-1, 20, 21])
def test_a_holdout_that_leaves_nothing_is_refused(holdout):
    with pytest.raises(DataError) as refused:
        from_arrays(fields(), fields(10), holdout=holdout)
    assert str(refused.value) == (
        f"data.holdout is {holdout}; it must lie between 1 and 19, for the training set has 20 examples"
    )


def test_a_holdout_beside_an_evaluation_split_is_refused():
    with pytest.raises(DataError, match=r"this set has an evaluation split of its own \(5 examples\); set data"):
        from_arrays(fields(), fields(10), fields(5), holdout=3)


def test_a_training_set_smaller_than_a_batch_is_refused_with_what_fits():
    with pytest.raises(DataError) as refused:
        check(digits(), 2000)
    assert str(refused.value) == (
        "train.batch is 2000, but the training set has 1437 examples; "
        "lower train.batch to 1437 or less, or give more data"
    )


@pytest.mark.parametrize("wrong", [-1, 3, 99])
@pytest.mark.parametrize("place", ["train", "eval", "test"])
def test_labels_out_of_range_are_refused_by_name(wrong, place):
    splits = {split: Memory(fields()) for split in ("train", "eval", "test")}
    splits[place].arrays["label"][7] = wrong
    source = assemble(splits["train"], splits["eval"], splits["test"], names=("a", "b", "c"))
    with pytest.raises(DataError) as refused:
        check(source, 4)
    assert str(refused.value) == f"{place}: example 7 has label {wrong}; labels go from 0 to 2"
    assert refused.value.exit_code == 3


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_not_finite_are_refused_by_name(value):
    image = RNG.random((20, 6, 5, 3))
    image[11, 3, 2, 1] = value
    with pytest.raises(DataError, match="train: example 11 has values of image that are not finite"):
        from_arrays(fields(image=image), fields(image=image[:0]) | fields(10, image=RNG.random((10, 6, 5, 3))))


def test_test_images_of_another_shape_are_refused():
    narrow = fields(10, image=RNG.integers(0, 255, (10, 6, 4, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"test: image has shape \(6, 4, 3\), but the training set's has \(6, 5, 3\)"):
        from_arrays(fields(), narrow)


def test_grey_images_without_channels_get_one():
    image = RNG.integers(0, 256, (20, 6, 5), dtype=np.uint8)
    assert from_arrays(fields(image=image), fields(image=image)).facts.shape == (6, 5, 1)


def test_series_and_tokens_are_inputs_too():
    series = {"series": RNG.normal(size=(20, 30, 2)), "label": np.arange(20) % 2}
    facts = from_arrays(series, series).facts
    assert (facts.input, facts.shape, len(facts.mean)) == ("series", (30, 2), 2)
    tokens = {"tokens": RNG.integers(0, 99, (20, 12)), "label": np.arange(20) % 2}
    facts = from_arrays(tokens, tokens).facts
    assert (facts.input, facts.shape, facts.mean) == ("tokens", (12,), ())


def test_segments_state_their_number_but_for_the_ignored():
    segments = RNG.integers(0, 4, (20, 6, 5))
    segments[:, 0] = 255
    assert from_arrays(fields(segments=segments), fields(segments=segments)).facts.extra == {
        "segment_names": ("0", "1", "2", "3")
    }


@pytest.mark.parametrize(
    ("train", "text"),
    [
        (
            {"label": np.arange(20)},
            "no input among the fields ['label']; one of image, video, series, tokens is needed",
        ),
        (fields(label=np.arange(19)), "the fields of a split differ in length: {'image': 20, 'label': 19}"),
        (fields(image=np.zeros((20, 6, 5, 3), int)), "image has type int64; give uint8, uint16, or float in [0, 1]"),
        (fields(label=np.arange(20) / 2), "label has shape (20,) and type float64; give one whole number an example"),
        (fields(image=np.array([[1], [2, 3]], object)), "field image has type object, as ragged rows or text make"),
        (fields(label=3), "field label is a single value; a field has one row per example"),
        ({}, "a training and a test split are needed, each with at least one field"),
    ],
)
def test_arrays_that_are_no_data_set_are_refused(train, text):
    with pytest.raises(DataError) as refused:
        from_arrays(train, train)
    assert text in str(refused.value)


def test_splits_with_other_fields_are_refused():
    with pytest.raises(DataError, match=r"the splits differ in their fields: \['image', 'label'\] and \['image'\]"):
        from_arrays(fields(), {"image": fields()["image"]})


def test_an_npz_file_is_a_set(tmp_path):
    train, test = fields(20), fields(8)
    np.savez(
        tmp_path / "set.npz",
        **{f"train_{name}": value for name, value in train.items()},
        **{f"test_{name}": value for name, value in test.items()},
        names=np.array(["ant", "bee", "cow"]),
    )
    source = arrays(path=str(tmp_path / "set.npz"), holdout=4)
    assert source.facts.counts == {"train": 16, "eval": 4, "test": 8}
    assert source.facts.names == ("ant", "bee", "cow")
    np.testing.assert_array_equal(source.test.arrays["image"], test["image"])


def test_an_npz_file_of_one_split_gives_every_fifth_example_to_the_test(tmp_path):
    data = fields(20)
    np.savez_compressed(tmp_path / "set.npz", **data)
    source = arrays(path=str(tmp_path / "set.npz"))
    np.testing.assert_array_equal(source.test.arrays["image"], data["image"][::5])
    assert len(source.train) == 16


def test_an_npz_file_with_an_evaluation_split_alone_tests_on_it(tmp_path):
    np.savez(
        tmp_path / "set.npz",
        image=fields()["image"],
        label=fields()["label"],
        **{f"eval_{name}": value for name, value in fields(5).items()},
    )
    source = arrays(path=str(tmp_path / "set.npz"))
    assert source.eval is source.test
    assert len(source.test) == 5


class Trap:
    """Pickled data that does harm when it is loaded."""

    def __reduce__(self):
        return exec, ("raise SystemExit('the pickle was run')",)


def refusal(path):
    with pytest.raises(DataError) as refused:
        arrays(path=str(path))
    return str(refused.value)


def test_a_pickle_is_never_run(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, image=np.array([Trap()], object))
    assert refusal(path) == f"{path}: image.npy holds pickled Python objects, which are never loaded"
    path.write_bytes(__import__("pickle").dumps(Trap()))
    assert "is not a readable .npz file" in refusal(path)


def test_an_array_that_promises_more_than_the_file_has_is_refused(tmp_path):
    import zipfile

    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (9223372036854775807,), }"
    member = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n" + bytes(10)
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("image.npy", member)
    assert "image.npy promises (9223372036854775807,) uint8 but holds 10 bytes" in refusal(tmp_path / "set.npz")


def test_files_that_are_no_set_are_refused(tmp_path):
    path = tmp_path / "set.npz"
    assert refusal("") == "data.path is empty; name the .npz file, --config.data.path=FILE.npz"
    assert refusal(path) == f"data.path is {path}; there is no such file"
    np.savez(path, train_imag=np.zeros(3))
    assert f"{path} has an array 'train_imag', did you mean 'image'?" in refusal(path)
    np.savez(path, test_image=np.zeros(3))
    assert refusal(path).startswith(f"{path} has no training images")
    path.write_bytes(path.read_bytes()[:-40])
    assert "is not a readable .npz file" in refusal(path)
