"""Prepared tensorflow-datasets sets with boxes and masks: small ones in the layouts of real ones."""

import io
import json
import xml.etree.ElementTree
import zipfile

import numpy as np
import pytest
from PIL import Image

from cnnjax.data import DataError, check, tfds, voc
from cnnjax.data import _pictures as pictures
from tests.data.labelled import BOXES, SIZE, block, moved
from tests.data.test_masked import drawn, table

KIND = "tensorflow_datasets.core.features."


def feature(name, **about):
    return {**about, "pythonClassName": f"{KIND}{name}"}


def a_class(count):
    return feature("class_label_feature.ClassLabel", classLabel={"numClasses": str(count)})


def an_image(channels):
    about = {"dtype": "uint8", "shape": {"dimensions": ["-1", "-1", str(channels)]}, "encodingFormat": "png"}
    return feature("image_feature.Image", image=about)


def a_dict(features):
    return feature("features_dict.FeaturesDict", featuresDict={"features": features})


BOX = feature(
    "bounding_boxes.BBoxFeature",
    boundingBox={"bboxFormat": "REL_YXYX", "dtype": "float32", "shape": {"dimensions": ["4"]}},
)
FLAG = feature("tensor_feature.Tensor", tensor={"shape": {}, "dtype": "bool", "encoding": "none"})


def objects(**inner):
    return feature("sequence_feature.Sequence", sequence={"feature": a_dict(inner), "length": "-1"})


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def shares(number, spoil=()):
    height, width = SIZE
    boxes = [dict(spoil).get((number, row), moved(box, number)) for row, box in enumerate(BOXES)]
    return [n for box in boxes for n in np.array(box) / (height, width, height, width)]


def write(root, features, fill, labels=(), count=10):
    """A prepared set whose record i is what `fill(i)` says of it: bytes, whole numbers and floats by name."""
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    directory = root / "cells" / "1.0.0"
    directory.mkdir(parents=True)
    shards = []
    for split in ("train", "test"):
        writer = ArrayRecordWriter(str(directory / f"cells-{split}.array_record-00000-of-00001"), "group_size:1")
        for number in range(count):
            example = tf_example_pb2.Example()
            for name, values in fill(number).items():
                kind = {bytes: "bytes_list", int: "int64_list"}.get(type(values[0]), "float_list")
                getattr(example.features.feature[name], kind).value.extend(values)
            writer.write(example.SerializeToString())
        writer.close()
        shard = {"name": split, "shardLengths": [str(count)], "numBytes": "1"}
        shards.append(shard | {"filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"})
    about = {"name": "cells", "version": "1.0.0", "fileFormat": "array_record", "splits": shards}
    (directory / "dataset_info.json").write_text(json.dumps(about))
    (directory / "features.json").write_text(json.dumps(a_dict(features)))
    for name, words in dict(labels).items():
        (directory / f"{name}.labels.txt").write_text("\n".join(words) + "\n")
    return directory


def detection(root, spoil=(), kinds=(1, 0), **more):
    """A set like bccd, with crowds in odd records as coco has them."""
    features = {"image": an_image(3), "objects": objects(bbox=BOX, label=a_class(2), is_crowd=FLAG)}

    def fill(number):
        whole = {"objects/label": list(kinds), "objects/is_crowd": [0, number % 2]}
        return {"image": [png(block(number))], "objects/bbox": shares(number, spoil), **whole, **more}

    return write(root, features, fill, {"objects-label": ("cat", "dog")})


def refused(**options):
    with pytest.raises(DataError) as error:
        tfds(set="cells", **options)
    return str(error.value)


def test_boxes_of_a_set_without_a_class_are_read_unasked_in_pixels(tmp_path):
    detection(tmp_path)
    source = tfds(set="cells", root=str(tmp_path), size=48, width=80, most=3)
    assert source.facts.names == ("cat", "dog")
    fields = source.train.read(np.arange(10))
    assert "label" not in fields
    for number in range(10):
        wanted = 2 * np.array([moved(box, number) for box in BOXES])
        np.testing.assert_allclose(fields["boxes"][number, :2], wanted, atol=1e-4)
    np.testing.assert_array_equal(fields["classes"], [[1, 0, 0]] * 10)
    np.testing.assert_array_equal(fields["present"], [[1, 1, 0]] * 10)
    np.testing.assert_array_equal(fields["ignored"], [[0, number % 2, 0] for number in range(10)])
    check(source, 8)


