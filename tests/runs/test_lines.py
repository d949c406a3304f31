"""metrics.jsonl has one reader, for runs that are finished, broken off, or being written."""

import json
import subprocess
import sys

from cnnjax.runs.lines import curves_of, is_number, lines_of, newest_lines, series_of, split_of

TRAIN = {"step": 4, "kind": "train", "loss": 2.0, "accuracy": None}
EVAL = {"step": 8, "kind": "eval", "split": "test", "loss": 1.0, "accuracy": 0.5}
EVENT = {"step": 8, "kind": "event", "name": "rolled back", "loss": 7.0}


def test_what_is_torn_or_no_line_of_a_run_is_left_out(tmp_path):
    whole = [json.dumps(line) for line in (TRAIN, EVAL, EVENT)]
    torn = '{"step": 12, "ki'
    text = "\n".join(
        [whole[0], "[1, 2]", '{"kind": "train"}', whole[1], '{"step": "x", "kind": "train"}', whole[2], torn]
    )
    (tmp_path / "metrics.jsonl").write_text(text)
    assert lines_of(tmp_path) == [TRAIN, EVAL, EVENT]
    assert newest_lines(tmp_path, 2) == [EVENT]
    assert lines_of(tmp_path / "nowhere") == []


def test_a_curve_is_of_one_split_and_of_what_is_finite(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (TRAIN, EVAL, EVENT)))
    assert curves_of(tmp_path, "test.accuracy") == ([8], [0.5])
    assert curves_of(tmp_path, "train.accuracy") == curves_of(tmp_path, "eval.loss") == ([], [])
    assert series_of([TRAIN, EVAL, EVENT], "loss") == {"train": ([4], [2.0]), "test": ([8], [1.0])}
    assert [split_of(line) for line in (TRAIN, EVAL, EVENT)] == ["train", "test", ""]
    assert [is_number(value) for value in (1, 0.5, float("nan"), None, True, "1")] == [True, True, *[False] * 4]


def test_reading_lines_needs_no_jax():
    code = "import sys, cnnjax.runs.lines; print('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
