"""The one training loop: from a config to a trained network in a workdir, through whatever happens on the way."""

import time
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from cnnjax import config as sections
from cnnjax.data.stream import order
from cnnjax.train.checkpoint import Checkpoints
from cnnjax.train.evaluation import Trained
from cnnjax.train.job import Job, prepare
from cnnjax.train.report import Report
from cnnjax.train.signals import Stop
from cnnjax.train.state import State
from cnnjax.train.workdir import accept, hold, write_status

__all__ = ["Diverged", "Preempted", "run"]


class Preempted(Exception):
    """The run was told to stop, and has saved its state."""

    exit_code = 75


class Diverged(Exception):
    """Updates that are not finite came back after every roll-back."""

    exit_code = 4


def run(config: Mapping, workdir: str | Path, *, allow_changes: bool = False) -> Trained:
    """The trained network of a config, from wherever its workdir stands: new, interrupted, or complete.

    A workdir holds one run: a config that changes its result is refused unless `allow_changes`.
    """
    sections.validate(config)
    with hold(workdir), Stop() as stop:
        job = prepare(config)
        changes = accept(workdir, config, allow_changes=allow_changes)
        return _Loop(job, Path(workdir), stop).finish(changes)


class _Loop:
    """One run in progress: the job, its streams and its files; the state alone goes from hand to hand."""

    def __init__(self, job: Job, workdir: Path, stop: Stop):
        self.job, self.plan, self.workdir, self.stop = job, job.plan, workdir, stop
        task = job.program.task(sections.numeric(job.config))
        settings, report = job.config["checkpoint"], job.config["report"]
        # eval is the test set where nothing is held out: then nothing may be selected by it
        metric = (settings["metric"] or task.metric) if job.source.eval is not job.source.test else ""
        self.task = task
        self.checkpoints = Checkpoints(workdir, keep=settings["keep"], metric=metric, higher=task.higher)
        self.report = Report(
            workdir,
            total_steps=self.plan.steps,
            metric=task.metric,
            tensorboard=report["tensorboard"],
            wandb=report["wandb"],
            quiet=report["quiet"],
        )
        self.trained_for = 0.0  # seconds in training alone since the last report
        self.mark = 0

    def finish(self, changes: str) -> Trained:
        """Trains to the end, measures, and leaves the workdir complete."""
        try:
            state = self._resumed()
            if changes:
                self.report.note(changes)
            self.stream = self.job.batches(self.job.source.train)
            self.store = self.job.store(self.job.source.train)
            self.eval_store = self.job.store(self.job.source.eval)
            state = self._train(state)
            return self._close_book(state)
        except Exception as error:
            if not isinstance(error, Preempted | Diverged):
                write_status(self.workdir, "failed", reason=f"{type(error).__name__}: {error}")
            raise
        finally:
            if hasattr(self, "stream"):
                self.stream.close()
            self.checkpoints.close()
            self.report.close()