def test_boxes_and_masks_beside_a_class_are_read_where_they_are_named(tmp_path):
    features = {"image": an_image(3), "label": a_class(2), "bbox": BOX, "segmentation_mask": an_image(1)}

    def fill(number):
        some = {"bbox": shares(number)[:4], "segmentation_mask": [png(drawn(number))]}
        return {"image": [png(block(number))], "label": [number % 2], **some}

    write(tmp_path, features, fill, {"label": ("cat", "dog")})
    options = {"set": "cells", "root": str(tmp_path), "size": 24, "width": 40}
    assert set(tfds(**options).facts.fields) == {"image", "label"}
    source = tfds(**options, boxes="bbox", masks="segmentation_mask", most=1)
    fields = source.train.read(np.arange(10))
    np.testing.assert_array_equal(fields["segments"], [drawn(number) for number in range(10)])
    np.testing.assert_array_equal(fields["classes"][:, 0], fields["label"])
    np.testing.assert_allclose(fields["boxes"][:, 0], [moved(BOXES[0], number) for number in range(10)], atol=1e-5)
    assert source.facts.extra["segment_names"] == ("0", "1", "2")
    colors = str(tmp_path / table(tmp_path, "0 ground\n1 cat\n2 dog"))
    assert tfds(**options, masks="segmentation_mask", colors=colors).facts.extra["segment_names"][2] == "dog"
    text = refused(root=str(tmp_path), size=8, boxes="objects")
    assert "data.boxes is 'objects'; it must name a feature of kind BBoxFeature, or a Sequence of them: bbox" in text
    text = refused(root=str(tmp_path), size=8, masks="bbox")
    assert (
        "data.masks is 'bbox'; it must name a feature of kind Image, beside the image itself: segmentation_mask" in text
    )


def test_boxes_that_can_not_be_are_refused_by_record_and_number(tmp_path):
    directory = detection(tmp_path / "a", spoil={(3, 1): (9, 9, 3, 12)})
    text = refused(root=str(tmp_path / "a"), size=24)
    assert text.startswith(f"{directory} train[3], box 2, has the box y0 x0 y1 x1 [9 9 3 12]; it is inside out")
    directory = detection(tmp_path / "b", spoil={(3, 1): (3, 9, 26, 12)})
    assert "[3 9 26 12]; it must lie in the picture of 24×40 pixels" in refused(root=str(tmp_path / "b"), size=24)
    directory = detection(tmp_path / "c", kinds=(1, 2))
    assert refused(root=str(tmp_path / "c"), size=24).startswith(f"{directory} train[0], box 2, has label 2; labels go")
    directory = detection(tmp_path / "d")
    text = refused(root=str(tmp_path / "d"), size=24, most=1)
    assert text == f"{directory} train[0] has 2 boxes, more than data.most=1; set data.most=2"


@pytest.mark.proofs
def test_bccd_as_its_builder_lays_it_out_is_what_voc_reads_but_for_the_pixel_from_which_it_counts(tmp_path, real):
    with zipfile.ZipFile(real("bccd") / "BCCD_Dataset-1.0.zip") as archive:
        archive.extractall(tmp_path)
    base = tmp_path / "BCCD_Dataset-1.0" / "BCCD"
    names, stems = ("RBC", "WBC", "Platelets"), (base / "ImageSets" / "Main" / "val.txt").read_text().split()
    size = np.array([480, 640, 480, 640])

    def fill(number):
        things = xml.etree.ElementTree.parse(base / "Annotations" / f"{stems[number]}.xml").findall("object")
        ends = [[int(thing.find(f"bndbox/{end}").text) for end in ("ymin", "xmin", "ymax", "xmax")] for thing in things]
        return {
            "image": [(base / "JPEGImages" / f"{stems[number]}.jpg").read_bytes()],
            "objects/bbox": (np.array(ends) / size).ravel().tolist(),
            "objects/label": [names.index(thing.findtext("name")) for thing in things],
        }

    features = {"image": an_image(3), "objects": objects(bbox=BOX, label=a_class(3))}
    directory = write(tmp_path / "tfds", features, fill, {"objects-label": names}, count=len(stems))
    found = tfds(set="cells", root=str(tmp_path / "tfds"), size=240, width=320, fit="pad", most=30)
    assert list(found.test.bad) == [f"{directory} test[68]: box 13"]
    fields, wanted = found.test.arrays, voc(root=str(base), size=240, width=320, most=30).eval.arrays
    np.testing.assert_array_equal(fields["image"], wanted["image"])
    np.testing.assert_array_equal(fields["present"], wanted["present"])
    there = fields["present"] > 0
    earlier = (fields["boxes"] - wanted["boxes"])[there]
    np.testing.assert_allclose(earlier, np.tile([0.5, 0.5, 0, 0], (len(earlier), 1)), atol=1e-4)  # half as large


@pytest.mark.parametrize("streamed", [False, True])
def test_boxes_of_no_area_and_torn_records_are_passed_over_by_name(tmp_path, monkeypatch, streamed):
    monkeypatch.setattr(pictures, "_SMALL", 0 if streamed else pictures._SMALL)
    directory = detection(tmp_path, spoil={(3, 1): (3, 9, 3, 12)})
    source = tfds(set="cells", root=str(tmp_path), size=24)
    fields = source.train.read(np.arange(10))
    assert fields["present"].sum(1).tolist() == [2, 2, 2, 1, 2, 2, 2, 2, 2, 2]
    assert list(source.train.bad) == [f"{directory} train[3]: box 2"]
    torn = detection(tmp_path / "torn", kinds=(1,))
    text = refused(root=str(tmp_path / "torn"), size=24, budget=0)
    assert text.startswith(f"1 records cannot be used, data.budget allows 0; the first is {torn} train[0]: 2")
