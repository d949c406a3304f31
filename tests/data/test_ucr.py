"""Series of the UCR archive as their files are written, and what of them can't be read, by line."""

import gzip
import re

import numpy as np
import pytest

from cnnjax.data import check, ucr

HEAD = "# made\n@problemName Two\n@univariate false\n@classLabel true up down\n@data\n"


def pair(folder, train, test, ending="ts", name="Two"):
    for split, text in (("TRAIN", train), ("TEST", test)):
        file, data = folder / f"{name}_{split}.{ending}", text.encode()
        file.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    return str(folder / name)


def test_a_ts_file_gives_its_dimensions_and_the_classes_in_the_order_of_its_header(tmp_path):
    path = pair(tmp_path, f"{HEAD}1,2,3:4,5,6:down\n3,2,1:6,5,4:up\n", f"{HEAD}0,0,1:1,0,0:up\n", "ts.gz")
    for named in (path, str(tmp_path), f"{path}_TEST.ts.gz"):
        source = ucr(path=named)
    check(source, 1)
    assert source.facts.names == ("up", "down")
    np.testing.assert_array_equal(source.train.arrays["series"][0], [[1, 4], [2, 5], [3, 6]])
    np.testing.assert_array_equal(source.train.arrays["label"], [1, 0])
    np.testing.assert_array_equal(source.test.arrays["series"][0], [[0, 1], [0, 0], [1, 0]])
    assert source.test.name(0) == "Two_TEST.ts.gz, line 6,"


def test_a_tsv_file_has_the_class_in_front_and_numbers_are_in_their_order(tmp_path):
    path = pair(tmp_path, "10\t1\t2\n-1\t3\t4\n2\t5\t6\n", "  2.0000e+00  -1.5e+00 0.5\n", "tsv")
    source = ucr(path=path)
    assert source.facts.names == ("-1", "2", "10")
    np.testing.assert_array_equal(source.train.arrays["label"], [2, 0, 1])
    np.testing.assert_array_equal(source.test.arrays["series"][0], [[-1.5], [0.5]])
    assert source.test.arrays["label"] == [1]


def test_unequal_lengths_and_missing_values_are_brought_to_one_form_where_that_is_asked_for(tmp_path):
    path = pair(tmp_path, "1\t0\t2\t4\n2\t1\t2\tNaN\n", "1\t0\tNaN\t6\n", "tsv")
    padded = ucr(path=path, lengths="pad", missing="fill")
    np.testing.assert_array_equal(padded.train.arrays["series"][..., 0], [[0, 2, 4], [1, 2, 0]])
    np.testing.assert_array_equal(padded.test.arrays["series"][..., 0], [[0, 3, 6]])
    drawn_out = ucr(path=path, lengths="resample", missing="fill")
    np.testing.assert_array_equal(drawn_out.train.arrays["series"][..., 0], [[0, 2, 4], [1, 1.5, 2]])


FINE = "1\t0\t2\t4\n2\t1\t2\t3\n"
WRONG = [  # ending, training, test, what is said
    (
        "tsv",
        "1\t0\t2\t4\n2\t1\t2\tNaN\n",
        FINE,
        "Two_TRAIN.tsv, line 2: it has 2 steps, the longest of the training set 3",
    ),
    ("tsv", FINE, "1\t0\tNaN\t4\n", "Two_TEST.tsv, line 1: value 2 of dimension 1 is missing; set data.missing=fill"),
    ("tsv", FINE, "1\t0\tx\t4\n", "Two_TEST.tsv, line 1: 'x' is no number"),
    ("tsv", FINE, "\n3\t0\t1\t4\n", "Two_TEST.tsv, line 2: class '3'; those of the training set are 1, 2"),
    ("tsv", FINE, "\n", "Two_TEST.tsv has no series"),
    (
        "ts",
        f"{HEAD}1,2:1:up\n",
        f"{HEAD}1,2:1,2:up\n",
        "line 6: its dimensions must be equally long; they have 2, 1 values",
    ),
    ("ts", f"{HEAD}1,2:1,2:up\n", f"{HEAD}1,2:up\n", "Two_TEST.ts, line 6: it has 1 dimensions of 2 values, not 2"),
    ("ts", "1,2:up\n", HEAD, "Two_TRAIN.ts, line 1: values before @data"),
    ("ts", HEAD.replace("true", "false") + "1,2\n", HEAD, "@classLabel is false; series with classes are needed"),
]


@pytest.mark.parametrize(("ending", "train", "test", "said"), WRONG)
def test_what_is_no_such_series_is_refused_by_line(tmp_path, ending, train, test, said):
    path = pair(tmp_path, train, test, ending)
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        ucr(path=path)
    assert len(str(caught.value).splitlines()) <= 3


def test_a_path_that_leads_to_no_pair_says_what_there_is(tmp_path):
    pair(tmp_path, FINE, FINE, "tsv", "A")
    pair(tmp_path, FINE, FINE, "tsv", "B")
    with pytest.raises(ValueError, match=r"there is A, B$"):
        ucr(path=str(tmp_path))
    with pytest.raises(ValueError, match="there is no pair"):
        ucr(path=str(tmp_path / "C"))
    with pytest.raises(ValueError, match=r"data.path is empty; name the set"):
        ucr()
