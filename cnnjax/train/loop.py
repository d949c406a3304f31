"""The one training loop: from a config to a trained network in a workdir, through whatever happens on the way."""

import time
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from cnnjax import config as sections
from cnnjax.data.stream import order
from cnnjax.runs.checkpoints import CheckpointError
from cnnjax.runs.provenance import check_same_run
from cnnjax.runs.signals import Stop
from cnnjax.runs.tables import numbers_and_tables
from cnnjax.runs.workdir import hold, write_status
from cnnjax.train.initial_weights import with_initial_weights
from cnnjax.train.job import PreparedRun, prepare
from cnnjax.train.recording import Recorder, with_raw
from cnnjax.train.state import State
from cnnjax.train.trained import Trained

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
        prepared = prepare(config)
        changes = check_same_run(workdir, config, allow_changes=allow_changes)
        return _Loop(prepared, Path(workdir), stop).finish(changes)


class _Loop:
    """One run in progress: the prepared, its streams and its files; the state alone goes from hand to hand."""

    def __init__(self, prepared: PreparedRun, workdir: Path, stop: Stop):
        self.prepared, self.plan, self.workdir, self.stop = prepared, prepared.plan, workdir, stop
        self.recorder = Recorder(prepared, workdir)
        self.checkpoints, self.report, self.measured = (
            self.recorder.checkpoints,
            self.recorder.report,
            self.recorder.measured,
        )

    def finish(self, changes: str) -> Trained:
        """Trains to the end, measures, and leaves the workdir complete."""
        try:
            state = self._resumed()
            if changes:
                self.report.note(changes)
            self.stream = self.prepared.batches(self.prepared.source.train, str(self.workdir / "bad_records.jsonl"))
            self.store = self.prepared.store(self.prepared.source.train)
            self.eval_store = self.prepared.store(self.prepared.source.eval)
            state = self._train(state)
            return self._close_book(state)
        except Exception as error:
            if not isinstance(error, Preempted | Diverged):
                write_status(self.workdir, "failed", detail={"reason": f"{type(error).__name__}: {error}"})
            raise
        finally:
            if hasattr(self, "stream"):
                self.stream.close()
            self.recorder.close()

    def _resumed(self) -> State:
        """The state that the newest usable checkpoint holds, or that of step 0; the report is cut to fit it."""
        fresh = self.prepared.layout.replicate(self.prepared.start())
        step, state, _ = self.checkpoints.restore(fresh)
        self.report.truncate(step)
        if state is fresh:
            return with_initial_weights(self.prepared, fresh, self.report.note)
        if step:
            self.report.note(f"resumed at step {step} of {self.plan.steps}")
        return state

    def _train(self, state: State) -> State:
        """Steps until the last; at each cadence, in this order: report, evaluate, save."""
        plan, step = self.plan, int(state.step)
        skipped = int(state.skipped)
        self.report.start(step)
        if step and self._due(step, plan.evaluate) and not self.report.has(step, self.measured):
            self._evaluate(state, step)  # the run was stopped between its report and its evaluation
        first, last_marker, began = True, None, time.perf_counter()
        while step < plan.steps:
            self._stop_if_signalled(state, step)
            self._saved_or_said()
            count = min(plan.dispatch, plan.next_stop(step) - step)
            batches = self._padded(self.stream.batches(step + skipped, count))
            state, marker = self.prepared.step(
                state, self.store, self.prepared.layout.share(batches, 2), np.int32(count)
            )
            step += count
            if first:
                jax.block_until_ready(marker)
                self.report.compiled(time.perf_counter() - began, steps=count)
                first, began = False, time.perf_counter()
            elif last_marker is not None:
                jax.block_until_ready(last_marker)  # no more than two dispatches ahead of the device
            last_marker = marker
            if step != plan.next_stop(step - 1):
                self.report.live(step)
                continue
            state, rolled_back = self._checked(state, step)
            if rolled_back:
                step, skipped = int(state.step), int(state.skipped)
            else:
                state = self._at_stop(state, step, time.perf_counter() - began)
            began = time.perf_counter()
        return state

    def _at_stop(self, state: State, step: int, seconds: float) -> State:
        """What the host does at a cadence; the clock of the training stands still meanwhile."""
        plan = self.plan
        self.report.trained(step, seconds)
        if self._due(step, plan.report):
            state = self._report(state, step)
        metrics = self._evaluate(state, step) if self._due(step, plan.evaluate) else {}
        if self._due(step, plan.save):
            self.checkpoints.save(step, state, metrics)
        return state

    def _saved_or_said(self) -> None:
        """Says that a save has failed (a full disk, say) and goes on: the one before is whole, the next may work."""
        try:
            self.checkpoints.poll()
        except CheckpointError as error:
            self.report.note(str(error))

    def _due(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self.plan.steps

    def _stop_if_signalled(self, state: State, step: int) -> None:
        """Saves and stops where a signal asked for it."""
        if not self._asked_to_stop(step):
            return
        if step not in self.checkpoints.steps():
            self.checkpoints.save(step, state)
        self.checkpoints.wait()
        write_status(self.workdir, "interrupted", step=step, detail={"steps": self.plan.steps})
        raise Preempted(f"stopped by a signal at step {step} of {self.plan.steps}; the state is saved")

    def _asked_to_stop(self, step: int) -> bool:
        """Whether any process was told to stop; asked of all together, at stops alone where there are several."""
        if jax.process_count() > 1 and step != self.plan.next_stop(step - 1):
            return False
        return self.stop.anywhere()

    def _padded(self, batches: Mapping) -> dict:
        """Batches of as many steps as a dispatch has: one shape, one program."""
        missing = self.plan.dispatch - len(batches["index"])
        if not missing:
            return dict(batches)
        return {name: np.concatenate([array, np.repeat(array[-1:], missing, 0)]) for name, array in batches.items()}

    def _report(self, state: State, step: int) -> State:
        """Writes a line of what was summed up since the last one; the state's sums begin anew."""
        self.recorder.train(step, state)
        return state.replace(sums=jax.tree.map(lambda x: x * 0, state.sums))

    def _evaluate(self, state: State, step: int) -> dict[str, float]:
        """Metrics on the eval split: of the averages where they are kept, and of the parameters themselves."""
        split, store = self.prepared.source.eval, self.eval_store
        averaged = self.prepared.evaluate(state, split, store, averaged=True) if self.plan.ema else {}
        found = with_raw(self.prepared.evaluate(state, split, store), averaged)
        metrics, _ = numbers_and_tables(found)
        self.report.eval(step, self.measured, metrics)
        return metrics

    def _checked(self, state: State, step: int) -> tuple[State, bool]:
        """(state, False); or, where bad updates have frozen it, (the last good state, made to go past them, True)."""
        if int(state.streak) < self.plan.nonfinite:
            return state, False
        tripped, rollbacks, bad = int(state.step), int(state.rollbacks) + 1, int(state.bad)
        examples = self._examples(tripped + int(state.skipped))
        fresh = self.prepared.layout.replicate(self.prepared.start())
        good, restored, _ = self.checkpoints.restore(fresh)
        restored = with_initial_weights(self.prepared, fresh, self.report.note) if restored is fresh else restored
        skipped = int(state.skipped) + tripped - good
        story = (
            f"{self.plan.nonfinite} updates in a row were not finite, steps {tripped - self.plan.nonfinite} to "
            f"{tripped - 1} (examples {examples}); "
        )
        if rollbacks >= self.plan.rollbacks:
            self.report.event(good, "diverged", {"tripped": tripped, "rollbacks": rollbacks, "bad_updates": bad})
            write_status(self.workdir, "diverged", step=good, detail={"tripped": tripped, "rollbacks": rollbacks})
            raise Diverged(story + _advice(state, good, rollbacks))
        self.report.truncate(good)
        self.report.event(good, "rolled back", {"tripped": tripped, "rollbacks": rollbacks, "bad_updates": bad})
        self.report.note(f"{story}rolled back to step {good} and going on past them")
        counters = {"skipped": skipped, "rollbacks": rollbacks, "bad": bad, "streak": 0}
        numbers = self.prepared.layout.replicate({name: np.int32(value) for name, value in counters.items()})
        return restored.replace(**numbers), True

    def _examples(self, position: int) -> str:
        """The first examples of the window of bad batches that ends before a position of the stream."""
        count, seed = len(self.prepared.source.train), self.prepared.config["data"]["seed"]
        index = order(count, self.plan.batch, position - self.plan.nonfinite, seed=seed)[0]
        return ", ".join(map(str, index[:4])) + ", …"

    def _close_book(self, state: State) -> Trained:
        """The last measures, the last save, the pictures, and the words at the end."""
        step = self.plan.steps
        self.checkpoints.wait()
        if self.prepared.config["eval"]["test"] and not self.report.has(step, "test"):
            test = self.prepared.source.test
            found = self.prepared.evaluate(state, test, self.prepared.store(test), averaged=self.plan.ema)
            self.report.eval(step, "test", numbers_and_tables(found)[0])
        return Trained(self.prepared.config, self.workdir, self.prepared, state, self.recorder.complete())


def _advice(state: State, good: int, rollbacks: int) -> str:
    """The end of the message of a run that has diverged."""
    lr = state.hparams.get("optimizer.lr", 0.0)
    lower = f"lower optimizer.lr ({float(lr):g})" if float(lr) else "change the optimizer"
    times = "for the second time" if rollbacks == 2 else f"{rollbacks} times now"
    return (
        f"{times}; the last good state is that of step {good}\n{lower}, set optimizer.clip, or look at those examples"
    )
