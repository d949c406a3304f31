"""A run whose disk stalls says so, and can be stopped; of pictures that can't be read the count is kept."""

import json
import os
import re
import signal
import threading
import time

import numpy as np
import pytest
from PIL import Image

import cnnjax
from cnnjax.config import augmentation, experiment, section
from cnnjax.programs._mistakes import text
from cnnjax.train.examples import examine
from cnnjax.train.loop import Preempted
from tests.trainings import lines, same

QUIET = {"quiet": True, "tensorboard": False, "page": False, "curves": False}


def config(data, steps, **report):
    """A run of a net so small that only its data take time."""
    return experiment(
        data=data,
        model=section("models", "mlp", hidden=(4,)),
        task=section("tasks", "classification"),
        augment=augmentation(train=("normalize",), eval=("normalize",)),
        optimizer=section("optimizers", "sgd", lr=0.1),
        schedule=section("schedules", "constant"),
        train={"steps": steps, "batch": 16, "devices": 1},
        eval={"steps": steps},
        checkpoint={"steps": 1000},
        report={"page": False, "steps": 5, **QUIET, **report},
    )


def stall_and_stop(workdir, flag, stalled):
    """Lets the disk stall once the run has begun to write lines, and asks it to stop some time later."""
    while not (workdir / "metrics.jsonl").exists() or not (workdir / "metrics.jsonl").stat().st_size:
        time.sleep(0.01)
    flag.touch()
    time.sleep(stalled)
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("workers", [pytest.param(0, marks=pytest.mark.proofs), 1])
def test_a_run_whose_disk_stalls_says_so_and_is_stopped_with_the_state_of_its_last_step(
    workers, tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr("cnnjax.data._workers._SLOW", 0.5)
    monkeypatch.setattr("cnnjax.data._workers._NOTHING", ((), 0.0, 0.5))
    flag, steps = tmp_path / "stalled", 200
    data = section("data", "tests.train.stalling:stalling", flag=str(flag), workers=workers)
    stopper = threading.Thread(target=stall_and_stop, args=(tmp_path / "a", flag, 2.0))
    stopper.start()
    with pytest.raises(Preempted) as stopped:
        cnnjax.run(config(data, steps), tmp_path / "a")
    stopper.join()
    flag.unlink()
    step = int(re.match(rf"stopped by a signal at step (\d+) of {steps}; the state is saved", str(stopped.value))[1])
    assert json.loads((tmp_path / "a" / "status.json").read_text())["step"] == step
    assert (tmp_path / "a" / "checkpoints" / str(step)).is_dir()
    who = r"data worker \d+" if workers else r"a data thread \(data.workers=0\)"
    assert re.search(rf"^{who} has been reading 16 examples from example \d+ on for", capfd.readouterr().err, re.M)
    resumed = cnnjax.run(config(data, steps), tmp_path / "a")
    same(resumed.state, cnnjax.run(config(data, steps), tmp_path / "straight").state)
    assert lines(tmp_path / "a") == lines(tmp_path / "straight")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder of which 3 of 36 test pictures can't be read."""
    root = tmp_path_factory.mktemp("photographs")
    for split, count in (("train", 16), ("test", 18)):
        for label, name in enumerate(("ant", "bee")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                shade = np.full((8, 8, 3), 100 * label + number, np.uint8)
                Image.fromarray(shade).save(root / split / name / f"{number:02}.png")
    for name in ("ant/03.png", "bee/00.png", "bee/11.png"):
        (root / "test" / name).write_bytes(b"torn")
    return root


@pytest.mark.parametrize("resident", ["auto", "no"])
def test_of_how_many_examples_the_metrics_are_is_printed_and_kept(resident, photographs, tmp_path, capfd, monkeypatch):
    if resident == "no":
        monkeypatch.setattr("cnnjax.data._pictures._SMALL", 0)
    data = section("data", "folder", root=str(photographs), size=8, workers=0)
    trained = cnnjax.run(config(data, 5, quiet=False), tmp_path)
    (line,) = (line for line in lines(tmp_path) if line.get("split") == "test")
    assert (line["measured"], line["examples"]) == (33, 36)
    assert "measured" not in next(line for line in lines(tmp_path) if line["kind"] == "train")
    assert re.search(r"^test 5/5  loss .*  measured 33 of 36$", capfd.readouterr().out, re.M)
    found = trained.measure("test")
    assert (found["measured"], found["examples"]) == (33, 36)
    examined = examine(trained, "test")
    words = text("test", examined, {}, 5, trained.source.test.bad)
    assert "\n\nmeasured 33 of 36; what can't be read: test/ant/03.png, test/bee/00.png, test/bee/11.png" in words
    assert found["accuracy"] * 33 == pytest.approx(round(found["accuracy"] * 33))
