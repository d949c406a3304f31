"""metrics.jsonl is the truth: whatever is done to it is said, by step, and takes no more than it has touched."""

import json
import os
import re
import shutil

import numpy as np
import pytest

from cnnjax.runs.checkpoints import Checkpoints
from cnnjax.runs.json_files import read_status
from cnnjax.runs.lines import curves_of, faults_of, lines_of
from cnnjax.runs.reports import Report
from cnnjax.runs.workdir import WorkdirLocked, hold, write_status
from tests.runs.test_reports import train, written

STEPS, TREE = 120, {"x": np.arange(3.0)}


def timeless(lines):
    return [{key: value for key, value in line.items() if key != "time"} for line in lines]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run of 19 lines: checkpoints at 60 (9 lines) and 120 (18), and the test line behind them."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    workdir.mkdir()
    with Report(workdir, total_steps=STEPS, tensorboard=False, quiet=True) as report, Checkpoints(workdir) as saved:
        for first in (0, 60):
            train(report, first, first + 60, total=STEPS)
            saved.save(first + 60, TREE, log=report.mark(), wait=True)
        report.eval(STEPS, "test", {"loss": 0.5, "accuracy": 0.9})
        write_status(workdir, "complete", step=STEPS, detail={"lines": report.mark()["lines"]})
    return workdir


def resume(workdir):
    """What the report says and holds once its run goes on from the newest checkpoint."""
    with Checkpoints(workdir) as saved, Report(workdir, total_steps=STEPS, tensorboard=False, quiet=True) as report:
        status = read_status(workdir)
        step = saved.restore(TREE)[0]
        known = status.get("lines", 0) if status.get("step") == step else 0
        report.truncate(step, saved.log_at(step), known=known)
        if not report.has(STEPS, "test"):
            report.eval(STEPS, "test", {"loss": 0.5, "accuracy": 0.9})  # it is measured again
        return report.lines()


def numbers_in(words):
    """The numbers of the lines that words say are lost."""
    pairs = re.findall(r"line (\d+) \([^)]*\) is lost|lines (\d+) to (\d+) \([^)]*\) are lost", words)
    return {n for one, first, last in pairs for n in range(int(one or first), int(one or last) + 1)}


def flip(line, offset, bit=1):
    """A bit of a line is flipped, `offset` bytes behind its beginning or, below 0, before its end."""

    def act(text):
        lines = text.splitlines(keepends=True)
        changed = bytearray(lines[line])
        changed[offset] ^= bit
        return b"".join([*lines[:line], bytes(changed), *lines[line + 1 :]])

    return act


def each(change):
    """A change of the list of lines."""
    return lambda text: b"".join(change(text.splitlines(keepends=True)))


def put(line, content):
    return each(lambda lines: [*lines[:line], content, *lines[line + 1 :]])


def insert(line, content):
    return each(lambda lines: [*lines[:line], content, *lines[line:]])


def swapped(a, b):
    def change(lines):
        lines[a], lines[b] = lines[b], lines[a]
        return lines

    return each(change)


def edited(line, old, new):
    return each(lambda lines: [each.replace(old, new) if n == line else each for n, each in enumerate(lines)])


