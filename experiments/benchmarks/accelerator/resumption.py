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
from experiments.benchmarks.accelerator.figures import Told

_HOOK = "experiments.benchmarks.accelerator.resumption:interrupt"
_stop_at = -1


def resuming(told: Told, *, tiny: bool, peer: str) -> None:
    """By how much two whole runs differ, and a resumed one from a whole one, as XLA does by default."""
    _differences(told, tiny, everywhere=False)


def exactly(told: Told, *, tiny: bool, peer: str) -> None:
    """The same with deterministic reductions, where nothing may differ."""
    told("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
    _differences(told, tiny, everywhere=True)


def interrupt(step: int, trained: object, metrics: dict) -> dict:
    """A hook of a run: asks this process to stop at a step, as a cluster does."""
    if step == _stop_at:
        signal.raise_signal(signal.SIGTERM)
    return {}


def _differences(told: Told, tiny: bool, *, everywhere: bool) -> None:
    global _stop_at
    steps = 8 if tiny else 64
    name = "digits:mlp" if tiny else "digits"
    flags = [f"--config.train.{word}" for word in (f"steps={steps}", "epochs=0", "batch=64", "devices=1")]
    flags += [f"--config.eval.steps={steps // 2}", "--config.eval.epochs=0", "--config.report.quiet=true"]
    flags += ["--config.report.curves=false", f"--config.report.hooks={_HOOK}"]
    config = sections.load(name, flags)
    with tempfile.TemporaryDirectory() as folder:
        whole, again = (_weights(cnnjax.run(config, Path(folder, word))) for word in ("whole", "again"))
        _stop_at = steps // 2
        try:
            cnnjax.run(config, Path(folder, "resumed"))
        except Preempted:
            told("stopped by a signal at step", _stop_at)
        _stop_at = -1
        resumed = _weights(cnnjax.run(config, Path(folder, "resumed")))
    bound = {"at_most": 0.0, "everywhere": True} if everywhere else {}
    told(f"two whole runs of {steps} steps differ by", _apart(whole, again), "of the norm", **bound)
    told("a resumed one from a whole one by", _apart(whole, resumed), "of the norm", **bound)


def _weights(trained) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(trained.variables)]


def _apart(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    away = sum(float(np.sum((np.float64(a) - b) ** 2)) for a, b in zip(one, other, strict=True))
    return (away / sum(float(np.sum(np.float64(a) ** 2)) for a in one)) ** 0.5
