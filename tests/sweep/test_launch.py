"""Work in other processes: what fails, dies or hangs is tried again; what is dead is told with its traceback."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cnnjax.config import ConfigError
from cnnjax.programs import process
from cnnjax.sweep._command import run_command
from cnnjax.sweep.folder import write_folder
from cnnjax.sweep.launch import Local, RayCluster, Slurm, Unit, supervise, unit_of
from cnnjax.sweep.points import Pack, resolved
from tests.sweep.points import get_config, sweep

# A worker in small: tries are counted in a file; it does what the words say, one word a try, the last for ever.
WORKER = """
import json, os, pathlib, signal, sys, time
workdir, words = pathlib.Path(sys.argv[1]), sys.argv[2].split(",")
workdir.mkdir(parents=True, exist_ok=True)
tries = workdir / "tries"
count = len(tries.read_text()) if tries.exists() else 0
tries.write_text("x" * (count + 1))
word = words[min(count, len(words) - 1)]
for step in range(3):
    with open(workdir / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"step": step, "kind": "train", "loss": 1.0, "time": {"at": time.time()}}) + "\\n")
if word == "hang":
    time.sleep(1000)
if word == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if word == "locked":
    sys.exit(print("in use by process 1 on mars") or 7)
if word == "stop":
    sys.exit(75)
if word == "raise":
    raise RuntimeError("this point never works")
if word == "wait":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    (workdir / "waits").write_text(str(os.getpid()))
    time.sleep(1000)