DAMAGES = {
    "a bit of the first line's step": flip(0, 9),
    "a bit of a loss": flip(4, 44),
    "a high bit, which is no UTF-8": flip(7, 20, 128),
    "a brace": flip(3, 0),
    "a bit of the seal": flip(5, -6),
    "a bit of the seal's name": flip(5, -15),
    "a bit of the last brace": flip(6, -2),
    "a bit of an end of line": flip(8, -1),
    "a letter that becomes an end of line": lambda text: text[:300] + b"\n" + text[301:],
    "a bit of the last line before the checkpoint": flip(17, 9),
    "a bit of the line behind the checkpoint": flip(18, 9),
    "a step raised by hand": edited(3, b'"step": 30', b'"step": 900'),
    "a step lowered by hand": edited(9, b'"step": 70', b'"step": 7'),
    "a value made better by hand": edited(17, b'"accuracy": 0.9', b'"accuracy": 0.99'),
    "a value that becomes NaN": edited(1, b'"loss": 0.05', b'"loss": NaN'),
    "the first line gone": each(lambda lines: lines[1:]),
    "a line gone": each(lambda lines: lines[:7] + lines[8:]),
    "several lines gone": each(lambda lines: lines[:3] + lines[9:]),
    "the last line gone": each(lambda lines: lines[:-1]),
    "the two last lines gone": each(lambda lines: lines[:-2]),
    "a line twice": each(lambda lines: [*lines[:5], lines[4], *lines[5:]]),
    "a line again at the end": each(lambda lines: [*lines, lines[4]]),
    "two lines changed places": swapped(3, 4),
    "the first line at the end": each(lambda lines: [*lines[1:], lines[0]]),
    "all lines in reverse": each(lambda lines: lines[::-1]),
    "the file twice": lambda text: text + text,
    "0xff in the place of a line": put(6, b"\xff" * 80 + b"\n"),
    "0xff before the first line": insert(0, b"\xff\xff\n"),
    "0xff at the end": lambda text: text + b"\xff\xff",
    "NUL in the place of a block": lambda text: text[:400] + bytes(512) + text[912:],
    "NUL at the end": lambda text: text + bytes(4096),
    "an empty line": insert(5, b"\n"),
    "a list in the place of a line": put(6, b"[1, 2]\n"),
    "a line without its metrics": put(6, b'{"step": 40, "kind": "train"}\n'),
    "a line of another form": put(6, b'{"step": "40", "kind": ["train"], "time": 3}\n'),
    "brackets without end": put(6, b"[" * 100_000 + b"\n"),
    "a torn line in the middle": edited(6, b'"kind": "train"', b'"ki\n'),
    "a torn end": lambda text: text[:-30],
    "half of the file": lambda text: text[: len(text) // 2],
    "nothing": lambda text: b"",
}


def deleted(path):
    path.unlink()


def replaced_by_a_directory(path):
    path.unlink()
    path.mkdir()


def replaced_by_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def replaced_by_that_of_another_run(path):
    other = path.parent / "other"
    other.mkdir()
    with Report(other, total_steps=STEPS, tensorboard=False, quiet=True) as report:
        train(report, 0, STEPS, total=2 * STEPS)
    os.replace(other / path.name, path)
    os.rmdir(other)


PLACES = (deleted, replaced_by_a_directory, replaced_by_a_pipe, replaced_by_that_of_another_run)


@pytest.mark.parametrize("damage", [*DAMAGES, *PLACES], ids=lambda damage: getattr(damage, "__name__", damage))
def test_no_damage_is_silent_and_none_takes_more_than_it_has_touched(damage, whole, tmp_path, capsys):
    path, before = tmp_path / "run" / "metrics.jsonl", written(whole)
    shutil.copytree(whole, path.parent)
    if callable(damage):
        damage(path)
    else:
        text = path.read_bytes()
        path.write_bytes(DAMAGES[damage](text))
        assert path.read_bytes() != text
    readers = " ".join(faults_of(path.parent))
    capsys.readouterr()
    lines = resume(path.parent)
    words = capsys.readouterr().err
    assert str(path) in words
    lost = numbers_in(words)
    events = [line for line in lines if line["kind"] == "event"]
    lines = timeless(line for line in lines if line["kind"] != "event")
    if damage is replaced_by_that_of_another_run:
        assert "its first 18 lines are not those that the checkpoint at step 120 knows" in words
    else:
        # what no checkpoint covers is measured again; all else that is not named is there, as it was
        assert lines == timeless(line for n, line in enumerate(before, 1) if n not in lost or n == 19)
        torn = damage in ("0xff at the end", "NUL at the end")  # as it is while a line is being written
        assert torn or readers
    assert [event["name"] for event in events] == ["lines lost"] * (bool(lost - {19}) or "not those" in words)
    resume(path.parent)
    assert capsys.readouterr().err == "", "it is said once"


def test_what_is_lost_is_said_by_step_and_what_was_there_is_kept(whole, tmp_path, capsys):
    path = tmp_path / "run" / "metrics.jsonl"
    shutil.copytree(whole, path.parent)
    damaged = DAMAGES["several lines gone"](path.read_bytes())
    path.write_bytes(damaged)
    said = f"{path}: lines 4 to 9 (between steps 20 and 70) are lost"
    assert faults_of(path.parent) == [said]
    last = resume(path.parent)[-1]
    words = capsys.readouterr().err
    assert words == f"{said}\n"
    assert (last["name"], last["lost"], last["lines"]) == ("lines lost", [said.partition(": ")[2]], [[4, 9]])
    assert faults_of(path.parent) == [], "now the file tells it itself"
    path.write_bytes(DAMAGES["a bit of a loss"](path.read_bytes()))
    damaged = path.read_bytes()
    resume(path.parent)
    words = "line 11 (between steps 70 and 80) is lost; as it was it is kept as metrics.jsonl.damaged\n"
    assert words in capsys.readouterr().err
    assert path.with_name("metrics.jsonl.damaged").read_bytes() == damaged


@pytest.fixture
def running(tmp_path):
    """A run that has reported its first 30 steps, in a workdir of its own."""
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "config.json").write_text('{"config": {}}')
    with Report(workdir, total_steps=STEPS, tensorboard=False, quiet=True) as report:
        train(report, 0, 30, total=STEPS)
        yield report, workdir / "metrics.jsonl"


def steps(path):
    assert not faults_of(path.parent)
    return [line["step"] for line in written(path.parent)]


WHOLE = [10, 20, 20, 30, 40, 40]


def test_a_file_that_is_deleted_under_the_run_is_written_anew_with_all_its_lines(running, capsys):
    report, path = running
    path.unlink()
    train(report, 30, 40, total=STEPS)
    assert capsys.readouterr().err == f"{path} was deleted under the run; it is written anew, with its 4 lines\n"
    assert steps(path) == WHOLE
    path.unlink()  # behind its last line
    assert report.mark() == {**report.mark(), "lines": 6}
    assert steps(path) == WHOLE


