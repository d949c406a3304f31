"""Prepared tensorflow-datasets sets: a small one that the tests write, and the real ones where they are."""

import gzip
import io
import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cnnjax.data import DataError, Stream, check, cifar10, fashion_mnist, mnist, tfds
from cnnjax.data import _pictures as pictures
from cnnjax.data._official import OFFICIAL
from cnnjax.refusals import ConfigError
from tests.processes import python

_REAL = os.environ.get("CNNJAX_DATA", "")


def write(
    root,
    name="spots/3.1.0",
    splits=(("train", 20), ("test", 5)),
    size=(6, 6),
    label=lambda i: i % 2,
    png=(),
    record=(),
):
    """A prepared set whose image i of every split is filled with i; `png`, `record` replace single ones."""
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    directory = root / name
    directory.mkdir(parents=True)
    shards = []
    for split, count in splits:
        writer = ArrayRecordWriter(str(directory / f"spots-{split}.array_record-00000-of-00001"), "group_size:1")
        for number in range(count):
            file = io.BytesIO()
            Image.fromarray(np.full((size[0] or 6 + number, size[1] or 6, 3), number, np.uint8)).save(file, "PNG")
            example = tf_example_pb2.Example()
            data = dict(png).get((split, number), file.getvalue())
            example.features.feature["image"].bytes_list.value.append(data)
            example.features.feature["label"].int64_list.value.append(label(number))
            writer.write(dict(record).get((split, number), example.SerializeToString()))
        writer.close()
        shards.append({"name": split, "shardLengths": [str(count)], "numBytes": "1"})
        shards[-1]["filepathTemplate"] = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    keys = {"tuple": {"items": [{"featureKey": "image"}, {"featureKey": "label"}]}}
    about = {
        "name": "spots",
        "version": "3.1.0",
        "fileFormat": "array_record",
        "splits": shards,
        "supervisedKeys": keys,
    }
    (directory / "dataset_info.json").write_text(json.dumps(about))
    kind = "tensorflow_datasets.core.features."
    dimensions = [str(side or -1) for side in (*size, 3)]
    features = {
        "image": {
            "image": {"dtype": "uint8", "shape": {"dimensions": dimensions}, "encodingFormat": "png"},
            "pythonClassName": f"{kind}image_feature.Image",
        },
        "label": {"classLabel": {"numClasses": "2"}, "pythonClassName": f"{kind}class_label_feature.ClassLabel"},
    }
    whole = {"featuresDict": {"features": features}, "pythonClassName": f"{kind}features_dict.FeaturesDict"}
    (directory / "features.json").write_text(json.dumps(whole))
    (directory / "label.labels.txt").write_text("even\nodd\n")
    return directory


def values(split):
    return split.read(np.arange(len(split)))["image"][:, 0, 0, 0].tolist()


def test_a_prepared_set_is_read_with_its_names(tmp_path):
    write(tmp_path)
    source = tfds(set="spots", root=str(tmp_path))
    assert source.facts.counts == {"train": 20, "eval": 5, "test": 5}
    assert source.facts.names == ("even", "odd")
    assert source.facts.shape == (6, 6, 3)
    assert source.eval is source.test
    assert values(source.train) == list(range(20))
    check(source, 16)


def test_a_set_is_told_from_others_by_its_files(tmp_path):
    write(tmp_path)
    write(tmp_path / "more", splits=(("train", 21), ("test", 5)))
    examples = [
        tfds(set="spots", root=str(root)).identity["examples"] for root in (tmp_path, tmp_path, tmp_path / "more")
    ]
    assert examples[0] == examples[1] != examples[2]
    assert len(examples[0]["train"]) == 8


def test_a_large_set_is_read_by_worker_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "_SMALL", 0)
    write(tmp_path)
    source = tfds(set="spots", root=str(tmp_path), holdout=4)
    assert (source.facts.counts["train"], source.facts.counts["eval"]) == (16, 4)
    assert set(values(source.train)) | set(values(source.eval)) == set(range(20))
    with Stream(source.train, batch=8, workers=1) as stream:
        batch = stream.batches(0, 2)
    np.testing.assert_array_equal(batch["image"][..., 0, 0, 0] % 2, batch["label"])
    assert len(set(batch["image"][..., 0, 0, 0].ravel())) == 16


