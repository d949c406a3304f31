"""What a run leaves in its workdir, whoever trains it: lines, checkpoints, its last word."""

from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from cnnjax import config as sections
from cnnjax.runs.checkpoints import Checkpoints
from cnnjax.runs.reports import Report
from cnnjax.runs.tables import numbers_and_tables
from cnnjax.runs.workdir import write_status
from cnnjax.train.job import PreparedRun
from cnnjax.train.state import State

__all__ = ["Recorder", "with_raw"]


class Recorder:
    """The report and the checkpoints of one run; to be closed."""

    def __init__(self, prepared: PreparedRun, workdir: Path, *, quiet: bool = False):
        self.prepared, self.plan, self.workdir = prepared, prepared.plan, workdir
        self.task = prepared.program.parts(sections.numeric(prepared.config)).task
        settings, report = prepared.config["checkpoint"], prepared.config["report"]
        # eval is the test set where nothing is held out: it is called so, and then nothing may be selected by it
        self.measured = "test" if prepared.source.eval is prepared.source.test else "eval"
        metric = (settings["metric"] or self.task.metric) if self.measured == "eval" else ""
        self.checkpoints = Checkpoints(workdir, keep=settings["keep"], metric=metric, higher=self.task.higher)
        self.report = Report(
            workdir,
            total_steps=self.plan.steps,
            metric=self.task.metric,
            tensorboard=report["tensorboard"],
            wandb=report["wandb"],
            quiet=quiet or report["quiet"],
            config=prepared.config,
        )

    def train(self, step: int, state: State) -> None:
        """Writes a line of what the state has summed up since the last one."""
        sums = jax.tree.map(lambda x: np.asarray(x, np.float64), state.sums)
        steps = max(float(sums["step"].pop("count")), 1.0)
        means = {name: float(value / steps) for name, value in sums.pop("step").items()}
        metrics = numbers_and_tables(self.prepared.metrics(state, sums, {}))[0] | means
        bad = int(state.bad)
        epoch = step * self.plan.batch / self.prepared.source.facts.counts["train"]
        self.report.train(step, metrics | ({"bad_updates": bad} if bad else {}), epoch=epoch, batch=self.plan.batch)

    def complete(self) -> dict[str, Mapping]:
        """The last metrics of every split, once the last step is saved; the workdir says that it is complete."""
        step = self.plan.steps
        metrics = {split: self.report.last(split) for split in ("train", "eval", "test")}
        write_status(self.workdir, "complete", step=step, detail={"steps": step, **metrics})
        self.report.finish(curves=self.prepared.config["report"]["curves"])
        return metrics

    def close(self) -> None:
        """Waits for the save in flight and closes the files."""
        self.checkpoints.close()
        self.report.close()


def with_raw(metrics: Mapping[str, float], averaged: Mapping[str, float]) -> dict[str, float]:
    """The metrics of the averages, where they are kept, with those of the parameters themselves beside them."""
    return {**averaged, **{f"raw_{name}": value for name, value in metrics.items()}} if averaged else dict(metrics)
