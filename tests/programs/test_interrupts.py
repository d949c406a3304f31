"""Signals that reach a program before it can save anything."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.doors
@pytest.mark.parametrize("allocator", ["told", "not told"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_during_the_imports_ends_with_75_and_changes_nothing(number, allocator, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    environment |= {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"} if allocator == "told" else {}
    line = [f"--workdir={tmp_path}/a", "--config=digits"]
    command = [sys.executable, "-X", "importtime", "-m", "cnnjax", "train", *line]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    said = ""
    # as it tells what it has imported: in the first image of the program, or in the one that has its allocator
    while "cnnjax.programs.process" not in said:
        said = process.stderr.readline()
        assert said
    time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err[-2000:]
    assert f"{number.name}: stopped; what was saved before stands, the same command goes on\n" in err
    assert "Traceback" not in err
    assert not (tmp_path / "a").exists()


SMALL = [
    "--config=configs/digits.py",
    "--config.model.name=mlp",
    "--config.model.hidden=4",
    "--config.augment.train=normalize",
    "--config.train.devices=1",
    "--config.train.steps=1000000",
    "--config.report.tensorboard=no",
    "--config.report.page=no",
    "--config.report.steps=1",
]


def begun(workdir, *flags, **pipes):
    """A training that has written its first line."""
    command = [sys.executable, "-m", "cnnjax", "train", *SMALL, *flags, f"--workdir={workdir}"]
    process = subprocess.Popen(command, cwd=ROOT, **pipes)
    patience = time.monotonic() + 120
    while not (workdir / "metrics.jsonl").exists() or not (workdir / "metrics.jsonl").stat().st_size:
        assert process.poll() is None
        assert time.monotonic() < patience
        time.sleep(0.05)
    return process


@pytest.mark.doors
def test_a_run_whose_terminal_is_closed_is_saved(tmp_path):
    ours, theirs = pty.openpty()
    process = begun(tmp_path, stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    os.close(ours)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == 75
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["status"], (tmp_path / "checkpoints" / str(status["step"])).is_dir()) == ("interrupted", True)


@pytest.mark.doors
def test_a_run_whose_disk_never_answers_again_ends_once_it_is_saved(tmp_path):
    flag = tmp_path / "stalled"
    flags = ["--config.data.name=tests.train.stalling:stalling", f"--config.data.flag={flag}"]
    process = begun(tmp_path / "a", *flags, "--config.data.workers=0", stderr=subprocess.PIPE, text=True)
    flag.touch()
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert "; the state is saved\nresume: " in err
