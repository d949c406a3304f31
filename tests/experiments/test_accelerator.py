"""The command for a quarter of an hour on a GPU keeps what it finds, whatever becomes of a part, and runs anywhere."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from cnnjax.config import ConfigError
from experiments.benchmarks.accelerator import __main__ as command
from experiments.benchmarks.accelerator.figures import Told, as_table
from experiments.benchmarks.accelerator.supervision import Part, supervised
from tests.conftest import ROOT

WRITER = """
import json, os, sys, time
names, lines = sys.argv[1].split(","), sys.argv[2]
def line(**words):
    with open(lines, "a") as file:
        file.write(json.dumps(words) + "\\n")
for name in names:
    line(begun=name)
    line(figure={"what": "steps", "value": 3, "unit": "ms"})
    if name == "slow":
        time.sleep(60)
    if name == "crash":
        print("Out of memory", file=sys.stderr, flush=True)
        os._exit(134)
    line(ended=name, why="failed: DataError: no set" if name == "bad" else "")
"""


def run(names, budget=20.0, limit=20.0):
    """(what was found, all that was kept on the way) of parts that share a process."""
    parts = {name: Part(name.title(), "", 0.7 if name == "slow" else limit, "one") for name in names}
    kept = []

    def writer(names, lines, seconds):
        return [sys.executable, "-S", "-c", WRITER, ",".join(names), lines]

    return supervised(parts, writer, budget, lambda found: kept.append(json.dumps(found))), kept


@pytest.mark.doors
def test_parts_that_fail_hang_or_crash_say_why_and_the_others_are_measured():
    found, kept = run(["first", "bad", "slow", "crash", "last"])
    why = {name: part.get("why", "") for name, part in found["parts"].items()}
    assert why == {
        "first": "",
        "bad": "failed: DataError: no set",
        "slow": "stopped at its limit of 1 s",
        "crash": "its process ended with 134: Out of memory",
        "last": "",
    }
    assert all(len(part["figures"]) == 1 for part in found["parts"].values())
    assert json.loads(kept[0])["parts"]["last"]["figures"] == []
    assert json.loads(kept[-1]) == found


@pytest.mark.doors
def test_what_the_budget_does_not_reach_is_told_and_a_process_that_never_begins_is_given_up():
    found, _ = run(["slow", "last"], budget=0.4)
    assert found["parts"]["slow"]["why"] == "stopped: the budget was spent"
    assert found["parts"]["last"]["why"] == "not begun: the budget was spent"
    parts = {"absent": Part("Absent", "", 5.0, "one")}
    found = supervised(parts, lambda *_: [sys.executable, "-S", "-c", "raise SystemExit(2)"], 20.0, lambda _: None)
    assert found["parts"]["absent"]["why"] == "its process ended with 2: it said nothing"


def test_a_file_keeps_what_it_holds_of_other_parts(tmp_path):
    path = tmp_path / "found.json"
    command.process.read(command.FLAGS, [f"--json={path}", "--parts=cifar,memory"])
    path.write_text(json.dumps({"parts": {"card": {"title": "The device"}, "cifar": {"title": "of before"}}}))
    before, found = command._of_before(), {}
    command._keep({"parts": {"cifar": {"title": "of now"}}}, found, before)
    assert json.loads(path.read_text())["parts"] == {"card": {"title": "The device"}, "cifar": {"title": "of now"}}


def test_a_table_has_every_figure_with_its_unit_and_whether_its_target_is_met(tmp_path):
    path = tmp_path / "lines"
    told = Told(str(path), os.getppid(), matters=True)
    told("one run", 1.4321, "s", at_most=1.5)
    told("a step", 12345.6, "images/s", at_least=20000)
    told("device", "H100")
    figures = [json.loads(line)["figure"] for line in path.read_text().splitlines()]
    part = {"title": "The card", "seconds": 7.4, "figures": figures, "why": "failed: ValueError: no more"}
    lines = as_table({"card": part}).splitlines()
    assert lines == [
        "The card, 7 s",
        "  one run       1.43  s         ≤ 1.5     met",
        "  a step      12,346  images/s  ≥ 20,000  MISSED",
        "  device   H100",
        "  failed: ValueError: no more",
        "",
        "1 of 2 targets met",
    ]


def test_targets_of_speed_are_judged_on_accelerators_alone_and_no_number_is_not_met(tmp_path):
    path = tmp_path / "lines"
    told = Told(str(path), os.getppid(), matters=False)
    told("one run", 9.0, "s", at_most=1.5)
    told("agrees", float("nan"), "of the norm", at_most=1e-4, everywhere=True)
    fast, agrees = (json.loads(line)["figure"] for line in path.read_text().splitlines())
    assert "met" not in fast
    assert agrees["met"] is False
    with pytest.raises(SystemExit):
        Told(str(path), -1, matters=False)("nobody", 1.0)


def test_an_unknown_part_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="--parts is 'resnet5'; nearest: resnet50"):
        command.main(["--parts=resnet5"])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """(process, its --json) of the whole command in its smallest form, done."""
    path = tmp_path_factory.mktemp("tiny") / "found.json"
    done = subprocess.run(_words(path), cwd=ROOT, env=_environment(), capture_output=True, text=True)
    return done, json.loads(path.read_text())


def _words(path):
    return [
        sys.executable,
        "-m",
        "experiments.benchmarks.accelerator",
        "--tiny",
        "--budget=1500",
        "--peer=",
        f"--json={path}",
    ]


def _environment():
    return {**os.environ, "JAX_PLATFORMS": "cpu"}


@pytest.mark.doors
def test_every_part_runs_on_a_cpu_and_what_must_hold_everywhere_holds(tiny):
    done, found = tiny
    assert done.returncode == 0, done.stderr
    assert {name: part.get("why", "") for name, part in found["parts"].items()} == dict.fromkeys(command.PARTS, "")
    figures = [figure for part in found["parts"].values() for figure in part["figures"]]
    judged = {figure["what"]: figure["met"] for figure in figures if "met" in figure}
    assert len(judged) >= 6
    assert set(judged.values()) == {True}
    numbers = [figure for figure in figures if not isinstance(figure["value"], str)]
    assert all(figure["unit"] for figure in numbers)
    assert found["machine"]["platform"] == "cpu"
    assert all(figure["what"] in done.stdout for figure in figures)
    assert f"{len(judged)} of {len(judged)} targets met" in done.stdout


@pytest.mark.doors
def test_a_run_that_is_stopped_leaves_the_parts_that_were_done_and_prints_them(tmp_path):
    path = tmp_path / "found.json"
    words = [*_words(path), "--parts=card,cifar"]
    process = subprocess.Popen(words, cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, text=True)
    for _ in range(1200):
        if path.exists() and "seconds" in json.loads(path.read_text())["parts"]["card"]:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "copy, read and written" in out
    found = json.loads(path.read_text())
    assert found["parts"]["card"]["figures"]
    assert "seconds" not in found["parts"]["cifar"]
