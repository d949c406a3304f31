"""Balanced sampling: every class equally often, every example of it in turn, a function of (seed, step)."""

import numpy as np
import pytest

import cnnjax
from cnnjax.config import change
from cnnjax.data import DataError, Memory, Stream
from cnnjax.data._pictures import Pictures
from cnnjax.data.source import Part
from tests.sweep import points

LABELS = np.repeat([0, 2, 3], [50, 7, 3])  # no example of class 1


def split():
    return Memory({"image": np.arange(60.0)[:, None], "label": LABELS})


def drawn(batch, steps, *, of=None, **options):
    with Stream(of or split(), batch=batch, sampling="balanced", **options) as stream:
        found = stream.batches(0, steps)
    return found["index"].reshape(-1), found["epoch"].reshape(-1)


def test_every_class_comes_once_in_a_round_and_every_example_of_it_once_in_its_epoch():
    index, epoch = drawn(16, 30)
    rounds = LABELS[index[: 480 // 3 * 3]].reshape(-1, 3)
    np.testing.assert_array_equal(np.sort(rounds, 1), np.tile([0, 2, 3], (len(rounds), 1)))
    assert len({tuple(each) for each in rounds}) == 6
    for kind, count in ((0, 50), (2, 7), (3, 3)):
        mine = LABELS[index] == kind
        np.testing.assert_array_equal(epoch[mine], np.arange(mine.sum()) // count)
        whole = index[mine][: mine.sum() // count * count].reshape(-1, count)
        np.testing.assert_array_equal(np.sort(whole, 1), np.tile(np.flatnonzero(LABELS == kind), (len(whole), 1)))
    assert len({tuple(each) for each in index[LABELS[index] == 3][:36].reshape(-1, 3)}) > 3


def test_it_is_a_function_of_seed_and_step_however_one_comes_there():
    whole = drawn(7, 40)[0].reshape(40, 7)
    stream = Stream(split(), batch=7, sampling="balanced")
    for step in (33, 2, 39, 0):
        np.testing.assert_array_equal(stream.indices(step)["index"], whole[step])
    assert (drawn(7, 40, seed=1)[0].reshape(40, 7) != whole).any()
    np.testing.assert_array_equal(whole[0], [44, 59, 52, 57, 27, 55, 50])  # in every release


def test_streamed_splits_and_the_parts_of_hosts_follow_it():
    whole = drawn(12, 5)[0].reshape(5, 12)
    with Stream(Part(split(), np.arange(60)), batch=12, sampling="balanced", workers=0) as stream:
        batches = stream.batches(0, 5)
    np.testing.assert_array_equal(batches["index"], whole)
    np.testing.assert_array_equal(batches["label"], LABELS[whole])
    parts = [drawn(12, 5, part=(host, 3))[0].reshape(5, 4) for host in range(3)]
    np.testing.assert_array_equal(np.concatenate(parts, 1), whole)


class Encoded(Pictures):
    """Pictures of which only the labels can be read."""

    def __init__(self):
        super().__init__(60, shape=(1, 1, 1), depth=8, fit="", budget=0, train=True)

    def encoded(self, places):
        return [(OSError("not to be decoded"), {"label": LABELS[place]}) for place in places]


def test_labels_that_nobody_knows_are_read_without_decoding_a_picture():
    stream = Stream(Encoded(), batch=16, sampling="balanced", resident=True)
    np.testing.assert_array_equal(stream.batches(0, 4)["index"].reshape(-1), drawn(16, 4)[0])


def test_examples_without_labels_are_refused():
    with pytest.raises(DataError, match=r"data\.sampling is 'balanced', but the examples have no label to go by"):
        Stream(Memory({"image": np.zeros((4, 1))}), batch=2, sampling="balanced")


@pytest.mark.proofs
def test_a_training_sees_them_resident_or_streamed_bit_for_bit(tmp_path):
    config = change(points.get_config(), {"data.sampling": "balanced", "train.steps": 6, "eval.test": False})
    cnnjax.run(config, tmp_path / "resident")
    cnnjax.run(change(config, {"data.resident": "no", "data.workers": 0}), tmp_path / "streamed")
    assert points.lines(tmp_path / "resident") == points.lines(tmp_path / "streamed")
