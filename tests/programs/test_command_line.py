"""The programs as a user types them: what they print, and the code that they end with."""

import contextlib
import io
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

import cnnjax.programs.evaluate
import cnnjax.programs.train
from cnnjax import config as sections
from cnnjax.programs import process
from cnnjax.runs.workdir import hold
from cnnjax.sweep.table import table_of

pytestmark = pytest.mark.usefixtures("at_home")

ROOT = Path(__file__).parents[2]
PROGRAMS = {"train": cnnjax.programs.train, "evaluate": cnnjax.programs.evaluate}
DIGITS = "--config=configs/digits.py --config.train.devices=1"
SMALL = f"{DIGITS} --config.model.name=mlp --config.model.hidden=8 --config.augment.train=normalize"
SHORT = f"{SMALL} --config.train.steps=4 --config.eval.steps=2 --config.train.batch=32"
SHORT += " --config.report.tensorboard=no --config.report.page=no"


def typed_here(line):
    """The exit code of a command, in this process."""
    name, *argv = shlex.split(line)
    program = PROGRAMS[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [program.__file__, *argv])
        with pytest.raises(SystemExit) as ended:
            process.start(program.main, program.__doc__, program.FLAGS)
    return ended.value.code


@pytest.fixture
def run(capsys):
    """run("train --dry_run …") -> (exit code, what it printed, what it complained), in this process."""

    def typed(line):
        code = typed_here(line)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return typed


