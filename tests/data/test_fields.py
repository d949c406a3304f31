"""The words of a batch: every bad label is refused by split, record, word and value, in memory and as it is read."""

import dataclasses

import numpy as np
import pytest

from cnnjax.data import DataError, Memory, Source, Stream, arrays, assemble, check, from_arrays, passes
from cnnjax.fields import KINDS, WORDS, Facts, kind, of_kind

ROWS = 8
BAD = 5  # the example that is spoilt
EXTRA = {
    "segment_names": ("ground", "cat", "dog"),
    "point_names": ("left", "right", "nose"),
    "mirror": (1, 0, 2),
    "skeleton": ((0, 2), (1, 2)),
    "words": ("", "?", "a", "b"),
    "rate": 25.0,
    "reference_names": ("naive",),
    "seasonal_error": (0.5,),
}


def scenes():
    """Examples (8, 6, 9, 3) that have every word that a picture can have, all of them right."""
    rng = np.random.default_rng(0)
    box = np.array([1, 2, 4, 7], np.float32)
    corners = np.array([[1, 2], [1, 7], [4, 7], [4, 2]], np.float32)
    there = np.tile(np.array([1, 0], np.float32), (ROWS, 1))
    instances = np.zeros((ROWS, 6, 9), np.uint8)
    instances[:, 1:4, 2:7] = 1
    instances[:, 0, 0] = 255
    return {
        "image": rng.integers(0, 256, (ROWS, 6, 9, 3), dtype=np.uint8),
        "tokens": rng.integers(0, 4, (ROWS, 5)).astype(np.int32),
        "label": (np.arange(ROWS) % 3).astype(np.int32),
        "target": np.eye(3, dtype=np.float32)[np.arange(ROWS) % 3],
        "probabilities": np.eye(3, dtype=np.float32)[np.arange(ROWS) % 3],
        "masks": np.stack([instances == 1, instances == 2], 1).astype(np.float32),
        "scores": there * np.float32(0.5),
        "segments": rng.choice(np.array([0, 1, 2, 255], np.int32), (ROWS, 6, 9)),
        "instances": instances,
        "boxes": np.tile(np.stack([box, 0 * box]), (ROWS, 1, 1)),
        "classes": np.zeros((ROWS, 2), np.int32),
        "present": there,
        "ignored": 1 - there,
        "areas": there * np.float32(15),
        "pixel_area": np.full(ROWS, 2.25, np.float32),
        "corners": np.tile(np.stack([corners, 0 * corners]), (ROWS, 1, 1, 1)),
        "heights": np.tile(np.array([[0, 1.5], [0, 0]], np.float32), (ROWS, 1, 1)),
        "points": np.tile(np.array([[2, 3], [2, 6], [4, 4]], np.float32), (ROWS, 1, 1)),
        "visible": np.ones((ROWS, 3), np.float32),
        "group": np.arange(ROWS, dtype=np.int32) // 2,
        "labelled": np.ones(ROWS, np.float32),
        "valid": np.ones(ROWS, np.float32),
    }


def spoilt(word, place, value):
    fields = scenes()
    if word == "image":
        fields["image"] = fields["image"].astype(np.float32) / 255
    fields[word][(BAD, *place)] = value
    return fields


def streamed(fields, **more):
    """A set whose training split is read from somewhere, one whose arrays are not looked at whole."""

    class Somewhere(Memory):
        resident = False

    extra = {name: EXTRA[name] for name in more.pop("extra", EXTRA)}
    train, test = Somewhere(fields), Memory(scenes())
    return assemble(train, test, test, names=("a", "b", "c"), extra=extra)


