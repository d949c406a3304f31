"""Trainings for processes that are killed, and pictures for them."""

from pathlib import Path

import numpy as np
from PIL import Image

import cnnjax
from cnnjax.config import change
from cnnjax.sweep.local import run_sweep
from tests.sweep.points import get_config

STEPS = 1600
POINTS = [{"optimizer.lr": 0.003}, {"optimizer.lr": 0.03}]


def painted(root: Path) -> Path:
    """Pictures of three kinds, of which one can't be read."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4), ("test", 4)):
        for kind in ("ant", "bee", "cow"):
            (root / split / kind).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw.integers(0, 256, (6, 6, 3), np.uint8)).save(root / split / kind / f"{number}.png")
    (root / "train" / "bee" / "3.png").write_bytes(b"no picture")
    return root


def config(root=""):
    """Batch norm, dropout, averages; saves, evaluations and lines far apart and out of step with one another."""
    changes = {"train.steps": STEPS, "checkpoint.steps": 25, "eval.steps": 40, "report.steps": 10}
    if root:
        changes |= {"data.name": "folder", "data.root": root, "data.resident": "no", "data.workers": 1}
        changes |= {"data.budget": 5, "train.batch": 12}
    return change(get_config(), {**changes, "data.holdout": 0 if root else 100})


def train(how, workdir, root):
    """Trains a run by itself, a pack of two as one program, or a run whose pictures are streamed from a folder."""
    if how == "a pack":
        assert not run_sweep(config(), POINTS, workdir, strategy="map", say=lambda text: None)
    else:
        cnnjax.run(config(root if how == "a streamed folder" else ""), workdir)
