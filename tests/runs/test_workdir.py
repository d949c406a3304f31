"""One process in a workdir, and files that are whole."""

import contextlib
import fcntl
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cnnjax.refusals import ConfigError
from cnnjax.runs.json_files import read_json, read_status
from cnnjax.runs.workdir import (
    WorkdirError,
    WorkdirLocked,
    hold,
    record_error,
    write_json,
    write_status,
)

ROOT = Path(__file__).parents[2]

HOLDING = """
import os, sys, time
from cnnjax.runs.workdir import hold

with hold(sys.argv[1]):
    if "fork" in sys.argv and os.fork() == 0:
        os.close(1)
        time.sleep(8)  # a data worker that outlives its parent and has its open files
        os._exit(0)
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Starts a process that holds the workdir."""
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDING, str(tmp_path), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


@pytest.mark.doors
def test_a_second_process_is_told_who_holds_the_workdir(tmp_path, holder):
    process = holder()
    with pytest.raises(WorkdirLocked) as caught, hold(tmp_path):
        pass
    said = str(caught.value)
    assert re.fullmatch(
        rf"workdir {re.escape(str(tmp_path))} is in use by process {process.pid} on {socket.gethostname()}, "
        r"for \d+ s now\nwait for it, stop it, or give another --workdir",
        said,
    )
    assert caught.value.exit_code == 7


@pytest.mark.doors
def test_the_lock_of_a_dead_process_is_taken_over(tmp_path, holder):
    process = holder()
    process.kill()
    process.wait()
    assert (tmp_path / "lock.json").exists()
    with hold(tmp_path):
        assert read_json(tmp_path / "lock.json")["pid"] == os.getpid()


@pytest.mark.doors
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="who is alive is read from /proc")
def test_orphans_of_a_dead_process_do_not_keep_its_lock(tmp_path, holder):
    process = holder("fork")
    process.kill()
    process.wait()
    with open(tmp_path / "lock.json") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the orphan has it
    with hold(tmp_path):
        assert read_json(tmp_path / "lock.json")["pid"] == os.getpid()


def test_the_lock_is_gone_after_use_and_after_an_error(tmp_path):
    for error in (KeyError, KeyboardInterrupt):
        with pytest.raises(error), hold(tmp_path):
            raise error
        assert list(tmp_path.iterdir()) == []


def test_a_process_can_not_hold_a_workdir_twice(tmp_path):
    with hold(tmp_path), pytest.raises(WorkdirLocked, match=f"in use by process {os.getpid()} on"), hold(tmp_path):
        pass


def test_a_torn_lock_that_is_held_is_still_a_lock(tmp_path):
    with open(tmp_path / "lock.json", "w") as file:
        file.write('{"host"')
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(WorkdirLocked, match=r"in use by a process that lock.json doesn't name$"), hold(tmp_path):
            pass
    with hold(tmp_path):
        assert read_json(tmp_path / "lock.json")["host"] == socket.gethostname()


def test_ages_are_told_in_fitting_units(tmp_path):
    for seconds, text in ((59, "59 s"), (600, "10 min"), (3 * 3600, "3 h"), (5 * 86400, "5 days")):
        with hold(tmp_path):
            owner = read_json(tmp_path / "lock.json")
            content = json.dumps({**owner, "since": time.time() - seconds})
            (tmp_path / "lock.json").write_text(content)
            with pytest.raises(WorkdirLocked, match=f"for {text} now"), hold(tmp_path):
                pass


@pytest.mark.parametrize("workdir", ["/proc/runs/a", "{file}/a", "{file}"])
def test_a_workdir_that_can_not_be_written_is_one_line(tmp_path, workdir):
    (tmp_path / "file").write_text("")
    workdir = workdir.format(file=tmp_path / "file")
    with pytest.raises(WorkdirError) as caught, hold(workdir):
        pass
    assert caught.value.exit_code == 2
    assert re.fullmatch(rf"workdir {workdir} can't be written: [\w ]+; give another --workdir", str(caught.value))


