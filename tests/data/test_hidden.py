"""Sets of which few examples have labels: who keeps one, what is hidden, and how often each is seen."""

import numpy as np
import pytest

from cnnjax.config import section
from cnnjax.data import DataError, Memory, Stream, assemble
from cnnjax.data.source import Part
from cnnjax.data.stream import with_few_labels
from cnnjax.train._sources import source_of

LABEL = np.arange(60, dtype=np.int32) % 3


def source(**more):
    train = Memory({"image": np.zeros((60, 2, 2, 1), np.uint8), "label": LABEL, **more})
    test = Memory({"image": np.zeros((6, 2, 2, 1), np.uint8), "label": LABEL[:6]})
    return assemble(train, test, test, names=("a", "b", "c"))


def test_as_many_of_each_class_keep_their_label_and_of_the_others_nothing_is_known():
    found = with_few_labels(source(), 4, 0)
    known, label = found.train.arrays["labelled"] > 0, found.train.arrays["label"]
    assert np.bincount(LABEL[known]).tolist() == [4, 4, 4] == list(found.facts.class_counts)
    assert (label[known] == LABEL[known]).all()
    assert not label[~known].any()
    assert found.facts.fields["labelled"] == ((), np.float32)
    assert found.eval is found.test
    assert "labelled" not in found.test.arrays
    again, other = (with_few_labels(source(), 4, seed).train.arrays["labelled"] for seed in (0, 1))
    assert (again == known).all()
    assert (other != known).any()


def test_half_of_each_batch_has_labels_and_both_halves_go_through_their_examples_in_turn():
    split = with_few_labels(source(), 4, 0).train
    known = np.flatnonzero(split.arrays["labelled"])
    with Stream(split, batch=10, seed=3, sampling="labelled") as stream:
        steps = [stream.indices(step) for step in range(24)]
        assert (stream.indices(7)["index"] == steps[7]["index"]).all()  # whatever was asked for before
    half, rest = (np.concatenate([batch["index"][first::2] for batch in steps]) for first in (1, 0))
    epoch = np.concatenate([batch["epoch"][1::2] for batch in steps])
    for turn in range(10):
        assert sorted(half[12 * turn : 12 * turn + 12]) == known.tolist()
        assert (epoch[12 * turn : 12 * turn + 12] == turn).all()
    for turn in range(2):
        assert sorted(rest[60 * turn : 60 * turn + 60]) == list(range(60))


def test_what_cannot_be_hidden_or_drawn_is_refused_in_one_line():
    with pytest.raises(DataError, match=r"data\.labelled is 21, but of 'a' there are 20 training examples"):
        with_few_labels(source(), 21, 0)
    with pytest.raises(DataError, match=r"'labelled', but no example is marked .* data\.labelled=N keeps"):
        Stream(source().train, batch=4, sampling="labelled")
    with pytest.raises(DataError, match=r"'labelled', but these data are streamed; data\.resident=yes"):
        Stream(Part(source().train, np.arange(60)), batch=4, sampling="labelled")
    for options, text in (
        ({"resident": "no"}, r"data\.labelled is 2, but these data are streamed; data\.resident=yes"),
        ({"sampling": "balanced"}, r"data\.sampling is 'balanced', but most labels are hidden"),
    ):
        data = section("data", "digits", labelled=2, **options)
        with pytest.raises(DataError, match=text):
            source_of({"data": data.to_dict()})