WRONG = [  # word, place in the example, value; what the message says after the record's name
    ("image", (0, 0, 1), 1.5, "image 1.5; floats go from 0 to 1: divide by the largest there can be"),
    ("image", (0, 0, 1), -0.1, "image -0.1; floats go from 0 to 1: divide by the largest there can be"),
    ("label", (), 3, "label 3; labels go from 0 to 2"),
    ("label", (), -1, "label -1; labels go from 0 to 2"),
    ("tokens", (2,), 4, "tokens 4; tokens go from 0 to 3"),
    ("tokens", (2,), -1, "tokens -1; tokens go from 0 to 3"),
    ("target", (0,), -0.5, "target -0.5; shares of classes are not negative"),
    ("target", (), 0.5, "target [0.5 0.5 0.5]; shares of classes sum to 1"),
    ("target", (1,), np.nan, "values of target that are not finite"),
    ("probabilities", (0,), -0.5, "probabilities -0.5; probabilities are not negative"),
    ("probabilities", (), 0.5, "probabilities [0.5 0.5 0.5]; probabilities sum to 1"),
    ("masks", (1, 2, 3), 2, "masks 2.0; masks go from 0 to 1"),
    ("segments", (3, 4), 3, "segments 3; segments go from 0 to 2, and 255 where they count nowhere"),
    ("segments", (3, 4), -3, "segments -3; segments go from 0 to 2, and 255 where they count nowhere"),
    ("instances", (5, 8), 2, "instances 2; instances are 0, 255, or n for the n-th of the 2 rows of boxes"),
    ("instances", (5, 8), 3, "instances 3; instances are 0, 255, or n for the n-th of the 2 rows of boxes"),
    ("boxes", (0,), (4, 2, 1, 7), "boxes [4 2 1 7]; boxes are y0 x0 y1 x1 with y0 < y1 and x0 < x1"),
    ("boxes", (0,), (1, 2, 1, 7), "boxes [1 2 1 7]; boxes are y0 x0 y1 x1 with y0 < y1 and x0 < x1"),
    ("boxes", (0,), (1, 2, 6.6, 7), "boxes [1 2 6.6 7]; boxes lie in the picture of 6×9 pixels, to 0.5 pixels"),
    ("boxes", (0,), (-0.6, 2, 4, 7), "boxes [-0.6 2 4 7]; boxes lie in the picture of 6×9 pixels, to 0.5 pixels"),
    ("boxes", (1, 3), np.inf, "values of boxes that are not finite"),
    ("classes", (0,), 7, "classes 7; classes go from 0 to 2"),
    ("present", (1,), 2, "present 2.0; it must be 0 or 1"),
    ("ignored", (0,), 0.5, "ignored 0.5; it must be 0 or 1"),
    ("visible", (1,), -1, "visible -1.0; it must be 0 or 1"),
    ("valid", (), 0.5, "valid 0.5; it must be 0 or 1"),
    ("areas", (0,), -1, "areas -1.0; areas are not negative"),
    ("pixel_area", (), 0, "pixel_area 0.0; a pixel covers more than nothing"),
    ("corners", (0, 2), (5, 11), "corners [1 2 1 7 4 2 4 7]"),
    ("heights", (0,), (2, 1), "heights [2 1]; heights are z0 z1, z0 <= z1"),
    ("points", (1,), (1e9, 2), "points [1e+09 2]; visible points lie in the picture of 6×9 pixels, to 0.5 pixels"),
    ("points", (1,), (2, -1.1), "points [2 -1.1]; visible points lie in the picture of 6×9 pixels, to 0.5 pixels"),
    ("points", (1, 0), np.nan, "values of points that are not finite"),
    ("labelled", (), 2, "labelled 2.0; it must be 0 or 1"),
    ("group", (), -2, "group -2; groups are 0 or more"),
]


@pytest.mark.parametrize(("word", "place", "value", "text"), WRONG)
def test_a_bad_label_is_refused_by_split_record_word_and_value(word, place, value, text):
    if word == "corners":
        place, value = (0,), ((1, 2), (1, 7), (4, 2), (4, 7))  # not one after the other
    fields = spoilt(word, place, value)
    for train, test, split in ((fields, scenes(), "train"), (scenes(), fields, "test")):
        with pytest.raises(DataError) as refused:
            from_arrays(train, test, names=("a", "b", "c"), extra=EXTRA)
        assert str(refused.value).startswith(f"{split}: example {BAD} has {text}"), refused.value
        assert refused.value.exit_code == 3
    with pytest.raises(DataError) as refused:
        check(streamed(fields), 1)
    assert str(refused.value).startswith(f"train: example {BAD} has {text}")