@pytest.fixture(scope="module")
def started():
    """started("train …") -> the same in a process of its own with one device, which does not outlive the tests."""
    processes = []

    def typed(line, **changes):
        name, *argv = shlex.split(line)
        environment = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0"} | changes
        command = [sys.executable, "-m", f"experiments.{name}", *argv]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes.append(subprocess.Popen(command, **pipes, text=True, env=environment, cwd=ROOT))
        return processes[-1]

    yield typed
    for each in processes:
        each.kill()
        each.communicate()


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The workdir of a short run."""
    workdir = tmp_path_factory.mktemp("run") / "a"
    printed = io.StringIO()
    with contextlib.chdir(ROOT), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        assert typed_here(f"train {SHORT} --workdir={workdir}") == 0
    (workdir.parent / "printed").write_text(printed.getvalue())
    return workdir


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_is_a_page_with_examples(run, name):
    code, out, err = run(f"{name} --config=x --help")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) <= 40
    assert f"  cnnjax {name} --" in out
    assert max(map(len, out.splitlines())) <= 110


def test_the_list_shows_rooms_and_entries(run):
    code, out, _ = run("train --list")
    assert code == 0
    assert "models (config.model.name)" in out
    assert "activation='sigmoid'" in out
    assert "config.train\n" in out
    code, out, _ = run("train --list=lenet5")
    assert out.startswith("lenet5 of cnnjax.models\nLeNet-5")
    code, _, err = run("train --list=lenet")
    assert code == 2
    assert err.startswith("--list=lenet: no room and no entry of that name; nearest: lenet5")


def test_a_pattern_lists_the_entries_of_all_rooms_whose_names_are_so(run):
    code, out, _ = run("train --list='resnet1?'")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines() if line[:2] == "  " != line[2:4]][:1] == ["resnet18"]
    assert "resnet as it is" in out
    assert "resnet50" not in out
    code, _, err = run("train --list='rsnet*'")
    assert (code, err) == (2, "--list=rsnet*: no entry's name is so; nearest: resnet, resnet56, resnet50\n")


@pytest.mark.parametrize("line", ["train --help", "train --list"])
def test_a_program_whose_reader_has_gone_ends_without_a_word(line, monkeypatch, capsys):
    read, write = os.pipe()
    os.close(read)
    name, *argv = shlex.split(line)
    monkeypatch.setattr(sys, "argv", [PROGRAMS[name].__file__, *argv])
    with open(write, "w") as closed, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", closed)
        with pytest.raises(SystemExit) as ended:
            process.start(PROGRAMS[name].main, PROGRAMS[name].__doc__, PROGRAMS[name].FLAGS)
        sys.stdout.flush()  # as Python does when it ends
    assert ended.value.code == 141
    assert capsys.readouterr().err == ""


def test_the_printed_config_is_the_config(run):
    code, out, _ = run(f"train {DIGITS} --print_config --config.optimizer.lr=0.5")
    assert code == 0
    assert sections.from_json(out).optimizer.lr == 0.5


def test_a_dry_run_shows_shapes_cost_memory_plan_and_schedule(run):
    code, out, err = run(f"train {DIGITS} --dry_run --config.train.epochs=2")
    assert code == 0, err
    assert "image 28×28×1, 10 classes; 1,437 train" in out
    assert "1×28×28×6" in out
    assert "61,706  416,520" in out
    assert "parameters 247 kB · optimizer 494 kB · data 1.13 MB · activations" in out
    assert "45 steps of 64 examples (2.004 epochs)" in out
    assert "lr 9.09e-05 at 0, 0.00109 at 11, 0.002 at 22" in out


def test_a_run_ends_with_a_table_and_what_to_type_next(trained):
    printed = (trained.parent / "printed").read_text()
    assert "accuracy" in printed
    assert process.command("evaluate", f"--workdir={trained}") in printed
    assert f"look at it   {trained}/curves.png and {trained}/metrics.jsonl\n" in printed, "it writes no events"
    assert process.command("train", *SHORT.split(), f"--workdir={trained}") in printed
    assert (trained / "curves.png").exists()
    assert json.loads((trained / "config.json").read_text())["config"]["train"]["steps"] == 4


def test_the_same_command_again_finds_the_run_complete(run, trained):
    lines = (trained / "metrics.jsonl").read_text()
    code, _, err = run(f"train {SHORT} --workdir={trained}")
    assert code == 0, err
    assert (trained / "metrics.jsonl").read_text() == lines


def test_another_config_in_the_workdir_is_refused_with_the_ways_out(run, trained):
    code, _, err = run(f"train {SHORT} --workdir={trained} --config.optimizer.lr=0.1")
    assert code == 2
    assert "optimizer.lr: 0.002 → 0.1" in err
    assert "--allow_changes" in err


def test_a_run_whose_minutes_are_over_ends_with_75_and_the_command_that_goes_on(run, tmp_path):
    command = f"train {SHORT} --workdir={tmp_path} --config.train.minutes=1e-9"
    code, _, err = run(command)
    assert code == 75
    stopped, resume = err.splitlines()
    assert stopped == "stopped by its 1e-09 minutes (train.minutes) at step 1 of 4; the state is saved"
    assert resume == f"resume: {process.command(*command.split())}"


def test_a_trained_network_is_measured_on_any_split(run, trained):
    code, out, err = run(f"evaluate --workdir={trained}")
    assert code == 0, err
    assert out.splitlines()[0].split() == ["step", "loss", "accuracy"]
    assert out.splitlines()[1].split()[:2] == ["test", "4"]
    code, out, _ = run(f"evaluate --workdir={trained} --split=train --checkpoint=last --json")
    assert json.loads(out)["step"] == 4
    code, _, err = run(f"evaluate --workdir={trained} --split=tests")
    assert (code, err.strip()) == (2, "split is 'tests'; nearest: test; allowed: eval, test, train")
    code, _, err = run(f"evaluate --workdir={trained.parent}/b")
    assert code == 2
    assert "holds no run (no config.json)" in err
    assert str(trained) in err


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("train", "--config is missing; give one of bccd, "),
        ("train --config --dry_run", "--config is missing; give one of bccd, "),
        ("train --config=configs/digits.py", "--workdir is missing; give the directory for this run"),
        ("train --workdri=a", "--workdri is not a flag; nearest: --workdir"),
        ("train --optimizer.lr=1", "--optimizer.lr is not a flag; write --config.optimizer.lr=…"),
        ("train --epochs=3", "--epochs is not a flag; write --config.train.epochs=3"),
        ("train --batch-size 64", "--batch-size is not a flag; write --config.train.batch=…"),
        (
            "evaluate --config=digits",
            "--config is not a flag of evaluate, but of lr, show, sweep, train; evaluate goes by",
        ),
        ("train --top=3", "--top is not a flag of train, but of predict"),
        ("train --zzz", "--zzz is not a flag; --help shows the flags"),
        ("train runs/a", "'runs/a' is not a flag; write --name=value"),
        ("train --devices=two", "--devices is 'two'; it must be a whole number ≥ 0"),
        ("train --devices=-1", "--devices is '-1'; it must be a whole number ≥ 0"),
        ("train --dry_run=maybe", "--dry_run is 'maybe'; it must be true or false"),
        (f"train {DIGITS} --dry_run --processes=2", "--processes=2 needs --coordinator=host:port of process 0"),
        (f"train {DIGITS} --dry_run --coordinator=a:1 --processes=2 --process=2", "--process=2 of --processes=2"),
        (f"train {DIGITS} --dry_run --config.train.batch=2000", "train.batch is 2000, but the training split has 1437"),
        (f"train {DIGITS} --dry_run --config.train.devices=8 --config.train.batch=60", "train.batch is 60, which 8"),
        (f"train {DIGITS} --dry_run --config.optimizer.lrr=1", "optimizer.lrr is not an option of adamw; nearest:"),
        (f"train {DIGITS} --dry_run --config.optimizer.lr=nan", "optimizer.lr is nan; it must be a finite number"),
        (
            f"train {DIGITS} --dry_run --config.augment.shift.border=edgy",
            "augment.shift.border is 'edgy'; nearest: edge",
        ),
        (f"train {DIGITS} --print_config --config.model.norm=grop", "model.norm is 'grop'; nearest: group"),
        (
            f"train {DIGITS} --print_config --config.model.name=resnet18 --config.model.stem=cifra",
            "model.stem is 'cifra'",
        ),
        (f"train {DIGITS} --print_config --config.task.criterion=hing", "task.criterion is 'hing'; allowed: binary"),
        (f"train {DIGITS} --print_config --config.eval.views=miror", "eval.views holds 'miror'; nearest: mirror"),
        ("evaluate", "--workdir is missing; give the directory of a run"),
    ],
)
def test_usage_that_cannot_be_meant_ends_with_2_and_a_few_lines(run, line, text):
    code, out, err = run(line)
    assert code == 2
    assert err.startswith(text)
    assert len(err.splitlines()) <= 3
    assert "Traceback" not in out + err


def test_trouble_with_data_ends_with_3(run, tmp_path):
    code, _, err = run(f"train {DIGITS} --workdir={tmp_path} --config.data.name=folder --config.data.root=/nowhere")
    assert (code, err.strip()) == (3, "data.root is /nowhere; there is no such directory")
    assert not list(tmp_path.iterdir())


def test_a_run_without_a_usable_checkpoint_ends_with_5(run, tmp_path, trained):
    (tmp_path / "config.json").write_text((trained / "config.json").read_text())
    code, _, err = run(f"evaluate --workdir={tmp_path}")
    assert code == 5
    assert "holds no checkpoint" in err


def test_no_memory_ends_with_6_and_what_to_lower(run, tmp_path):
    huge = "--config.model.name=mlp --config.model.hidden=1000000000"
    code, _, err = run(f"train {DIGITS} --workdir={tmp_path} {huge}")
    assert code == 6
    assert err.startswith("out of memory")
    assert "lower train.batch" in err
    assert len(err.splitlines()) <= 3


def test_a_workdir_in_use_ends_with_7(run, tmp_path):
    with hold(tmp_path):
        code, _, err = run(f"train {DIGITS} --workdir={tmp_path}")
    assert code == 7
    assert f"process {os.getpid()} on {socket.gethostname()}" in err


def test_the_unforeseen_ends_with_1_a_line_and_the_story_in_the_workdir(run, tmp_path, monkeypatch):
    (tmp_path / "my_broken_nets.py").write_text(
        "import flax.linen as nn\n"
        "class Broken(nn.Module):\n    strides = (1,)\n"
        "    @nn.compact\n    def __call__(self, x, train=False):\n        return {}['nothing']\n"
        "def broken(*, outputs: int):\n    return Broken()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    code, _, err = run(f"train {DIGITS} --workdir={tmp_path}/a --config.model.name=my_broken_nets:broken")
    assert code == 1
    assert err.splitlines() == [
        f"KeyError: 'nothing'; the whole story is in {tmp_path}/a/error.log",
        f"{tmp_path}/my_broken_nets.py, line 6, in __call__: return {{}}['nothing']",
    ]
    assert "my_broken_nets.py" in (tmp_path / "a" / "error.log").read_text()


def test_an_error_is_kept_in_a_runs_own_folder_alone_and_a_refusal_nowhere(monkeypatch, tmp_path, capsys):
    def ended_with(error):
        def program(argv):
            process.read(cnnjax.programs.evaluate.FLAGS, argv)
            raise error

        monkeypatch.setattr(sys, "argv", ["evaluate", f"--workdir={tmp_path}"])
        with pytest.raises(SystemExit) as ended:
            process.start(program, "", cnnjax.programs.evaluate.FLAGS)
        return ended.value.code, capsys.readouterr().err, [path.name for path in tmp_path.glob("*.log")]

    (tmp_path / "mine.txt").write_text("not a run's")
    code, err, kept = ended_with(KeyError("lost"))
    assert (code, kept) == (1, [])
    assert "Traceback" in err
    (tmp_path / "config.json").write_text("{}")
    code, err, kept = ended_with(sections.ConfigError("a slip"))
    assert (code, kept) == (2, [])
    assert re.fullmatch(r"a slip \(tests/programs/test_command_line.py, line \d+\)\n", err)
    code, err, kept = ended_with(KeyError("lost"))
    assert (code, kept) == (1, ["error.log"])
    story, place = err.splitlines()
    assert story == f"KeyError: 'lost'; the whole story is in {tmp_path}/error.log"
    assert re.fullmatch(r"tests/programs/test_command_line.py, line \d+, in program: raise error", place)
    assert "KeyError: 'lost'" in (tmp_path / "error.log").read_text()


@pytest.mark.doors
def test_a_refusal_of_ones_own_file_names_its_line(run, tmp_path, monkeypatch):
    (tmp_path / "my_noisy_nets.py").write_text(
        "import flax.linen as nn\nfrom jax.random import uniform\n"
        "class Noisy(nn.Module):\n"
        "    @nn.compact\n    def __call__(self, x, train=False):\n"
        "        return nn.Dense(10)(x.reshape(len(x), -1)) + uniform(self.make_rng('gumbel'))\n"
        "def noisy(*, outputs: int):\n    return Noisy()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    code, _, err = run(f"train {DIGITS} --dry_run --config.model.name=my_noisy_nets:noisy")
    assert code == 2
    assert f"({tmp_path}/my_noisy_nets.py, line 6)" in err.splitlines()[0]
    assert len(err.splitlines()) == 3


def test_folders_of_runs_and_of_sweeps_are_told_apart(run, tmp_path, trained):
    (tmp_path / "s" / "000").mkdir(parents=True)
    for name in ("s/sweep.json", "s/000/config.json"):
        (tmp_path / name).write_text("{}")
    code, _, err = run(f"evaluate --workdir={tmp_path}/s")
    assert code == 2
    assert f"it is a sweep, whose points are runs: {tmp_path}/s/000\n" in err
    with pytest.raises(sections.ConfigError, match=r"holds no sweep .*; it holds a run, which evaluate measures"):
        table_of(trained)


def test_a_device_that_is_not_there_is_named(started, tmp_path):
    process = started(f"train {SHORT} --workdir={tmp_path}", JAX_PLATFORMS="tpu")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err.startswith("JAX_PLATFORMS is 'tpu', but JAX finds no such device here\nleave it out")


def test_a_signal_saves_and_ends_with_75_and_the_command_that_resumes(started, tmp_path):
    line = f"train {SMALL} --config.train.steps=100000 --config.report.steps=1 --workdir={tmp_path}"
    process = started(line)
    metrics = tmp_path / "metrics.jsonl"
    until = time.monotonic() + 120
    while not (metrics.exists() and metrics.stat().st_size) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 75, err
    assert "resume: " in err
    assert f"python -m experiments.{line}" in err
    assert json.loads((tmp_path / "status.json").read_text())["status"] == "interrupted"
    assert "Traceback" not in err


@pytest.mark.doors
def test_two_processes_train_together_and_match_one(started, tmp_path, trained):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    line = f"train {SHORT.replace(' --config.train.devices=1', '')}"
    line += f" --coordinator=localhost:{port} --processes=2"
    workdirs = (tmp_path, "/dev/null/of/another/host")  # the first one's alone is read and written
    processes = [started(f"{line} --process={i} --workdir={workdir}") for i, workdir in enumerate(workdirs)]
    endings = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], endings
    together, alone = (json.loads((path / "status.json").read_text())["test"] for path in (tmp_path, trained))
    assert together["loss"] == pytest.approx(alone["loss"], rel=1e-4)
    assert together["accuracy"] == pytest.approx(alone["accuracy"], abs=0.003)
