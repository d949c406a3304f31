"""Tables are written whole, and drawn when the run is complete."""

import matplotlib.image
import numpy as np
import pytest

from cnnjax.runs.pictures import draw_tables, tables_figure
from cnnjax.runs.reports import Report
from cnnjax.runs.tables import numbers_and_tables

CONFUSION = np.array([[9, 1, 0], [0, 10, 0], [5, 0, 5]])
CALIBRATION = np.array([[0.0, 0, 0], [3.0, 2, 4], [9.0, 8, 10]])  # sums of confidences, right ones, all
PRECISION = np.linspace(1, 0, 101)[None].repeat(3, 0)


def test_what_has_an_axis_is_a_table():
    numbers, tables = numbers_and_tables({"loss": 0.5, "one": np.float32(1), "rows": [1, 2], "confusion": CONFUSION})
    assert numbers == {"loss": 0.5, "one": 1.0}
    assert {name: table.shape for name, table in tables.items()} == {"rows": (2,), "confusion": (3, 3)}


@pytest.mark.parametrize(
    "tables",
    [
        {"confusion": CONFUSION, "calibration": CALIBRATION, "precision": PRECISION},
        {"confusion": np.zeros((60, 60))},
        {"calibration": np.zeros((5, 3)), "few": np.arange(4.0), "cube": np.zeros((2, 2, 2))},
    ],
)
def test_every_table_is_drawn_beside_the_others(tables, tmp_path):
    draw_tables(tables, tmp_path / "tables-test.png", names=("cat", "dog", "cow"))
    height, width = matplotlib.image.imread(tmp_path / "tables-test.png").shape[:2]
    assert width / height == pytest.approx(5.6 / 4.8 * sum(table.ndim < 3 for table in tables.values()), rel=0.01)


def test_lines_are_called_by_what_their_rows_are_and_steps_are_counted_from_one():
    tables = {"pck": np.tile(np.linspace(0, 1, 5), (2, 1)), "mae_by_step": np.array([[0.3, 0.5, 0.7]])}
    figure = tables_figure(tables, names=("cat", "dog"), lines={"pck": ("elbow", "wrist")})
    points, errors = figure.axes
    assert [text.get_text() for text in points.get_legend().get_texts()] == ["elbow", "wrist"]
    np.testing.assert_array_equal(errors.lines[0].get_xdata(), [1, 2, 3])
    assert (errors.get_xlabel(), errors.get_ylabel(), errors.get_ylim()[0]) == ("step ahead", "mae", 0)


def test_a_calibration_shows_how_far_each_bin_is_from_its_confidence():
    (axes,) = tables_figure({"calibration": CALIBRATION}).axes
    right, gaps = axes.containers
    np.testing.assert_allclose([bar.get_height() for bar in right], [0.5, 0.8])
    np.testing.assert_allclose([bar.get_height() for bar in gaps], [0.25, 0.1])
    np.testing.assert_allclose([bar.get_y() for bar in gaps], [0.5, 0.8])
    assert "gap to the confidence, 0.143 on the mean" in [text.get_text() for text in axes.get_legend().get_texts()]


def test_tables_without_a_picture_make_no_file(tmp_path):
    tables = {"cube": np.zeros((2, 2, 2)), "confusion": np.zeros((1001, 1001), np.int8), "none": np.zeros((0, 3))}
    draw_tables(tables, tmp_path / "tables-test.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("curves", [True, False])
def test_a_report_keeps_the_newest_tables_of_a_split_and_draws_them_at_the_end_if_it_draws(curves, tmp_path):
    with Report(tmp_path, total_steps=2, tensorboard=False, quiet=True) as report:
        report.tables("eval", {"confusion": CONFUSION * 2})
        report.tables("eval", {"confusion": CONFUSION, "calibration": CALIBRATION})
        report.tables("test", {})
        assert {path.name for path in tmp_path.iterdir()} == {"tables-eval.npz"}
        report.finish(curves=curves)
    with np.load(tmp_path / "tables-eval.npz") as kept:
        np.testing.assert_array_equal(kept["confusion"], CONFUSION)
        np.testing.assert_array_equal(kept["calibration"], CALIBRATION)
    pictures = {"tables-eval.png", "curves.png"} if curves else set()
    assert {path.name for path in tmp_path.iterdir()} == {"tables-eval.npz"} | pictures


def test_tables_that_cannot_be_written_are_told_once_and_stop_nothing(tmp_path, capsys):
    with Report(tmp_path / "none", total_steps=2, tensorboard=False, quiet=True) as report:
        for _ in range(2):
            report.tables("eval", {"confusion": CONFUSION})
    path = tmp_path / "none" / "tables-eval.npz"
    said = f"report: the file of tables failed ({path}: No such file or directory); training goes on without it\n"
    assert capsys.readouterr().err == said
