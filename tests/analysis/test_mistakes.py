"""Confusions, what they say of each class, and calibration."""

import numpy as np
import pytest

from cnnjax.analysis import calibration_error, confusion, most_confused, per_class


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