def test_every_word_with_a_rule_is_tried():
    ruled = {name for name, word in WORDS.items() if word.check.__name__ != "<lambda>"}
    assert {word for word, *_ in WRONG} >= ruled - {"video"}
    fields = {"video": np.full((ROWS, 2, 6, 9, 3), 255.0), "label": np.zeros(ROWS, int)}
    with pytest.raises(DataError, match=r"train: example 0 has video 255\.0; floats go from 0 to 1"):
        from_arrays(fields, fields)


def test_what_is_right_to_half_a_pixel_or_only_pads_is_taken():
    fields = scenes()
    fields["boxes"][0, 0] = (-0.5, -0.5, 6.5, 9.5)
    fields["points"][0, 0] = (-1, 9)
    fields["points"][1, 1], fields["visible"][1, 1] = (99, 99), 0
    fields["boxes"][2, 1] = (7, 7, 3, 3)  # not present
    fields["probabilities"] = np.full((ROWS, 6, 9, 2), 0.5, np.float32)
    fields["probabilities"][:, :2] = 0  # around the picture that was looked at
    fields["corners"][3, 0] = np.round(3 + 2.2 * np.array([[-1, -0.3], [0.3, -1], [1, 0.3], [-0.3, 1]]))
    assert from_arrays(fields, scenes(), names=("a", "b", "c"), extra=EXTRA).facts.classes == 3


def test_labels_of_what_is_not_valid_are_not_looked_at():
    fields = spoilt("label", (), 99)
    fields["valid"][BAD] = 0
    check(streamed(fields), 1)


@pytest.mark.parametrize(
    ("word", "value", "text"),
    [
        ("segments", np.zeros((ROWS, 6, 8), int), "segments has shape (6, 8) an example; it must be (6, 9)"),
        ("instances", np.zeros((ROWS, 5, 9), int), "instances has shape (5, 9) an example; it must be (6, 9)"),
        ("boxes", np.zeros((ROWS, 7, 2, 4)), "boxes has shape (7, 2, 4) an example; it must be (2, 4)"),
        ("classes", np.zeros((ROWS, 3), int), "classes has shape (3,) an example; it must be (2,)"),
        ("points", np.zeros((ROWS, 3, 3)), "points has shape (3, 3) an example; it must be (3, 2)"),
        ("visible", np.zeros((ROWS, 2)), "points has shape (3, 2) an example; it must be (2, 2)"),
        ("target", np.zeros((ROWS, 4)), "target has shape (4,) an example; it must be (3,) or (L, C)"),
        (
            "probabilities",
            np.zeros((ROWS, 6, 8, 3)),
            "probabilities has shape (6, 8, 3) an example; it must be (6, 9, L) or (3,)",
        ),
        ("masks", np.zeros((ROWS, 2, 6, 8)), "masks has shape (2, 6, 8) an example; it must be (2, 6, 9)"),
        ("scores", np.zeros((ROWS, 3)), "scores has shape (3,) an example; it must be (2,)"),
        ("segments", np.zeros((ROWS, 6, 9)), "segments has type float32; give whole numbers"),
        ("classes", np.zeros((ROWS, 2)), "classes has type float32; give whole numbers"),
    ],
)
def test_a_label_of_another_shape_or_type_is_refused(word, value, text):
    fields = scenes() | {word: value}
    with pytest.raises(DataError) as refused:
        from_arrays(fields, fields, names=("a", "b", "c"), extra=EXTRA)
    assert str(refused.value) == f"train: {text}"


@pytest.mark.parametrize(("kind", "value"), [(np.int64, 2**32), (np.uint64, 2**63), (np.uint32, 2**32 - 1)])
@pytest.mark.parametrize("word", ["label", "group", "segments", "classes", "tokens"])
def test_whole_numbers_beyond_32_bits_are_refused_and_not_wrapped(word, kind, value):
    fields = scenes()
    fields[word] = fields[word].astype(kind)
    fields[word][BAD] = value
    with pytest.raises(DataError, match=rf"test: example {BAD} has {word} {value}; whole numbers have 32 bits"):
        from_arrays(scenes(), fields, names=("a", "b", "c"), extra=EXTRA)
    if word in ("label", "segments"):  # those that would be counted
        with pytest.raises(DataError, match=rf"train: example {BAD} has {word} {value}; without names there are at"):
            from_arrays(fields, fields)


