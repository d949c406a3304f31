"""Confusion matrices."""

import numpy as np
import pytest

from cnnjax.analysis import confusion


def test_every_example_is_counted_in_the_row_of_its_class_and_the_column_of_its_prediction():
    counts = confusion([0, 0, 1, 2, 2], [0, 1, 1, 0, 2], classes=3)
    np.testing.assert_array_equal(counts, [[1, 1, 0], [0, 1, 0], [1, 0, 1]])


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"predictions go from 0 to 3; they must lie in 0 … 2"):
        confusion([0, 1], [0, 3], classes=3)
    with pytest.raises(ValueError, match=r"labels have shape \(2,\), predictions \(3,\)"):
        confusion([0, 1], [0, 1, 2], classes=3)
