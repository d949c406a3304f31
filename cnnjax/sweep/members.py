"""The members of a pack: the files of each, and their states side by side in one program."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from cnnjax import config as sections
from cnnjax.runs.checkpoints import CheckpointError
from cnnjax.runs.tables import numbers_and_tables
from cnnjax.runs.workdir import write_status
from cnnjax.sweep.points import Run
from cnnjax.train.initial_weights import with_initial_weights
from cnnjax.train.job import PreparedRun, valid_rows
from cnnjax.train.parallel import MemberLayout
from cnnjax.train.recording import Recorder, with_raw
from cnnjax.train.state import State
from cnnjax.train.step import eval_step, train_step

__all__ = ["PackState", "Member", "light_of", "out_of_memory"]


class Member:
    """A point in its pack: its files, and whether its state still moves."""

    def __init__(self, run: Run, prepared: PreparedRun):
        self.run = run
        self.recorder = Recorder(
            dataclasses.replace(prepared, config=sections.with_numbers(run.config, {})), run.workdir, quiet=True
        )
        self.idle = run.done or "frozen" in run.status

    def begin(self, fresh: State, step: int) -> State:
        """The state at a step that `reached` allows; the files are cut to fit."""
        self.recorder.checkpoints.truncate(step)
        self.recorder.report.truncate(step)
        if step:
            return self.recorder.checkpoints.restore(fresh, step)[1]
        return with_initial_weights(self.recorder.prepared, fresh, self.recorder.report.note)

    def reached(self, fresh: State) -> list[int]:
        """The steps from which it can go on, the newest that is whole last."""
        try:
            newest, state, _ = self.recorder.checkpoints.restore(fresh)
        except CheckpointError:  # it will be told when it is trained alone
            return []
        if int(state.skipped):  # it has rolled back before: its batches are others than those of the pack
            return []
        return [0, *(step for step in self.recorder.checkpoints.steps() if step <= newest)]

    def end(self, step: int) -> None:
        """Ends it here, as one that is not worth more steps."""
        self.recorder.checkpoints.wait()
        write_status(self.run.workdir, "pruned", step=step, detail={"steps": self.recorder.plan.steps})
        self.idle = True

    def freeze(self, step: int, limit: int) -> None:
        """Takes it out of the pack: its last checkpoint stands, and it is to be trained alone from there."""
        good = max([0, *self.recorder.checkpoints.steps()])
        reason = f"{limit} updates in a row were not finite before step {step}"
        detail = {"steps": self.recorder.plan.steps, "frozen": {"tripped": step, "reason": reason}}
        write_status(self.run.workdir, "interrupted", step=good, detail=detail)
        self.idle = True


class PackState:
    """The members of a pack, their program in one strategy, and their states."""

    def __init__(self, prepared: PreparedRun, members: Sequence[Member], strategy: str, *, shared: bool):
        self.prepared, self.plan, self.members, self.strategy, self.shared = (
            prepared,
            prepared.plan,
            list(members),
            strategy,
            shared,
        )
        devices = tuple(jax.devices()) if strategy == "devices" else prepared.layout.devices
        self.side = MemberLayout(strategy, len(members), devices)
        self._step = self.side.training(train_step(prepared.program), self.plan.dispatch, shared=shared)
        self._measure = self.side.evaluation(eval_step(prepared.program))
        self._stores: dict[int, dict] = {}
        self.states = None

    def begin(self, states: Sequence[State]) -> None:
        """Puts the members at these states."""
        self.states = self.side.join(list(states))

    def store(self, split) -> dict:
        """A resident split where the program reads it; {} for one that is streamed."""
        if id(split) not in self._stores:
            self._stores[id(split)] = self.side.everywhere(split.arrays) if split.resident else {}
        return self._stores[id(split)]

    def advance(self, batches: Mapping | list, count: int):
        """Takes `count` steps; what comes back is there to wait for."""
        shared = self.side.share(batches)
        self.states, marker = self._step(self.states, self.store(self.prepared.source.train), shared, np.int32(count))
        return marker

    def evaluate(self, split) -> list[dict[str, float]]:
        """Every member's metrics on a split: of the averages where they are kept, and of the parameters themselves."""
        plain = self._evaluated(split, lambda s: {"params": s.params, "model_state": s.model_state})
        averaged = self._evaluated(split, lambda s: s.ema) if self.plan.ema else [{}] * len(self.members)
        return [with_raw(*both) for both in zip(plain, averaged, strict=True)]

    def _evaluated(self, split, variables: Callable) -> list[dict[str, float]]:
        hparams = self.side.each(lambda s: s.hparams, self.states)
        variables = self.side.each(variables, self.states)
        totals, rows = [None] * len(self.members), [[] for _ in self.members]
        for batch in self.prepared.passes(split):
            for k, (sums, found) in enumerate(self._measure(variables, hparams, self.store(split), batch)):
                sums = jax.tree.map(lambda x: np.asarray(x, np.float64), sums)
                totals[k] = sums if totals[k] is None else jax.tree.map(np.add, totals[k], sums)
                if found:
                    rows[k].append({**found, "valid": batch["valid"]})
        like = self.side.apart(self.side.each(light_of, self.states))
        found = [self.prepared.metrics(*each) for each in zip(like, totals, map(valid_rows, rows), strict=True)]
        return [numbers_and_tables(each)[0] for each in found]


def light_of(state: State) -> State:
    """The state without what is heavy: counters, sums and numbers."""
    return state.replace(params={}, model_state={}, opt_state={}, ema={})


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was short, as Python, accelerators and the CPU do."""
    return isinstance(error, MemoryError) or any(word in str(error) for word in ("RESOURCE_EXHAUSTED", "Out of memory"))
