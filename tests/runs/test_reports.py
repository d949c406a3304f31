"""What a run says: lines, events, the terminal, the picture; and loggers that really fail."""

import json
import math
import os
import pty
import re
import select
import struct
import subprocess
import sys
import threading
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.runs.curves import draw_curves
from cnnjax.runs.reports import Report
from cnnjax.runs.tables import readable, tabulate

NAN = float("nan")


def train(report, first, last, *, total=40):
    """Reports every tenth step and evaluates every twentieth, as the loop does."""
    for step in range(first + 10, last + 1, 10):
        report.live(step - 5)
        report.trained(step, 0.5)
        report.train(step, {"loss": 1 / step, "accuracy": step / total}, epoch=step / 5, batch=64)
        if step % 20 == 0:
            report.eval(step, "eval", {"loss": 2 / step, "accuracy": step / total - 0.1})


def written(workdir):
    """The lines of metrics.jsonl, read strictly."""

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    text = (workdir / "metrics.jsonl").read_text()
    assert text == "" or text.endswith("\n")
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def timeless(lines):
    return [{key: value for key, value in line.items() if key != "time"} for line in lines]


def scalars(workdir):
    """(file, step, tag, value) of every event, and (file, "purge", step); the framing and its checksums are checked."""
    from tensorboardX.crc32c import crc32c
    from tensorboardX.proto.event_pb2 import Event

    def masked(content):
        crc = crc32c(content)
        return ((crc >> 15) | (crc << 17)) + 0xA282EAD8 & 0xFFFFFFFF

    found = []
    for number, path in enumerate(sorted((workdir / "tensorboard").iterdir())):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (size,) = struct.unpack_from("<Q", content, at)
            body = content[at + 12 : at + 12 + size]
            assert struct.unpack_from("<I", content, at + 8)[0] == masked(content[at : at + 8])
            assert struct.unpack_from("<I", content, at + 12 + size)[0] == masked(body)
            at += 16 + size
            event = Event.FromString(body)
            if event.HasField("session_log"):
                found.append((number, "purge", event.step))
            found += [(number, event.step, value.tag, value.simple_value) for value in event.summary.value]
    return found


def test_every_report_is_a_line_with_all_that_varies_under_time(tmp_path):
    with Report(tmp_path, total_steps=40, quiet=True) as report:
        report.start(0)
        report.compiled(3.0, steps=2)
        train(report, 0, 20)
    first, second, third = written(tmp_path)
    assert timeless([first]) == [{"step": 10, "kind": "train", "epoch": 2.0, "loss": 0.1, "accuracy": 0.25}]
    assert first["time"].pop("at") > 0
    assert (first["time"].pop("line"), len(first["time"].pop("crc32"))) == (1, 8)
    # two of the ten steps were done while compiling
    assert first["time"] == {
        "examples_per_second": 1024.0,
        "step_ms": 62.5,
        "seconds": 0.5,
        "compile_seconds": 3.0,
    }
    assert second["time"]["step_ms"] == 50.0
    assert "compile_seconds" not in second["time"]
    assert timeless([third]) == [{"step": 20, "kind": "eval", "split": "eval", "loss": 0.1, "accuracy": 0.4}]


def test_what_is_not_finite_becomes_null_and_is_named(tmp_path):
    with Report(tmp_path, total_steps=1, quiet=True) as report:
        metrics = {"loss": NAN, "norm": jnp.inf, "per_class": np.array([0.5, np.nan]), "ok": np.float32(0.5), "n": 3}
        report.train(1, metrics, epoch=1.0, batch=1)
        assert report.last("train") == {"loss": None, "norm": None, "per_class": [0.5, None], "ok": 0.5, "n": 3}
    (line,) = written(tmp_path)
    assert line["not_finite"] == ["loss", "norm", "per_class"]
    logged = {tag: value for _, _, tag, value in scalars(tmp_path)}
    assert logged.keys() == {"train/loss", "train/norm", "train/ok", "train/n", "train/epoch"}
    assert math.isnan(logged["train/loss"])