def test_validation_is_the_evaluation_split_and_stands_in_for_a_missing_test(tmp_path):
    write(tmp_path / "a", splits=(("train", 20), ("validation", 6), ("test", 5)))
    write(tmp_path / "b", splits=(("train", 20), ("validation", 6)))
    write(tmp_path / "c", splits=(("train", 20),))
    assert tfds(set="spots", root=str(tmp_path / "a")).facts.counts == {"train": 20, "eval": 6, "test": 5}
    other = tfds(set="spots", root=str(tmp_path / "b"))
    assert other.facts.counts == {"train": 20, "eval": 6, "test": 6}
    assert other.eval is other.test
    assert values(tfds(set="spots", root=str(tmp_path / "c")).test) == [0, 5, 10, 15]
    part = tfds(set="spots", root=str(tmp_path / "c"), train="train[:60%]", test="train[60%:]")
    assert part.facts.counts == {"train": 12, "eval": 8, "test": 8}
    assert values(part.test) == list(range(12, 20))


def test_the_newest_version_counts_unless_one_is_named(tmp_path):
    write(tmp_path, "spots/3.1.0")
    write(tmp_path, "spots/3.10.0", splits=(("train", 10), ("test", 5)))
    assert len(tfds(set="spots", root=str(tmp_path)).train) == 10
    assert len(tfds(set="spots:3.1.0", root=str(tmp_path)).train) == 20


def test_a_configuration_is_found_or_asked_for(tmp_path):
    write(tmp_path, "spots/small/3.1.0")
    assert len(tfds(set="spots", root=str(tmp_path)).train) == 20
    assert len(tfds(set="spots/small", root=str(tmp_path)).train) == 20
    write(tmp_path, "spots/large/3.1.0")
    with pytest.raises(DataError) as refused:
        tfds(set="spots", root=str(tmp_path))
    assert str(refused.value) == (
        "spots is prepared in several configurations; set data.set to one of spots/large, spots/small"
    )


def test_images_of_many_sizes_need_a_size(tmp_path):
    write(tmp_path, size=(0, 0))
    with pytest.raises(DataError, match="differ in size; set data"):
        tfds(set="spots", root=str(tmp_path))
    assert tfds(set="spots", root=str(tmp_path), size=5).facts.shape == (5, 5, 3)


def test_a_broken_record_is_passed_over_by_name(tmp_path):
    directory = write(tmp_path, png=((("train", 7), b"nothing"),))
    source = tfds(set="spots", root=str(tmp_path))
    assert values(source.train) == [*range(7), 8, *range(8, 20)]
    assert list(source.train.bad) == [f"{directory} train[7]"]


def two_pictures():
    from tensorflow_datasets.proto import tf_example_pb2

    example = tf_example_pb2.Example()
    example.features.feature["image"].bytes_list.value.extend([b"one", b"two"])
    return example.SerializeToString()


@pytest.mark.parametrize(
    ("record", "word"),
    [(b"\xff\xff", "DecodeError"), (b"", "no single image and label"), (two_pictures(), "no single image and label")],
    ids=["no record", "empty", "two pictures without a label"],
)
def test_a_damaged_record_is_passed_over_like_a_broken_picture(tmp_path, record, word):
    directory = write(tmp_path, record=((("train", 7), record),))
    source = tfds(set="spots", root=str(tmp_path))
    assert values(source.train) == [*range(7), 8, *range(8, 20)]
    assert word in source.train.bad[f"{directory} train[7]"]


def test_damage_to_a_file_costs_the_records_that_it_hit(tmp_path):
    directory = write(tmp_path)
    (file,) = directory.glob("*train*")
    data = bytearray(file.read_bytes())
    middle = data.index(b"\x89PNG") + 20  # of the first record
    data[middle] ^= 255
    file.write_bytes(data)
    source = tfds(set="spots", root=str(tmp_path))
    assert values(source.train) == [1, *range(1, 20)]
    assert "RuntimeError: Corrupted" in source.train.bad[f"{directory} train[0]"]


