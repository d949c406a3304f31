"""Whether a run that is stopped and goes on ends with the bits of one that was not."""

import os
import signal
import tempfile
from pathlib import Path

import jax
import numpy as np

import cnnjax
from cnnjax import config as sections
from cnnjax.train.loop import Preempted
from cnnjax.train.trained import Trained
from experiments.benchmarks.accelerator.figures import Told

_HOOK = "experiments.benchmarks.accelerator.resumption:interrupt"
_INTERRUPTED = "resumed"  # the workdir of the run that is


def resuming(told: Told, *, tiny: bool, peer: str) -> None:
    """By how much two whole runs differ, and a resumed one from a whole one, as XLA does by default."""
    _differences(told, tiny, everywhere=False)


def exactly(told: Told, *, tiny: bool, peer: str) -> None:
    """The same with deterministic reductions, where nothing may differ."""
    told("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
    _differences(told, tiny, everywhere=True)


def interrupt(step: int, trained: Trained, metrics: dict) -> dict:
    """A hook of a run: asks this process to stop at the first evaluation of one of them, as a cluster does."""
    once = trained.workdir.with_name("interrupted")
    if trained.workdir.name == _INTERRUPTED and not once.exists():
        once.touch()
        signal.raise_signal(signal.SIGTERM)
    return {}


def _differences(told: Told, tiny: bool, *, everywhere: bool) -> None:
    steps = 8 if tiny else 64
    name = "digits:mlp" if tiny else "digits"
    flags = [f"--config.train.{word}" for word in (f"steps={steps}", "epochs=0", "batch=64", "devices=1")]
    flags += [f"--config.eval.steps={steps // 2}", "--config.eval.epochs=0", "--config.report.quiet=true"]
    flags += ["--config.report.curves=false", f"--config.report.hooks={_HOOK}"]
    config = sections.load(name, flags)
    with tempfile.TemporaryDirectory() as folder:
        whole, again = (_weights(cnnjax.run(config, Path(folder, word))) for word in ("whole", "again"))
        try:
            cnnjax.run(config, Path(folder, _INTERRUPTED))
        except Preempted as stop:
            told("interrupted", str(stop).partition("; ")[0])
        resumed = _weights(cnnjax.run(config, Path(folder, _INTERRUPTED)))
    bound = {"at_most": 0.0, "everywhere": True} if everywhere else {}
    told(f"two whole runs of {steps} steps differ by", _apart(whole, again), "of the norm", **bound)
    told("a resumed one from a whole one by", _apart(whole, resumed), "of the norm", **bound)


def _weights(trained) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(trained.variables)]


def _apart(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    away = sum(float(np.sum((np.float64(a) - b) ** 2)) for a, b in zip(one, other, strict=True))
    return (away / sum(float(np.sum(np.float64(a) ** 2)) for a in one)) ** 0.5