def test_a_read_only_file_system_is_one_line(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,ro", "tmpfs", str(tmp_path)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a read-only file system takes rights that this process has not")
    try:
        with pytest.raises(WorkdirError, match="can't be written: Read-only file system; give another"), hold(tmp_path):
            pass
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "plan.json"
    write_json(path, {"steps": 3})
    with pytest.raises(TypeError):
        write_json(path, {"steps": object()})
    assert read_json(path) == {"steps": 3}
    assert [entry.name for entry in tmp_path.iterdir()] == ["plan.json"]


def test_a_bit_of_a_json_file_that_is_another_is_said_whatever_it_is(tmp_path):
    path, story = tmp_path / "plan.json", {"config": {"lr": 0.01, "names": ["ant", "é"]}, "command": ["train"]}
    write_json(path, story)
    whole = path.read_bytes()
    for place in range(len(whole) - 1):  # but the line's end
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with contextlib.suppress(ConfigError):
            assert read_json(path) == story, place  # another kind of white space
    path.write_bytes(whole.replace(b"0.01", b"0.07"))
    with pytest.raises(ConfigError, match=r"not as it was written, says its checksum; .*'crc32' out if you changed"):
        read_json(path)
    path.write_text(json.dumps({**story, "by": "hand"}))  # as earlier releases wrote it
    assert read_json(path)["by"] == "hand"


def test_what_killed_processes_had_begun_to_write_is_removed_by_the_next_that_holds_the_workdir(tmp_path):
    (tmp_path / "packs").mkdir()
    written = ("config.json", "metrics.jsonl", "tables-eval.npz", "curves.png", "packs/0f.json")
    for path in (tmp_path / name for name in written):
        path.with_name(f".{path.name}.0a1b2c3d").write_text("half")
    for name in (".config.json", ".mine.json.backup1", ".git"):
        (tmp_path / name).write_text("a user's own")
    with hold(tmp_path):
        assert sorted(os.listdir(tmp_path)) == [".config.json", ".git", ".mine.json.backup1", "lock.json", "packs"]
    assert os.listdir(tmp_path / "packs") == []


def test_a_directory_in_the_place_of_the_lock_is_a_line(tmp_path):
    (tmp_path / "lock.json").mkdir()
    with pytest.raises(WorkdirError, match=r"lock\.json is a directory, where the lock .*; remove it$"), hold(tmp_path):
        pass


@pytest.mark.doors
def test_the_end_of_a_run_leaves_the_lock_of_another_that_has_taken_its_place(tmp_path):
    workdir = tmp_path / "run"
    with hold(workdir):
        workdir.rename(tmp_path / "elsewhere")
        command = [sys.executable, "-c", HOLDING, str(workdir)]
        other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert other.stdout.readline() == "held\n"
    assert read_json(workdir / "lock.json")["pid"] == other.pid
    other.kill()
    other.communicate()


def test_what_json_does_not_know_is_translated(tmp_path):
    import numpy as np

    write_json(
        tmp_path / "x.json", {"a": float("nan"), "b": (np.float32("inf"), np.arange(2)), "c": Path("runs"), 4: 1}
    )
    assert read_json(tmp_path / "x.json") == {"a": None, "b": [None, [0, 1]], "c": "runs", "4": 1}


def test_a_status_says_how_far_the_run_is(tmp_path):
    assert read_status(tmp_path) == {}
    write_status(tmp_path, "diverged", step=12, detail={"rollbacks": 2, "loss": float("nan")})
    status = read_status(tmp_path)
    assert status.pop("at")
    assert status == {"status": "diverged", "step": 12, "rollbacks": 2, "loss": None}


def test_a_status_that_can_not_be_written_is_a_line(tmp_path, capsys):
    (tmp_path / "status.json").mkdir()
    write_status(tmp_path, "complete", step=12)
    assert (
        capsys.readouterr().err == "status.json can't be written: Is a directory; the status is complete at step 12\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


def test_the_story_of_an_error_is_kept(tmp_path):
    for number in range(2):
        with pytest.raises(KeyError) as caught:
            raise KeyError(f"lost {number}")
        assert record_error(tmp_path, caught.value) == tmp_path / "error.log"
    log = (tmp_path / "error.log").read_text()
    assert "KeyError: 'lost 0'" in log
    assert "KeyError: 'lost 1'" in log
    assert "test_workdir.py" in log


def test_a_story_that_can_not_be_kept_is_no_second_error():
    record_error("/proc/runs", KeyError("lost"))