def test_a_file_that_is_moved_under_the_run_is_written_anew_and_said_where_it_is(running, capsys):
    report, path = running
    path.rename(path.with_name("mine.jsonl"))
    train(report, 30, 40, total=STEPS)
    assert f"was moved to {path.with_name('mine.jsonl')} under the run; it is written anew" in capsys.readouterr().err
    assert steps(path) == WHOLE
    assert path.with_name("mine.jsonl").read_bytes() == b"".join(path.read_bytes().splitlines(keepends=True)[:4])


def test_what_is_put_in_the_place_of_the_file_is_kept_under_another_name(running, capsys):
    report, path = running
    path.with_name("other").write_text("other\n")
    os.replace(path.with_name("other"), path)
    train(report, 30, 40, total=STEPS)
    assert "with its 4 lines; what stood there is kept as metrics.jsonl.damaged\n" in capsys.readouterr().err
    assert steps(path) == WHOLE
    assert path.with_name("metrics.jsonl.damaged").read_text() == "other\n"


def test_what_is_cut_off_under_the_run_is_said_by_step(running, capsys):
    report, path = running
    text = path.read_bytes()
    os.truncate(path, len(text) - 40)
    train(report, 30, 40, total=STEPS)
    assert capsys.readouterr().err == f"{path} was cut short under the run: line 4 (after step 20) is lost\n"
    assert [line["step"] for line in written(path.parent)] == [10, 20, 20, 40, 40]
    assert faults_of(path.parent) == [f"{path}: line 4 (between steps 20 and 40) is lost"]


def test_what_others_write_into_the_file_is_cut_off_and_said(running, capsys):
    report, path = running
    with open(path, "a") as file:
        file.write("a note\n")
    train(report, 30, 40, total=STEPS)
    assert capsys.readouterr().err == f"{path}: 7 bytes at its end are no line of this run; they are cut off\n"
    assert steps(path) == WHOLE


@pytest.mark.parametrize("how", ["moved", "deleted"])
def test_a_workdir_that_is_moved_under_the_run_is_made_anew_with_its_lines(how, running, capsys):
    report, path = running
    workdir = path.parent
    workdir.rename(workdir.with_name("elsewhere")) if how == "moved" else shutil.rmtree(workdir)
    train(report, 30, 40, total=STEPS)
    where = f"moved to {workdir.with_name('elsewhere') / path.name}" if how == "moved" else "deleted"
    made = "it is made anew with all lines; older checkpoints stay with what was there"
    assert capsys.readouterr().err == f"workdir {workdir} was {where} under the run; {made}\n"
    assert steps(path) == WHOLE
    assert (workdir / "config.json").exists() == (how == "moved")
    with pytest.raises(WorkdirLocked, match=f"in use by process {os.getpid()} on"), hold(workdir):
        pass
    report.close()
    with hold(workdir):
        assert sorted(os.listdir(workdir)).count("lock.json") == 1


def test_a_workdir_that_another_run_has_taken_meanwhile_is_left_to_it(running):
    report, path = running
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.mkdir()
    (path.parent / "lock.json").write_text("{}")
    with pytest.raises(WorkdirLocked, match=r"was moved under this run, and another run trains there now"):
        train(report, 30, 40, total=STEPS)
    assert [each.name for each in path.parent.iterdir()] == ["lock.json"]


def without_seals(workdir):
    """Makes the lines and the checkpoints of a run those of an earlier release."""
    lines = written(workdir)
    for line in lines:
        del line["time"]["line"], line["time"]["crc32"]
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (workdir / "status.json").unlink()
    shutil.rmtree(workdir / "checkpoints")
    with Checkpoints(workdir) as saved:
        saved.save(STEPS, TREE, wait=True)
    return lines


def test_a_run_of_an_earlier_release_is_read_and_goes_on_with_sealed_lines(whole, tmp_path, capsys):
    path = tmp_path / "run" / "metrics.jsonl"
    shutil.copytree(whole, path.parent)
    before = without_seals(path.parent)
    assert lines_of(path.parent) == before
    assert curves_of(path.parent, "test.accuracy") == ([STEPS], [0.9])
    assert not faults_of(path.parent)
    lines = resume(path.parent)
    assert capsys.readouterr().err == ""
    assert timeless(lines) == timeless(before)
    assert [line["time"]["line"] for line in lines] == list(range(1, 20))


def test_damage_to_the_lines_of_an_earlier_release_is_said_as_far_as_it_can_be_seen(whole, tmp_path, capsys):
    path = tmp_path / "run" / "metrics.jsonl"
    shutil.copytree(whole, path.parent)
    before = without_seals(path.parent)
    text = path.read_bytes().splitlines(keepends=True)
    text[3], text[5] = b"\xff" * 20 + b"\n", text[5].replace(b'"step": 40', b'"step": 900')
    path.write_bytes(b"".join(text))
    lines = resume(path.parent)
    words = capsys.readouterr().err
    assert f"{path}: line 4 (between steps 20 and 40) is lost" in words
    assert "says step 900, and is left out" in words
    assert timeless(lines) == timeless(line for n, line in enumerate(before) if n not in (3, 5))
