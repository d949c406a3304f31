"""Who trains in one loop: the files of each run, the states of all in one program, and the batches that they read.

A run by itself is one member in turns; a pack of a sweep has many, in any of `parallel.STRATEGIES`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from cnnjax.data.stream import Stream, patiently
from cnnjax.runs.processes import by_all, by_first
from cnnjax.runs.provenance import changed_since
from cnnjax.train.clock import Clock
from cnnjax.train.initial_weights import with_initial_weights
from cnnjax.train.job import PreparedRun
from cnnjax.train.parallel import Layout, MemberLayout
from cnnjax.train.recording import Recorder, with_raw
from cnnjax.train.state import State
from cnnjax.train.step import eval_step, train_step
from cnnjax.train.trained import Trained

__all__ = ["Feed", "Member", "PackState"]


class Member:
    """One run among those that train together: its files, and whether its state still moves."""

    def __init__(self, prepared: PreparedRun, workdir: Path, *, quiet: bool = False):
        self.prepared, self.workdir = prepared, workdir
        self.recorder = Recorder(prepared, workdir, quiet=quiet)
        self.idle = False

    def note(self, text: str) -> None:
        """Tells the reader."""
        self.recorder.report.note(text)

    def call_hooks(self, step: int, state: State, found: Mapping) -> None:
        """Shows the run's hooks the network at a step, and what was found of it."""
        measured = {self.recorder.measured: found}
        trained = Trained(self.prepared.config, self.workdir, self.prepared, state, measured)
        self.recorder.hooks(step, trained, found, self.recorder.report)

    def newest(self) -> tuple[int, State]:
        """(step, state) of its newest usable checkpoint, or those that it starts from."""
        fresh = self.prepared.layout.replicate(self.prepared.start())
        step, state, _ = self.recorder.checkpoints.restore(fresh)
        if state is fresh:
            return step, by_all(lambda: with_initial_weights(self.prepared, fresh, self.note))
        return step, self.with_changes(step, state, fresh)

    def with_changes(self, step: int, state: State, fresh: State) -> State:
        """A state restored from the checkpoint at a step, with those numbers of the config that were changed since.

        What a population gave it stays. A config that was changed where it matters has all its roll-backs before it.
        """
        record = by_first(lambda: self.recorder.checkpoints.record(step))
        if not record:
            self.note(
                f"the checkpoint at step {step} is of an older release: its config and data are taken to be these"
            )
        changed = by_first(lambda: changed_since(self.workdir, record, self.prepared.config))
        numbers = {path: fresh.hparams[path] for path in changed if path in fresh.hparams}
        return state.replace(hparams={**state.hparams, **numbers}, rollbacks=fresh.rollbacks) if changed else state


