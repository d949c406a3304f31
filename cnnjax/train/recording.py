"""What a run leaves in its workdir, whoever trains it: lines, tables, checkpoints, its last word."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cnnjax import config as sections
from cnnjax.runs.checkpoints import Checkpoints
from cnnjax.runs.json_files import read_status
from cnnjax.runs.lines import COUNTS
from cnnjax.runs.manifest import damages, prints
from cnnjax.runs.processes import by_first
from cnnjax.runs.provenance import record_of
from cnnjax.runs.reports import Report
from cnnjax.runs.tables import numbers_and_tables
from cnnjax.runs.workdir import write_status
from cnnjax.train.hooks import Hooks
from cnnjax.train.job import PreparedRun
from cnnjax.train.state import State
from cnnjax.train.watching import watch_of

__all__ = ["Recorder", "with_raw"]


class Recorder:
    """The report and the checkpoints of one run; to be closed."""

    def __init__(self, prepared: PreparedRun, workdir: Path, *, quiet: bool = False):
        self.prepared, self.plan, self.workdir = prepared, prepared.plan, workdir
        self.task = prepared.program.parts(sections.numeric(prepared.config)).task
        settings, report = prepared.config["checkpoint"], prepared.config["report"]
        # eval is the test set where nothing is held out: it is called so, and then nothing may be selected by it
        self.measured = "eval" if prepared.selects else "test"
        self.watch = watch_of(prepared.config, self.task, selects=prepared.selects)
        best = {"metric": self.watch.metric, "higher": self.watch.higher}
        record = record_of(prepared.config, prepared.source.identity)
        self.checkpoints = Checkpoints(workdir, keep=settings["keep"], record=record, **best)
        with contextlib.suppress(OSError):  # the next save meets it too, and tells
            self.checkpoints.sweep()
        self.hooks = Hooks(report["hooks"])
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
        numbers, _ = numbers_and_tables(self.prepared.metrics(state, sums, {}))
        bad = int(state.bad)
        epoch = step * self.plan.batch / self.prepared.source.facts.counts["train"]
        metrics = numbers | means | ({"bad_updates": bad} if bad else {})
        self.report.train(step, metrics, epoch=epoch, batch=self.plan.batch)

    def evaluated(self, step: int, split: str, found: Mapping[str, Any]) -> dict[str, float]:
        """Writes what an evaluation found, arrays to `tables-<split>.npz`, numbers to a line; the numbers come out."""
        numbers, tables = numbers_and_tables(found)
        self.report.tables(split, tables)  # first, so that a split with a line has its tables
        self.report.eval(step, split, numbers)
        return numbers

    def save(self, step: int, state: State, metrics: Mapping[str, float]) -> None:
        """Saves a state, with the mark of the lines so far."""
        self.checkpoints.save(step, state, metrics, log=self.report.mark())

    def cut(self, step: int) -> None:
        """Drops the lines after the checkpoint from which the run goes on, and says what damage has taken of them."""
        if jax.process_index():
            return
        status = read_status(self.workdir)
        known = status.get("lines", 0) if status.get("step") == step else 0
        self.report.truncate(step, self.checkpoints.log_at(step), known=known)

    def status(self, status: str, step: int, detail: Mapping[str, Any]) -> None:
        """Writes how far the run is, with the headline metric, whether more of it is better, and details."""
        headline = {"metric": self.task.metric, "higher": self.task.higher}
        if status in ("complete", "pruned"):  # then no checkpoint behind the last line knows of it
            headline["lines"] = self.report.mark().get("lines", 0)
        write_status(self.workdir, status, step=step, detail=headline | detail)

    def broken_off(self, reason: str) -> None:
        """The last word of a run that nothing can save any more: it goes on from its newest checkpoint."""
        names = [path.name.partition("-")[0] for path in (self.workdir / "checkpoints").glob("[0-9]*")]
        saved = [int(name) for name in names if name.isdigit()]  # others are being written
        self.status("interrupted", max(saved, default=0), {"steps": self.plan.steps, "reason": reason})

    def complete(self, step: int) -> dict[str, Mapping]:
        """The last metrics of every split, once the last step is saved; the workdir says that it is complete."""
        metrics = by_first(lambda: {split: self.report.last(split) for split in ("train", "eval", "test")})
        self.status("complete", step, {"steps": self.plan.steps, "files": self._files(step), **metrics})
        facts = self.prepared.source.facts
        names = facts.names or facts.extra.get("segment_names", facts.extra.get("point_names", ()))
        self.report.finish(curves=self.prepared.config["report"]["curves"], names=names)
        return metrics

    def _files(self, step: int) -> dict[str, list[int]]:
        """Sizes and checksums of what nothing reads again; what has become of those of a complete run is said."""
        before = read_status(self.workdir)
        if before.get("status") == "complete" and before.get("step") == step and "files" in before:
            for damage in damages(self.workdir, before["files"]):
                self.report.warn(damage)
            return before["files"]
        return prints([*sorted(self.workdir.glob("tables-*.npz")), self.workdir / "bad_records.jsonl"])

    def close(self) -> None:
        """Waits for the save in flight and closes the files."""
        self.checkpoints.close()
        self.report.close()


def with_raw(metrics: Mapping[str, Any], averaged: Mapping[str, Any]) -> dict[str, Any]:
    """What is found of the averages, where they are kept, with the numbers of the parameters themselves beside it."""
    numbers, _ = numbers_and_tables(metrics)
    raw = {f"raw_{name}": value for name, value in numbers.items() if name not in COUNTS}
    return {**averaged, **raw} if averaged else dict(metrics)