def test_a_label_out_of_range_is_refused_with_the_records_name(tmp_path):
    directory = write(tmp_path, label=lambda i: -1 if i == 3 else 0)
    with pytest.raises(DataError) as refused:
        tfds(set="spots", root=str(tmp_path))
    assert str(refused.value).startswith(f"{directory} train[3] has label -1; labels go from 0 to 1.")


def test_a_set_that_is_not_prepared_says_how_without_asking_the_network(tmp_path):
    with pytest.raises(DataError) as refused:
        tfds(set="cifar100", root=str(tmp_path))
    text = str(refused.value)
    assert text.startswith(f"cifar100 is not prepared in {tmp_path}. To prepare it")
    command = f"tfds.builder('cifar100', data_dir='{tmp_path}', file_format='array_record').download_and_prepare()"
    assert command in text
    assert len(text.splitlines()) == 3


def test_what_is_prepared_as_tfrecords_says_how_to_convert_it(tmp_path):
    directory = write(tmp_path)
    about = json.loads((directory / "dataset_info.json").read_text()) | {"fileFormat": "tfrecord"}
    (directory / "dataset_info.json").write_text(json.dumps(about))
    for file in directory.glob("*.array_record*"):
        file.rename(str(file).replace("array_record", "tfrecord"))
    with pytest.raises(DataError) as refused:
        tfds(set="spots", root=str(tmp_path))
    assert f"tfds convert_format --dataset_version_dir={directory} --out_file_format=array_record" in str(refused.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"set": ""}, 'data.set is empty; name a set of the catalogue, such as --config.data.set="cifar10"'),
        ({"test": "validation"}, "has no split 'validation'; it has train, test"),
        ({"label": "kind"}, "data.label is 'kind'; it must name a feature of kind ClassLabel: label"),
        ({"fit": "pat"}, "data.fit is 'pat'; nearest: pad; allowed: crop, pad, squash"),
    ],
)
def test_wrong_options_are_said(tmp_path, options, text):
    write(tmp_path)
    with pytest.raises((DataError, ConfigError)) as refused:
        tfds(**{"set": "spots", "root": str(tmp_path), **options})
    assert text in str(refused.value)


def official(directory, mean=33):
    """Files as MNIST was published, of eight images each."""
    directory.mkdir(parents=True)
    images = np.full((8, 28, 28), mean, np.uint8) + np.uint8([[3], [-3 % 256]] * 14)
    for prefix, pack in (("train", True), ("t10k", False)):
        for name, array in (("images-idx3", images), ("labels-idx1", np.arange(8, dtype=np.uint8))):
            data = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()
            (directory / f"{prefix}-{name}-ubyte{'.gz' if pack else ''}").write_bytes(
                gzip.compress(data) if pack else data
            )


def test_the_official_files_do_as_well(tmp_path):
    official(tmp_path / "mnist")
    source = mnist(root=str(tmp_path), holdout=2)
    assert source.facts.counts == {"train": 6, "eval": 2, "test": 8}
    assert source.facts.shape == (28, 28, 1)
    assert source.facts.names[9] == "9"


@pytest.mark.parametrize(("entry", "count"), [(mnist, 4), (fashion_mnist, 4), (cifar10, 6)])
def test_a_set_that_is_not_there_names_its_few_official_files_first_and_tensorflow_last(tmp_path, entry, count):
    with pytest.raises(DataError) as refused:
        entry(root=str(tmp_path))
    name, lines = entry.__name__, str(refused.value).splitlines()
    files = ", ".join(OFFICIAL[name])
    assert lines[0] == f"{tmp_path / name} has none of {files}: download the {count} official files of {name} into it,"
    assert lines[1] == f"or set data.root, or CNNJAX_DATA, to the directory that has {name}/;"
    assert lines[2].startswith("or, with a network and TensorFlow: pip install tensorflow")
    assert len(lines) == 3