class PackState:
    """Members, their program in one strategy, and their states."""

    def __init__(self, prepared: PreparedRun, members: Sequence[Member], strategy: str, *, shared: bool):
        self.prepared, self.plan, self.strategy, self.shared = prepared, prepared.plan, strategy, shared
        self.clock = Clock(prepared.config)
        self._stores: dict[int, dict] = {}
        self.states = None
        self._compile(members)

    def _compile(self, members: Sequence[Member]) -> None:
        prepared, self.members = self.prepared, list(members)
        layout = Layout("jit", tuple(jax.devices())) if self.strategy == "devices" else prepared.layout
        self.side = MemberLayout(self.strategy, len(members), layout)
        step, measure = train_step(prepared.program), eval_step(prepared.program)
        self._step = self.side.training(step, self.plan.dispatch, alone=prepared.step, shared=self.shared)
        self._measure = self.side.evaluation(measure, alone=prepared.measure)

    @property
    def active(self) -> list[Member]:
        """The members whose states still move."""
        return [member for member in self.members if not member.idle]

    def begin(self, states: Sequence[State]) -> None:
        """Puts the members at these states, all of one step."""
        self.states = self.side.join(states)
        self.skipped = int(states[0].skipped)  # the batches gone past: members of packs have none

    def keep(self, places: Sequence[int]) -> None:
        """Goes on with the members at these places alone, in a program of their own."""
        states = self.side.apart(self.states)
        states = [jax.tree.map(np.array, states[k]) for k in places]
        self._compile([self.members[k] for k in places])
        self.begin(states)

    def exchange(self, source: Sequence[int], hparams: list) -> None:
        """Makes member k a copy of member `source[k]` that keeps its own seed and has the numbers `hparams[k]`."""
        self.states = self.side.exchange(self.states, source, hparams)

    def light(self) -> list[State]:
        """Each member's state without what is heavy, on the host: counters, sums and numbers; waits for the steps."""
        return self.side.apart(self.side.each(_light, self.states))

    def remember(self, step: int, metrics: Sequence[Mapping]) -> None:
        """Counts an evaluation in every member's memory of them."""
        if not any(member.recorder.watch.metric for member in self.members):
            return
        memories = [
            dict(state.watch) if member.idle else member.recorder.watch.after(state.watch, step, found)
            for member, state, found in zip(self.members, self.light(), metrics, strict=True)
        ]
        self.states = self.side.put(self.states, "watch", memories)

    def trees(self) -> list[State]:
        """Each member's state, to be read before the next step."""
        return self.side.trees(self.states)

    def clear_sums(self) -> None:
        """Begins the sums of all members anew."""
        self.states = self.side.each(lambda s: s.replace(sums=jax.tree.map(lambda x: x * 0, s.sums)), self.states)

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

    def evaluate(self, split, waiting: Callable[[], None] = patiently, *, raw: bool = True) -> list[dict]:
        """Every member's metrics on a split: of the averages where they are kept, and, if `raw`, of the parameters.

        `waiting` is called between the batches; it may raise.
        """
        averaged = self._evaluated(split, lambda s: s.ema, waiting) if self.plan.ema else [{}] * len(self.members)
        if self.plan.ema and not raw:
            return averaged
        plain = self._evaluated(split, lambda s: {"params": s.params, "model_state": s.model_state}, waiting)
        return [with_raw(*both) for both in zip(plain, averaged, strict=True)]

    def _evaluated(self, split, variables: Callable, waiting: Callable[[], None]) -> list[dict]:
        variables = self.side.each(variables, self.states)
        hparams, store = self.side.each(lambda s: s.hparams, self.states), self.store(split)
        totals = self.prepared.totals(split, lambda batch: self._measure(variables, hparams, store, batch), waiting)
        return [self.prepared.metrics(state, *found) for state, found in zip(self.light(), totals, strict=True)]


class Feed:
    """The batches of members: a stream for each `data.seed` among them, the same batches for all where `shared`."""

    def __init__(self, members: Sequence[Member], shared: bool):
        self._dispatch, self._shared = members[0].prepared.plan.dispatch, shared
        self._streams: dict[int, Stream] = {}
        for member in members:
            if (seed := _order(member)) not in self._streams:
                records = "" if jax.process_index() else str(member.workdir / "bad_records.jsonl")
                self._streams[seed] = member.prepared.batches(member.prepared.source.train, records)

    def batches(
        self, members: Sequence[Member], position: int, count: int, waiting: Callable[[], None] = patiently
    ) -> Mapping | list:
        """The next `count` batches from a position of the streams on: those of all, or a list of each member's own.

        `waiting` is called while they are waited for; it may raise.
        """
        streams = self._streams.items()
        found = {seed: self._padded(stream.batches(position, count, waiting)) for seed, stream in streams}
        return next(iter(found.values())) if self._shared else [found[_order(member)] for member in members]

    def _padded(self, batches: Mapping) -> dict:
        """Batches of as many steps as a dispatch has: one shape, one program."""
        missing = self._dispatch - len(batches["index"])
        if not missing:
            return dict(batches)
        return {name: np.concatenate([array, np.repeat(array[-1:], missing, 0)]) for name, array in batches.items()}

    def close(self) -> None:
        """Ends what reads."""
        for stream in self._streams.values():
            stream.close()


def _order(member: Member) -> int:
    return member.prepared.config["data"]["seed"]


def _light(state: State) -> State:
    return state.replace(params={}, model_state={}, opt_state={}, ema={})
