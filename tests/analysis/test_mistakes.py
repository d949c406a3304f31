"""Confusions, what they say of each class, and calibration."""

import numpy as np
import pytest

import cnnjax
from cnnjax.analysis import (
    area_under_margin,
    calibration_error,
    confusion,
    confusion_sets,
    margins,
    most_confused,
    per_class,
    similarity_order,
)
from cnnjax.config import load
from tests.analysis.wrong_labels import wrong


def test_every_example_is_counted_in_the_row_of_its_class_and_the_column_of_its_prediction():
    counts = confusion([0, 0, 1, 2, 2], [0, 1, 1, 0, 2], classes=3)
    np.testing.assert_array_equal(counts, [[1, 1, 0], [0, 1, 0], [1, 0, 1]])


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"predictions go from 0 to 3; they must lie in 0 … 2"):
        confusion([0, 1], [0, 3], classes=3)
    with pytest.raises(ValueError, match=r"labels have shape \(2,\), predictions \(3,\)"):
        confusion([0, 1], [0, 1, 2], classes=3)


def test_each_class_has_precision_recall_f1_and_overlap_and_none_where_there_is_nothing_to_measure():
    found = per_class([[3, 1, 0], [1, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(found["count"], [4, 2, 0])
    np.testing.assert_allclose(found["precision"], [3 / 4, 1 / 2, np.nan])
    np.testing.assert_allclose(found["recall"], [3 / 4, 1 / 2, np.nan])
    np.testing.assert_allclose(found["f1"], [3 / 4, 1 / 2, np.nan])
    np.testing.assert_allclose(found["iou"], [3 / 5, 1 / 3, np.nan])
    with pytest.raises(ValueError, match=r"counts have shape \(2, 3\); they must be \(classes, classes\)"):
        per_class(np.zeros((2, 3)))


def test_the_most_frequent_mistake_comes_first_and_of_equals_that_of_the_rarer_class():
    assert most_confused([[9, 2, 0], [2, 0, 1], [0, 5, 0]]) == [(2, 1, 5), (1, 0, 2), (0, 1, 2), (1, 2, 1)]


def test_the_calibration_error_weighs_the_gap_of_each_bin_by_its_examples():
    bins = np.array([[0.0, 0, 0], [1.2, 2, 2], [7.2, 4, 8]])  # gaps 0.4 of 2 and 0.4 of 8 examples
    assert calibration_error(bins) == pytest.approx(0.4)
    assert np.isnan(calibration_error(np.zeros((15, 3))))
    with pytest.raises(ValueError, match=r"a calibration table has shape \(3,\); it must be \(bins, 3\)"):
        calibration_error(np.zeros(3))


def test_a_confusion_set_holds_what_explains_most_of_a_classs_mistakes():
    counts = [[90, 6, 3, 1, 0], [0, 10, 0, 0, 0], [2, 2, 2, 2, 2], [50, 40, 3, 0, 2], [1, 0, 0, 0, 9]]
    found = confusion_sets(counts)
    assert found[0] == [(1, 6), (2, 3)]  # 9 of 10; the third, which would make it all, was seen but once
    assert found[1] == []
    assert found[2] == [(0, 2), (1, 2), (3, 2), (4, 2)]  # of equals the first
    assert found[3] == [(0, 50), (1, 40), (2, 3)]  # 90 are less than 95 % of 95, 93 more
    assert found[4] == []
    assert confusion_sets(counts, least=1)[4] == [(0, 1)]
    assert confusion_sets(counts, most=1)[0] == [(1, 6)]
    assert confusion_sets(counts, share=0.5)[3] == [(0, 50)]
    with pytest.raises(ValueError, match="share"):
        confusion_sets(counts, share=1.5)


def test_classes_that_are_taken_for_each_other_stand_together():
    places = np.random.default_rng(0).permutation(12)
    distance = np.abs(places[:, None] - places)
    counts = (100 * np.exp(-1.5 * distance)).astype(int)  # a chain of classes, shuffled
    order = similarity_order(counts)
    walked = places[order]
    assert walked.tolist() in (list(range(12)), list(range(12))[::-1])
    assert order[0] < order[-1]
    np.testing.assert_array_equal(np.sort(similarity_order(np.diag([5, 0, 7, 9]))), range(4))  # nothing is confused
    np.testing.assert_array_equal(similarity_order([[3, 1], [1, 3]]), [0, 1])


def test_two_groups_of_classes_that_are_never_confused_come_one_after_the_other():
    counts = np.zeros((6, 6), int)
    for group in ([0, 2, 4], [1, 3, 5]):
        counts[np.ix_(group, group)] = 9
    order = similarity_order(counts).tolist()
    assert {frozenset(order[:3]), frozenset(order[3:])} == {frozenset({0, 2, 4}), frozenset({1, 3, 5})}


def test_a_margin_is_the_lead_of_the_true_class_and_its_area_the_mean_over_checkpoints():
    scores = np.random.default_rng(0).normal(size=(4, 9, 5))
    labels = np.arange(9) % 5
    for n, label in enumerate(labels):
        lead = [row[n, label] - max(np.delete(row[n], label)) for row in scores]
        np.testing.assert_allclose(margins(scores, labels)[:, n], lead)
        np.testing.assert_allclose(area_under_margin(scores, labels)[n], np.mean(lead))
    right = margins(scores, labels) > 0
    np.testing.assert_array_equal(right, scores.argmax(-1) == labels)
    with pytest.raises(ValueError, match=r"they must be \(…, N, K\) and \(N,\)"):
        margins(scores, labels[:3])
    with pytest.raises(ValueError, match=r"labels go from 0 to 5; they must lie in 0 … 4"):
        margins(scores[:, :2], np.array([0, 5]))


@pytest.mark.proofs
def test_of_3000_digits_with_a_wrong_label_the_largest_losses_and_least_areas_find_four_of_five(real, tmp_path):
    real("mnist")
    options = ("data.name=tests.analysis.wrong_labels:flipped", "model.activation=relu", "model.pool=max")
    run = ("train.epochs=2", "eval.epochs=1", "checkpoint.keep=4", "optimizer.lr=2e-3", "train.devices=1")
    flags = [f"--config.{word}" for word in (*options, *run, "report.page=false", "report.quiet=true")]
    trained = cnnjax.run(load("mnist", flags), tmp_path / "run")
    train = trained.source.train.arrays
    truth = cnnjax.data.mnist().train.arrays["label"]
    np.testing.assert_array_equal(train["label"], wrong(truth, 0.05))
    steps = sorted(int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir() if path.name.isdigit())
    told = [cnnjax.load(tmp_path / "run", checkpoint=str(step)).predict(train["image"]) for step in steps]
    scores = np.log(np.stack([each["probabilities"] for each in told]) + 1e-12)
    moved, own = train["label"] != truth, np.arange(len(truth))
    assert moved.sum() == 3000
    for worth in (scores[-1][own, train["label"]], area_under_margin(scores, train["label"])):
        assert moved[np.argsort(worth)[:3000]].mean() >= 0.8
