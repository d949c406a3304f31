"""Windows of long series: split in the order of time, forecasts to be compared with, gaps named by line."""

import re

import numpy as np
import pytest

from cnnjax.data import check, latest_window, windows
from cnnjax.data.source import DataError


def written(path, lines, header="date,load"):
    path.write_text("\n".join([header, *lines]) + "\n")
    return str(path)


def days(count, values=(), missing=()):
    """Lines of successive days from 2 January 2020 on, but those that are missing."""
    values = values or range(count)
    dates = np.datetime64("2020-01-02") + np.arange(count)
    return [f"{date},{value}" for i, (date, value) in enumerate(zip(dates, values, strict=True)) if i not in missing]


def test_windows_are_cut_in_the_order_of_time_and_no_part_forecasts_what_another_does(tmp_path):
    path = written(tmp_path / "load.csv", days(60))
    source = windows(path=path, past=7, future=3, season=7, test=12, holdout=10)
    check(source, 1)
    assert source.facts.counts == {"train": 38 - 10 + 1, "eval": 10 - 3 + 1, "test": 12 - 3 + 1}
    assert source.facts.extra["seasonal_error"] == (7.0,)
    steps = {}
    for name in ("train", "eval", "test"):
        fields = getattr(source, name).arrays
        both = np.concatenate([fields["series"], fields["target"]], 1)[..., 0]
        np.testing.assert_array_equal(np.diff(both), 1)
        steps[name] = set(fields["target"].ravel().astype(int))
    assert steps == {"train": set(range(7, 38)), "eval": set(range(38, 48)), "test": set(range(48, 60))}
    assert windows(path=path, past=7, future=3, step=4).facts.counts["train"] == -(-(54 - 9) // 4)
    assert source.test.name(0) == "the window from line 43", "a header, then day 41"


def test_the_references_are_the_season_before_and_the_regression_that_scikit_learn_finds(tmp_path):
    linear = pytest.importorskip("sklearn.linear_model")
    draws, time = np.random.default_rng(0), np.arange(200)
    values = np.stack([np.sin(time / 2), 3 + np.cos(time / 3)], 1) + 0.1 * draws.normal(size=(200, 2))
    path = written(tmp_path / "two.csv", [f"{a:.9f};{b:.9f}" for a, b in values], "a;b")
    source = windows(path=path, past=6, future=4, season=3)
    train, test = source.train.arrays, source.test.arrays
    naive, fitted = np.moveaxis(test["references"], 1, 0)
    np.testing.assert_array_equal(naive, test["series"][:, [3, 4, 5, 3]])
    flat = [train[word].reshape(len(source.train), -1) for word in ("series", "target")]
    model = linear.LinearRegression().fit(*flat)
    told = model.predict(test["series"].reshape(len(test["series"]), -1)).reshape(fitted.shape)
    np.testing.assert_allclose(fitted, told, atol=1e-4)
    one = windows(path=path, past=6, future=4, season=3, columns=("b",))
    np.testing.assert_array_equal(one.test.arrays["series"][..., 0], test["series"][..., 1])
    error = np.abs(values[3:180, 1] - values[:177, 1]).mean()
    assert one.facts.extra["seasonal_error"] == pytest.approx((error,))


def test_gaps_are_left_out_or_filled_from_before_and_what_is_forecast_is_never_made_up(tmp_path):
    values = [*range(20), "", *range(21, 60)]
    path = written(tmp_path / "load.csv", days(60, values, missing=(30, 31)))
    out = windows(path=path, past=3, future=2, gaps="leave_out", test=12)
    both = np.concatenate([out.train.arrays["series"], out.train.arrays["target"]], 1)[..., 0]
    assert np.isfinite(both).all()
    assert not {20, 30, 31} & set(both.ravel().astype(int))
    filled = windows(path=path, past=3, future=2, gaps="fill", test=12).train.arrays
    seen, told = filled["series"][..., 0], filled["target"][..., 0]
    assert not {20, 30, 31} & set(told.ravel().astype(int))
    assert [18, 19, 19] in seen.tolist()
    assert [29, 29, 29] in seen.tolist()
    last = written(tmp_path / "new.csv", days(9, [*range(7), "", 8]))
    np.testing.assert_array_equal(latest_window(last, {"gaps": "fill"}, (3, 1)), [[6], [6], [8]])


@pytest.mark.parametrize(
    ("header", "line", "nothing"), [("load", "{}", ""), ("load", "{}", '""'), ("a,b", "{},{}", "")]
)
def test_an_empty_line_between_steps_without_times_is_a_gap_and_at_the_end_none(tmp_path, header, line, nothing):
    lines = [line.format(value, value) for value in range(40)]
    path = written(tmp_path / "one.csv", [*lines[:9], nothing, *lines[10:], "", " "], header)
    with pytest.raises(DataError, match=rf"one\.csv: no value in line 11, column '{header[0]}.*; fill it in"):
        windows(path=path, past=3, future=2)
    filled = windows(path=path, past=3, future=2, gaps="fill")
    assert [7, 8, 8] in filled.train.arrays["series"][..., 0].tolist()
    assert filled.test.arrays["target"][-1, -1, 0] == 39
    timed = written(tmp_path / "timed.csv", [*days(9), "", *days(40)[9:]])
    assert windows(path=timed, past=3, future=2).test.arrays["target"][-1, -1, 0] == 39, "its times say what is missing"


WRONG = [  # lines, options, what is said
    (days(60, [*range(20), "", *range(21, 60)]), {}, "load.csv: no value in line 22, column 'load'; fill it in"),
    (days(60, missing=(30, 31)), {}, "load.csv: no line for a step of time before line 32, and 1 more after it; fill"),
    (days(60, [*range(20), "n.a.", *range(21, 60)]), {}, "load.csv, line 22, column 'load': 'n.a.' is no number"),
    (days(60, [*range(20), '"3,5"', *range(21, 60)]), {}, "'3,5' is no number; decimals are written with a point"),
    ([*days(60), "2020-13-01,5"], {}, "load.csv, line 62: '2020-13-01' is no time; write 2024-01-31"),
    ([*days(60), "2020-01-05,5"], {}, "load.csv, line 62: its time is not after that of line 61; sort it"),
    ([*days(60), "2020-03-02"], {}, "load.csv, line 62: 1 columns, where the first line has 2"),
    ([*days(60), "2520-03-02,1", "252000-03-02,2"], {}, "is no time"),
    (days(60), {"season": 5, "past": 4}, "data.season is 5, but windows see 4 steps; set data.past=5 or more"),
    (days(60), {"past": 70}, "the series has 60 steps, of which data.test and data.holdout leave 54 to train on"),
    (days(60), {"future": 8}, "no window of 3 + 8 steps fits into the 6 steps of the test part"),
    (days(60), {"columns": ("laod",)}, "data.columns is 'laod'"),
    (days(60, [5] * 60), {}, "load.csv: a column does not change over 1 steps; leave it out of data.columns"),
    ([], {}, "load.csv has a header, but no line of numbers"),
]


@pytest.mark.parametrize(("lines", "options", "said"), WRONG)
def test_what_is_no_series_is_refused_by_line(tmp_path, lines, options, said):
    path = written(tmp_path / "load.csv", lines)
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        windows(**{"path": path, "past": 3, "future": 2, **options})
    assert len(str(caught.value).splitlines()) <= 3


def test_a_file_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"load\n1\n\xff\xfe\n")
    (tmp_path / "b.csv").write_text("")
    said = []
    for name in ("a.csv", "b.csv", "none.csv"):
        with pytest.raises(DataError) as caught:
            windows(path=str(tmp_path / name))
        said.append(str(caught.value))
    assert "a.csv, line 3: it is no text in UTF-8" in said[0]
    assert "b.csv is empty" in said[1]
    assert "none.csv can't be read: No such file" in said[2]
    with pytest.raises(DataError, match=r"data.path is empty; name the table"):
        windows()
