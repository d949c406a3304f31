"""A sweep small enough for tests: a tiny net on digits, with batch norm, dropout and averages to remember."""

import dataclasses
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from cnnjax.config import augmentation, experiment, section
from cnnjax.sweep.space import cross, grid, log_uniform, seeds

ROOT = Path(__file__).parents[2]
STEPS, BATCH = 24, 32
GATED = f"{__file__}:gated"  # the same points, whose batches may be held back


def get_config(variant=""):
    """Batch norm and dropout; gradients that are zero but for rounding stay so without Adam.

    No convolution: on CPUs its programs are compiled anew in every process, others are read from the cache.
    """
    return experiment(
        data=section("data", "tests.sweep.points:gated" if variant else "digits", holdout=100),
        model=section("models", "mlp", hidden=(16,), norm="batch", dropout=0.3),
        task=section("tasks", "classification"),
        augment=augmentation(train=("normalize",), eval=("normalize",)),
        optimizer=section("optimizers", "sgd", lr=0.01, ema=0.9),
        schedule=section("schedules", "cosine", warmup_steps=3),
        train={"steps": STEPS, "batch": BATCH, "devices": 1},
        eval={"steps": 8},
        checkpoint={"steps": 12},
        report={"page": False, "steps": 4, "quiet": True, "tensorboard": False, "curves": False},
    )


def sweep():
    """Two rates, two seeds: one program."""
    return cross(grid({"optimizer.lr": (0.003, 0.03)}), seeds(2))


def search():
    """Rates that are too small, right, and too large."""
    return {"optimizer.lr": log_uniform(1e-4, 1.0)}


def lines(workdir):
    """The metric lines, but for what a clock says."""
    text = (Path(workdir) / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "time"} for line in text]


def gated(*, holdout: int = 0):
    """The digits, streamed. Where GATE is a file and a count, so many batches are read; then the file is made."""
    from cnnjax.data import digits

    source = digits(holdout=holdout)
    return dataclasses.replace(source, train=Gated(source.train))


class Gated:
    """A split from which a process can be let read so far and no further."""

    resident, in_memory = False, True
    batches = itertools.count(1)

    def __init__(self, split):
        self.split = split

    def __len__(self):
        return len(self.split)

    def read(self, indices):
        file, _, count = os.environ.get("GATE", "").rpartition(":")
        if file and len(indices) == BATCH and next(self.batches) > int(count):
            Path(file).touch()
            time.sleep(3600)
        return self.split.read(indices)


def start(*flags, config=Path(__file__), gate=""):
    """A process of `experiments.sweep` with these flags."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GLIBC_TUNABLES": "", "GATE": gate}
    command = [sys.executable, "-m", "experiments.sweep", *([f"--config={config}"] if config else []), *flags]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def told(*flags, config=Path(__file__)):
    """(exit code, words) of `experiments.sweep` with these flags."""
    process = start(*flags, config=config)
    words = process.communicate(timeout=300)[0]
    return process.returncode, words


def soon(condition, process):
    """Whether a condition comes to hold while a process runs."""
    deadline = time.monotonic() + 240
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition() and process.poll() is None


def here(*flags, config=Path(__file__)):
    """Does what `experiments.sweep` does with these flags, in this process."""
    from cnnjax.programs import sweep as program

    for name in program.FLAGS:
        program.FLAGS[name].unparse()
    program.main([*([f"--config={config}"] if config else []), *flags])


def alike(mine, theirs, *, rel=2e-3, exact=False):
    """Whether two lists of metric lines say the same: to the last bit, or to rounding."""
    if exact or len(mine) != len(theirs):
        return mine == theirs
    pairs = [(a[key], b[key]) for a, b in zip(mine, theirs, strict=True) for key in a.keys() | b.keys()]
    return all(a == b or (isinstance(a, float) and abs(a - b) <= rel * abs(b) + 1e-4) for a, b in pairs)
