"""Twenty kills at random times, whatever the process is doing: the end is that of the run that nobody disturbed."""

import random
import time

import pytest

import cnnjax
from cnnjax.runs.lines import newest_lines
from tests.processes import python
from tests.train.killed import STEPS, painted, train
from tests.trainings import lines, same

KILLS = 20

CODE = """
import sys
from tests.train.killed import train
train(*sys.argv[1:])
"""


def runs_in(workdir):
    return sorted(path.parent for path in workdir.rglob("config.json"))


def far(workdir):
    """The step of the last line that any of its runs has written."""
    return max((line["step"] for run in runs_in(workdir) for line in newest_lines(run, 1)), default=0)


@pytest.mark.proofs
@pytest.mark.parametrize("how", ["a run by itself", "a pack", "a streamed folder"])
def test_killed_twenty_times_it_ends_in_the_same_bits_and_the_same_lines(how, tmp_path, capsys):
    draw, workdir, root = random.Random(how), tmp_path / "killed", str(painted(tmp_path / "data"))
    train(how, tmp_path / "straight", root)
    reached = []
    for kill in range(KILLS):
        process = python(CODE, how, workdir, root)
        before, most = far(workdir), STEPS * (kill + 1) // (KILLS + 1)
        until = time.monotonic() + 240
        while not (workdir / "lock.json").exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        if draw.random() < 0.75:  # else while it starts, restores and compiles
            while far(workdir) <= before and process.poll() is None and time.monotonic() < until:
                time.sleep(0.005)
        until = time.monotonic() + draw.uniform(0.0, 1.5)
        while time.monotonic() < until and far(workdir) < max(most, before):
            time.sleep(0.002)
        assert process.poll() is None, process.communicate()
        process.kill()
        process.communicate()
        reached.append(far(workdir))
    done = python(CODE, how, workdir, root)
    words = done.communicate(timeout=600)
    assert done.returncode == 0, words
    with capsys.disabled():
        print(f"\n{how}: killed at {', '.join(map(str, reached))} of {STEPS}")
    killed, straight = runs_in(workdir), runs_in(tmp_path / "straight")
    assert len(killed) == len(straight) == (2 if how == "a pack" else 1)
    for mine, theirs in zip(killed, straight, strict=True):
        same(*(cnnjax.load(run, checkpoint="last").state for run in (mine, theirs)))
        assert lines(mine) == lines(theirs)
        assert not [path.name for path in mine.rglob("*") if path.name.endswith((".writing", ".deleting", ".damaged"))]
        assert not [path.name for path in mine.glob(".*")]