@pytest.mark.parametrize("split", ["eval", "test"])
def test_segments_of_a_class_that_training_lacks_are_refused(split):
    lacking, whole = scenes(), scenes()
    lacking["segments"][lacking["segments"] == 2] = 1
    whole["segments"][BAD, 3, 4] = 2
    splits = {"eval": lacking, "test": lacking} | {split: whole}
    with pytest.raises(DataError) as refused:
        from_arrays(lacking, splits["test"], splits["eval"], names=("a", "b", "c"))
    assert "has segments 2; segments go from 0 to 1, and 255 where they count nowhere" in str(refused.value)
    assert str(refused.value).startswith(f"{split}: example")


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_streamed_is_checked_as_it_is_read(workers):
    """Beforehand only 32 examples are looked at: these are 80, and the bad one is none of them."""
    fields = {name: np.repeat(value, 10, 0) for name, value in scenes().items()}
    fields["boxes"][51, 0] = (4, 2, 1, 7)
    source = streamed_from_here(fields)
    check(source, 1)
    text = r"train: example 51 has boxes \[4 2 1 7\]; boxes are y0 x0"
    with Stream(source.train, batch=80, workers=workers) as stream, pytest.raises(DataError, match=text):
        stream.batches(0)
    with pytest.raises(DataError, match=text):
        list(passes(source.train, 16, workers=workers))


class Elsewhere:
    """A split that a worker process can be sent."""

    resident = False

    def __init__(self, fields):
        self.fields = fields

    def __len__(self):
        return len(self.fields["image"])

    def read(self, indices):
        return {name: value[indices] for name, value in self.fields.items()}


def streamed_from_here(fields):
    return assemble(Elsewhere(fields), Memory(scenes()), Memory(scenes()), names=("a", "b", "c"), extra=EXTRA)


def test_a_source_made_by_hand_teaches_its_splits_too():
    made = streamed(scenes())
    source = Source(Elsewhere(spoilt("label", (), 9)), made.eval, made.test, made.facts)
    with Stream(source.train, batch=8, workers=0) as stream, pytest.raises(DataError, match="train: example 5 has lab"):
        stream.batches(0)


def test_segments_of_a_streamed_set_need_names_for_they_are_not_counted():
    with pytest.raises(DataError, match=r"give extra=\{'segment_names'"):
        streamed(scenes(), extra=("words",))


def test_instances_without_boxes_and_mirrors_of_other_points_are_refused():
    fields = scenes()
    for word in ("boxes", "classes", "present", "corners", "heights"):
        del fields[word]
    with pytest.raises(DataError, match=r"train: example 0 has instances 1; .* n-th of the 0 rows of boxes"):
        from_arrays(fields, fields, names=("a", "b", "c"), extra=EXTRA)
    with pytest.raises(DataError, match=r"facts.extra\['mirror'\] orders 2 points, but there are 3"):
        from_arrays(scenes(), scenes(), names=("a", "b", "c"), extra=EXTRA | {"mirror": (1, 0)})


def test_facts_say_shape_and_type_of_every_word_and_what_the_set_knows_beside():
    facts = from_arrays(scenes(), scenes(), names=("a", "b", "c"), extra=EXTRA).facts
    assert facts.fields["boxes"] == ((2, 4), np.float32)
    assert facts.fields["segments"] == ((6, 9), np.int32)
    assert (facts.shape, facts.classes) == ((6, 9, 3), 3)
    assert facts.extra == EXTRA
    assert (facts.black, facts.white) == ((0.0,) * 3, (1.0,) * 3)