def test_a_resumed_run_writes_the_lines_of_a_straight_one(tmp_path):
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    for workdir in (straight, resumed):
        workdir.mkdir()
    with Report(straight, total_steps=40, quiet=True) as report:
        report.start(0)
        train(report, 0, 40)
    with Report(resumed, total_steps=40, quiet=True) as report:
        report.start(0)
        train(report, 0, 30)
    with open(resumed / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 40, "ki')  # killed here; the last checkpoint was at step 20
    with Report(resumed, total_steps=40, quiet=True) as report:
        report.truncate(20)
        report.start(20)
        assert report.has(20, "eval")
        assert not report.has(30, "train")
        report.eval(20, "eval", {"loss": 0.1, "accuracy": 0.4})  # the same again changes nothing
        train(report, 20, 40)
    assert timeless(written(resumed)) == timeless(written(straight))


def test_a_torn_line_does_not_spoil_the_next(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "kind": "train", "loss": 1.0}\n{"step": 2, "ki')
    with Report(tmp_path, total_steps=3, quiet=True) as report:
        report.train(3, {"loss": 0.5}, epoch=1.0, batch=1)
        assert [line["step"] for line in report.lines()] == [1, 3]
    assert [line["step"] for line in written(tmp_path)] == [1, 3]


def test_rolling_back_drops_lines_and_keeps_its_event(tmp_path):
    with Report(tmp_path, total_steps=40, quiet=True) as report:
        report.start(0)
        train(report, 0, 30)
        for rollbacks in (1, 2):
            report.truncate(20)
            report.event(20, "rolled back", {"rollbacks": rollbacks})
            report.event(20, "rolled back", {"rollbacks": rollbacks})
        train(report, 20, 40)
    lines = written(tmp_path)
    assert [line["step"] for line in lines] == [10, 20, 20, 20, 20, 30, 40, 40]
    assert [line["rollbacks"] for line in lines if line["kind"] == "event"] == [1, 2]
    assert lines[5]["time"]["seconds"] == 0.5


def test_a_process_that_leaves_the_writing_to_another_touches_no_file(tmp_path, monkeypatch):
    nowhere, workdir = tmp_path / "null", tmp_path / "run"
    os.mkfifo(nowhere)
    workdir.mkdir()
    monkeypatch.setattr(os, "devnull", str(nowhere))
    monkeypatch.setattr("jax.process_index", lambda: 1)
    with Report(workdir, total_steps=40) as report:
        train(report, 0, 40)
        report.truncate(20)
        assert report.lines() == []
        assert report.mark() == report.last("train") == {}
        report.finish()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["null", "run"]
    assert nowhere.is_fifo()


def test_names_of_our_own_are_refused_as_metrics(tmp_path):
    with (
        Report(tmp_path, total_steps=1) as report,
        pytest.raises(ValueError, match=r"a metric can't be called 'step'; these names are taken: step, kind, split"),
    ):
        report.train(1, {"step": 1.0}, epoch=1.0, batch=1)


def test_tensorboard_reads_every_number_and_forgets_what_was_given_up(tmp_path):
    with Report(tmp_path, total_steps=40, quiet=True) as report:
        report.start(0)
        train(report, 0, 20)
        report.truncate(10)
        report.trained(20, 1.0)
        report.train(20, {"loss": 0.25}, epoch=4.0, batch=64)
    events = scalars(tmp_path)
    assert (0, 10, "train/loss", pytest.approx(0.1)) in events
    assert (0, 20, "eval/accuracy", pytest.approx(0.4)) in events
    assert (0, 10, "time/step_ms", 50.0) in events
    assert events.index((1, "purge", 11)) < events.index((1, 20, "train/loss", 0.25))
    assert not [thread for thread in threading.enumerate() if thread is not threading.main_thread()]


def test_no_tensorboard_unless_asked(tmp_path):
    with Report(tmp_path, total_steps=10, tensorboard=False, quiet=True) as report:
        train(report, 0, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_logger_that_fails_warns_once_and_stops_nothing(tmp_path, capsys):
    (tmp_path / "tensorboard").write_text("a file in the way")
    (tmp_path / "curves.png").mkdir()
    with Report(tmp_path, total_steps=40) as report:
        train(report, 0, 40)
        report.finish()
        report.finish()
    assert len(written(tmp_path)) == 6
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        "report: tensorboard failed (File exists); training goes on without it",
        "report: curves.png failed (Is a directory); training goes on without it",
    ]
    assert "accuracy" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "metrics.jsonl", "tensorboard"]


def run(code, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        check=False,
        **options,
    )


FULL = """
import resource, sys
from cnnjax.runs.reports import Report

with Report(sys.argv[1], total_steps=9, quiet=True) as report:
    for step in range(1, 10):
        limit = 250 if 3 <= step < 7 else -1  # the kernel takes half a line, then no more
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, -1))
        report.train(step, {"loss": step / 10}, epoch=step, batch=1)
        assert [line["step"] for line in report.lines()] == list(range(1, step + 1))
        if step == 6:
            report.truncate(5)
            report.train(6, {"loss": 0.6}, epoch=step, batch=1)
"""


@pytest.mark.doors
def test_lines_wait_while_the_disk_is_full(tmp_path):
    done = run(FULL, tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line["step"] for line in written(tmp_path)] == list(range(1, 10))
    said = done.stderr.splitlines()
    assert "report: metrics.jsonl failed (File too large); its lines wait in memory" in said
    assert len(said) == len(set(said)) == 2  # the other is tensorboard


PIPE = """
import sys
from cnnjax.runs.reports import Report

sys.stdin.readline()
with Report(sys.argv[1], total_steps=9) as report:
    for step in range(1, 10):
        report.train(step, {"loss": step / 10}, epoch=step, batch=1)
    report.finish(curves=False)
"""


@pytest.mark.doors
def test_a_reader_who_leaves_does_not_stop_the_run(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    done = run(PIPE, tmp_path, stdout=writer, input="\n")
    os.close(writer)
    assert (done.returncode, done.stderr) == (
        0,
        "report: the terminal failed (Broken pipe); training goes on without it\n",
    )
    assert len(written(tmp_path)) == 9


def test_elsewhere_than_on_a_terminal_every_report_is_a_line(tmp_path, capsys):
    with Report(tmp_path, total_steps=40) as report:
        report.start(0)
        report.compiled(3.21)
        train(report, 0, 20)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "compiled, first step done in 3.2 s"
    assert lines[1].startswith("step 10/40  loss 0.1000  accuracy 0.2500  1,280 examples/s  50.0 ms/step  0:")
    assert lines[1].endswith(" left")
    assert lines[3] == "eval 20/40  loss 0.1000  accuracy 0.4000"
    assert len(lines) == 4


def everything(terminal):
    """All that was written to a pseudo-terminal: it comes in as many pieces as the kernel likes."""
    shown = b""
    while select.select([terminal], [], [], 0.5)[0]:
        shown += os.read(terminal, 100_000)
    return shown.decode()


def test_on_a_terminal_the_line_lives_in_place(tmp_path, monkeypatch):
    master, slave = pty.openpty()
    with open(slave, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        patch.setenv("COLUMNS", "60")
        with Report(tmp_path, total_steps=40) as report:
            report.start(0)
            report.compiled(1.0)
            train(report, 0, 30)
        shown = everything(master)
    os.close(master)
    frames = shown.split("\r\x1b[K")
    assert frames[1] == "compiling …"
    assert frames[2] == "compiled, first step done in 1.0 s\r\n"
    assert re.fullmatch(r"step  5/40  0:\d\d left", frames[3])
    assert frames[4] == "step 10/40  loss 0.1000  accuracy 0.2500  1,280 examples/s "  # no longer than the terminal
    assert "eval 20/40  loss 0.1000  accuracy 0.4000\r\n" in frames
    assert shown.endswith("\r\n")
    assert shown.count("\n") == 3


def test_escape_sequences_in_what_a_report_is_told_are_shown_and_not_obeyed(tmp_path, capsys):
    with Report(tmp_path, total_steps=40) as report:
        report.note("12 examples of \x1b[2J\x1b]0;owned\x07cat")
        train(report, 0, 10)
    assert capsys.readouterr().out.splitlines()[0] == r"12 examples of \x1b[2J\x1b]0;owned\x07cat"


def test_a_quiet_report_says_nothing(tmp_path, capsys):
    with Report(tmp_path, total_steps=40, quiet=True) as report:
        report.start(0)
        report.compiled(3.21)
        report.note("hello")
        train(report, 0, 20)
        report.finish()
    assert capsys.readouterr() == ("", "")
    assert (tmp_path / "curves.png").exists()


def test_the_end_is_a_table_and_a_picture(tmp_path, capsys):
    with Report(tmp_path, total_steps=40) as report:
        report.start(0)
        report.compiled(1.5)
        train(report, 0, 40)
        report.eval(40, "test", {"loss": 0.0625, "accuracy": 0.875, "confusion": [[1, 2], [3, 4]]})
        capsys.readouterr()
        report.finish(notes=["look   tensorboard --logdir runs/a"])
    out = capsys.readouterr().out.splitlines()
    assert out[:5] == [
        "",
        "         loss  accuracy",
        "train  0.0250    1.0000",
        "eval   0.0500    0.9000",
        "test   0.0625    0.8750",
    ]
    assert out[6].endswith(" s training and measuring, 1.5 s compiling and first step")
    assert out[7] == "look   tensorboard --logdir runs/a"
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_wandb_is_asked_for_by_name_and_missed_by_name(tmp_path):
    try:
        import wandb  # noqa: F401
    except ImportError:
        with pytest.raises(ValueError, match=r"^report.wandb is 'digits', but wandb is not installed\n") as caught:
            Report(tmp_path, total_steps=1, wandb="digits")
        assert 'pip install "cnnjax[wandb]"' in str(caught.value)
    else:
        pytest.skip("wandb is installed")


def test_wandb_gets_every_number_when_asked(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is an extra")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for first, last in ((0, 20), (20, 40)):
        with Report(tmp_path, total_steps=40, wandb="digits", quiet=True, config={"seed": 0}) as report:
            train(report, first, last)
    runs = list((tmp_path / "wandb").glob("offline-run-*"))
    name = json.loads((tmp_path / "wandb.json").read_text())["id"]
    assert len(runs) == 2
    assert all(run.name.endswith(name) for run in runs)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [{"step": 1, "kind": "train", "loss": None}],
        [{"step": 1, "kind": "train", "loss": 0.0, "miou": 0.5}],
        [{"step": 0, "kind": "event", "name": "rolled back", "loss": 2.0}],
        [{"step": step, "kind": "eval", "split": "far away", "loss": 10.0**-step} for step in range(5)],
    ],
)
def test_curves_are_drawn_of_whatever_there_is(tmp_path, lines):
    draw_curves(lines, tmp_path / "curves.png", metric="miou")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_numbers_are_readable():
    values = (0.98765432, 0, 12_345, 1234.5678, 1e-5, NAN, None, np.float32(0.5), jnp.int32(3), 1e9, [1], "a")
    assert [readable(value) for value in values] == [
        *("0.9877", "0", "12,345", "1235", "1e-05", "nan", "nan", "0.5000", "3", "1e+09", "", "a")
    ]


def test_a_table_has_a_column_for_every_number_of_any_row():
    text = tabulate({"eval": {"loss": 0.5, "rows": [1]}, "test": {"loss": 12.25, "top5": 1.0}})
    assert text.splitlines() == ["         loss    top5", "eval   0.5000", "test  12.2500  1.0000"]