def test_an_official_file_that_is_missing_is_named(tmp_path):
    official(tmp_path / "mnist")
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"mnist lacks t10k-labels-idx1-ubyte\.gz: download the 4 official files of"):
        mnist(root=str(tmp_path))


def test_mnist_in_fashion_mnists_place_is_noticed(tmp_path):
    official(tmp_path / "fashion_mnist")
    with pytest.raises(DataError, match=r"does not hold fashion_mnist: its mean is 0\.1294, not 0\.286"):
        fashion_mnist(root=str(tmp_path))


def test_official_files_that_are_cut_or_lie_about_their_size_are_refused(tmp_path):
    official(tmp_path / "mnist")
    labels = tmp_path / "mnist" / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1])
    with pytest.raises(DataError, match="promises 8 bytes and holds 7"):
        mnist(root=str(tmp_path))
    labels.write_bytes(struct.pack(">II", 0x801, 2**32 - 1))
    with pytest.raises(DataError, match="is no idx file of bytes in 1 dimensions"):
        mnist(root=str(tmp_path))
    images = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    images.write_bytes(images.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz cannot be read"):
        mnist(root=str(tmp_path))


def test_cifars_binary_files_are_planes_after_a_label(tmp_path):
    directory = tmp_path / "cifar10" / "cifar-10-batches-bin"
    directory.mkdir(parents=True)
    record = np.concatenate([[3], np.repeat([125, 123, 114], 1024)]).astype(np.uint8)
    for name in (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"):
        np.tile(record, 10_000).tofile(directory / name)
    source = cifar10(root=str(tmp_path))
    assert source.facts.counts == {"train": 50_000, "eval": 10_000, "test": 10_000}
    np.testing.assert_array_equal(source.train.arrays["image"][17, 5, 9], [125, 123, 114])
    assert source.train.arrays["label"][17] == 3
    (directory / "test_batch.bin").write_bytes(b"short")
    with pytest.raises(DataError, match=r"test_batch\.bin holds 5 bytes, not 30730000"):
        cifar10(root=str(tmp_path))


@pytest.mark.doors
def test_reading_needs_no_tensorflow_and_no_jax(tmp_path):
    write(tmp_path)
    program = (
        "import sys; from cnnjax.data import tfds; "
        f"tfds(set='spots', root={str(tmp_path)!r}).train.read([0]); "
        "print([m for m in ('tensorflow', 'jax') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("entry", "counts", "mean", "std"),
    [
        (mnist, (60_000, 10_000), (0.1307,), (0.3081,)),
        (fashion_mnist, (60_000, 10_000), (0.2860,), (0.3530,)),
        (cifar10, (50_000, 10_000), (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    ],
)
def test_the_real_sets_have_the_known_statistics(entry, counts, mean, std):
    if not os.path.isdir(os.path.join(_REAL, entry.__name__)) or not _REAL:
        pytest.skip(f"CNNJAX_DATA names no directory with a prepared {entry.__name__}")
    source = entry()
    assert (len(source.train), len(source.test)) == counts
    np.testing.assert_allclose(source.facts.mean, mean, atol=6e-5)
    np.testing.assert_allclose(source.facts.std, std, atol=6e-5)
    assert np.bincount(source.test.arrays["label"]).min() > 890


WITHOUT = """
import sys
for name in ("tensorflow_datasets", "array_record", "importlib_resources"):
    sys.modules[name] = None
import cnnjax
from cnnjax import config

flags = [f"--config.data.{word}" for word in ("name=mnist", "root=" + sys.argv[1])]
flags += [f"--config.train.{word}" for word in ("steps=2", "epochs=0", "batch=4", "devices=1")]
trained = cnnjax.run(config.load("digits:mlp", flags), sys.argv[2])
print(len(trained.source.train))
"""


@pytest.mark.doors
def test_official_files_train_where_the_catalogues_readers_are_not_installed(tmp_path):
    official(tmp_path / "mnist")
    process = python(WITHOUT, tmp_path, tmp_path / "run")
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert out.splitlines()[-1] == str(len(mnist(root=str(tmp_path)).train))