def test_classes_of_boxes_are_counted_where_there_is_no_label():
    fields = {name: value for name, value in scenes().items() if name not in ("label", "target", "probabilities")}
    fields["classes"][3, 0] = 4
    assert from_arrays(fields, fields, extra=EXTRA).facts.names == ("0", "1", "2", "3", "4")
    with pytest.raises(DataError, match="test: example 3 has classes 4; classes go from 0 to 1"):
        from_arrays({**fields, "classes": 0 * fields["classes"]}, fields, names=("a", "b"), extra=EXTRA)


def test_an_npz_file_gives_every_word_and_every_fact(tmp_path):
    plain = {name: np.array(value) for name, value in EXTRA.items()}
    splits = {f"{split}_{name}": value for split in ("train", "test") for name, value in scenes().items()}
    np.savez(tmp_path / "set.npz", names=np.array(["a", "b", "c"]), **plain, **splits)
    facts = arrays(path=str(tmp_path / "set.npz")).facts
    assert facts.extra == EXTRA
    assert set(facts.fields) == set(scenes()) - {"valid"}


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        (
            {"segments": 3},
            "facts.extra has 'segments'; nearest: segment_names; allowed: class_ids, mirror, point_names",
        ),
        ({"miror": (0,)}, "facts.extra has 'miror'; nearest: mirror"),
        (
            {"mirror": (1, 2, 0)},
            "facts.extra['mirror'] is (1, 2, 0): it must name every point once, and twice mirrored",
        ),
        ({"mirror": (0, 0)}, "facts.extra['mirror'] is (0, 0): it must name every point once"),
        ({"skeleton": ((0, 1, 2),)}, "facts.extra['skeleton'] is ((0, 1, 2),): it must be pairs of numbers of points"),
        ({"rate": 0}, "facts.extra['rate'] is 0: it must be positive"),
    ],
)
def test_other_facts_are_refused_with_the_nearest(extra, text):
    with pytest.raises(ValueError, match=r"facts\.extra") as refused:
        Facts(extra=extra)
    assert str(refused.value).startswith(text)
    with pytest.raises(DataError, match=r"facts\.extra"):
        from_arrays(scenes(), scenes(), names=("a", "b", "c"), extra=extra)


def test_facts_that_contradict_themselves_are_refused():
    facts = from_arrays(scenes(), scenes(), names=("a", "b", "c"), extra=EXTRA).facts
    with pytest.raises(ValueError, match=r"facts.shape is \(6, 9, 3\), but fields and names say \(4, 4, 3\)"):
        dataclasses.replace(facts, fields={"image": ((4, 4, 3), np.uint8)})


def test_every_word_has_kinds_of_the_table_and_the_inputs_are_words():
    for name, word in WORDS.items():
        for shape, its in word.shapes.items():
            assert its in KINDS, name
            assert "sizes" in shape or kind(name, len(shape)) == its
    assert set(of_kind("picture", "curve", "tokens")) == {"image", "video", "series", "tokens"}
    assert kind("mine", 0) == "record"
    assert kind("mine", 2) == "own"


def test_examples_of_one_group_are_held_out_and_tested_together(tmp_path):
    rng = np.random.default_rng(0)
    group = rng.permutation(np.repeat(np.arange(0, 90, 3), 5))
    many = {"image": np.zeros((150, 4, 4, 1), np.uint8), "label": group % 2, "group": group}
    source = from_arrays(many, many, holdout=33)
    held, rest = source.eval.arrays["group"], source.train.arrays["group"]
    assert len(held) == 30, "as many whole groups as fit"
    assert not set(held) & set(rest)
    again = from_arrays(many, many, holdout=33)
    np.testing.assert_array_equal(again.eval.arrays["group"], held)
    np.savez(tmp_path / "set.npz", **many)
    source = arrays(path=str(tmp_path / "set.npz"))
    assert len(source.test) == 30
    assert not set(source.test.arrays["group"]) & set(source.train.arrays["group"])
    with pytest.raises(DataError, match=r"data.holdout is 3; the examples come in 30 groups that stay together"):
        from_arrays(many, many, holdout=3)
    train, test = Elsewhere(scenes()), Memory(scenes())
    with pytest.raises(DataError, match=r"data.holdout is 2, but groups of a streamed set can't be kept together"):
        assemble(train, test, test, holdout=2, names=("a", "b", "c"), extra=EXTRA)
