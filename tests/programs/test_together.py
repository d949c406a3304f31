"""Processes that train together: started alike, or not at all; one that is lost is named by the others."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = (
    "--config=configs/digits.py --config.model.name=mlp --config.model.hidden=8 --config.augment.train=normalize "
    "--config.train.batch=32 --config.report.tensorboard=no --config.report.page=no --config.report.curves=no"
)
LONG = f"{SMALL} --config.train.steps=1000000 --config.checkpoint.steps=20 --config.report.steps=10 --heartbeat=4"


@pytest.fixture
def started():
    """started(lines) -> a process for each line of flags, all training together; none outlives the test."""
    processes = []

    def begin(*lines):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        environment = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0", "JAX_PLATFORMS": "cpu"}
        for i, line in enumerate(lines):
            together = f"--coordinator=localhost:{port} --processes={len(lines)} --process={i}"
            command = [sys.executable, "-m", "experiments.train", *shlex.split(f"{line} {together}")]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            processes.append(subprocess.Popen(command, **pipes, text=True, env=environment, cwd=ROOT))
        return processes

    yield begin
    for each in processes:
        each.kill()
        each.communicate()


def until_saved(workdir, processes):
    """The steps saved, once there are some."""
    patience = time.monotonic() + 120
    while not (found := [path for path in workdir.glob("checkpoints/*") if path.name.isdigit()]):
        assert time.monotonic() < patience
        assert [each.poll() for each in processes] == [None] * len(processes), processes[0].communicate()
        time.sleep(0.1)
    return [int(path.name) for path in found]


@pytest.mark.doors
def test_processes_that_were_not_started_alike_are_refused_by_all_and_told_apart(started, tmp_path):
    other = SMALL.replace("batch=32", "batch=64")
    lines = [f"{line} --workdir={tmp_path}" for line in (SMALL, other, SMALL)]
    endings = [(process.communicate(timeout=120)[1], process.returncode) for process in started(*lines)]
    here = socket.gethostname()
    for err, code in endings:
        assert code == 2, err
        first, second, *rest = [line for line in err.splitlines() if line]
        assert first == f"process 1 on {here} is not as process 0 on {here}: train.batch 64, there 32"
        assert (second, rest) == ("start all with the same config, commit and versions", [])
    assert not list(tmp_path.iterdir())


@pytest.mark.doors
@pytest.mark.parametrize(
    ("victim", "number"),
    [(0, signal.SIGKILL), (1, signal.SIGKILL), (0, signal.SIGSTOP), (1, signal.SIGSTOP)],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_process_that_is_lost_is_named_by_the_others_which_end_at_once(victim, number, started, tmp_path):
    processes = started(*[f"{LONG} --workdir={tmp_path}"] * 2)
    saved = until_saved(tmp_path, processes)
    began = time.monotonic()
    processes[victim].send_signal(number)
    left = processes[1 - victim]
    _, err = left.communicate(timeout=60)
    assert time.monotonic() - began < 20
    assert left.returncode == 75, err
    how = "is gone: its line has closed" if (victim, number) == (0, signal.SIGKILL) else "has not been heard of for"
    lost = rf"process {victim} on {re.escape(socket.gethostname())} \(pid {processes[victim].pid}\)"
    assert re.search(rf"^{lost} {how}", err, re.MULTILINE), err
    assert "the same commands go on from the last checkpoint" in err
    assert not re.search(r"absl|\.cc:|@ +0x|Traceback", err), err
    if victim:
        status = json.loads((tmp_path / "status.json").read_text())
        assert status["status"] == "interrupted"
        assert status["step"] >= max(saved)
        assert status["reason"].startswith(f"process {victim} on ")


@pytest.mark.doors
def test_a_process_that_fails_says_so_to_the_others_which_end_with_its_exit_code(started, tmp_path, monkeypatch):
    (tmp_path / "burning.py").write_text(
        "import dataclasses, jax\n"
        "from cnnjax.tasks import classification\n"
        "class Burnt(Exception):\n    exit_code = 3\n"
        "def task(facts):\n"
        "    whole = classification(facts)\n"
        "    def summarize(sums, rows):\n"
        "        if jax.process_index():\n            raise Burnt('the disk is on fire')\n"
        "        return whole.summarize(sums, rows)\n"
        "    return dataclasses.replace(whole, summarize=summarize)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    line = f"{SMALL} --config.report.steps=2 --config.task.name=burning:task --workdir={tmp_path}/a"
    endings = [(each.communicate(timeout=120)[1], each.returncode) for each in started(line, line)]
    assert [code for _, code in endings] == [3, 3], endings
    assert "the disk is on fire" in endings[1][0]
    assert re.search(r"^process 1 on \S+ \(pid \d+\) has ended: .*the disk is on fire$", endings[0][0], re.MULTILINE)
    assert json.loads((tmp_path / "a" / "status.json").read_text())["status"] == "interrupted"