(workdir / "status.json").write_text(json.dumps({"status": "complete"}))
"""


def unit(run, words):
    """A point whose worker does what the words say."""
    run.workdir.parent.mkdir(parents=True, exist_ok=True)
    command = (sys.executable, "-c", WORKER, str(run.workdir), words)
    return Unit(Pack((run,)), command, run.workdir.with_suffix(".log"))


def tries(run):
    return len((run.workdir / "tries").read_text())


def test_points_that_die_raise_or_hang_are_tried_again_and_those_that_are_dead_are_told_with_their_words(tmp_path):
    runs = resolved(get_config(), sweep(), tmp_path)
    words = ("locked,fine", "die,stop,fine", "hang,fine", "raise")
    units = [unit(run, word) for run, word in zip(runs, words, strict=True)]
    said = []
    (dead,) = supervise(units, Local(2), tmp_path, retries=2, patience=1.0, say=said.append)
    assert [tries(run) for run in runs] == [2, 3, 2, 3]
    assert [run.done for run in runs] == [True, True, True, False]
    assert dead.name == runs[3].name
    assert "exit code 1" in dead.error
    assert dead.story.endswith("RuntimeError: this point never works")
    assert any("ended with exit code 137; tried again" in line for line in said)
    assert any("no metric line for" in line for line in said)
    assert f"{runs[0].name}: in use by process 1 on mars; waits for that" in said
    assert f"{runs[1].name}: stopped from outside; goes on from its checkpoint" in said


@pytest.mark.doors
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stop_reaches_every_worker_and_none_outlives_who_supervises(number, tmp_path):
    (run,) = resolved(get_config(), sweep()[:1], tmp_path)
    code = (
        "from tests.sweep.test_launch import *\n"
        "(run,) = resolved(get_config(), sweep()[:1], sys.argv[1])\n"
        "supervise([unit(run, 'wait')], Local(1), Path(sys.argv[1]))"
    )
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), "", root], env=environment, stderr=-1, text=True
    )
    worker = run.workdir / "waits"
    assert_soon(worker.exists, "the worker has not begun to wait")
    process.send_signal(number)
    words = process.communicate(timeout=60)[1]
    if number == signal.SIGTERM:
        assert "Preempted: stopped by a signal; every point is saved" in words
    assert_soon(lambda: ended(worker.read_text()), "the worker is still there")


def ended(process):
    """Whether a process has ended, also where nobody has asked for its exit code."""
    status = Path("/proc", process, "status")
    return not status.exists() or "State:\tZ" in status.read_text()


def assert_soon(condition, words):
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition(), words


def test_a_point_is_trained_by_the_command_that_users_type_and_a_pack_by_its_part(tmp_path):
    runs = resolved(get_config(), sweep(), tmp_path)
    write_folder(tmp_path, runs)
    one, several = unit_of(Pack((runs[0],)), tmp_path), unit_of(Pack(tuple(runs)), tmp_path)
    assert one.command[:4] == (sys.executable, "-m", "cnnjax", "train")
    assert f"--workdir={runs[0].workdir}" in one.command
    assert several.command[:4] == (sys.executable, "-m", "cnnjax", "sweep")
    part = next(word for word in several.command if word.startswith("--part=")).removeprefix("--part=")
    assert json.loads(Path(part).read_text()) == [run.name for run in runs]


def test_slurm_jobs_are_submitted_by_submitit_and_tried_again(tmp_path):
    pytest.importorskip("submitit", reason="the extra slurm is not installed")
    runs = resolved(get_config(), sweep()[:2], tmp_path)
    units = [unit(runs[0], "fine"), unit(runs[1], "die,fine")]
    assert not supervise(
        units, Slurm(2, tmp_path / "jobs", cluster="local"), tmp_path, retries=1, say=lambda text: None
    )
    assert [tries(run) for run in runs] == [1, 2]


def test_slurm_is_asked_for_what_a_job_gets_and_to_tell_it_before_its_time_is_up(tmp_path, monkeypatch):
    pytest.importorskip("submitit", reason="the extra slurm is not installed")
    for name, does in {"srun": "exit 1", "sbatch": f"cp $1 {tmp_path}/job.sh; echo Submitted batch job 7"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    asked = {"partition": "big", "account": "lab", "qos": "long", "cpus": 8, "gpus": 2, "memory": 64, "minutes": 90}
    Slurm(1, tmp_path / "jobs", **asked).submit(("true",), tmp_path / "log", 0)
    job = (tmp_path / "job.sh").read_text()
    lines = {line.removeprefix("#SBATCH --") for line in job.splitlines() if line.startswith("#SBATCH")}
    assert {"partition=big", "account=lab", "qos=long", "cpus-per-task=8", "gres=gpu:2", "mem=64GB", "time=90"} < lines
    assert {"requeue", "signal=USR2@120"} < lines
    assert "--cpus-per-task=8" in job.partition("srun ")[2]


def test_the_word_that_the_time_of_a_job_is_up_makes_what_runs_in_it_save(tmp_path):
    (run,) = resolved(get_config(), sweep()[:1], tmp_path)
    worker = unit(run, "wait")
    before = signal.getsignal(signal.SIGUSR2)

    def tell():  # as SLURM does: every process of the job
        waits = run.workdir / "waits"
        assert_soon(lambda: waits.exists() and waits.read_text(), "the worker has not begun to wait")
        for number in (int(waits.read_text()), os.getpid()):
            os.kill(number, signal.SIGUSR2)

    telling = threading.Thread(target=tell)
    telling.start()
    try:
        assert run_command(worker.command, str(worker.log), str(tmp_path), {}, notice=True) == 75
    finally:
        telling.join()
        signal.signal(signal.SIGUSR2, before)


def test_a_command_that_has_gpus_ends_in_a_line_where_it_finds_fewer(tmp_path, monkeypatch):
    runs = resolved(get_config(), sweep(), tmp_path)
    for pack in (Pack((runs[0],)), Pack(tuple(runs))):
        assert unit_of(pack, tmp_path, gpus=2).command[-1] == "--gpus=2"
        assert "--gpus" not in " ".join(unit_of(pack, tmp_path).command)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ConfigError) as refused:
        process.expect_gpus(2)
    here, cure = str(refused.value).splitlines()
    assert here.startswith("--gpus=2: JAX sees no GPU on ")
    assert here.endswith("stand there, CUDA_VISIBLE_DEVICES is '')")
    assert cure.startswith("ask the scheduler for them") or "cnnjax[cuda13]" in cure
    process.expect_gpus(0)


@pytest.mark.filterwarnings("ignore")
def test_ray_tasks_are_tried_again(tmp_path):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    runs = resolved(get_config(), sweep()[:3], tmp_path)
    units = [unit(runs[0], "fine"), unit(runs[1], "die,fine"), unit(runs[2], "hang,fine")]
    launcher = RayCluster(2, cpus=0.5)
    assert not supervise(units, launcher, tmp_path, retries=1, patience=3.0, say=lambda text: None)
    assert [tries(run) for run in runs] == [1, 2, 2]


@pytest.mark.parametrize(("make", "extra"), [(lambda: RayCluster(1), "ray"), (lambda: Slurm(1, Path("x")), "slurm")])
def test_a_launcher_without_its_extra_says_what_to_install(make, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, {"ray": "ray", "slurm": "submitit"}[extra], None)
    with pytest.raises(ConfigError, match=rf"pip install 'cnnjax\[{extra}\]'"):
        make()
