"""The table of a paper: seeds together, rows told by what differs."""

import csv
import io

from cnnjax.refusals import plain
from cnnjax.runs.summaries import short_names, summed_up
from cnnjax.runs.tables import aligned, as_csv

RUNS = [
    (
        {"model.name": name, "model.width": width, "optimizer.lr": 0.1, "seed": seed, "data.seed": 0},
        {"accuracy": 0.9 + 0.02 * seed + (name == "mlp") / 20, "loss": 0.5 + seed},
    )
    for name, width in (("lenet5", 6), ("mlp", 64))
    for seed in (0, 1)
]


def test_seeds_stand_in_one_row_which_is_told_by_what_differs_alone():
    table = summed_up(RUNS, ["accuracy", "loss"])
    assert table.paths == ("model.name",)  # a net's own options go without saying
    assert table.text().splitlines() == [
        "model    accuracy, %             loss  n",
        "lenet5  91.00 ± 1.41  1.0000 ± 0.7071  2",
        "mlp     96.00 ± 1.41  1.0000 ± 0.7071  2",
    ]
    wider = [({**options, "model.width": 9 + i // 2}, metrics) for i, (options, metrics) in enumerate(RUNS * 2)]
    assert summed_up(wider, ["loss"]).paths == ("model.name", "model.width")  # unless they tell rows apart


def test_the_same_table_is_written_for_a_readme_for_a_paper_and_for_a_program():
    table = summed_up([({"head.pool_kind": "max", **options}, metrics) for options, metrics in RUNS], ["accuracy"])
    assert table.as_markdown() == (
        "| model | accuracy, % | n |\n| --- | --- | --- |\n| lenet5 | 91.00 ± 1.41 | 2 |\n| mlp | 96.00 ± 1.41 | 2 |\n"
    )
    assert table.as_latex() == "\n".join(
        [
            r"\begin{tabular}{lrr}",
            r"\toprule",
            r"model & accuracy, \% & n \\",
            r"\midrule",
            r"lenet5 & 91.00 $\pm$ 1.41 & 2 \\",
            r"mlp & 96.00 $\pm$ 1.41 & 2 \\",
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )
    head, *rows = csv.reader(table.as_csv().splitlines())
    assert head == ["model.name", "accuracy", "accuracy deviation", "n"]
    assert [round(float(number), 4) for number in rows[0][1:]] == [0.91, 0.0141, 2]


def test_errors_in_a_unit_of_their_own_are_no_shares_however_small():
    runs = [({}, {"mae": 0.45, "loss": 0.5, "rand_error": 0.25, "accuracy": 0.5})]
    (row,) = summed_up(runs, ["mae", "loss", "rand_error", "accuracy"]).rows
    assert {name: str(value) for name, value in row.metrics.items()} == {
        "mae": "0.4500", "loss": "0.5000", "rand_error": "25.00", "accuracy": "50.00"
    }  # fmt: skip


def test_one_seed_has_no_deviation_and_what_no_run_has_measured_no_column():
    table = summed_up([RUNS[0]], ["accuracy", "top5"])
    assert table.cells == (["accuracy, %", "n"], [["90.00", "1"]])
    assert next(csv.reader(table.as_csv().splitlines()[1:])) == ["0.9", "", "1"]


def test_a_name_is_as_short_as_tells_it_from_the_others():
    paths = ("optimizer.lr", "optimizer.head.lr", "model.name", "model.backbone.name", "eval.batch")
    assert short_names(paths) == ["optimizer.lr", "head.lr", "model", "backbone", "batch"]
    escaped = summed_up([({"a.x_y": 1e-5, "b.x_y": k}, {"loss": 1.0}) for k in range(2)], ["loss"]).as_latex()
    assert escaped.splitlines()[2:5] == [r"x\_y & loss & n \\", r"\midrule", r"0 & 1.0000 & 1 \\"]


def test_a_cell_that_a_spreadsheet_would_run_is_quoted_and_numbers_stay():
    formulas = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "-"]
    harmless = ["a=b", "lr=0.1,seed=2", "", "-1.5", "+3e-05", "-0", "-inf", "'=1", "\\r=1"]
    numbers = [-1.5, -3, 0.1, None]
    text = as_csv(["=head", "value"], [[cell, -1] for cell in formulas + harmless])
    head, *rows = csv.reader(io.StringIO(text, newline=""))
    assert head == ["'=head", "value"]
    assert [row[0] for row in rows] == [f"'{cell}" for cell in formulas] + harmless
    assert as_csv(["n"], [[number] for number in numbers]) == 'n\n-1.5\n-3\n0.1\n""\n'


def test_names_that_begin_like_formulas_are_quoted_in_tables_for_papers():
    table = summed_up([({"model.name": name}, {"loss": -1.5}) for name in ("=HYPERLINK(1)", "mlp")], ["loss"])
    _, *rows = csv.reader(table.as_csv().splitlines())
    assert [row[:2] for row in rows] == [["'=HYPERLINK(1)", "-1.5"], ["mlp", "-1.5"]]


def test_escape_sequences_in_names_are_shown_and_not_obeyed():
    assert plain("\x1b[31mred\x1b]0;title\x07 \x9b2J a\rb \u202egnp \udcff\x7f") == (
        "\\x1b[31mred\\x1b]0;title\\x07 \\x9b2J a\\rb \\u202egnp \\udcff\\x7f"
    )
    assert plain("± mean – 3 × é\n\tend") == "± mean – 3 × é\n\tend"
    table = aligned(["name", "n"], [["\x1b[2Jcat", "1"], ["two\nlines", "2"]], left=1)
    assert table.splitlines() == ["name        n", "\\x1b[2Jcat  1", "two\\nlines  2"]
